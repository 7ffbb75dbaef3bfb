//! A sparse linear map with constant coefficients, as an operator of the graph library.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

/// Most terms of one map.
const MAX_TERMS: usize = 1 << 24;
/// Most elements of its output.
const MAX_ELEMENTS: usize = 1 << 23;
/// Longest axis that a map may make.
pub(super) const MAX_AXIS: i64 = 1 << 20;

/// One term of an output element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Term {
    /// Which element of the inputs: all inputs in row-major order, one after the other.
    pub input: usize,
    /// Its coefficient.
    pub weight: f64,
}

/// The terms and the constant of every output element, in row-major order.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Shape of the output.
    pub shape: Vec<usize>,
    ends: Vec<usize>,
    terms: Vec<Term>,
    constants: Vec<f64>,
}

impl Terms {
    /// A map of no elements yet.
    ///
    /// # Errors
    /// If the shape has more elements than a map can have.
    pub fn new(shape: Vec<usize>) -> TractResult<Self> {
        let count = shape.iter().try_fold(1_usize, |product, &d| product.checked_mul(d));
        ensure!(count.is_some_and(|count| count <= MAX_ELEMENTS), "its output of shape {shape:?} is too large");
        Ok(Self { shape, ends: Vec::new(), terms: Vec::new(), constants: Vec::new() })
    }

    /// Adds the next output element.
    ///
    /// # Errors
    /// If the map has too many terms.
    pub fn push(&mut self, terms: impl IntoIterator<Item = Term>, constant: f64) -> TractResult<()> {
        self.terms.extend(terms);
        ensure!(self.terms.len() <= MAX_TERMS, "it has more than {MAX_TERMS} terms");
        self.ends.push(self.terms.len());
        self.constants.push(constant);
        Ok(())
    }

    /// Adds an output element that is a copy of an input element.
    ///
    /// # Errors
    /// If the map has too many terms.
    pub fn copy(&mut self, input: usize) -> TractResult<()> {
        self.push([Term { input, weight: 1.0 }], 0.0)
    }

    /// The output elements: terms and constant.
    pub fn iter(&self) -> impl Iterator<Item = (&[Term], f64)> {
        (0..self.ends.len()).map(|at| {
            let start = if at == 0 { 0 } else { self.ends[at - 1] };
            (&self.terms[start..self.ends[at]], self.constants[at])
        })
    }

    /// Whether every output element is a copy of an input element, or a constant.
    pub fn is_movement(&self) -> bool {
        self.iter().all(|(terms, constant)| match terms {
            [] => true,
            [only] => only.weight == 1.0 && constant == 0.0,
            _ => false,
        })
    }
}

/// The operator: its output has the type of its first input.
#[derive(Clone, Debug)]
pub(crate) struct LinearMap {
    /// ONNX operator.
    pub operator: String,
    /// What it computes.
    pub terms: Arc<Terms>,
}

impl PartialEq for LinearMap {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.terms, &other.terms)
    }
}

impl Eq for LinearMap {}

impl Op for LinearMap {
    fn name(&self) -> StaticName {
        self.operator.clone().into()
    }

    op_as_typed_op!();
}

impl EvalOp for LinearMap {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let kind = inputs[0].datum_type();
        let mut values: Vec<f64> = Vec::new();
        for input in &inputs {
            values.extend(input.cast_to::<f64>()?.to_plain_array_view::<f64>()?.iter());
        }
        let sum = |(terms, constant): (&[Term], f64)| {
            terms.iter().fold(constant, |sum, term| sum + term.weight * values[term.input])
        };
        let output: Vec<f64> = self.terms.iter().map(sum).collect();
        let output = Tensor::from_shape(&self.terms.shape, &output)?;
        Ok(tvec!(output.cast_to_dt(kind)?.into_owned().into_tvalue()))
    }
}

impl TypedOp for LinearMap {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].datum_type.fact(&*self.terms.shape)))
    }

    as_op!();
}
