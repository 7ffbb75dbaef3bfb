//! Functions of one and of two tensors: what stays linear, what fuses to one table, what needs several.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::PowConst;
use tract_onnx::tract_core::ops::nn::{GeluApproximate, LeakyRelu};

use super::element::{Element, SymbolicTensor, channel_of_element};
use super::lower::{Lowering, Refusal, Value};
use super::ops::{Outputs, after_client_op, floats};
use heman_core::model::function::{Binary, Function, Unary};
use heman_core::model::network::{Row, Stage};

impl Lowering<'_> {
    pub(super) fn element_wise(&mut self, node: &TypedNode, value: Value, op: &ElementWiseOp) -> Outputs {
        let Value::Symbolic(mut tensor) = value else { return Err(after_client_op()) };
        let mini = &op.0;
        let name = mini.name();
        if name == "Neg" {
            for element in &mut tensor.elements {
                *element = element.affine(-1.0, 0.0);
            }
            return Ok(vec![Value::Symbolic(tensor)]);
        }
        if name == "Not" {
            for element in &mut tensor.elements {
                *element = element.affine(-1.0, 1.0);
            }
            return Ok(vec![Value::Symbolic(tensor)]);
        }
        if name == "IsNan" || name == "IsInf" {
            // Encrypted numbers are finite.
            tensor.elements.fill(Element::constant(0.0));
            return Ok(vec![Value::Symbolic(tensor)]);
        }
        let unary = match name.as_str() {
            "Abs" => Unary::Abs,
            "Exp" => Unary::Exp,
            "Ln" => Unary::Ln,
            "Square" => Unary::Square,
            "Sqrt" => Unary::Sqrt,
            "Recip" => Unary::Reciprocal,
            "Rsqrt" => Unary::Rsqrt,
            "Ceil" => Unary::Ceil,
            "Floor" => Unary::Floor,
            "Round" | "RoundHalfToEven" => Unary::RoundHalfEven,
            "Cos" => Unary::Cos,
            "Sin" => Unary::Sin,
            "Tan" => Unary::Tan,
            "Acos" => Unary::Acos,
            "Asin" => Unary::Asin,
            "Atan" => Unary::Atan,
            "Cosh" => Unary::Cosh,
            "Sinh" => Unary::Sinh,
            "Tanh" => Unary::Tanh,
            "Acosh" => Unary::Acosh,
            "Asinh" => Unary::Asinh,
            "Atanh" => Unary::Atanh,
            "Erf" => Unary::Erf,
            "Sign" => Unary::Sign,
            "Sigmoid" => Unary::Sigmoid,
            "HardSwish" => Unary::HardSwish,
            "Silu" => Unary::Silu,
            "GeluExact" => Unary::Gelu,
            "GeluApproximate" if mini.downcast_ref::<GeluApproximate>().is_some_and(|g| !g.fast_impl) => {
                Unary::GeluTanh
            }
            "LeakyRelu" => match mini.downcast_ref::<LeakyRelu>() {
                Some(op) => Unary::LeakyRelu(f64::from(op.alpha)),
                None => return Err(unknown_function()),
            },
            "PowConst" => match mini.downcast_ref::<PowConst>() {
                Some(op) => {
                    let exponent = Box::new(Function::Constant(f64::from(op.exponent)));
                    let function = Function::Binary(Binary::Pow, Box::new(Function::X), exponent);
                    return Ok(vec![self.map(node, tensor, function)]);
                }
                None => return Err(unknown_function()),
            },
            _ => return Err(unknown_function()),
        };
        Ok(vec![self.map(node, tensor, Function::unary(unary))])
    }

    pub(super) fn binary(&mut self, node: &TypedNode, inputs: Vec<Value>, op: &TypedBinOp) -> Outputs {
        let name = op.0.name();
        if let Some(outputs) = self.whole_numbers(node, &inputs, name) {
            return outputs;
        }
        let (kind, swap) = match name {
            "And" => (Binary::Mul, false),
            "Or" => (Binary::Max, false),
            "Add" => (Binary::Add, false),
            "Sub" => (Binary::Sub, false),
            "SubF" => (Binary::Sub, true),
            "Mul" => (Binary::Mul, false),
            "Div" => (Binary::Div, false),
            "Max" => (Binary::Max, false),
            "Min" => (Binary::Min, false),
            "Pow" => (Binary::Pow, false),
            _ => match comparison(name) {
                Some(found) => found,
                None => return Err(unknown_function()),
            },
        };
        let shape = Self::output_shape(node, 0)?;
        let mut operands = Vec::with_capacity(2);
        for value in &inputs {
            operands.push(broadcast(value, &shape)?);
        }
        let (Some(b), Some(a)) = (operands.pop(), operands.pop()) else {
            return Err(Refusal::new("it has one operand", "give it two"));
        };
        let (a, b) = if swap { (b, a) } else { (a, b) };
        let fused: Option<Vec<Element>> =
            a.elements.iter().zip(&b.elements).map(|(x, y)| combine(kind, x, y)).collect();
        let mut operators = a.operators.clone();
        operators.extend(b.operators.iter().filter(|o| !a.operators.contains(o)).cloned());
        let operators = self.label(node, operators);
        let tensor = match fused {
            Some(elements) => SymbolicTensor { shape, elements: share_functions(elements), operators },
            None => self.combine_tensors(node, inputs, kind, swap, operators)?,
        };
        Ok(vec![Value::Symbolic(if is_negated(name) { complement(tensor) } else { tensor })])
    }

    /// Two encrypted tensors that are not functions of common rows: their values are computed first.
    fn combine_tensors(
        &mut self,
        node: &TypedNode,
        inputs: Vec<Value>,
        kind: Binary,
        swap: bool,
        operators: Vec<String>,
    ) -> Result<SymbolicTensor, Refusal> {
        let shape = Self::output_shape(node, 0)?;
        let mut operands = Vec::with_capacity(2);
        for (slot, value) in inputs.into_iter().enumerate() {
            let value = match value {
                Value::Symbolic(_) => Value::Symbolic(self.materialised_input(node, slot, value)?),
                other => other,
            };
            operands.push(broadcast(&value, &shape)?);
        }
        if swap {
            operands.reverse();
        }
        let tensor = |elements| SymbolicTensor { shape: shape.clone(), elements, operators: operators.clone() };
        if kind == Binary::Div {
            let reciprocal = Arc::new(Function::unary(Unary::Reciprocal));
            let mut divisors = tensor(operands[1].elements.iter().map(|e| e.apply(&reciprocal)).collect());
            self.materialise(node, &mut divisors);
            operands[1] = divisors;
        }
        let (a, b) = (&operands[0], &operands[1]);
        let result = match kind {
            Binary::Add | Binary::Sub => tensor(self.add(a, b, if kind == Binary::Add { 1.0 } else { -1.0 })),
            Binary::Mul | Binary::Div => {
                let (rows, factors) = (a.rows().cloned().collect(), b.rows().cloned().collect());
                let elements = self.multiply(node, &shape, rows, factors, &operators);
                SymbolicTensor { shape: shape.clone(), elements, operators: Vec::new() }
            }
            Binary::Max | Binary::Min => {
                let (a, b) = if kind == Binary::Max { (a, b) } else { (b, a) };
                // max(a, b) = a + relu(b - a), and with a and b exchanged min(b, a) = b - relu(b - a)
                let mut rest = tensor(self.relu_of_difference(b, a));
                self.materialise(node, &mut rest);
                if kind == Binary::Max { tensor(self.add(a, &rest, 1.0)) } else { tensor(self.add(b, &rest, -1.0)) }
            }
            Binary::Less | Binary::Equal => {
                let zero = Box::new(Function::Constant(0.0));
                let function = Arc::new(Function::Binary(kind, Box::new(Function::X), zero));
                tensor(self.add(a, b, -1.0).iter().map(|e| e.apply(&function)).collect())
            }
            Binary::Pow => {
                return Err(Refusal::new(
                    "a power of two encrypted tensors is no sum, product or function of one of them",
                    "make its base or its exponent a constant",
                ));
            }
        };
        Ok(result)
    }

    /// The products of pairs of rows, values of a new stage of the given shape.
    pub(super) fn multiply(
        &mut self,
        node: &TypedNode,
        shape: &[usize],
        rows: Vec<Row>,
        factors: Vec<Row>,
        operators: &[String],
    ) -> Vec<Element> {
        let channel: Vec<u32> = (0..rows.len()).map(|at| channel_of_element(shape, at) as u32).collect();
        let channels = channel.iter().max().map_or(0, |&last| last as usize + 1);
        let count = rows.len();
        let first = self.push(Stage {
            name: node.name.clone(),
            operator: operators.join(" + "),
            shape: shape.to_vec(),
            rows,
            factors,
            channel,
            functions: vec![Function::X; channels],
        });
        (first..first + count).map(|value| Element::Row(Row::value(value as u32))).collect()
    }

    pub(super) fn relu_of_difference(&mut self, a: &SymbolicTensor, b: &SymbolicTensor) -> Vec<Element> {
        let relu = Arc::new(Function::unary(Unary::Relu));
        self.add(a, b, -1.0).iter().map(|e| e.apply(&relu)).collect()
    }

    /// `a + scale * b` of materialised tensors of one shape.
    pub(super) fn add(&mut self, a: &SymbolicTensor, b: &SymbolicTensor, scale: f64) -> Vec<Element> {
        let pairs: Vec<(&Row, &Row)> = a.rows().zip(b.rows()).collect();
        pairs
            .into_iter()
            .map(|(x, y)| {
                self.sum.add_row(x, 1.0);
                self.sum.add_row(y, scale);
                Element::Row(self.sum.take())
            })
            .collect()
    }

    /// `if c then a else b` as `c a + (1 - c) b`, where all are functions of one row.
    pub(super) fn iff(&mut self, node: &TypedNode, inputs: Vec<Value>) -> Outputs {
        let shape = Self::output_shape(node, 0)?;
        let tensors: Result<Vec<SymbolicTensor>, Refusal> = inputs.iter().map(|v| broadcast(v, &shape)).collect();
        let tensors = tensors?;
        let fused: Option<Vec<Element>> = (0..tensors[0].elements.len())
            .map(|i| {
                let (c, a, b) = (&tensors[0].elements[i], &tensors[1].elements[i], &tensors[2].elements[i]);
                let taken = combine(Binary::Mul, c, a)?;
                let other = combine(Binary::Mul, &c.affine(-1.0, 1.0), b)?;
                combine(Binary::Add, &taken, &other)
            })
            .collect();
        let mut operators: Vec<String> = Vec::new();
        for tensor in &tensors {
            operators.extend(tensor.operators.iter().filter(|o| !operators.contains(o)).cloned().collect::<Vec<_>>());
        }
        let operators = self.label(node, operators);
        let elements = match fused {
            Some(elements) => share_functions(elements),
            None => self.choose(node, inputs, &shape, &operators)?,
        };
        Ok(vec![Value::Symbolic(SymbolicTensor { shape, elements, operators })])
    }

    /// `b + c (a - b)` of computed values.
    fn choose(
        &mut self,
        node: &TypedNode,
        inputs: Vec<Value>,
        shape: &[usize],
        operators: &[String],
    ) -> Result<Vec<Element>, Refusal> {
        let mut tensors = Vec::with_capacity(3);
        for (slot, value) in inputs.into_iter().enumerate() {
            let value = match value {
                Value::Symbolic(_) => Value::Symbolic(self.materialised_input(node, slot, value)?),
                other => other,
            };
            tensors.push(broadcast(&value, shape)?);
        }
        let tensor = |elements| SymbolicTensor { shape: shape.to_vec(), elements, operators: operators.to_vec() };
        let difference = tensor(self.add(&tensors[1], &tensors[2], -1.0));
        let (rows, factors) = (difference.rows().cloned().collect(), tensors[0].rows().cloned().collect());
        let chosen = tensor(self.multiply(node, shape, rows, factors, operators));
        Ok(self.add(&tensors[2], &chosen, 1.0))
    }
}

