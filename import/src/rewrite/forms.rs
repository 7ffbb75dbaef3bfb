//! Number formats: all floating point becomes float32, and inputs of other types are taken as float32.

use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, ValueInfoProto};
use tract_onnx::prelude::*;
use tract_onnx::tensor::load_tensor;

use super::graph::{floats, for_each_tensor, node, with_int};
use crate::error::ImportError;
use crate::expand::REINTERPRET;

/// Attributes that name a type.
const TYPE_ATTRIBUTES: [&str; 4] = ["to", "dtype", "stash_type", "output_datatype"];

fn is_other_float(kind: i32) -> bool {
    [DataType::Float16, DataType::Double, DataType::Bfloat16].iter().any(|&other| kind == other as i32)
}

/// Whether the numbers of a format can be read: integers, booleans, texts and real numbers of 16 bits or more.
fn is_known(kind: i32) -> bool {
    kind == DataType::Bfloat16 as i32 || (DataType::Float as i32..=DataType::Uint64 as i32).contains(&kind)
}

/// Makes float16, bfloat16 and float64 constants, casts and declarations float32 ones.
///
/// # Errors
/// [`ImportError::NotOnnx`] if a constant is damaged, [`ImportError::Weights`] if its format is not known.
pub(super) fn make_float32(graph: &mut GraphProto) -> Result<(), ImportError> {
    for_each_tensor(graph, &mut |tensor| {
        if !is_known(tensor.data_type) {
            let (name, kind) = (&tensor.name, tensor.data_type);
            let reason = format!("{name:?} is of the number format {kind}, which is not known; export it in float32");
            return Err(ImportError::Weights(reason));
        }
        if is_other_float(tensor.data_type) {
            *tensor = to_float32(tensor).map_err(|error| ImportError::NotOnnx(format!("{error:#}")))?;
        }
        Ok(())
    })?;
    retype(graph);
    Ok(())
}

fn retype(graph: &mut GraphProto) {
    for info in graph.input.iter_mut().chain(&mut graph.output) {
        if let Some(kind) = element_type(info)
            && is_other_float(*kind)
        {
            *kind = DataType::Float as i32;
        }
    }
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        if TYPE_ATTRIBUTES.contains(&attribute.name.as_str()) && is_other_float(attribute.i as i32) {
            attribute.i = DataType::Float as i64;
        }
        attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(retype);
    }
}

fn element_type(info: &mut ValueInfoProto) -> Option<&mut i32> {
    match info.r#type.as_mut()?.value.as_mut()? {
        Value::TensorType(tensor) => Some(&mut tensor.elem_type),
    }
}

fn to_float32(tensor: &TensorProto) -> TractResult<TensorProto> {
    let dims: Vec<usize> = tensor.dims.iter().map(|&d| d.max(0) as usize).collect();
    let values: Vec<f32> = if tensor.data_type == DataType::Bfloat16 as i32 {
        let words: Vec<u16> = if tensor.raw_data.is_empty() {
            tensor.int32_data.iter().map(|&word| word as u16).collect()
        } else {
            tensor.raw_data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
        };
        words.iter().map(|&word| f32::from_bits(u32::from(word) << 16)).collect()
    } else {
        let loaded = load_tensor(&MmapDataResolver, tensor, None)?;
        loaded.cast_to::<f32>()?.to_plain_array_view::<f32>()?.iter().copied().collect()
    };
    Ok(floats(&tensor.name, &dims, &values))
}

/// Declares inputs of integers and booleans as float32 and gives their readers the declared type back.
pub(super) fn take_inputs_as_float32(graph: &mut GraphProto) {
    let fixed: Vec<String> = graph.initializer.iter().map(|tensor| tensor.name.clone()).collect();
    let mut casts: Vec<NodeProto> = Vec::new();
    for input in graph.input.iter_mut().filter(|input| !fixed.contains(&input.name)) {
        let name = input.name.clone();
        let Some(kind) = element_type(input) else { continue };
        let is_number = DataType::try_from(*kind).is_ok_and(|kind| {
            use DataType::{Bool, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64};
            matches!(kind, Bool | Int8 | Int16 | Int32 | Int64 | Uint8 | Uint16 | Uint32 | Uint64)
        });
        if is_number {
            let declared = i64::from(std::mem::replace(kind, DataType::Float as i32));
            casts.push(with_int(node(REINTERPRET, &[&name], &typed(&name)), "to", declared));
        }
    }
    let renamed: Vec<(String, String)> =
        casts.iter().map(|cast| (cast.input[0].clone(), cast.output[0].clone())).collect();
    rename(graph, &renamed);
    graph.node.splice(0..0, casts);
}

fn typed(name: &str) -> String {
    format!("{name}__declared_type")
}

fn rename(graph: &mut GraphProto, renamed: &[(String, String)]) {
    let new_name = |name: &str| renamed.iter().find(|(old, _)| old == name).map(|(_, new)| new.clone());
    for node in &mut graph.node {
        for input in &mut node.input {
            if let Some(new) = new_name(input) {
                *input = new;
            }
        }
        for graph in node.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)) {
            rename(graph, renamed);
        }
    }
    for output in &mut graph.output {
        if let Some(new) = new_name(&output.name) {
            output.name = new;
        }
    }
}
