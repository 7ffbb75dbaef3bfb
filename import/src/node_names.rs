//! Names of nodes: labels in ONNX, by which nodes are found here.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto};

/// The name that a node is known by: its own, or that of its first output.
pub(crate) fn node_name(node: &NodeProto) -> String {
    if node.name.is_empty() { node.output.first().cloned().unwrap_or_default() } else { node.name.clone() }
}

/// Numbers nodes that are known by a name that stood before, so that a name leads to one node. Graphs within the graph
/// are left as they are.
pub(crate) fn number(graph: &mut GraphProto) {
    let known: HashSet<String> = graph.node.iter().map(node_name).collect();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for node in &mut graph.node {
        let name = node_name(node);
        let count = counts.entry(name.clone()).or_insert(0);
        *count += 1;
        if *count == 1 || name.is_empty() {
            continue;
        }
        while known.contains(&format!("{name}_{count}")) {
            *count += 1;
        }
        node.name = format!("{name}_{count}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_stood_before_are_numbered() {
        let node = |name: &str, output: &str| NodeProto {
            name: name.into(),
            output: vec![output.into()],
            ..NodeProto::default()
        };
        let node = vec![node("n", "a"), node("n_2", "b"), node("n", "c"), node("", "n"), node("", "d")];
        let mut graph = GraphProto { node, ..GraphProto::default() };
        number(&mut graph);
        let names: Vec<String> = graph.node.iter().map(node_name).collect();
        assert_eq!(names, ["n", "n_2", "n_3", "n_4", "d"]);
    }
}
