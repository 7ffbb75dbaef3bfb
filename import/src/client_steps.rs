//! Nodes of the tail as steps of the client.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::array::{Gather, OneHot, Topk};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, Softmax, SoftmaxKind};

use heman_core::model::client_op::{ClientOp, Reduction};
use heman_core::model::function::{Binary, Function, Unary};
use heman_core::model::network::Row;

use crate::element::{Element, SymbolicTensor};
use crate::lower::{Lowering, Refusal, Value};
use crate::ops::{Outputs, after_client_op, floats};
use crate::program::{ClientTensor, Functions, without_infinities};

impl Lowering<'_> {
    /// An operand as a tensor of the client.
    fn client_input(&mut self, node: &TypedNode, slot: usize, value: &Value) -> Result<ClientTensor, Refusal> {
        match value {
            Value::ForClient(tensor) => Ok(tensor.clone()),
            Value::Symbolic(tensor) if !tensor.is_pending() || self.is_for_client(tensor) => {
                Ok(self.program.decrypted(tensor))
            }
            Value::Symbolic(_) => {
                let tensor = self.materialised_input(node, slot, value.clone())?;
                Ok(self.program.decrypted(&tensor))
            }
            Value::Constant(tensor) => {
                let (shape, values) = (tensor.shape().to_vec(), floats(tensor)?);
                if values.iter().any(|value| !value.is_finite()) {
                    return Err(Refusal::new("a constant of it is not finite", "use finite constants"));
                }
                Ok(self.program.step(ClientOp::Constant { shape: shape.clone(), values }, &[], shape))
            }
            Value::Unknown => Err(after_client_op()),
        }
    }

    /// Lowers a node of the tail to steps of the client.
    pub(crate) fn for_client(&mut self, node: &TypedNode, inputs: &[Value]) -> Outputs {
        if node.op_is::<Topk>() {
            return self.top_k(node, inputs);
        }
        if looks_up(node, inputs) {
            return self.client_look_up(node, inputs);
        }
        let is_constant = |value: &Value| matches!(value, Value::Constant(_));
        let varying = inputs.iter().filter(|value| !is_constant(value)).count();
        let op = if let Some(op) = node.op_as::<Softmax>() {
            let axes = op.axes.to_vec();
            match op.kind {
                SoftmaxKind::Softmax => Some(ClientOp::Softmax { axes }),
                SoftmaxKind::LogSoftmax => Some(ClientOp::LogSoftmax { axes }),
            }
        } else if let Some(op) = node.op_as::<Reduce>() {
            Some(reduction(op)?)
        } else if let Some(op) = node.op_as::<OneHot>() {
            let value = |tensor: &Tensor| Ok::<f64, Refusal>(floats(tensor)?.first().copied().unwrap_or(0.0));
            Some(ClientOp::OneHot { axis: op.axis, length: op.dim, on: value(&op.on)?, off: value(&op.off)? })
        } else {
            None
        };
        if let Some(op) = op {
            let operand = self.client_input(node, 0, &inputs[0])?;
            refuse_labels(&[&operand])?;
            let shape = Self::output_shape(node, 0)?;
            return Ok(vec![Value::ForClient(self.program.step(op, &[&operand], shape))]);
        }
        if let Some(op) = node.op_as::<TypedBinOp>().filter(|_| varying == 2) {
            return self.client_binary(node, inputs, op);
        }
        if node.op_is::<Iff>() && varying >= 2 {
            let shape = Self::output_shape(node, 0)?;
            let operands = self.broadcast_inputs(node, inputs, &shape)?;
            let operands: Vec<&ClientTensor> = operands.iter().collect();
            return Ok(vec![Value::ForClient(self.program.step(ClientOp::Select, &operands, shape))]);
        }
        if let Some(op) = node.op_as::<Cast>() {
            let operand = self.client_input(node, 0, &inputs[0])?;
            return Ok(vec![Value::ForClient(self.client_cast(operand, op.to)?)]);
        }
        self.element_by_element(node, inputs)
    }

    fn client_cast(&mut self, operand: ClientTensor, to: DatumType) -> Result<ClientTensor, Refusal> {
        let function = if operand.labels.is_some() || to.is_float() {
            return Ok(operand);
        } else if to == DatumType::String {
            return Err(Refusal::new(
                "numbers become texts, and the client is given numbers",
                "end the model before this node",
            ));
        } else if to == DatumType::Bool {
            let zero = Function::Binary(Binary::Equal, Box::new(Function::X), Box::new(Function::Constant(0.0)));
            Function::affine(-1.0, 1.0).compose(&zero)
        } else if operand.is_whole {
            return Ok(operand);
        } else {
            Function::unary(Unary::Truncate)
        };
        let whole = self.program.functions(operand, &Functions { list: vec![function], of: Vec::new() });
        Ok(ClientTensor { is_whole: true, ..whole })
    }

    fn top_k(&mut self, node: &TypedNode, inputs: &[Value]) -> Outputs {
        let (Some(op), Some(Value::Constant(count))) = (node.op_as::<Topk>(), inputs.get(1)) else {
            return Err(Refusal::new("its number of results is not constant", "make K an initializer"));
        };
        let count = count.cast_to_scalar::<i64>()? as usize;
        let operand = self.client_input(node, 0, &inputs[0])?;
        let mut shape = operand.shape.clone();
        shape[op.axis] = count;
        let results = [false, true].map(|indices| {
            let op = ClientOp::TopK { axis: op.axis, count, least: !op.largest, indices };
            Value::ForClient(self.program.step(op, &[&operand], shape.clone()))
        });
        Ok(results.into())
    }

    /// The entry of a constant table that an index of the client names.
    fn client_look_up(&mut self, node: &TypedNode, inputs: &[Value]) -> Outputs {
        let (Value::Constant(table), Some(index)) = (&inputs[0], inputs.get(1)) else { return Err(after_client_op()) };
        let index = self.client_input(node, 1, index)?;
        refuse_labels(&[&index])?;
        if table.datum_type() == DatumType::String {
            let names = table.to_plain_array_view::<String>()?.iter().cloned().collect();
            return Ok(vec![Value::ForClient(ClientTensor { labels: Some(names), ..index })]);
        }
        let table = floats(table)?;
        let shape = index.shape.clone();
        let counts = table.iter().enumerate().all(|(at, &entry)| entry == at as f64);
        if counts {
            return Ok(vec![Value::ForClient(index)]);
        }
        Ok(vec![Value::ForClient(self.program.step(ClientOp::Lookup { table }, &[&index], shape))])
    }

    fn client_binary(&mut self, node: &TypedNode, inputs: &[Value], op: &TypedBinOp) -> Outputs {
        let Some((kind, swap, negated)) = binary(op.0.name()) else {
            return Err(Refusal::new(
                format!("the client does not know {} of two tensors", op.0.name()),
                "end the model before it",
            ));
        };
        let shape = Self::output_shape(node, 0)?;
        let mut operands = self.broadcast_inputs(node, inputs, &shape)?;
        if swap {
            operands.reverse();
        }
        let operands: Vec<&ClientTensor> = operands.iter().collect();
        let mut result = self.program.step(ClientOp::Binary(kind), &operands, shape);
        if negated {
            let not = Functions { list: vec![Function::affine(-1.0, 1.0)], of: Vec::new() };
            result = self.program.functions(result, &not);
        }
        Ok(vec![Value::ForClient(result)])
    }

    /// All operands as tensors of the client of one shape.
    fn broadcast_inputs(
        &mut self,
        node: &TypedNode,
        inputs: &[Value],
        shape: &[usize],
    ) -> Result<Vec<ClientTensor>, Refusal> {
        let mut operands = Vec::with_capacity(inputs.len());
        for (slot, value) in inputs.iter().enumerate() {
            let operand = self.client_input(node, slot, value)?;
            refuse_labels(&[&operand])?;
            if operand.shape == shape {
                operands.push(operand);
                continue;
            }
            let from = broadcast(&operand.shape, shape)
                .ok_or_else(|| Refusal::new("its shapes do not broadcast", "check its shapes"))?;
            operands.push(self.pick(&[&operand], from, shape.to_vec()));
        }
        Ok(operands)
    }

    /// Elements of tensors by number; nothing, or a new shape, where they stay in their order.
    fn pick(&mut self, operands: &[&ClientTensor], from: Vec<u32>, shape: Vec<usize>) -> ClientTensor {
        let in_order = from.iter().enumerate().all(|(at, &number)| number as usize == at);
        match operands {
            [only] if in_order && from.len() == only.len() => {
                if only.shape == shape {
                    return (*only).clone();
                }
                let op = ClientOp::Reshape { shape: shape.clone() };
                let moved = self.program.step(op, &[only], shape);
                ClientTensor { labels: only.labels.clone(), is_whole: only.is_whole, ..moved }
            }
            _ => {
                let labels = operands.first().and_then(|first| first.labels.clone());
                let op = ClientOp::Pick { shape: shape.clone(), from };
                let is_whole = operands.iter().all(|operand| operand.is_whole);
                ClientTensor { labels, is_whole, ..self.program.step(op, operands, shape) }
            }
        }
    }

    /// Operators that make each element of one element of the operands: they are evaluated on stand-ins for the
    /// operands, which tells the element and the function.
    fn element_by_element(&mut self, node: &TypedNode, inputs: &[Value]) -> Outputs {
        let mut operands: Vec<ClientTensor> = Vec::new();
        let mut stand_ins = Vec::with_capacity(inputs.len());
        let mut first = 0;
        for (slot, value) in inputs.iter().enumerate() {
            if let Value::Constant(_) = value {
                stand_ins.push(value.clone());
                continue;
            }
            let operand = self.client_input(node, slot, value)?;
            let elements = (first..first + operand.len()).map(|at| Element::Row(Row::value(at as u32))).collect();
            first += operand.len();
            let stand_in = SymbolicTensor { shape: operand.shape.clone(), elements, operators: Vec::new() };
            stand_ins.push(Value::Symbolic(stand_in));
            operands.push(operand);
        }
        let named = operands.iter().any(|operand| operand.labels.is_some());
        if named && node.op_is::<Identity>() {
            return Ok(vec![Value::ForClient(operands.swap_remove(0))]);
        }
        let results = self.on_stand_ins(node, stand_ins)?;
        let operands: Vec<&ClientTensor> = operands.iter().collect();
        let mut outputs = Vec::with_capacity(results.len());
        for result in results {
            let Value::Symbolic(tensor) = result else { return Err(after_client_op()) };
            outputs.push(Value::ForClient(self.step_of(&operands, first, &tensor)?));
        }
        Ok(outputs)
    }

    /// Evaluates a node on stand-ins; leaves no trace in the encrypted network.
    fn on_stand_ins(&mut self, node: &TypedNode, stand_ins: Vec<Value>) -> Outputs {
        let (stages, count) = (self.stages.len(), self.value_count);
        let values: Vec<Option<Value>> = node.inputs.iter().map(|outlet| self.values.get(outlet).cloned()).collect();
        let result = self.dispatch(node, stand_ins);
        let grew = self.stages.len() > stages;
        self.stages.truncate(stages);
        self.value_count = count;
        for (outlet, value) in node.inputs.iter().zip(values) {
            value.and_then(|value| self.values.insert(*outlet, value));
        }
        if grew { Err(after_client_op()) } else { result }
    }

    /// The step that makes a tensor whose elements are functions of single elements of the operands.
    fn step_of(
        &mut self,
        operands: &[&ClientTensor],
        count: usize,
        tensor: &SymbolicTensor,
    ) -> Result<ClientTensor, Refusal> {
        let mut constants: Vec<f64> = Vec::new();
        let mut from = Vec::with_capacity(tensor.elements.len());
        let mut functions = Vec::with_capacity(tensor.elements.len());
        for element in &tensor.elements {
            let (row, function) = match element {
                Element::Row(row) => (row, Function::X),
                Element::Pending(pending) => (&pending.row, without_infinities(&pending.function)),
            };
            match *row.taps {
                [] => {
                    from.push((count + constants.len()) as u32);
                    constants.push(function.evaluate(row.bias));
                    functions.push(Function::X);
                }
                [tap] if tap.weight == 1.0 && row.bias == 0.0 => {
                    from.push(tap.source);
                    functions.push(function);
                }
                [tap] => {
                    from.push(tap.source);
                    functions.push(function.compose(&Function::affine(f64::from(tap.weight), row.bias)));
                }
                _ => return Err(after_client_op()),
            }
        }
        let functions = Functions::collect(functions.iter());
        if !functions.are_writable() || constants.iter().any(|constant| !constant.is_finite()) {
            return Err(Refusal::new("a constant of it is not finite", "use finite constants"));
        }
        let moves = functions.list.iter().all(|function| *function == Function::X);
        let named = operands.iter().filter(|operand| operand.labels.is_some()).count();
        if named > 0 && !(moves && operands.len() == 1 && constants.is_empty()) {
            return Err(Refusal::new("it changes names of classes", "keep the names as they are"));
        }
        let mut operands = operands.to_vec();
        let rest;
        if !constants.is_empty() {
            let shape = vec![constants.len()];
            rest = self.program.step(ClientOp::Constant { shape: shape.clone(), values: constants }, &[], shape);
            operands.push(&rest);
        }
        let picked = self.pick(&operands, from, tensor.shape.clone());
        Ok(self.program.functions(picked, &functions))
    }
}

