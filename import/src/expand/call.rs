//! An ONNX node with known shapes and constants, and how it becomes a linear map.

use std::sync::Arc;

use tract_onnx::model::{ParsingContext, optional_inputs};
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_hir::infer::*;
use tract_onnx::tract_hir::internal::{Expansion, expand};

use super::map::{LinearMap, Terms};

/// What the map of an operator is made from.
pub(super) struct Call<'a> {
    /// The node, for its attributes.
    pub node: &'a NodeProto,
    /// Version of the standard operators.
    pub opset: i64,
    /// Shapes of the inputs; `None` where an optional one is left out.
    pub shapes: Vec<Option<Vec<usize>>>,
    /// Those inputs that have to be constants.
    constants: Vec<Option<Arc<Tensor>>>,
}

impl Call<'_> {
    /// Shape of an input that has to be there.
    pub fn shape(&self, slot: usize) -> TractResult<&[usize]> {
        let shape = self.shapes.get(slot).and_then(Option::as_deref);
        shape.with_context(|| format!("input {slot} is missing"))
    }

    /// Number of elements of an input.
    pub fn len(&self, slot: usize) -> TractResult<usize> {
        Ok(self.shape(slot)?.iter().product())
    }

    /// An optional constant input as integers.
    pub fn integers(&self, slot: usize) -> TractResult<Option<Vec<i64>>> {
        let Some(Some(tensor)) = self.constants.get(slot) else { return Ok(None) };
        Ok(Some(tensor.cast_to::<i64>()?.to_plain_array_view::<i64>()?.iter().copied().collect()))
    }

    /// A constant input as integers.
    pub fn indices(&self, slot: usize) -> TractResult<Vec<i64>> {
        self.integers(slot)?.with_context(|| format!("input {slot} is missing"))
    }

    /// An optional constant input as numbers; an empty one counts as left out.
    pub fn numbers(&self, slot: usize) -> TractResult<Option<Vec<f64>>> {
        let Some(Some(tensor)) = self.constants.get(slot) else { return Ok(None) };
        let numbers: Vec<f64> = tensor.cast_to::<f64>()?.to_plain_array_view::<f64>()?.iter().copied().collect();
        Ok((!numbers.is_empty()).then_some(numbers))
    }

    /// An integer attribute.
    pub fn int(&self, name: &str, default: i64) -> TractResult<i64> {
        Ok(self.node.get_attr_opt::<i64>(name)?.unwrap_or(default))
    }

    /// A list of integers, if it is there.
    pub fn ints(&self, name: &str) -> TractResult<Option<Vec<i64>>> {
        self.node.get_attr_opt_vec::<i64>(name)
    }

    /// A text attribute.
    pub fn text(&self, name: &str, default: &str) -> TractResult<String> {
        Ok(self.node.get_attr_opt::<String>(name)?.unwrap_or_else(|| default.into()))
    }
}

/// An axis that may count from the end.
pub(super) fn axis_of(axis: i64, rank: usize) -> TractResult<usize> {
    let positive = if axis < 0 { axis + rank as i64 } else { axis };
    ensure!((0..rank as i64).contains(&positive), "axis {axis} is not one of {rank}");
    Ok(positive as usize)
}

/// An index that may count from the end.
pub(super) fn index_of(index: i64, length: usize) -> TractResult<usize> {
    let positive = if index < 0 { index + length as i64 } else { index };
    ensure!((0..length as i64).contains(&positive), "index {index} lies outside of {length} elements");
    Ok(positive as usize)
}

/// Row-major strides.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

/// The multi-index of an element.
pub(super) fn position(mut element: usize, shape: &[usize]) -> Vec<usize> {
    let mut at = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        at[axis] = element % shape[axis];
        element /= shape[axis];
    }
    at
}

/// Makes the map of a call.
pub(super) type Make = fn(&Call<'_>) -> TractResult<Terms>;

/// What the register of operators takes.
type Built = (Box<dyn InferenceOp>, Vec<String>);

/// A node that is a linear map once its shapes and the inputs in `constants` are known.
pub(super) fn linear(
    context: &ParsingContext<'_>,
    node: &NodeProto,
    constants: &'static [usize],
    make: Make,
) -> TractResult<Built> {
    let slots = optional_inputs(node).take(node.input.len()).collect();
    let opset = context.onnx_operator_set_version;
    Ok((expand(Linear { node: node.clone(), opset, slots, constants, make }), Vec::new()))
}

#[derive(Clone, Debug)]
struct Linear {
    node: NodeProto,
    opset: i64,
    /// For each ONNX input where it is among those that are there.
    slots: Vec<Option<usize>>,
    constants: &'static [usize],
    make: Make,
}

impl Linear {
    fn terms(
        &self,
        shapes: &[TVec<TDim>],
        mut constant: impl FnMut(usize) -> Option<Arc<Tensor>>,
    ) -> TractResult<Terms> {
        let shape = |slot: &Option<usize>| -> TractResult<Option<Vec<usize>>> {
            let Some(slot) = slot else { return Ok(None) };
            Ok(Some(shapes[*slot].iter().map(|d| Ok(d.to_usize()?)).collect::<TractResult<_>>()?))
        };
        let mut constants = Vec::new();
        for (at, slot) in self.slots.iter().enumerate() {
            constants.push(slot.filter(|_| self.constants.contains(&at)).and_then(&mut constant));
        }
        let shapes = self.slots.iter().map(shape).collect::<TractResult<_>>()?;
        (self.make)(&Call { node: &self.node, opset: self.opset, shapes, constants })
    }

    /// The inputs that are there and have to be constants.
    fn needed(&self) -> Vec<usize> {
        self.constants.iter().filter_map(|&slot| self.slots.get(slot).copied().flatten()).collect()
    }
}

impl Expansion for Linear {
    fn name(&self) -> StaticName {
        self.node.op_type.clone().into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        solver.equals(&outputs[0].datum_type, &inputs[0].datum_type)?;
        solver.given_all(inputs.iter().map(|input| &input.shape), move |solver, shapes| {
            let needed = self.needed();
            let values = needed.iter().map(|&slot| &inputs[slot].value);
            solver.given_all(values, move |solver, values| {
                if shapes.iter().flatten().any(|d| d.to_usize().is_err()) {
                    return Ok(());
                }
                let needed = self.needed();
                let value = |slot| needed.iter().position(|&n| n == slot).map(|at| values[at].clone());
                let shape: TVec<TDim> = self.terms(&shapes, value)?.shape.iter().map(|&d| d.to_dim()).collect();
                solver.equals(&outputs[0].shape, ShapeFactoid::from(shape))
            })
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let facts = inputs.iter().map(|&i| model.outlet_fact(i).cloned()).collect::<TractResult<Vec<_>>>()?;
        let shapes: Vec<TVec<TDim>> = facts.iter().map(|fact| fact.shape.to_tvec()).collect();
        let needed = self.needed();
        for &slot in &needed {
            ensure!(facts[slot].konst.is_some(), "an input that has to be constant is not");
        }
        let terms = self.terms(&shapes, |slot| facts[slot].konst.clone())?;
        let data: Vec<OutletId> = (0..inputs.len()).filter(|slot| !needed.contains(slot)).map(|s| inputs[s]).collect();
        model.wire_node(prefix, LinearMap { operator: self.node.op_type.clone(), terms: Arc::new(terms) }, &data)
    }
}
