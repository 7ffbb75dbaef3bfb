//! What the client is to compute, as it grows while a model is lowered.

use std::collections::HashMap;
use std::sync::Arc;

use heman_core::model::client_op::{ClientOp, ClientOps, ClientStep, ElementKind, NamedOutput};
use heman_core::model::function::{Binary, Function, Unary};
use heman_core::model::network::{Row, TensorInfo};
use heman_core::model::postfix::is_writable;

use crate::element::{Element, SymbolicTensor};
use crate::interface::OutputName;

/// A tensor that the client computes.
#[derive(Clone, Debug)]
pub(crate) struct ClientTensor {
    /// Number of the value in [`Program`].
    pub value: usize,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Where its elements are indices of names, the names.
    pub labels: Option<Arc<[String]>>,
    /// Whether all elements are whole numbers.
    pub is_whole: bool,
}

impl ClientTensor {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

enum Origin {
    /// Decrypted: what each element is in the encrypted network.
    Rows(Vec<Row>),
    /// Computed from earlier values.
    Step(ClientOp, Vec<usize>),
}

/// Values of the client, those that are decrypted and those that are computed, each from earlier ones.
#[derive(Default)]
pub(crate) struct Program {
    values: Vec<(Origin, Vec<usize>)>,
    /// Names of the operators that made the decrypted values, for people.
    operators: Vec<String>,
}

/// What is decrypted, and what the client makes of it.
pub(crate) struct Finished {
    pub output: TensorInfo,
    pub rows: Vec<Row>,
    pub operators: Vec<String>,
    pub ops: ClientOps,
}

impl Program {
    /// Adds a step.
    pub fn step(&mut self, op: ClientOp, reads: &[&ClientTensor], shape: Vec<usize>) -> ClientTensor {
        self.push(Origin::Step(op, reads.iter().map(|tensor| tensor.value).collect()), shape)
    }

    fn push(&mut self, origin: Origin, shape: Vec<usize>) -> ClientTensor {
        let is_whole = match &origin {
            Origin::Step(ClientOp::ArgMax { .. } | ClientOp::TopK { indices: true, .. }, _) => true,
            Origin::Step(ClientOp::Lookup { table: values } | ClientOp::Constant { values, .. }, _) => {
                values.iter().all(|value| value.fract() == 0.0)
            }
            _ => false,
        };
        self.values.push((origin, shape.clone()));
        ClientTensor { value: self.values.len() - 1, shape, labels: None, is_whole }
    }

    /// Adds what a symbolic tensor is: its rows are decrypted, functions that are due are the client's.
    pub fn decrypted(&mut self, tensor: &SymbolicTensor) -> ClientTensor {
        let mut operators = tensor.operators.clone();
        if tensor.is_pending() && operators.len() > 1 {
            operators.pop();
        }
        operators.retain(|operator| !self.operators.contains(operator));
        self.operators.extend(operators);
        let rows = tensor.elements.iter().map(|element| match element {
            Element::Row(row) => row.clone(),
            Element::Pending(pending) => pending.row.clone(),
        });
        let rows = rows.collect();
        let decrypted = self.push(Origin::Rows(rows), tensor.shape.clone());
        self.functions(decrypted, &functions_of(tensor))
    }

    /// A function of each element.
    pub fn functions(&mut self, tensor: ClientTensor, functions: &Functions) -> ClientTensor {
        let Functions { list, of } = functions;
        if list.iter().all(|function| *function == Function::X) {
            return tensor;
        }
        let of = if list.len() == 1 { Vec::new() } else { of.clone() };
        let shape = tensor.shape.clone();
        // Exporters and tract write LogSoftmax in two steps, which lose small probabilities.
        if let ([Function::Unary(Unary::Ln, x)], (Origin::Step(ClientOp::Softmax { axes }, reads), _)) =
            (list.as_slice(), &self.values[tensor.value])
            && **x == Function::X
        {
            let origin = Origin::Step(ClientOp::LogSoftmax { axes: axes.clone() }, reads.clone());
            return self.push(origin, shape);
        }
        self.step(ClientOp::Function { functions: list.clone(), of }, &[&tensor], shape)
    }

