//! Lowers sparse linear maps: copies stay what they are, sums become rows.

use tract_onnx::prelude::*;

use super::element::{Element, SymbolicTensor};
use super::expand::LinearMap;
use super::lower::{Lowering, Value};
use super::ops::{Outputs, after_client_op, floats};

impl Lowering<'_> {
    pub(super) fn linear_map(&mut self, node: &TypedNode, inputs: Vec<Value>, op: &LinearMap) -> Outputs {
        let is_movement = op.terms.is_movement();
        let mut operators: Vec<String> = Vec::new();
        let mut elements: Vec<Element> = Vec::new();
        for (slot, value) in inputs.into_iter().enumerate() {
            match value {
                Value::Constant(tensor) => elements.extend(floats(&tensor)?.into_iter().map(Element::constant)),
                Value::Symbolic(_) => {
                    let tensor = match value {
                        Value::Symbolic(tensor) if is_movement => tensor,
                        value => self.materialised_input(node, slot, value)?,
                    };
                    operators.extend(
                        tensor.operators.iter().filter(|o| !operators.contains(o)).cloned().collect::<Vec<_>>(),
                    );
                    elements.extend(tensor.elements);
                }
                Value::ForClient(..) | Value::Unknown => return Err(after_client_op()),
            }
        }
        let mut outputs = Vec::with_capacity(op.terms.shape.iter().product());
        for (terms, constant) in op.terms.iter() {
            if is_movement {
                let copy = terms.first().map(|term| elements[term.input].clone());
                outputs.push(copy.unwrap_or_else(|| Element::constant(constant)));
                continue;
            }
            self.sum.add_constant(constant);
            for term in terms {
                if let Element::Row(row) = &elements[term.input] {
                    self.sum.add_row(row, term.weight);
                }
            }
            outputs.push(Element::Row(self.sum.take()));
        }
        let operators = self.label(node, operators);
        Ok(vec![Value::Symbolic(SymbolicTensor { shape: op.terms.shape.clone(), elements: outputs, operators })])
    }
}