/// Inclusive comparisons are negations of their opposites.
pub(super) fn is_negated(name: &str) -> bool {
    matches!(name, "LessEq" | "GreaterEq" | "NE" | "Ne" | "GTE" | "LTE" | "Gte" | "Lte")
}

/// `1 - x` of every element.
pub(super) fn complement(mut tensor: SymbolicTensor) -> SymbolicTensor {
    for element in &mut tensor.elements {
        *element = element.affine(-1.0, 1.0);
    }
    tensor
}

fn unknown_function() -> Refusal {
    Refusal::new("it is not a function of real numbers that can be evaluated", "replace it by supported functions")
}

/// `Less` with its operands, for comparisons that are spelled otherwise; inclusive ones are negations of their
/// opposites.
pub(super) fn comparison(name: &str) -> Option<(Binary, bool)> {
    match name {
        "Less" | "LT" | "Lt" | "GreaterEq" | "GTE" | "Gte" => Some((Binary::Less, false)),
        "Greater" | "GT" | "Gt" | "LessEq" | "LTE" | "Lte" => Some((Binary::Less, true)),
        "Eq" | "EQ" | "Equals" | "NE" | "Ne" => Some((Binary::Equal, false)),
        _ => None,
    }
}

/// One element of a binary operator, if it stays linear or a function of one row.
pub(super) fn combine(kind: Binary, a: &Element, b: &Element) -> Option<Element> {
    let constant = |e: &Element| match e {
        Element::Row(row) if row.taps.is_empty() => Some(row.bias),
        _ => None,
    };
    match (kind, constant(a), constant(b)) {
        (Binary::Add, _, Some(c)) => return Some(a.affine(1.0, c)),
        (Binary::Add, Some(c), _) => return Some(b.affine(1.0, c)),
        (Binary::Sub, _, Some(c)) => return Some(a.affine(1.0, -c)),
        (Binary::Sub, Some(c), _) => return Some(b.affine(-1.0, c)),
        (Binary::Mul, _, Some(c)) => return Some(a.affine(c, 0.0)),
        (Binary::Mul, Some(c), _) => return Some(b.affine(c, 0.0)),
        (Binary::Div, _, Some(c)) if c != 0.0 => return Some(a.affine(1.0 / c, 0.0)),
        _ => {}
    }
    if let (Element::Row(_), Element::Row(_), Binary::Add | Binary::Sub) = (a, b, kind) {
        // Linear sums stay linear: no bootstrap.
        return None;
    }
    a.fuse(kind, b)
}

