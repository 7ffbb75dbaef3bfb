//! Pieces of ONNX graphs: nodes, attributes, constants, and what depends on the encrypted inputs.

use std::collections::HashSet;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// Operators whose output depends on the shape of their input only.
const OF_SHAPES: [&str; 2] = ["Shape", "Size"];

/// A node of the standard operators with one output.
pub(super) fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: operator.into(),
        name: output.into(),
        input: inputs.iter().map(|&input| input.into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

/// The node with an integer attribute.
pub(super) fn with_int(mut node: NodeProto, name: &str, value: i64) -> NodeProto {
    let kind = AttributeType::Int as i32;
    node.attribute.push(AttributeProto { name: name.into(), r#type: kind, i: value, ..AttributeProto::default() });
    node
}

/// The node with a list of integers as attribute.
pub(super) fn with_ints(mut node: NodeProto, name: &str, value: &[i64]) -> NodeProto {
    let (kind, ints) = (AttributeType::Ints as i32, value.to_vec());
    node.attribute.push(AttributeProto { name: name.into(), r#type: kind, ints, ..AttributeProto::default() });
    node
}

/// A constant of numbers.
pub(super) fn floats(name: &str, dims: &[usize], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: DataType::Float as i32,
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

/// A constant list of integers.
pub(super) fn integers(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: DataType::Int64 as i32,
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

/// A constant list of texts.
pub(super) fn texts(name: &str, values: &[Vec<u8>]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: DataType::String as i32,
        string_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// An attribute of a node.
pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// A list of numbers; empty where it is missing.
pub(super) fn numbers<'a>(node: &'a NodeProto, name: &str) -> &'a [f32] {
    attribute(node, name).map_or(&[], |attribute| &attribute.floats)
}

/// A list of integers; empty where it is missing.
pub(super) fn ints<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    attribute(node, name).map_or(&[], |attribute| &attribute.ints)
}

/// A list of numbers, in the attribute of that name or as a tensor beside it; empty where both are missing.
pub(super) fn tensor_numbers(node: &NodeProto, name: &str) -> Vec<f32> {
    match attribute(node, &format!("{name}_as_tensor")).and_then(|attribute| attribute.t.as_ref()) {
        // All floating point is float32 by now.
        Some(tensor) if !tensor.raw_data.is_empty() => {
            tensor.raw_data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
        Some(tensor) => tensor.float_data.clone(),
        None => numbers(node, name).to_vec(),
    }
}

/// An integer.
pub(super) fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |attribute| attribute.i)
}

/// A text.
pub(super) fn text(node: &NodeProto, name: &str, default: &str) -> String {
    attribute(node, name).map_or_else(|| default.into(), |a| String::from_utf8_lossy(&a.s).into_owned())
}

/// The name that the importer uses for a node.
pub(super) fn name_of(node: &NodeProto) -> String {
    crate::node_names::node_name(node)
}

/// Names what a node became after the node, so that messages name the operator of the file.
pub(super) fn named_after(from: &NodeProto, mut nodes: Vec<NodeProto>) -> Vec<NodeProto> {
    let name = name_of(from);
    for (at, node) in nodes.iter_mut().enumerate() {
        node.name = if at == 0 { name.clone() } else { format!("{name}.{at}") };
    }
    nodes
}

/// Names of the tensors that depend on the values of the graph's inputs.
pub(super) fn encrypted(graph: &GraphProto) -> HashSet<String> {
    let fixed: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs = graph.input.iter().map(|input| &input.name);
    let mut found: HashSet<String> = inputs.filter(|name| !fixed.contains(name.as_str())).cloned().collect();
    for node in &graph.node {
        let depends = node.input.iter().any(|input| found.contains(input)) || has_graph(node);
        if depends && !OF_SHAPES.contains(&node.op_type.as_str()) {
            found.extend(node.output.iter().filter(|output| !output.is_empty()).cloned());
        }
    }
    found
}

/// Whether a node holds a graph of its own, which may read anything.
fn has_graph(node: &NodeProto) -> bool {
    node.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty())
}

/// Calls `act` with every constant of a graph and of the graphs within it.
pub(super) fn for_each_tensor<E>(
    graph: &mut GraphProto,
    act: &mut impl FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    for tensor in &mut graph.initializer {
        act(tensor)?;
    }
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
            act(tensor)?;
        }
        for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            for_each_tensor(graph, act)?;
        }
    }
    Ok(())
}
