//! A change of the declared type that changes no value.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_hir::infer::*;
use tract_onnx::tract_hir::internal::{Expansion, check_input_arity, check_output_arity, expand};

/// Name of the operator in rewritten graphs.
pub(crate) const REINTERPRET: &str = "heman.Reinterpret";

pub(super) fn reinterpret(
    _: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((expand(Reinterpret { to: node.get_attr("to")? }), Vec::new()))
}

/// The operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reinterpret {
    to: DatumType,
}

impl Op for Reinterpret {
    fn name(&self) -> StaticName {
        REINTERPRET.into()
    }

    op_as_typed_op!();
}

impl EvalOp for Reinterpret {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        Ok(tvec!(inputs[0].cast_to_dt(self.to)?.into_owned().into_tvalue()))
    }
}

impl TypedOp for Reinterpret {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.to.fact(inputs[0].shape.clone())))
    }

    as_op!();
}

impl Expansion for Reinterpret {
    fn name(&self) -> StaticName {
        REINTERPRET.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&outputs[0].datum_type, self.to)?;
        solver.equals(&outputs[0].shape, &inputs[0].shape)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}
