//! Operands as operators before opset 7 broadcast them: from an axis of the first operand on.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_hir::infer::*;
use tract_onnx::tract_hir::internal::{Expansion, check_input_arity, check_output_arity, expand};

use super::call::axis_of;

/// Name of the operator in rewritten graphs: its output is the second input with axes of length 1 behind its own.
pub(crate) const ALIGN: &str = "heman.Align";

pub(super) fn align(_: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((expand(Align { axis: node.get_attr("axis")? }), Vec::new()))
}

#[derive(Clone, Debug)]
struct Align {
    axis: i64,
}

impl Align {
    /// Axes that the second operand lacks behind its own.
    fn missing(&self, rank: usize, own: usize) -> TractResult<usize> {
        let free = rank - axis_of(self.axis, rank)?;
        free.checked_sub(own).with_context(|| format!("{own} axes do not fit behind axis {} of {rank}", self.axis))
    }
}

impl Expansion for Align {
    fn name(&self) -> StaticName {
        ALIGN.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 2)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&outputs[0].datum_type, &inputs[1].datum_type)?;
        solver.given_2(&inputs[0].rank, &inputs[1].shape, move |solver, rank, shape| {
            let missing = self.missing(rank as usize, shape.len())?;
            let shape: TVec<TDim> = shape.into_iter().chain((0..missing).map(|_| 1.to_dim())).collect();
            solver.equals(&outputs[0].shape, ShapeFactoid::from(shape))
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let (rank, own) = (model.outlet_fact(inputs[0])?.rank(), model.outlet_fact(inputs[1])?.rank());
        let mut wire = tvec!(inputs[1]);
        for at in 0..self.missing(rank, own)? {
            wire = model.wire_node(format!("{prefix}.{at}"), AxisOp::Add(own + at), &wire)?;
        }
        Ok(wire)
    }
}
