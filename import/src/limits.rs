//! What a graph may be before anything is done with it: its size, its names, and the numbers that operators are told.
//!
//! The graph library's passes take time that grows with the square of the number of nodes, of a node's inputs and of a
//! tensor's readers, and it believes the numbers of attributes. All of these are bounded here, in one walk over it.

use std::collections::HashSet;

use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto};

use crate::error::{ImportError, UnsupportedNode};
use crate::node_names::node_name;

/// Most nodes of a graph, those of graphs within it included.
const MAX_NODES: usize = 1 << 13;
/// Most operands of all nodes together.
const MAX_EDGES: usize = 1 << 15;
/// Most operands of one node.
const MAX_OPERANDS: usize = 1 << 10;
/// Most inputs, and most outputs, of a graph.
const MAX_INTERFACE: usize = 1 << 8;
/// Most constants of a graph.
const MAX_CONSTANTS: usize = 1 << 15;
/// Deepest nesting of graphs.
const MAX_DEPTH: usize = 8;
/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 1 << 10;
/// Newest version of the standard operators that is read.
const NEWEST_OPSET: i64 = 26;
/// Newest version of the operators of `ai.onnx.ml`.
const NEWEST_ML_OPSET: i64 = 5;
/// Most axes of a tensor.
const MAX_RANK: i64 = 64;
/// Largest size of a kernel, step, or margin along an axis.
const MAX_EXTENT: i64 = 1 << 16;

/// Attributes that name axes.
const AXES: [&str; 6] = ["axis", "axes", "batch_axis", "time_axis", "batch_dims", "perm"];
/// Attributes that are sizes along an axis, with the least that makes sense.
const EXTENTS: [(&str, i64); 10] = [
    ("kernel_shape", 1),
    ("strides", 1),
    ("dilations", 1),
    ("group", 1),
    ("blocksize", 1),
    ("pads", -MAX_EXTENT),
    ("paddings", -MAX_EXTENT),
    ("output_padding", 0),
    ("output_shape", 1),
    ("hidden_size", 1),
];

/// Checks a model's graph.
///
/// # Errors
/// [`ImportError::NotOnnx`] for names that stand for two things and versions that do not exist,
/// [`ImportError::TooComplex`] for what is too large, [`ImportError::Unsupported`] for nodes with senseless numbers.
pub(crate) fn check(model: &ModelProto) -> Result<(), ImportError> {
    check_versions(model)?;
    let Some(graph) = &model.graph else { return Ok(()) };
    Size::default().add(graph, 0)?;
    check_made(graph)?;
    let refused: Vec<UnsupportedNode> = graph.node.iter().filter_map(senseless).collect();
    if refused.is_empty() { Ok(()) } else { Err(ImportError::Unsupported(refused)) }
}

fn check_versions(model: &ModelProto) -> Result<(), ImportError> {
    let mut known: Vec<(&str, i64)> = Vec::new();
    for import in &model.opset_import {
        let (domain, newest) = match import.domain.as_str() {
            "" | "ai.onnx" => ("ai.onnx", NEWEST_OPSET),
            "ai.onnx.ml" => ("ai.onnx.ml", NEWEST_ML_OPSET),
            _ => continue,
        };
        let version = import.version;
        if !(1..=newest).contains(&version) {
            return Err(ImportError::NotOnnx(format!(
                "it is written for version {version} of the operators of {domain}; versions 1 to {newest} are read, so \
                 export it for one of these"
            )));
        }
        if known.iter().any(|&(other, own)| other == domain && own != version) {
            return Err(ImportError::NotOnnx(format!("it names two versions of the operators of {domain}")));
        }
        known.push((domain, version));
    }
    Ok(())
}

/// What has been counted so far.
#[derive(Default)]
struct Size {
    nodes: usize,
    edges: usize,
    constants: usize,
}

