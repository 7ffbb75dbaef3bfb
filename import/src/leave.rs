//! Which nodes of the tail are evaluated on encrypted data all the same, and which are left to the client.

use tract_onnx::prelude::*;

use heman_core::model::network::Row;

use crate::client_steps::looks_up;
use crate::element::{Element, SymbolicTensor};
use crate::lower::{Lowering, Value};
use crate::ops::{Outputs, after_client_op};
use crate::program::functions_of;
use crate::tail::{MOST_FUNCTIONS, only_client};

/// Elements up to which an operator of several tensors may go to the client, however few its results are.
const SMALL: usize = 1024;

impl Lowering<'_> {
    /// Lowers a node to the encrypted network or to the client's program.
    pub(crate) fn lower(&mut self, node: &TypedNode, inputs: Vec<Value>) -> Outputs {
        let for_client = inputs.iter().any(|value| matches!(value, Value::ForClient(_)));
        let is_tail = self.tail.nodes.contains(&node.id);
        if for_client && !is_tail {
            return Err(after_client_op());
        }
        if for_client || is_tail && (only_client(node) || looks_up(node, &inputs)) {
            return self.for_client(node, &inputs);
        }
        if !is_tail {
            return self.dispatch(node, inputs);
        }
        let (stages, count) = (self.stages.len(), self.value_count);
        let result = self.dispatch(node, inputs.clone());
        let costs = self.stages.len() > stages;
        if result.is_ok() && (!costs || !self.may_leave(node, &inputs)) {
            return result;
        }
        // What dispatch did is undone, but kept in case that the client cannot do it either.
        let own_stages = self.stages.split_off(stages);
        let own_count = std::mem::replace(&mut self.value_count, count);
        let own_values: Vec<Option<Value>> =
            node.inputs.iter().map(|outlet| self.values.get(outlet).cloned()).collect();
        for (outlet, value) in node.inputs.iter().zip(&inputs) {
            self.values.insert(*outlet, value.clone());
        }
        match (self.for_client(node, &inputs), result) {
            (Ok(outputs), _) => Ok(outputs),
            (Err(_), Err(refusal)) => Err(refusal),
            (Err(_), Ok(outputs)) => {
                self.stages.truncate(stages);
                self.stages.extend(own_stages);
                self.value_count = own_count;
                for (outlet, value) in node.inputs.iter().zip(own_values) {
                    value.and_then(|value| self.values.insert(*outlet, value));
                }
                Ok(outputs)
            }
        }
    }

    /// Whether the client may compute a node that could be evaluated on encrypted data.
    fn may_leave(&self, node: &TypedNode, inputs: &[Value]) -> bool {
        let tensors: Vec<&SymbolicTensor> = inputs
            .iter()
            .filter_map(|value| match value {
                Value::Symbolic(tensor) => Some(tensor),
                _ => None,
            })
            .collect();
        if !self.tail.free.contains(&node.id) {
            return false;
        }
        let results = Self::output_shape(node, 0).map_or(0, |shape| shape.iter().product::<usize>());
        let elements: usize = tensors.iter().map(|tensor| tensor.elements.len()).sum();
        let leaves = |tensor: &&SymbolicTensor| !tensor.is_pending() || self.is_for_client(tensor);
        elements <= SMALL.max(4 * results)
            && tensors.iter().any(|tensor| self.is_worked_on(tensor))
            && tensors.iter().all(leaves)
    }

    /// Whether the encrypted part did something for the tensor: combined values, or read what a stage computed. What
    /// only holds inputs would leave the client to compute the model.
    fn is_worked_on(&self, tensor: &SymbolicTensor) -> bool {
        let inputs = self.input_len as u32;
        let worked = |row: &Row| row.taps.len() > 1 || row.taps.iter().any(|tap| tap.source >= inputs);
        tensor.elements.iter().any(|element| match element {
            Element::Row(row) => worked(row),
            Element::Pending(pending) => worked(&pending.row),
        })
    }

    /// Whether the functions that are due on a tensor may be the client's.
    pub(crate) fn is_for_client(&self, tensor: &SymbolicTensor) -> bool {
        let functions = functions_of(tensor);
        functions.list.len() <= MOST_FUNCTIONS && functions.are_writable() && self.is_worked_on(tensor)
    }
}
