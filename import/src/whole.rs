//! Operators on whole numbers and booleans, which encrypted tensors carry as real numbers.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::array::OneHot;

use super::element::{Element, SymbolicTensor};
use super::lower::{Lowering, MAX_ELEMENTS, Refusal, Value};
use super::ops::{Outputs, after_client_op, floats};
use super::pointwise::{broadcast, combine, comparison, complement, is_negated, share_functions};
use heman_core::model::function::{Binary, Function, Unary};

fn binary(op: Binary, a: Function, b: Function) -> Function {
    Function::Binary(op, Box::new(a), Box::new(b))
}

/// 1 where `|x| < 1/2`: where a whole number is 0.
fn is_zero() -> Function {
    binary(Binary::Less, Function::Unary(Unary::Abs, Box::new(Function::X)), Function::Constant(0.5))
}

/// Most entries of a table that an encrypted index is looked up in.
const MOST_LOOKED_UP: usize = 256;

/// The entry of a table from `start` to before `end` whose number is nearest.
fn steps(entry: &impl Fn(usize) -> f64, start: usize, end: usize) -> Function {
    if end - start <= 1 {
        return Function::Constant(if end > start { entry(start) } else { 0.0 });
    }
    let middle = usize::midpoint(start, end);
    let (below, above) = (steps(entry, start, middle), steps(entry, middle, end));
    let is_below = binary(Binary::Less, Function::X, Function::Constant(middle as f64 - 0.5));
    let is_above = binary(Binary::Sub, Function::Constant(1.0), is_below.clone());
    binary(Binary::Add, binary(Binary::Mul, is_below, below), binary(Binary::Mul, is_above, above))
}

fn bounded(shape: &[usize]) -> Result<(), Refusal> {
    let count = shape.iter().try_fold(1_usize, |product, &d| product.checked_mul(d));
    if count.is_some_and(|count| count <= MAX_ELEMENTS) {
        return Ok(());
    }
    Err(Refusal::new(format!("its output of shape {shape:?} is too large"), "use a smaller table"))
}

/// An index that counts from the end where it is negative.
fn wrapped(length: usize) -> Function {
    let is_negative = binary(Binary::Less, Function::X, Function::Constant(-0.5));
    let moved = binary(Binary::Mul, Function::Constant(length as f64), is_negative);
    binary(Binary::Add, Function::X, moved)
}