impl Size {
    fn add(&mut self, graph: &GraphProto, depth: usize) -> Result<(), ImportError> {
        let large = |what: String| Err(ImportError::TooComplex(what));
        if depth > MAX_DEPTH {
            return large(format!("graphs stand within graphs more than {MAX_DEPTH} deep"));
        }
        self.nodes += graph.node.len();
        if self.nodes > MAX_NODES {
            return large(format!("its graph has more than {MAX_NODES} nodes; simplify it before it is exported"));
        }
        self.constants += graph.initializer.len();
        if self.constants > MAX_CONSTANTS {
            return large(format!("its graph has more than {MAX_CONSTANTS} constants"));
        }
        for (what, count) in [("inputs", graph.input.len()), ("outputs", graph.output.len())] {
            if count > MAX_INTERFACE {
                return large(format!("it has {count} {what}; at most {MAX_INTERFACE} are read"));
            }
        }
        check_names(graph)?;
        for node in &graph.node {
            let operands = node.input.len().max(node.output.len());
            self.edges += operands;
            if operands > MAX_OPERANDS || self.edges > MAX_EDGES {
                return large(format!(
                    "a node has more than {MAX_OPERANDS} operands, or all together more than {MAX_EDGES}"
                ));
            }
            for attribute in &node.attribute {
                for graph in attribute.g.iter().chain(&attribute.graphs) {
                    self.add(graph, depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

/// Names are short, and each of a tensor stands for one. Those of nodes are labels, which ONNX lets repeat.
fn check_names(graph: &GraphProto) -> Result<(), ImportError> {
    let names = graph
        .node
        .iter()
        .flat_map(|node| [&node.name, &node.op_type].into_iter().chain(&node.input).chain(&node.output))
        .chain(graph.input.iter().chain(&graph.output).map(|info| &info.name))
        .chain(graph.initializer.iter().map(|tensor| &tensor.name));
    for name in names {
        if name.len() > MAX_NAME_BYTES {
            return Err(ImportError::TooComplex(format!(
                "a name has {} bytes; names of up to {MAX_NAME_BYTES} are read",
                name.len()
            )));
        }
        if !is_one_line(name) {
            return Err(ImportError::NotOnnx(format!("the name {name:?} has control characters")));
        }
    }
    unique("input", graph.input.iter().map(|input| input.name.as_str()))?;
    unique("output", graph.output.iter().map(|output| output.name.as_str()))?;
    unique("constant", graph.initializer.iter().map(|tensor| tensor.name.as_str()))?;
    // Inputs may be constants as well: those are their defaults.
    let mut given: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    given.extend(graph.input.iter().map(|input| input.name.as_str()));
    let made = graph.node.iter().flat_map(|node| &node.output).map(String::as_str).filter(|name| !name.is_empty());
    for name in made {
        if !given.insert(name) {
            return Err(twice("tensor", name));
        }
    }
    Ok(())
}

/// What is read, and what the model gives, is there.
fn check_made(graph: &GraphProto) -> Result<(), ImportError> {
    let outputs = graph.node.iter().flat_map(|node| &node.output);
    let given = graph.input.iter().map(|input| &input.name).chain(graph.initializer.iter().map(|tensor| &tensor.name));
    let sparse = graph.sparse_initializer.iter().filter_map(|tensor| Some(&tensor.values.as_ref()?.name));
    let there: HashSet<&String> = outputs.chain(given).chain(sparse).collect();
    let read = graph.node.iter().flat_map(|node| &node.input).filter(|name| !name.is_empty());
    let mut needed = graph.output.iter().map(|output| &output.name).chain(read);
    match needed.find(|name| !there.contains(name)) {
        Some(name) => Err(ImportError::NotOnnx(format!("it reads a tensor {name:?} that nothing in it makes"))),
        None => Ok(()),
    }
}

/// Whether a text cannot be taken for several lines, or for orders to a terminal.
pub(crate) fn is_one_line(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), ImportError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(twice(what, name));
        }
    }
    Ok(())
}

fn twice(what: &str, name: &str) -> ImportError {
    ImportError::NotOnnx(format!("two of its {what}s have the name {name:?}; export it with a name for each"))
}

/// A node with a number that no tensor could have.
fn senseless(node: &NodeProto) -> Option<UnsupportedNode> {
    let attribute = node.attribute.iter().find_map(|attribute| Some((attribute, wrong(attribute)?)));
    let (attribute, reason) = attribute?;
    Some(UnsupportedNode {
        operator: node.op_type.clone(),
        node: node_name(node),
        reason: format!("its attribute {} {reason}", attribute.name),
        suggestion: "export the model again".into(),
    })
}

/// What is wrong with the numbers of an attribute.
fn wrong(attribute: &AttributeProto) -> Option<String> {
    let name = attribute.name.as_str();
    let numbers = || attribute.ints.iter().copied().chain((attribute.i != 0).then_some(attribute.i));
    let outside = |least: i64, most: i64| {
        let number = numbers().find(|number| !(least..=most).contains(number))?;
        Some(format!("holds {number}, which lies outside of {least} to {most}"))
    };
    if AXES.contains(&name) {
        let is_order = || {
            let mut order = attribute.ints.clone();
            order.sort_unstable();
            order.iter().enumerate().all(|(at, &axis)| axis == at as i64)
        };
        let outside = outside(-MAX_RANK, MAX_RANK);
        return outside.or_else(|| (name == "perm" && !is_order()).then(|| "is no order of axes".into()));
    }
    let (_, least) = EXTENTS.iter().find(|(extent, _)| *extent == name)?;
    let is_single = matches!(name, "group" | "blocksize");
    if is_single && attribute.i == 0 { Some("is 0".into()) } else { outside(*least, MAX_EXTENT) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::{OperatorSetIdProto, ValueInfoProto};

    fn node(operator: &str, name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        let owned = |names: &[&str]| names.iter().map(|&name| name.into()).collect();
        NodeProto {
            op_type: operator.into(),
            name: name.into(),
            input: owned(inputs),
            output: owned(outputs),
            ..NodeProto::default()
        }
    }

    fn refusal(nodes: Vec<NodeProto>) -> String {
        let input = ValueInfoProto { name: "t0".into(), ..ValueInfoProto::default() };
        let graph = GraphProto { node: nodes, input: vec![input], ..GraphProto::default() };
        let model = ModelProto { graph: Some(graph), ..ModelProto::default() };
        check(&model).err().map_or_else(String::new, |error| error.to_string())
    }

    fn with(mut node: NodeProto, name: &str, i: i64, ints: &[i64]) -> NodeProto {
        let ints = ints.to_vec();
        node.attribute.push(AttributeProto { name: name.into(), i, ints, ..AttributeProto::default() });
        node
    }

    #[test]
    fn a_name_stands_for_one_thing() {
        let neg = |name, from, to| node("Neg", name, &[from], &[to]);
        assert_eq!(refusal(vec![neg("a", "t0", "y"), neg("b", "y", "z"), neg("", "z", "u"), neg("", "u", "v")]), "");
        assert_eq!(refusal(vec![neg("a", "t0", "y"), neg("a", "y", "z")]), "", "names of nodes are labels");
        assert!(refusal(vec![neg("a", "t0", "y"), neg("b", "t0", "y")]).contains("tensors have the name \"y\""));
        assert!(refusal(vec![neg("a\nb", "t0", "y")]).contains("the name \"a\\nb\" has control characters"));
        assert!(refusal(vec![neg("a", "x", "y")]).contains("\"x\" that nothing in it makes"));
    }

    #[test]
    fn numbers_that_no_tensor_has_are_named() {
        let refused =
            |name: &str, i: i64, ints: &[i64]| refusal(vec![with(node("A", "a", &["t0"], &["y"]), name, i, ints)]);
        assert!(refused("pads", 0, &[0, 1 << 40]).contains("its attribute pads holds 1099511627776"));
        assert!(refused("strides", 0, &[1, 0]).contains("strides holds 0"));
        assert!(refused("group", 0, &[]).contains("group is 0"));
        assert!(refused("axis", i64::MIN, &[]).contains("axis holds"));
        assert!(refused("perm", 0, &[0, 0]).contains("no order of axes"));
        assert_eq!(refused("perm", 0, &[1, 2, 0]), "");
        assert_eq!(refused("pads", 0, &[-1, 1]), "");
        assert_eq!(refused("axis", -1, &[]), "");
    }

    #[test]
    fn only_versions_that_exist_are_read() {
        let of = |versions: &[i64]| {
            let import = |&version: &i64| OperatorSetIdProto { domain: String::new(), version };
            let model = ModelProto { opset_import: versions.iter().map(import).collect(), ..ModelProto::default() };
            check(&model).is_ok()
        };
        assert!(of(&[1]) && of(&[13]) && of(&[13, 13]));
        assert!(!of(&[0]) && !of(&[-1]) && !of(&[999]) && !of(&[11, 13]));
    }

    #[test]
    fn long_graphs_are_refused_by_their_number_of_nodes() {
        let chain = |length: usize| {
            let link = |at: usize| node("Neg", "", &[&format!("t{at}")], &[&format!("t{}", at + 1)]);
            refusal((0..length).map(link).collect())
        };
        assert_eq!(chain(MAX_NODES), "");
        assert!(chain(MAX_NODES + 1).contains("more than 8192 nodes"));
    }
}