/// Whether a node takes entries of a constant table by indices that are not constant.
pub(crate) fn looks_up(node: &TypedNode, inputs: &[Value]) -> bool {
    node.op_as::<Gather>().is_some_and(|op| op.axis == 0)
        && matches!(inputs, [Value::Constant(table), index]
            if table.rank() == 1 && matches!(index, Value::ForClient(_) | Value::Symbolic(_)))
}

fn refuse_labels(operands: &[&ClientTensor]) -> Result<(), Refusal> {
    match operands.iter().any(|operand| operand.labels.is_some()) {
        true => Err(Refusal::new("it computes with names of classes", "use the classes' numbers")),
        false => Ok(()),
    }
}

fn reduction(op: &Reduce) -> Result<ClientOp, Refusal> {
    let axes = op.axes.to_vec();
    let kind = match (op.reducer, axes.as_slice()) {
        (Reducer::ArgMax(last), &[axis]) => return Ok(ClientOp::ArgMax { axis, least: false, last }),
        (Reducer::ArgMin(last), &[axis]) => return Ok(ClientOp::ArgMax { axis, least: true, last }),
        (Reducer::ArgMax(_) | Reducer::ArgMin(_), _) => {
            return Err(Refusal::new("it has several axes", "choose over one axis"));
        }
        (Reducer::Sum, _) => Reduction::Sum,
        (Reducer::Prod, _) => Reduction::Product,
        (Reducer::Max, _) => Reduction::Max,
        (Reducer::Min, _) => Reduction::Min,
        (Reducer::MeanOfSquares, _) => Reduction::MeanOfSquares,
        (Reducer::All, _) => Reduction::All,
        (Reducer::Any, _) => Reduction::Any,
    };
    Ok(ClientOp::Reduce { kind, axes })
}