impl Lowering<'_> {
    /// Whether the values of an input are whole numbers or booleans.
    fn is_whole(&self, node: &TypedNode, slot: usize) -> bool {
        let kind = self.model.outlet_fact(node.inputs[slot]).map(|fact| fact.datum_type);
        kind.is_ok_and(|kind| kind.is_integer() || kind == bool::datum_type() || kind == TDim::datum_type())
    }

    /// Comparisons and divisions of whole numbers, remainders, exclusive or; `None` for all other operators.
    ///
    /// Whole numbers are compared half way between them, so that no table has a step where its arguments lie.
    pub(super) fn whole_numbers(&mut self, node: &TypedNode, inputs: &[Value], name: &str) -> Option<Outputs> {
        let is_whole = (0..node.inputs.len()).all(|slot| self.is_whole(node, slot));
        match (name, comparison(name)) {
            ("Xor", _) => Some(self.of_difference(node, inputs, false, 0.0, &Function::unary(Unary::Square))),
            (_, Some((Binary::Equal, _))) if is_whole => {
                let equal = self.of_difference(node, inputs, false, 0.0, &is_zero());
                Some(negated_where(name, equal))
            }
            (_, Some((Binary::Less, swap))) if is_whole => {
                let below = binary(Binary::Less, Function::X, Function::Constant(0.0));
                let less = self.of_difference(node, inputs, swap, 0.5, &below);
                Some(negated_where(name, less))
            }
            ("Div", _) if is_whole => Some(self.quotient(node, inputs, false)),
            ("Rem", _) => Some(self.quotient(node, inputs, true)),
            _ => None,
        }
    }

    /// `function(a - b + shift)`.
    fn of_difference(
        &mut self,
        node: &TypedNode,
        inputs: &[Value],
        swap: bool,
        shift: f64,
        function: &Function,
    ) -> Outputs {
        let shape = Self::output_shape(node, 0)?;
        let (mut a, mut b) = (broadcast(&inputs[0], &shape)?, broadcast(&inputs[1], &shape)?);
        let fused: Option<Vec<Element>> =
            a.elements.iter().zip(&b.elements).map(|(x, y)| combine(Binary::Sub, x, y)).collect();
        let elements = match fused {
            Some(elements) => elements,
            None => {
                let first = self.materialised_input(node, 0, inputs[0].clone())?;
                let second = self.materialised_input(node, 1, inputs[1].clone())?;
                (a, b) = (broadcast(&Value::Symbolic(first), &shape)?, broadcast(&Value::Symbolic(second), &shape)?);
                self.add(&a, &b, -1.0)
            }
        };
        let mut operators = a.operators;
        operators.extend(b.operators.into_iter().filter(|o| !operators.contains(o)).collect::<Vec<_>>());
        let sign = if swap { -1.0 } else { 1.0 };
        let elements = elements.iter().map(|element| element.affine(sign, shift)).collect();
        let tensor = SymbolicTensor { shape, elements: share_functions(elements), operators };
        Ok(vec![self.map(node, tensor, function.clone())])
    }

    /// The quotient rounded towards zero, or the remainder of that division.
    fn quotient(&mut self, node: &TypedNode, inputs: &[Value], is_remainder: bool) -> Outputs {
        let shape = Self::output_shape(node, 0)?;
        let (a, b) = (broadcast(&inputs[0], &shape)?, broadcast(&inputs[1], &shape)?);
        let truncate = Arc::new(Function::unary(Unary::Truncate));
        let element = |(x, y): (&Element, &Element)| {
            let quotient = combine(Binary::Div, x, y)?.apply(&truncate);
            if is_remainder { combine(Binary::Sub, x, &combine(Binary::Mul, y, &quotient)?) } else { Some(quotient) }
        };
        let elements: Option<Vec<Element>> = a.elements.iter().zip(&b.elements).map(element).collect();
        let elements = elements.ok_or_else(|| {
            Refusal::new("it divides encrypted whole numbers by encrypted ones", "make one of its operands a constant")
        })?;
        let mut operators = a.operators;
        operators.extend(b.operators);
        let operators = self.label(node, operators);
        Ok(vec![Value::Symbolic(SymbolicTensor { shape, elements: share_functions(elements), operators })])
    }

    /// Gather from a constant table by encrypted indices: one function of the index for each column of the table.
    pub(super) fn look_up(&mut self, node: &TypedNode, table: &Tensor, axis: usize, index: SymbolicTensor) -> Outputs {
        let shape = Self::output_shape(node, 0)?;
        bounded(&shape)?;
        let values = floats(table)?;
        let (outer, length) = (table.shape()[..axis].iter().product::<usize>(), table.shape()[axis]);
        let inner: usize = table.shape()[axis + 1..].iter().product();
        if length > MOST_LOOKED_UP {
            return Err(Refusal::new(
                format!("it looks up an encrypted index in a table of {length} entries"),
                format!("use a table of at most {MOST_LOOKED_UP} entries, or look the values up before encryption"),
            ));
        }
        // Each entry of the table is a few terms of a function.
        self.spend(values.len().saturating_mul(16))?;
        let wrapped = wrapped(length);
        let columns: Vec<Arc<Function>> = (0..outer * inner)
            .map(|column| {
                let at = |entry: usize| values[(column / inner * length + entry) * inner + column % inner];
                Arc::new(steps(&at, 0, length).compose(&wrapped))
            })
            .collect();
        let mut elements = Vec::with_capacity(shape.iter().product());
        for o in 0..outer {
            for element in &index.elements {
                elements.extend((0..inner).map(|i| element.apply(&columns[o * inner + i])));
            }
        }
        let operators = self.label(node, index.operators);
        Ok(vec![Value::Symbolic(SymbolicTensor { shape, elements, operators })])
    }

    /// OneHot: for each place of the new axis a function of the index.
    pub(super) fn one_hot(&mut self, node: &TypedNode, value: Value, op: &OneHot) -> Outputs {
        let Value::Symbolic(index) = value else { return Err(after_client_op()) };
        let shape = Self::output_shape(node, 0)?;
        let value = |tensor: &Tensor| Ok::<f64, Refusal>(floats(tensor)?.first().copied().unwrap_or(0.0));
        bounded(&shape)?;
        self.spend(op.dim.saturating_mul(64))?;
        let (off, on) = (value(&op.off)?, value(&op.on)?);
        let functions: Vec<Arc<Function>> = (0..op.dim)
            .map(|place| {
                let distance = binary(Binary::Sub, Function::X, Function::Constant(place as f64));
                let is_here = is_zero().compose(&distance).compose(&wrapped(op.dim));
                Arc::new(Function::affine(on - off, off).compose(&is_here))
            })
            .collect();
        let inner: usize = shape[op.axis + 1..].iter().product();
        let element = |at: usize| {
            let (outer, place) = (at / (op.dim * inner), at / inner % op.dim);
            index.elements[outer * inner + at % inner].apply(&functions[place])
        };
        let elements = (0..shape.iter().product()).map(element).collect();
        let operators = self.label(node, index.operators.clone());
        Ok(vec![Value::Symbolic(SymbolicTensor { shape, elements, operators })])
    }

    /// Cast: whole numbers are rounded towards zero, booleans are 1 where the number is not 0.
    pub(super) fn cast(&mut self, node: &TypedNode, value: Value) -> Outputs {
        let kind = node.outputs[0].fact.datum_type;
        let Value::Symbolic(tensor) = value else { return Err(after_client_op()) };
        let is_whole = self.is_whole(node, 0);
        let is_boolean = self.model.outlet_fact(node.inputs[0])?.datum_type == bool::datum_type();
        if kind.is_float() || is_boolean {
            return Ok(vec![Value::Symbolic(tensor)]);
        }
        if kind == bool::datum_type() {
            let zero = if is_whole { is_zero() } else { binary(Binary::Equal, Function::X, Function::Constant(0.0)) };
            let is_not = binary(Binary::Sub, Function::Constant(1.0), zero);
            return Ok(vec![self.map(node, tensor, is_not)]);
        }
        if kind.is_integer() || kind == TDim::datum_type() {
            let rounded = if is_whole {
                Value::Symbolic(tensor)
            } else {
                self.map(node, tensor, Function::unary(Unary::Truncate))
            };
            return Ok(vec![rounded]);
        }
        Err(Refusal::new("numbers become texts, and texts cannot be encrypted", "end the model before this node"))
    }
}

fn negated_where(name: &str, outputs: Outputs) -> Outputs {
    let negate = |value| match value {
        Value::Symbolic(tensor) if is_negated(name) => Value::Symbolic(complement(tensor)),
        other => other,
    };
    Ok(outputs?.into_iter().map(negate).collect())
}
