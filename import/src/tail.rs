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

use crate::expand::{LinearMap, Reinterpret};

/// Most functions that one step may take to the client: more of them are parameters of the model, which stay with it.
pub(crate) const MOST_FUNCTIONS: usize = 4;
/// The nodes of the tail.
#[derive(Default)]
pub(crate) struct Tail {
    /// All of them.
    pub nodes: HashSet<usize>,
    /// Those behind which no parameters of the model stand: only these are left to the client without need.
    pub free: HashSet<usize>,
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
        let floats = constant.as_ref().and_then(|constant| constant.cast_to::<f64>().ok());
        let view = floats.as_ref().and_then(|floats| floats.to_plain_array_view::<f64>().ok());
        let different: HashSet<u64> = view.iter().flat_map(|view| view.iter().map(|value| value.to_bits())).collect();
        different.len() > MOST_FUNCTIONS
    };
    computes && node.inputs.iter().any(many)
}

/// Whether the operator only moves elements, whatever they are.
pub(crate) fn moves(node: &TypedNode) -> bool {
    node.op_is::<AxisOp>()
        || node.op_is::<Slice>()
        || node.op_is::<StridedSlice>()
        || node.op_is::<TypedConcat>()
        || node.op_is::<MultiBroadcastTo>()
        || node.op_is::<Tile>()
        || node.op_is::<Downsample>()
}

/// Whether the client knows the operator.
fn is_known(node: &TypedNode) -> bool {
    node.op_is::<Identity>()
        || node.op_is::<Cast>()
        || moves(node)
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
pub(crate) fn only_client(node: &TypedNode) -> bool {
    let chooses = |op: &Reduce| matches!(op.reducer, Reducer::ArgMax(_) | Reducer::ArgMin(_));
    node.op_is::<Softmax>()
        || node.op_is::<Topk>()
        || node.op_is::<OneHot>()
        || node.op_as::<Reduce>().is_some_and(chooses)
}