/// The client's operator for one of tract's, whether its operands are exchanged, and its result negated.
fn binary(name: &str) -> Option<(Binary, bool, bool)> {
    Some(match name {
        "Add" => (Binary::Add, false, false),
        "Sub" => (Binary::Sub, false, false),
        "SubF" => (Binary::Sub, true, false),
        "Mul" | "And" => (Binary::Mul, false, false),
        "Div" => (Binary::Div, false, false),
        "Max" | "Or" => (Binary::Max, false, false),
        "Min" => (Binary::Min, false, false),
        "Pow" => (Binary::Pow, false, false),
        "Less" | "LT" | "Lt" => (Binary::Less, false, false),
        "Greater" | "GT" | "Gt" => (Binary::Less, true, false),
        "GreaterEq" | "GTE" | "Gte" => (Binary::Less, false, true),
        "LessEq" | "LTE" | "Lte" => (Binary::Less, true, true),
        "Eq" | "EQ" | "Equals" => (Binary::Equal, false, false),
        "NE" | "Ne" | "Xor" => (Binary::Equal, false, true),
        _ => return None,
    })
}

/// For each element of the wide shape the number of the element that it is of the narrow one.
fn broadcast(narrow: &[usize], wide: &[usize]) -> Option<Vec<u32>> {
    let missing = wide.len().checked_sub(narrow.len())?;
    let fits = narrow.iter().zip(&wide[missing..]).all(|(&n, &w)| n == w || n == 1);
    let place = |index: usize| {
        let (mut rest, mut at, mut stride) = (index, 0, 1);
        for axis in (missing..wide.len()).rev() {
            let length = narrow[axis - missing];
            at += if length == 1 { 0 } else { rest % wide[axis] * stride };
            rest /= wide[axis];
            stride *= length;
        }
        at as u32
    };
    fits.then(|| (0..wide.iter().product()).map(place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_of_length_one_are_repeated() {
        assert_eq!(broadcast(&[2, 1], &[2, 3]), Some(vec![0, 0, 0, 1, 1, 1]));
        assert_eq!(broadcast(&[3], &[2, 3]), Some(vec![0, 1, 2, 0, 1, 2]));
        assert_eq!(broadcast(&[2, 1, 2], &[2, 2, 2]), Some(vec![0, 1, 0, 1, 2, 3, 2, 3]));
        assert_eq!(broadcast(&[2], &[2, 3]), None);
    }
}
