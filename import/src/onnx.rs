//! Reads, types and simplifies the graph of an ONNX file with tract.

use std::collections::HashMap;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use heman_core::deadline::Deadline;
use tract_onnx::pb;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::optim::Optimizer;
use tract_onnx::tract_hir::infer::Factoid;

use crate::bounded::{bound, check_elements};
use crate::error::{ImportError, UnsupportedNode};
use crate::expand;
use crate::interface::{Hint, Interface, input_shapes, read_outputs};
use crate::limits;
use crate::node_names::{self, node_name};
use crate::rewrite;

/// Largest ONNX file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 512 << 20;

/// Stack of a thread that reads a model: what the main thread has on most systems.
const STACK_BYTES: usize = 8 << 20;
/// Most nodes that are visited while a graph is simplified.
const MOST_VISITS: usize = 1 << 24;

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

/// A model that tract has typed and simplified.
pub(crate) struct Typed {
    pub model: TypedModel,
    pub interface: Interface,
    /// The ONNX operator of every named node.
    pub operators: Vec<(String, String)>,
}

/// As [`guarded`], on a thread of its own where there is a deadline. The graph library cannot be stopped from outside:
/// behind the deadline the thread is left to itself, and ends where it next looks at the time.
pub(crate) fn guarded_until<T: Send + 'static>(
    deadline: Deadline,
    work: impl FnOnce() -> Result<T, ImportError> + Send + 'static,
) -> Result<T, ImportError> {
    let Some((left, late)) = deadline.left() else { return guarded(work) };
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("import".into()).stack_size(STACK_BYTES);
    let started = thread.spawn(move || {
        let result = guarded(work);
        // Behind the deadline nobody waits for it.
        let _ = sender.send(result);
    });
    started.map_err(|source| ImportError::Read { path: "a thread for the model".into(), source })?;
    let waited = receiver.recv_timeout(left).unwrap_or(Err(ImportError::Late(late)));
    // Operators that look at the time themselves say so in the graph library's words.
    if waited.is_err() {
        deadline.check()?
    }
    waited
}

/// Reads, types and simplifies a model; `folder` is where its weights in other files lie, `hints` are names and shapes
/// of sample inputs, for axes that the file leaves free.
pub(crate) fn typed_model(
    bytes: &[u8],
    folder: Option<&Path>,
    hints: &[Hint],
    deadline: Deadline,
) -> Result<Typed, ImportError> {
    let not_onnx = |error: TractError| ImportError::NotOnnx(format!("{error:#}"));
    let mut onnx = tract_onnx::onnx();
    expand::register(&mut onnx.op_register);
    let mut proto = onnx.proto_model_for_read(&mut &*bytes).map_err(not_onnx)?;
    limits::check(&proto)?;
    proto.graph.iter_mut().for_each(node_names::number);
    let name = |node: &pb::NodeProto| (node_name(node), node.op_type.clone());
    let operators: Vec<(String, String)> = proto.graph.iter().flat_map(|graph| graph.node.iter().map(name)).collect();
    rewrite::rewrite(&mut proto, folder)?;
    let no_graph = || ImportError::NotOnnx("it has no graph".into());
    let outputs = read_outputs(proto.graph.as_mut().ok_or_else(no_graph)?);
    if !outputs.iter().flat_map(|output| &output.columns).all(|name| limits::is_one_line(name)) {
        return Err(ImportError::Interface("the name of a class has control characters".into()));
    }
    let graph = proto.graph.as_ref().ok_or_else(no_graph)?;
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
    let mut model = onnx.parse(&proto, None).map_err(|error| untyped(graph, &operators, &error))?.model;
    let sources = model.input_outlets().map_err(not_onnx)?.to_vec();
    if sources.is_empty() {
        return Err(ImportError::Interface("it has no input that is not an initializer".into()));
    }
    let mut facts = Vec::with_capacity(sources.len());
    for (at, outlet) in sources.iter().enumerate() {
        let fact = model.input_fact(at).map_err(not_onnx)?.clone();
        let kind = fact.datum_type.concretize().unwrap_or(DatumType::F32);
        if !kind.is_number() && kind != DatumType::Bool {
            return Err(ImportError::Interface(format!("an input is of type {kind:?}; numbers are needed")));
        }
        facts.push((model.node(outlet.node).name.clone(), fact));
    }
    let inputs = input_shapes(&facts, hints)?;
    for (at, input) in inputs.iter().enumerate() {
        let kind = facts[at].1.datum_type.concretize().unwrap_or(DatumType::F32);
        let kind = if kind.is_float() { f32::datum_type() } else { kind };
        let fact = InferenceFact::dt_shape(kind, input.shape.clone());
        model = model.with_input_fact(at, fact).map_err(not_onnx)?;
    }
    let axes: HashMap<String, (i64, bool)> = graph.node.iter().filter_map(unchecked_axis).collect();
    bound(&mut model, |name| axes.get(name).copied(), deadline);
    model.analyse(false).map_err(|error| untyped(graph, &operators, &error))?;
    check_elements(&model).map_err(ImportError::TooComplex)?;
    deadline.check()?;
    let typed = model.into_typed().and_then(simplified);
    let model = typed.map_err(|error| untyped(graph, &operators, &error))?;
    Ok(Typed { model, interface: Interface { inputs, outputs }, operators })
}

/// The axis of a node whose operator the graph library believes it to, and whether it may lie behind the last one.
fn unchecked_axis(node: &pb::NodeProto) -> Option<(String, (i64, bool))> {
    const UNCHECKED: [&str; 7] = ["ArgMax", "ArgMin", "Flatten", "Hardmax", "LogSoftmax", "LpNormalization", "Softmax"];
    let axis = node.attribute.iter().find(|attribute| attribute.name == "axis")?;
    let is_unchecked = UNCHECKED.contains(&node.op_type.as_str()) || node.op_type.ends_with("LayerNormalization");
    is_unchecked.then(|| (node_name(node), (axis.i, node.op_type == "Flatten")))
}

/// Simplifies a graph. Each simplification is checked against the whole graph, so that large graphs get fewer of them:
/// what is left as it was is correct, and only takes longer to evaluate.
fn simplified(mut model: TypedModel) -> TractResult<TypedModel> {
    let steps = MOST_VISITS / model.nodes.len().max(1);
    Optimizer::declutter().stopping_at(steps).optimize(&mut model)?;
    Ok(model)
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
