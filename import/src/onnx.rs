//! Reads, types and simplifies the graph of an ONNX file with tract.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use tract_onnx::pb;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike;
use tract_onnx::tract_hir::infer::Factoid;

use crate::error::{ImportError, UnsupportedNode};
use crate::expand;
use crate::rewrite;
use heman_core::model::network::TensorInfo;

/// Largest ONNX file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 512 << 20;
/// Most elements of an input tensor.
const MAX_INPUT_LEN: usize = 1 << 22;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ImportError> {
    let fail = |source| ImportError::Read { path: path.display().to_string(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(fail)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ImportError::TooLarge { limit: MAX_FILE_BYTES });
    }
    Ok(bytes)
}

/// Hostile files may make the graph library panic; at this one boundary a panic becomes an error.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, ImportError>) -> Result<T, ImportError> {
    static HOOK: std::sync::Once = std::sync::Once::new();
    thread_local! { static QUIET: std::cell::Cell<bool> = const { std::cell::Cell::new(false) }; }
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.with(std::cell::Cell::get) {
                default(info);
            }
        }));
    });
    let before = QUIET.with(|quiet| quiet.replace(true));
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.with(|quiet| quiet.set(before));
    result.unwrap_or_else(|_| Err(ImportError::NotOnnx("its graph is inconsistent".into())))
}

/// The decluttered model, its input, and the ONNX operator of every named node.
pub(crate) type Typed = (TypedModel, TensorInfo, Vec<(String, String)>);

pub(crate) fn typed_model(bytes: &[u8], folder: Option<&Path>) -> Result<Typed, ImportError> {
    let not_onnx = |error: TractError| ImportError::NotOnnx(format!("{error:#}"));
    let mut onnx = tract_onnx::onnx();
    expand::register(&mut onnx.op_register);
    let mut proto = onnx.proto_model_for_read(&mut &*bytes).map_err(not_onnx)?;
    let name = |node: &pb::NodeProto| (node_name(node), node.op_type.clone());
    let operators: Vec<(String, String)> = proto.graph.iter().flat_map(|graph| graph.node.iter().map(name)).collect();
    rewrite::rewrite(&mut proto, folder)?;
    let graph = proto.graph.as_ref().ok_or_else(|| ImportError::NotOnnx("it has no graph".into()))?;
    let unknown: Vec<UnsupportedNode> = graph
        .node
        .iter()
        .filter(|node| !onnx.op_register.0.contains_key(&node.op_type))
        .map(|node| UnsupportedNode {
            operator: node.op_type.clone(),
            node: node_name(node),
            reason: "the operator is not known".into(),
            suggestion: "replace it by standard ONNX operators".into(),
        })
        .collect();
    if !unknown.is_empty() {
        return Err(ImportError::Unsupported(unknown));
    }
    let model = onnx.parse(&proto, None).map_err(|error| untyped(graph, &operators, &error))?.model;
    let &[outlet] = model.input_outlets().map_err(not_onnx)? else {
        return Err(ImportError::Interface("it must have exactly one input that is not an initializer".into()));
    };
    let fact = model.input_fact(0).map_err(not_onnx)?;
    let kind = fact.datum_type.concretize().unwrap_or(DatumType::F32);
    if !kind.is_float() {
        return Err(ImportError::Interface(format!("its input is of type {kind:?}; floating point is needed")));
    }
    let shape = input_shape(fact)?;
    let name = model.node(outlet.node).name.clone();
    let model =
        model.with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), shape.clone())).map_err(not_onnx)?;
    let typed = model.into_typed().and_then(TypedModel::into_decluttered);
    let model = typed.map_err(|error| untyped(graph, &operators, &error))?;
    Ok((model, TensorInfo { name, shape }, operators))
}

/// Why a graph has no types and shapes: the first node that the graph library names.
fn untyped(graph: &pb::GraphProto, operators: &[(String, String)], error: &TractError) -> ImportError {
    let text = format!("{error:#}");
    let named = |node: &&pb::NodeProto| {
        let name = node_name(node);
        text.contains(&format!("\"{name}\"")) || text.contains(&format!("node {name} ("))
    };
    let Some(node) = graph.node.iter().find(named) else { return ImportError::NotOnnx(text) };
    let name = node_name(node);
    let origin =
        operators.iter().filter(|(from, _)| name.starts_with(from.as_str())).max_by_key(|(from, _)| from.len());
    ImportError::Unsupported(vec![UnsupportedNode {
        operator: origin.map_or_else(|| node.op_type.clone(), |(_, operator)| operator.clone()),
        node: name,
        reason: error.root_cause().to_string(),
        suggestion: "check its attributes and inputs, and export it with fixed shapes and constant parameters".into(),
    }])
}

pub(crate) fn node_name(node: &pb::NodeProto) -> String {
    if node.name.is_empty() { node.output.first().cloned().unwrap_or_default() } else { node.name.clone() }
}

/// The input's shape with a free leading axis set to 1.
pub(crate) fn input_shape(fact: &InferenceFact) -> Result<Vec<usize>, ImportError> {
    let free =
        || ImportError::Interface("its input has free axes besides the batch; export it with fixed sizes".into());
    let rank = fact.shape.rank().concretize().ok_or_else(free)?;
    let mut shape = Vec::with_capacity(rank as usize);
    for (axis, dim) in fact.shape.dims().enumerate() {
        match dim.concretize().and_then(|d| d.to_usize().ok()) {
            Some(length) => shape.push(length),
            None if axis == 0 => shape.push(1),
            None => return Err(free()),
        }
    }
    let count = shape.iter().try_fold(1_usize, |product, &d| product.checked_mul(d));
    if !count.is_some_and(|count| (1..=MAX_INPUT_LEN).contains(&count)) {
        return Err(ImportError::Interface(format!("its input shape {shape:?} is empty or too large")));
    }
    Ok(shape)
}