/// Makes equal functions one allocation, so that they become one table.
pub(super) fn share_functions(mut elements: Vec<Element>) -> Vec<Element> {
    let mut known: Vec<Arc<Function>> = Vec::new();
    for element in &mut elements {
        if let Element::Pending(pending) = element {
            // Neighbours are alike most of the time; looking back a little keeps this linear.
            match known.iter().rev().take(8).find(|f| **f == pending.function) {
                Some(function) => pending.function = function.clone(),
                None => known.push(pending.function.clone()),
            }
        }
    }
    elements
}

pub(super) fn broadcast(value: &Value, shape: &[usize]) -> Result<SymbolicTensor, Refusal> {
    let (from, elements, operators) = match value {
        Value::Symbolic(tensor) => (tensor.shape.clone(), tensor.elements.clone(), tensor.operators.clone()),
        Value::Constant(tensor) => {
            (tensor.shape().to_vec(), floats(tensor)?.into_iter().map(Element::constant).collect(), Vec::new())
        }
        Value::ForClient(..) | Value::Unknown => return Err(after_client_op()),
    };
    if from == shape {
        return Ok(SymbolicTensor { shape: from, elements, operators });
    }
    let padded: Vec<usize> = std::iter::repeat_n(1, shape.len().saturating_sub(from.len())).chain(from).collect();
    let count: usize = shape.iter().product();
    let mut wide = Vec::with_capacity(count);
    for index in 0..count {
        let (mut rest, mut at, mut stride) = (index, 0, 1);
        for axis in (0..shape.len()).rev() {
            let position = rest % shape[axis];
            rest /= shape[axis];
            at += if padded[axis] == 1 { 0 } else { position * stride };
            stride *= padded[axis];
        }
        wide.push(
            elements.get(at).cloned().ok_or_else(|| Refusal::new("its shapes do not broadcast", "check its shapes"))?,
        );
    }
    Ok(SymbolicTensor { shape: shape.to_vec(), elements: wide, operators })
}
