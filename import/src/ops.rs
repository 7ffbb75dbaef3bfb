//! One function an operator family.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{Gather, OneHot, Pad, PadMode};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::cnn::{Conv, Deconv, MaxPool, SumPool};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, RmsNorm, Softmax};
use tract_onnx::tract_core::ops::scan::Scan;

use super::element::{Element, SymbolicTensor};
use super::expand::{LinearMap, Reinterpret};
use super::lower::{Lowering, MAX_ELEMENTS, MAX_VALUES, Refusal, Value};
use super::tail::moves;
use super::window;
use heman_core::model::function::{Function, Unary};
use heman_core::model::network::Row;

/// The second operand of a matrix product.
enum Matrix {
    /// Its shape and elements.
    Constant(Vec<usize>, Vec<f64>),
    Encrypted(SymbolicTensor),
}

pub(super) type Outputs = Result<Vec<Value>, Refusal>;

impl Lowering<'_> {
    pub(super) fn dispatch(&mut self, node: &TypedNode, mut inputs: Vec<Value>) -> Outputs {
        self.check_sizes(node, &inputs)?;
        for (slot, input) in inputs.iter_mut().enumerate() {
            if let Value::Symbolic(tensor) = input
                && tensor.is_long()
            {
                *input = Value::Symbolic(self.materialised_input(node, slot, input.clone())?);
            }
        }
        if node.op_is::<Cast>() {
            return self.cast(node, inputs.remove(0));
        }
        if let Some(op) = node.op_as::<RmsNorm>() {
            return self.rms_norm(node, inputs.remove(0), op);
        }
        if node.op_is::<Identity>() || node.op_is::<Reinterpret>() {
            return Ok(vec![inputs.remove(0)]);
        }
        if moves(node) {
            return self.movement(node, &inputs, inputs.len(), node.op.as_ref());
        }
        if let Some(op) = node.op_as::<OneHot>() {
            return self.one_hot(node, inputs.remove(0), op);
        }
        if let Some(op) = node.op_as::<LinearMap>() {
            return self.linear_map(node, inputs, op);
        }
        if let (Some(op), Value::Constant(table), Some(Value::Symbolic(index))) =
            (node.op_as::<Gather>(), &inputs[0], inputs.get(1))
        {
            let (table, index) = (table.clone(), index.clone());
            return self.look_up(node, &table, op.axis, index);
        }
        if node.op_is::<Gather>() {
            return self.movement(node, &inputs, 1, node.op.as_ref());
        }
        if let Some(op) = node.op_as::<Pad>() {
            return self.pad(node, &inputs, op);
        }
        if let Some(op) = node.op_as::<ElementWiseOp>() {
            return self.element_wise(node, inputs.remove(0), op);
        }
        if let Some(op) = node.op_as::<TypedBinOp>() {
            return self.binary(node, inputs, op);
        }
        if node.op_is::<Iff>() {
            return self.iff(node, inputs);
        }
        if let Some(op) = node.op_as::<Conv>() {
            return self.conv(node, inputs, op);
        }
        if let Some(op) = node.op_as::<Deconv>() {
            return self.deconv(node, inputs, op);
        }
        if let Some(op) = node.op_as::<SumPool>() {
            return self.sum_pool(node, inputs.remove(0), op);
        }
        if let Some(op) = node.op_as::<MaxPool>() {
            return self.max_pool(node, inputs.remove(0), op);
        }
        if let Some(op) = node.op_as::<EinSum>() {
            return self.einsum(node, inputs, op);
        }
        if let Some(op) = node.op_as::<Reduce>() {
            return self.reduce(node, inputs.remove(0), op);
        }
        if node.op_is::<Softmax>() {
            return Err(Refusal::new(
                "it stands before other layers, and only the client can compute it, after decryption",
                "end the model there, or use another function in the middle",
            ));
        }
        if node.op_is::<Scan>() {
            let is_recurrent = ["GRU", "LSTM", "RNN"].contains(&self.operator_name(node).as_str());
            return Err(if is_recurrent { recurrent() } else { loops() });
        }
        Err(Refusal::new(
            "there is no homomorphic evaluation of this operator",
            "replace it by supported operators or compute it before encryption",
        ))
    }

    /// Pays for a node's elements, and refuses those that are too many.
    fn check_sizes(&mut self, node: &TypedNode, inputs: &[Value]) -> Result<(), Refusal> {
        let mut made = 0_usize;
        for slot in 0..node.outputs.len() {
            let shape = Self::output_shape(node, slot)?;
            let count = shape.iter().try_fold(1_usize, |product, &d| product.checked_mul(d));
            let Some(count) = count.filter(|&count| count <= MAX_ELEMENTS) else {
                return Err(Refusal::new(
                    format!("its output of shape {shape:?} is too large"),
                    format!("keep tensors below {MAX_ELEMENTS} elements"),
                ));
            };
            made = made.saturating_add(count);
        }
        // Each operand is copied, and by operators on pairs repeated until it has the size of the result.
        let is_pointwise = node.op_is::<ElementWiseOp>() || node.op_is::<TypedBinOp>() || node.op_is::<Iff>();
        for input in inputs {
            let (elements, terms) = match input {
                Value::Symbolic(tensor) => (tensor.elements.len(), tensor.terms()),
                Value::Constant(tensor) => (tensor.len(), 0),
                Value::ForClient(_) | Value::Unknown => (0, 0),
            };
            self.spend(elements)?;
            if is_pointwise && elements > 0 {
                self.spend(made.div_ceil(elements).saturating_mul(terms))?;
            }
        }
        self.spend(made)
    }

    /// Evaluates an operator that only moves data on the numbers of the elements.
    fn movement(&mut self, node: &TypedNode, inputs: &[Value], data_inputs: usize, op: &dyn TypedOp) -> Outputs {
        let mut elements: Vec<Element> = Vec::new();
        let mut operators: Vec<String> = Vec::new();
        let mut arguments: TVec<TValue> = tvec!();
        for (slot, value) in inputs.iter().enumerate() {
            match value {
                Value::Symbolic(tensor) => {
                    let first = elements.len() as i64;
                    let numbers: Vec<i64> = (0..tensor.elements.len() as i64).map(|i| first + i).collect();
                    arguments.push(Tensor::from_shape(&tensor.shape, &numbers)?.into_tvalue());
                    elements.extend(tensor.elements.iter().cloned());
                    operators.extend(
                        tensor.operators.iter().filter(|o| !operators.contains(o)).cloned().collect::<Vec<_>>(),
                    );
                }
                Value::Constant(tensor) if slot < data_inputs => {
                    let first = elements.len() as i64;
                    let numbers: Vec<i64> = (0..tensor.len() as i64).map(|i| first + i).collect();
                    arguments.push(Tensor::from_shape(tensor.shape(), &numbers)?.into_tvalue());
                    elements.extend(floats(tensor)?.into_iter().map(Element::constant));
                }
                Value::Constant(tensor) => arguments.push(tensor.clone().into_tvalue()),
                Value::ForClient(..) | Value::Unknown => return Err(after_client_op()),
            }
        }
        let moved = op
            .eval_out_of_plan(arguments)?
            .ok_or_else(|| Refusal::new("it keeps state", "export the model without recurrent state"))?;
        let operators = self.label(node, operators);
        moved
            .iter()
            .map(|tensor| {
                let numbers = tensor.to_plain_array_view::<i64>()?;
                Ok(Value::Symbolic(SymbolicTensor {
                    shape: tensor.shape().to_vec(),
                    elements: numbers.iter().map(|&i| elements[i as usize].clone()).collect(),
                    operators: operators.clone(),
                }))
            })
            .collect()
    }

    fn pad(&mut self, node: &TypedNode, inputs: &[Value], op: &Pad) -> Outputs {
        let PadMode::Constant(fill) = &op.mode else { return self.movement(node, inputs, 1, op) };
        let fill = floats(fill)?.first().copied().unwrap_or(0.0);
        let Value::Symbolic(tensor) = &inputs[0] else { return Err(after_client_op()) };
        // The padding is one more element, moved like the others.
        let shape = &tensor.shape;
        let numbers: Vec<i64> = (0..tensor.elements.len() as i64).collect();
        let outside = tensor.elements.len() as i64;
        let marked = Pad { pads: op.pads.clone(), mode: PadMode::Constant(Arc::new(Tensor::from(outside))) };
        let moved = marked.eval_out_of_plan(tvec!(Tensor::from_shape(shape, &numbers)?.into_tvalue()))?;
        let moved = moved.ok_or_else(after_client_op)?;
        let constant = Element::constant(fill);
        let view = moved[0].to_plain_array_view::<i64>()?;
        let elements =
            view.iter().map(|&i| tensor.elements.get(i as usize).unwrap_or(&constant).clone()).collect::<Vec<_>>();
        let operators = self.label(node, tensor.operators.clone());
        Ok(vec![Value::Symbolic(SymbolicTensor { shape: moved[0].shape().to_vec(), elements, operators })])
    }

    fn conv(&mut self, node: &TypedNode, mut inputs: Vec<Value>, op: &Conv) -> Outputs {
        let kernel = constant(&inputs[1], "its kernel is encrypted")?;
        let bias = constant(&inputs[2], "its bias is encrypted")?;
        if op.q_params.is_some() {
            return Err(quantised());
        }
        let tensor = self.materialised_input(node, 0, inputs.swap_remove(0))?;
        let shape = Self::output_shape(node, 0)?;
        let (weights, bias) = (floats(&kernel)?, floats(&bias)?);
        let count: usize = shape.iter().product();
        let places = window::places(op.pool_spec.data_format, &shape, kernel.len(), count)?;
        self.spend(places)?;
        let tensor = self.cut(node, 0, tensor, count, places / count.max(1));
        let mut elements = vec![Element::constant(0.0); count];
        let rows: Vec<&Row> = tensor.rows().collect();
        let mut current = usize::MAX;
        let sum = &mut self.sum;
        let axes = window::conv(op, &tensor.shape, kernel.shape(), &shape, |tap| {
            if tap.output != current {
                if current != usize::MAX {
                    elements[current] = Element::Row(sum.take());
                }
                current = tap.output;
            }
            sum.add_row(rows[tap.input], weights[tap.kernel]);
        })?;
        if current != usize::MAX {
            elements[current] = Element::Row(sum.take());
        }
        add_bias(&mut elements, &bias, &axes);
        let operators = self.label(node, tensor.operators);
        Ok(vec![Value::Symbolic(SymbolicTensor { shape, elements, operators })])
    }

    fn deconv(&mut self, node: &TypedNode, mut inputs: Vec<Value>, op: &Deconv) -> Outputs {
        let kernel = constant(&inputs[1], "its kernel is encrypted")?;
        let bias = constant(&inputs[2], "its bias is encrypted")?;
        let tensor = self.materialised_input(node, 0, inputs.swap_remove(0))?;
        let shape = Self::output_shape(node, 0)?;
        let (weights, bias) = (floats(&kernel)?, floats(&bias)?);
        let places = window::places(op.pool_spec.data_format, &tensor.shape, kernel.len(), tensor.elements.len())?;
        // Each is kept until all are sorted.
        self.spend(places.saturating_mul(8))?;
        let (taps, axes) = window::deconv(op, &tensor.shape, kernel.shape(), &shape)?;
        let count: usize = shape.iter().product();
        let tensor = self.cut(node, 0, tensor, count, taps.len() / count.max(1));
        let mut elements = vec![Element::constant(0.0); shape.iter().product()];
        let rows: Vec<&Row> = tensor.rows().collect();
        for run in taps.chunk_by(|a, b| a.output == b.output) {
            for tap in run {
                self.sum.add_row(rows[tap.input], weights[tap.kernel]);
            }
            elements[run[0].output] = Element::Row(self.sum.take());
        }
        add_bias(&mut elements, &bias, &axes);
        let operators = self.label(node, tensor.operators);
        Ok(vec![Value::Symbolic(SymbolicTensor { shape, elements, operators })])
    }

    fn einsum(&mut self, node: &TypedNode, mut inputs: Vec<Value>, op: &EinSum) -> Outputs {
        if op.q_params.is_some() {
            return Err(quantised());
        }
        if inputs.len() > 2 {
            return Err(Refusal::new("it multiplies more than two tensors", "write it as products of two tensors"));
        }
        if inputs.len() == 1 {
            // A sum, or a change of order, is a product with 1.
            inputs.push(Value::Constant(Arc::new(Tensor::from(1.0_f32))));
        }
        let (encrypted, other) = match (&inputs[0], &inputs[1]) {
            (Value::Symbolic(_), Value::Constant(matrix)) => {
                (0, Matrix::Constant(matrix.shape().to_vec(), floats(matrix)?))
            }
            (Value::Constant(matrix), Value::Symbolic(_)) => {
                (1, Matrix::Constant(matrix.shape().to_vec(), floats(matrix)?))
            }
            (Value::Symbolic(_), Value::Symbolic(_)) => {
                let second = self.materialised_input(node, 1, inputs[1].clone())?;
                (0, Matrix::Encrypted(second))
            }
            _ => return Err(after_client_op()),
        };
        let tensor = self.materialised_input(node, encrypted, inputs.swap_remove(encrypted))?;
        let other_shape = match &other {
            Matrix::Constant(shape, _) => shape.clone(),
            Matrix::Encrypted(tensor) => tensor.shape.clone(),
        };
        let shape = Self::output_shape(node, 0)?;
        let strides = |shape: &[usize]| -> Vec<usize> {
            (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
        };
        let (x_strides, w_strides) = (strides(&tensor.shape), strides(&other_shape));
        // For each axis its length, its stride in x and in w, and where it stands in the output.
        let axes: Vec<(usize, usize, usize, Option<usize>)> = op
            .axes
            .iter_all_axes()
            .map(|axis| {
                let none = TVec::new();
                let places = |input: usize| axis.inputs.get(input).unwrap_or(&none);
                let (x, w) = (places(encrypted), places(1 - encrypted));
                let length = x.iter().map(|&a| tensor.shape[a]).chain(w.iter().map(|&a| other_shape[a])).max();
                let stride = |axes: &[usize], shape: &[usize], strides: &[usize]| -> usize {
                    axes.iter().filter(|&&a| shape[a] > 1).map(|&a| strides[a]).sum()
                };
                let output = axis.outputs.first().and_then(|o| o.first()).copied();
                let x_stride = stride(x, &tensor.shape, &x_strides);
                let w_stride = stride(w, &other_shape, &w_strides);
                (length.unwrap_or(1), x_stride, w_stride, output)
            })
            .collect();
        let inner: Vec<&(usize, usize, usize, Option<usize>)> = axes.iter().filter(|axis| axis.3.is_none()).collect();
        let inner_length = inner.iter().fold(1_usize, |product, axis| product.saturating_mul(axis.0));
        let out_strides = strides(&shape);
        let count: usize = shape.iter().product();
        self.spend(count.saturating_mul(inner_length))?;
        let tensor = self.cut(node, encrypted, tensor, count, inner_length);
        let rows: Vec<&Row> = tensor.rows().collect();
        // The places that are multiplied and summed for an element of the output.
        let pairs = |out: usize, act: &mut dyn FnMut(usize, usize)| {
            let (mut x0, mut w0) = (0, 0);
            for axis in &axes {
                if let Some(at) = axis.3 {
                    let index = (out / out_strides[at]) % shape[at];
                    x0 += index * axis.1;
                    w0 += index * axis.2;
                }
            }
            for mut flat in 0..inner_length {
                let (mut x, mut w) = (x0, w0);
                for axis in &inner {
                    x += (flat % axis.0) * axis.1;
                    w += (flat % axis.0) * axis.2;
                    flat /= axis.0;
                }
                act(x, w);
            }
        };
        let mut elements = Vec::with_capacity(count);
        match &other {
            Matrix::Constant(_, weights) => {
                for out in 0..count {
                    pairs(out, &mut |x, w| self.sum.add_row(rows[x], weights[w]));
                    elements.push(Element::Row(self.sum.take()));
                }
                let operators = self.label(node, tensor.operators);
                Ok(vec![Value::Symbolic(SymbolicTensor { shape, elements, operators })])
            }
            Matrix::Encrypted(second) => {
                if count.saturating_mul(inner_length) > MAX_VALUES {
                    return Err(Refusal::new(
                        "it multiplies two encrypted matrices of very many elements",
                        "multiply by constants, or smaller matrices",
                    ));
                }
                let factors: Vec<&Row> = second.rows().collect();
                let (mut left, mut right) = (Vec::new(), Vec::new());
                for out in 0..count {
                    pairs(out, &mut |x, w| {
                        left.push(rows[x].clone());
                        right.push(factors[w].clone());
                    });
                }
                let mut operators = tensor.operators.clone();
                operators.extend(second.operators.iter().filter(|o| !tensor.operators.contains(o)).cloned());
                let operators = self.label(node, operators);
                let products = self.multiply(node, &[1, left.len()], left, right, &operators);
                let tensor = SymbolicTensor { shape: vec![1, products.len()], elements: products, operators };
                let products: Vec<&Row> = tensor.rows().collect();
                for out in 0..count {
                    products[out * inner_length..][..inner_length].iter().for_each(|row| self.sum.add_row(row, 1.0));
                    elements.push(Element::Row(self.sum.take()));
                }
                Ok(vec![Value::Symbolic(SymbolicTensor { shape, elements, operators: Vec::new() })])
            }
        }
    }

    fn reduce(&mut self, node: &TypedNode, value: Value, op: &Reduce) -> Outputs {
        let mut tensor = self.materialised_input(node, 0, value)?;
        let shape = Self::output_shape(node, 0)?;
        let mut groups = vec![Vec::new(); shape.iter().product()];
        let summed = tensor.elements.len() / groups.len().max(1);
        tensor = self.cut(node, 0, tensor, groups.len(), summed);
        if op.reducer == Reducer::MeanOfSquares {
            let square = Arc::new(Function::unary(Unary::Square));
            tensor.elements = tensor.elements.iter().map(|e| e.apply(&square)).collect();
            self.materialise(node, &mut tensor);
        }
        let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        for (index, element) in tensor.elements.iter().enumerate() {
            let mut rest = index;
            let mut target = 0;
            for axis in (0..tensor.shape.len()).rev() {
                let at = rest % tensor.shape[axis];
                rest /= tensor.shape[axis];
                target += if op.axes.contains(&axis) { 0 } else { at * strides[axis] };
            }
            groups[target].push(element.clone());
        }
        let operators = self.label(node, tensor.operators);
        let elements = match op.reducer {
            Reducer::Sum | Reducer::MeanOfSquares => groups
                .iter()
                .map(|group| {
                    let weight = if op.reducer == Reducer::Sum { 1.0 } else { 1.0 / group.len() as f64 };
                    for element in group {
                        if let Element::Row(row) = element {
                            self.sum.add_row(row, weight);
                        }
                    }
                    Element::Row(self.sum.take())
                })
                .collect(),
            Reducer::Max => self.tournament(node, groups, &shape, &operators)?,
            Reducer::Min => {
                let negated = groups.iter().map(|g| g.iter().map(|e| e.affine(-1.0, 0.0)).collect()).collect();
                let largest = self.tournament(node, negated, &shape, &operators)?;
                largest.iter().map(|e| e.affine(-1.0, 0.0)).collect()
            }
            _ => {
                return Err(Refusal::new(
                    "it is neither a sum, a mean, a maximum nor a minimum of encrypted values",
                    "use one of these",
                ));
            }
        };
        Ok(vec![Value::Symbolic(SymbolicTensor { shape, elements, operators })])
    }
}

