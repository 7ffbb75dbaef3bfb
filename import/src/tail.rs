//! Which operators the client computes after decryption, and how they become its program.
//!
//! A node is in the *tail* if whatever reads it is in the tail too, or it is an output of the model, and its operator
//! is one that the client knows. In the tail, what would cost the encrypted evaluation a stage, or cannot be evaluated
//! on encrypted data at all, is left to the client; linear maps and data movement before it stay where they are.

use std::collections::HashSet;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::array::{
    Gather, MultiBroadcastTo, OneHot, Pad, Slice, StridedSlice, Tile, Topk, TypedConcat,
};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::downsample::Downsample;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, Softmax};

use heman_core::model::network::Row;

use crate::client_steps::looks_up;
use crate::element::{Element, SymbolicTensor};
use crate::expand::{LinearMap, Reinterpret};
use crate::lower::{Lowering, Value};
use crate::ops::{Outputs, after_client_op, floats};
use crate::program::functions_of;

/// Most functions that one step may take to the client: more of them are parameters of the model, which stay with it.
const MOST_FUNCTIONS: usize = 4;
/// Elements up to which an operator of several tensors may go to the client, however few its results are.
const SMALL: usize = 1024;

/// The nodes of the tail.
#[derive(Default)]
pub(crate) struct Tail {
    /// All of them.
    nodes: HashSet<usize>,
    /// Those behind which no parameters of the model stand: only these are left to the client without need.
    free: HashSet<usize>,
}

impl Tail {
    /// Finds the tail, from the outputs back.
    pub fn of(model: &TypedModel) -> TractResult<Self> {
        let mut tail = Self::default();
        for &at in model.eval_order()?.iter().rev() {
            let node = &model.nodes[at];
            let readers = || node.outputs.iter().flat_map(|output| &output.successors);
            let is_read = readers().next().is_some() || model.outputs.iter().any(|outlet| outlet.node == at);
            if is_read && is_known(node) && readers().all(|reader| tail.nodes.contains(&reader.node)) {
                tail.nodes.insert(at);
                if readers().all(|reader| tail.free.contains(&reader.node)) && !has_parameters(model, node) {
                    tail.free.insert(at);
                }
            }
        }
        Ok(tail)
    }
}

/// Whether a node computes with many different constants.
fn has_parameters(model: &TypedModel, node: &TypedNode) -> bool {
    let computes = node.op_is::<TypedBinOp>() || node.op_is::<Iff>() || node.op_is::<TypedConcat>();
    let many = |outlet: &OutletId| {
        let constant = model.outlet_fact(*outlet).ok().and_then(|fact| fact.konst.clone());
        let values = constant.and_then(|constant| floats(&constant).ok()).unwrap_or_default();
        let different: HashSet<u64> = values.iter().map(|value| value.to_bits()).collect();
        different.len() > MOST_FUNCTIONS
    };
    computes && node.inputs.iter().any(many)
}

/// Whether the client knows the operator.
fn is_known(node: &TypedNode) -> bool {
    node.op_is::<Identity>()
        || node.op_is::<Cast>()
        || node.op_is::<AxisOp>()
        || node.op_is::<Slice>()
        || node.op_is::<StridedSlice>()
        || node.op_is::<TypedConcat>()
        || node.op_is::<MultiBroadcastTo>()
        || node.op_is::<Tile>()
        || node.op_is::<Downsample>()
        || node.op_is::<Gather>()
        || node.op_is::<Pad>()
        || node.op_is::<ElementWiseOp>()
        || node.op_is::<TypedBinOp>()
        || node.op_is::<Iff>()
        || node.op_is::<LinearMap>()
        || node.op_is::<Reinterpret>()
        || node.op_is::<Reduce>()
        || only_client(node)
}

/// Operators that only the client computes.
fn only_client(node: &TypedNode) -> bool {
    let chooses = |op: &Reduce| matches!(op.reducer, Reducer::ArgMax(_) | Reducer::ArgMin(_));
    node.op_is::<Softmax>()
        || node.op_is::<Topk>()
        || node.op_is::<OneHot>()
        || node.op_as::<Reduce>().is_some_and(chooses)
}

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
