//! Operators under a budget while their shapes are found.
//!
//! The graph library evaluates an operator whose inputs are all known to find out what its output is. A few bytes of
//! ONNX ask for terabytes so. Around each operator stands a [`Bounded`], which first finds the shape alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use heman_core::deadline::Deadline;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_hir::infer::{Factoid, InferenceFact, InferenceModel, InferenceNode, InferenceOp};

/// Most elements of a tensor that is computed, if no tensor that it is computed from has more.
const MAX_ELEMENTS: u64 = 1 << 24;
/// Most elements of all tensors of a graph that are computed.
const MAX_ALL_ELEMENTS: u64 = 1 << 28;
/// Most multiplications in evaluating constants.
const MAX_WORK: u64 = 1 << 32;

/// Operators whose work grows faster than their tensors.
const PRODUCTS: [&str; 6] = ["MatMul", "Gemm", "Einsum", "EinSum", "Conv", "ConvTranspose"];

/// An operator and the work that is left for all of the graph.
#[derive(Clone, Debug)]
struct Bounded {
    op: Box<dyn InferenceOp>,
    /// An axis that the operator takes unchecked, and whether it may lie behind the last one.
    axis: Option<(i64, bool)>,
    left: Arc<AtomicU64>,
    deadline: Deadline,
}

/// Puts every operator of a graph under the budget; `axis_of` tells the axis of a node by its name where the graph
/// library does not check it. Behind the deadline no shape is found.
pub(crate) fn bound(model: &mut InferenceModel, axis_of: impl Fn(&str) -> Option<(i64, bool)>, deadline: Deadline) {
    let left = Arc::new(AtomicU64::new(MAX_WORK));
    for node in &mut model.nodes {
        if InferenceModel::is_source(&node.op) {
            continue;
        }
        let op = std::mem::replace(&mut node.op, Box::new(tract_onnx::tract_core::ops::dummy::Dummy::new()));
        node.op = Box::new(Bounded { op, axis: axis_of(&node.name), left: left.clone(), deadline });
    }
}

/// Refuses a graph whose tensors, shapes found, are too large.
///
/// # Errors
/// A sentence.
pub(crate) fn check_elements(model: &InferenceModel) -> Result<(), String> {
    let facts = model.nodes.iter().flat_map(|node| &node.outputs);
    let all = facts.fold(0_u64, |sum, outlet| sum.saturating_add(volume(&outlet.fact).unwrap_or(0)));
    if all <= MAX_ALL_ELEMENTS {
        return Ok(());
    }
    Err(format!("its tensors have {all} elements together; up to {MAX_ALL_ELEMENTS} are evaluated"))
}

/// Elements of a tensor whose shape is known.
fn volume(fact: &InferenceFact) -> Option<u64> {
    let shape = fact.shape.as_concrete_finite().ok()??;
    Some(shape.iter().fold(1_u64, |product, &length| product.saturating_mul(length as u64)))
}

impl Bounded {
    /// Checks what the operator is about to make, and pays for it if it is about to be evaluated.
    fn pay(&self, inputs: &[InferenceFact], outputs: &[InferenceFact]) -> TractResult<()> {
        let largest = inputs.iter().filter_map(volume).max().unwrap_or(0);
        let made = outputs.iter().filter_map(volume).fold(0, u64::saturating_add);
        ensure!(
            made <= MAX_ELEMENTS.max(largest),
            "it makes {made} elements; keep tensors below {MAX_ELEMENTS} elements"
        );
        if inputs.is_empty() || inputs.iter().any(|fact| fact.value.concretize().is_none()) {
            return Ok(());
        }
        let product = inputs.iter().filter_map(volume).fold(made as f64, |product, own| product * own as f64);
        // A product of matrices with m k, k n and m n elements takes m k n multiplications.
        let work = if PRODUCTS.contains(&&*self.op.name()) { product.sqrt() as u64 } else { made };
        let paid = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(work));
        ensure!(paid.is_ok(), "constants of the graph take more than {MAX_WORK} multiplications to compute");
        Ok(())
    }
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.axis == other.axis && self.op.as_op().dyn_eq(other.op.as_op())
    }
}

impl Eq for Bounded {}

impl Op for Bounded {
    fn name(&self) -> StaticName {
        self.op.name()
    }

    fn as_typed(&self) -> Option<&dyn TypedOp> {
        self.op.as_op().as_typed()
    }
}

impl EvalOp for Bounded {
    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.op.eval(context, inputs)
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        self.op.eval_out_of_plan(inputs)
    }

    fn state(&self, context: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        self.op.state(context)
    }
}

impl InferenceOp for Bounded {
    fn infer(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(TVec<InferenceFact>, TVec<InferenceFact>, TVec<InferenceFact>)> {
        self.deadline.check()?;
        let rank = inputs.first().and_then(|fact| fact.shape.rank().concretize());
        if let (Some((axis, is_behind)), Some(rank)) = (self.axis, rank) {
            ensure!((-rank..rank + i64::from(is_behind)).contains(&axis), "axis {axis} is not one of {rank}");
        }
        let found = self.op.infer_facts(inputs.clone(), outputs.clone(), observed.clone()).context("Infering facts")?;
        self.pay(&found.0, &found.1)?;
        self.op.infer(inputs, outputs, observed)
    }

    fn observe_outlets(&self, model: &InferenceModel, node: &InferenceNode) -> TractResult<Vec<OutletId>> {
        self.op.observe_outlets(model, node)
    }

    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(TVec<InferenceFact>, TVec<InferenceFact>, TVec<InferenceFact>)> {
        self.op.infer_facts(inputs, outputs, observed)
    }

    fn incorporate(
        &self,
        model: &InferenceModel,
        node: &InferenceNode,
    ) -> TractResult<Option<tract_onnx::tract_hir::infer::InferenceModelPatch>> {
        self.op.incorporate(model, node)
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.op.nboutputs()
    }

    fn as_op(&self) -> &dyn Op {
        self.op.as_op()
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self.op.as_op_mut()
    }

    fn to_typed(
        &self,
        source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        self.deadline.check()?;
        self.op.to_typed(source, node, target, mapping)
    }
}
