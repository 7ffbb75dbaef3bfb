//! Operators before opset 7, which name the axis that their second operand is broadcast from.

use tract_onnx::pb::GraphProto;

use super::classical::inner;
use super::graph::{attribute, int, node, with_int};
use crate::expand::ALIGN;

/// Operators of two operands that took the attributes `broadcast` and `axis`.
const BROADCASTING: [&str; 11] = ["Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor"];

/// Gives second operands the axes that today's broadcasting wants. The slopes of PRelu belonged to the channels.
pub(super) fn align_operands(graph: &mut GraphProto) {
    let nodes = std::mem::take(&mut graph.node);
    for mut old in nodes {
        let operator = old.op_type.as_str();
        let is_named = BROADCASTING.contains(&operator) && int(&old, "broadcast", 0) != 0;
        let axis = match attribute(&old, "axis") {
            Some(axis) if is_named => Some(axis.i),
            _ if operator == "PRelu" => Some(1),
            _ => None,
        };
        if let (Some(axis), [first, second]) = (axis, old.input.as_slice()) {
            let aligned = inner(old.output.first().map_or("", String::as_str), "aligned");
            graph.node.push(with_int(node(ALIGN, &[first, second], &aligned), "axis", axis));
            old.input[1] = aligned;
        }
        graph.node.push(old);
    }
}