pub(super) fn after_client_op() -> Refusal {
    Refusal::new(
        "it comes after an operator that only the client can compute, and the client cannot compute this one",
        "end the model before it",
    )
}

fn recurrent() -> Refusal {
    Refusal::new(
        "a recurrent network multiplies its encrypted state at every step of the sequence, which is too deep",
        "use convolutions over time, or a dense network on the whole sequence",
    )
}

fn loops() -> Refusal {
    Refusal::new("a loop is not evaluated on encrypted data", "export the model with its loop unrolled, or without it")
}

fn quantised() -> Refusal {
    Refusal::new(
        "it is a quantised (integer) operator",
        "export the model in floating point; heman quantises it itself",
    )
}

fn add_bias(elements: &mut [Element], bias: &[f64], axes: &window::Axes) {
    for (index, element) in elements.iter_mut().enumerate() {
        let value = if bias.len() == 1 { bias[0] } else { bias.get(axes.channel_of(index)).copied().unwrap_or(0.0) };
        *element = element.affine(1.0, value);
    }
}

fn constant(value: &Value, otherwise: &str) -> Result<Arc<Tensor>, Refusal> {
    match value {
        Value::Constant(tensor) => Ok(tensor.clone()),
        _ => Err(Refusal::new(otherwise, "make it an initializer of the model")),
    }
}

pub(super) fn floats(tensor: &Tensor) -> Result<Vec<f64>, Refusal> {
    let cast = tensor.cast_to::<f64>()?;
    Ok(cast.to_plain_array_view::<f64>()?.iter().copied().collect())
}