    /// The program, if it decrypts anything.
    pub fn finish(self, names: &[OutputName], outputs: &[(ClientTensor, ElementKind)]) -> Option<Finished> {
        let mut needed = vec![false; self.values.len()];
        outputs.iter().for_each(|(tensor, _)| needed[tensor.value] = true);
        for at in (0..self.values.len()).rev() {
            if let (true, Origin::Step(_, reads)) = (needed[at], &self.values[at].0) {
                reads.iter().for_each(|&value| needed[value] = true);
            }
        }
        let decrypted: Vec<usize> =
            (0..needed.len()).filter(|&at| needed[at] && matches!(self.values[at].0, Origin::Rows(_))).collect();
        let name = || names.iter().map(|output| output.name.as_str()).collect::<Vec<_>>().join(", ");
        let (mut rows, places) = share_rows(decrypted.iter().filter_map(|&at| match &self.values[at].0 {
            Origin::Rows(rows) => Some(rows),
            Origin::Step(..) => None,
        }));
        let mut steps: Vec<ClientStep> = Vec::new();
        let mut numbers = vec![0_u32; self.values.len()];
        let mut shape = vec![1, rows.len()];
        match decrypted.as_slice() {
            [] => return None,
            // One tensor is decrypted as it is, unless much of it is there twice and the client has work to do anyway.
            &[only] if self.values.len() == 1 || 2 * rows.len() > places[0].len() => {
                let (Origin::Rows(own), own_shape) = &self.values[only] else { return None };
                (rows, shape) = (own.clone(), own_shape.clone());
            }
            _ => {
                for (&at, from) in decrypted.iter().zip(places) {
                    let shape = self.values[at].1.clone();
                    steps.push(ClientStep { op: ClientOp::Pick { shape, from }, reads: vec![0] });
                    numbers[at] = steps.len() as u32;
                }
            }
        }
        for (at, (origin, _)) in self.values.into_iter().enumerate().filter(|(at, _)| needed[*at]) {
            if let Origin::Step(op, reads) = origin {
                let reads = reads.iter().map(|&value| numbers[value]).collect();
                steps.push(ClientStep { op, reads });
                numbers[at] = steps.len() as u32;
            }
        }
        let named = |(output, (tensor, kind)): (&OutputName, &(ClientTensor, ElementKind))| NamedOutput {
            name: output.name.clone(),
            value: numbers[tensor.value],
            kind: kind.clone(),
            columns: if tensor.shape.last() == Some(&output.columns.len()) {
                output.columns.clone()
            } else {
                Vec::new()
            },
        };
        let ops = ClientOps { steps, outputs: names.iter().zip(outputs).map(named).collect() };
        Some(Finished { output: TensorInfo { name: name(), shape }, rows, operators: self.operators, ops })
    }
}

/// Each row once, and for each list where its rows are.
fn share_rows<'a>(lists: impl Iterator<Item = &'a Vec<Row>>) -> (Vec<Row>, Vec<Vec<u32>>) {
    let mut known: HashMap<(usize, u64), u32> = HashMap::new();
    let mut rows: Vec<Row> = Vec::new();
    let mut place = |row: &Row| {
        // Copies of a row share its taps.
        let taps = if row.taps.is_empty() { 0 } else { row.taps.as_ptr() as usize };
        *known.entry((taps, row.bias.to_bits())).or_insert_with(|| {
            rows.push(row.clone());
            rows.len() as u32 - 1
        })
    };
    let places = lists.map(|list| list.iter().map(&mut place).collect()).collect();
    (rows, places)
}

/// The different functions of a tensor's elements.
pub(crate) struct Functions {
    /// Each once.
    pub list: Vec<Function>,
    /// For each element which.
    pub of: Vec<u32>,
}

impl Functions {
    /// Collects the function of each element.
    pub fn collect<'a>(functions: impl Iterator<Item = &'a Function>) -> Self {
        let mut list: Vec<Function> = Vec::new();
        let of = functions
            .map(|function| {
                // Neighbours are alike most of the time; looking back a little keeps this linear.
                let recent = list.len().saturating_sub(64);
                let known = list[recent..].iter().rposition(|own| own == function).map(|at| recent + at);
                known.unwrap_or_else(|| {
                    list.push(function.clone());
                    list.len() - 1
                }) as u32
            })
            .collect();
        Self { list, of }
    }

    /// Whether they can be written down for the client.
    pub fn are_writable(&self) -> bool {
        self.list.iter().all(is_writable)
    }
}

/// The functions that are due on a tensor.
pub(crate) fn functions_of(tensor: &SymbolicTensor) -> Functions {
    // Elements that share an allocation share a function: most comparisons are of addresses.
    let mut simple: HashMap<usize, Function> = HashMap::new();
    for element in &tensor.elements {
        if let Element::Pending(pending) = element {
            let at = Arc::as_ptr(&pending.function) as usize;
            simple.entry(at).or_insert_with(|| without_infinities(&pending.function));
        }
    }
    let identity = Function::X;
    Functions::collect(tensor.elements.iter().map(|element| match element {
        Element::Pending(pending) => &simple[&(Arc::as_ptr(&pending.function) as usize)],
        Element::Row(_) => &identity,
    }))
}

/// The same function without bounds at infinity, which files cannot hold.
pub(crate) fn without_infinities(function: &Function) -> Function {
    match function {
        Function::Binary(op, a, b) => {
            let (a, b) = (without_infinities(a), without_infinities(b));
            let infinite = |f: &Function| match f {
                Function::Constant(c) if c.is_infinite() => Some(*c > 0.0),
                _ => None,
            };
            match (op, infinite(&a), infinite(&b)) {
                (Binary::Min, Some(true), _) | (Binary::Max, Some(false), _) => b,
                (Binary::Min, _, Some(true)) | (Binary::Max, _, Some(false)) => a,
                _ => Function::Binary(*op, Box::new(a), Box::new(b)),
            }
        }
        Function::Unary(op, a) => Function::Unary(*op, Box::new(without_infinities(a))),
        other => other.clone(),
    }
}
