//! Normalisation by the root of the mean of squares.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::nn::RmsNorm;

use super::element::{Element, SymbolicTensor};
use super::lower::{Lowering, Value};
use super::ops::{Outputs, floats};
use heman_core::model::function::{Binary, Function, Unary};
use heman_core::model::network::Row;

impl Lowering<'_> {
    /// `x / sqrt(mean(x^2) + eps)` over one axis: a stage of squares, one of reciprocal roots, one of products.
    ///
    /// LayerNormalization and its spellings come here behind the subtraction of their mean, which is linear.
    pub(super) fn rms_norm(&mut self, node: &TypedNode, value: Value, op: &RmsNorm) -> Outputs {
        let tensor = self.materialised_input(node, 0, value)?;
        let epsilon = floats(&op.eps)?.first().copied().unwrap_or(0.0);
        let operators = self.label(node, tensor.operators.clone());
        let shape = tensor.shape.clone();
        let square = Arc::new(Function::unary(Unary::Square));
        let mut squares = SymbolicTensor {
            shape: shape.clone(),
            elements: tensor.elements.iter().map(|element| element.apply(&square)).collect(),
            operators: operators.clone(),
        };
        self.materialise(node, &mut squares);
        let (length, inner) = (shape[op.axis], shape[op.axis + 1..].iter().product::<usize>());
        let group = |element: usize| element / (length * inner) * inner + element % inner;
        let mut means: Vec<Row> = Vec::new();
        for first in (0..shape.iter().product()).filter(|element| element / inner % length == 0) {
            for at in 0..length {
                if let Element::Row(row) = &squares.elements[first + at * inner] {
                    self.sum.add_row(row, 1.0 / length as f64);
                }
            }
            means.push(self.sum.take());
        }
        let shifted = Function::Binary(Binary::Add, Box::new(Function::X), Box::new(Function::Constant(epsilon)));
        let root = Arc::new(Function::Unary(Unary::Rsqrt, Box::new(shifted)));
        let mut roots = SymbolicTensor {
            shape: vec![1, 1, means.len()],
            elements: means.into_iter().map(|mean| Element::Row(mean).apply(&root)).collect(),
            operators: operators.clone(),
        };
        self.materialise(node, &mut roots);
        let roots: Vec<Row> = roots.rows().cloned().collect();
        let factors = (0..tensor.elements.len()).map(|element| roots[group(element)].clone()).collect();
        let elements = self.multiply(node, &shape, tensor.rows().cloned().collect(), factors, &operators);
        Ok(vec![Value::Symbolic(SymbolicTensor { shape, elements, operators: Vec::new() })])
    }
}
