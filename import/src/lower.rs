//! Walks the decluttered graph and lowers it node by node.

use std::collections::HashMap;
use std::sync::Arc;

use heman_core::deadline::Deadline;
use tract_onnx::prelude::*;

use super::element::{Element, SymbolicTensor};
use super::error::{ImportError, UnsupportedNode};
use super::interface::Interface;
use super::program::{ClientTensor, Program};
use super::tail::Tail;
use heman_core::model::client_op::ElementKind;
use heman_core::model::function::Function;
use heman_core::model::network::{Network, Row, Stage, TensorInfo};
use heman_core::model::row_sum::RowSum;

/// Most taps in flight or in the lowered network.
const MAX_TAPS: usize = 1 << 27;
/// Most values of a network.
pub(super) const MAX_VALUES: usize = 1 << 24;
/// Most elements of an encrypted tensor between two nodes.
pub(super) const MAX_ELEMENTS: usize = 1 << 22;
/// Most terms that are added, elements that are moved and places of windows that are visited in all nodes together.
const MAX_WORK: u64 = 1 << 28;
/// Most elements of all outputs.
const MAX_OUTPUTS: usize = 1 << 20;
/// Most operators that the description of a stage names.
const MAX_LABELS: usize = 16;

/// A tensor between two nodes.
#[derive(Clone)]
pub(super) enum Value {
    /// Known in plaintext.
    Constant(Arc<Tensor>),
    /// Encrypted.
    Symbolic(SymbolicTensor),
    /// Computed by the client after decryption.
    ForClient(ClientTensor),
    /// Behind a node that is not supported.
    Unknown,
}

/// Why a node is refused.
pub(super) struct Refusal {
    pub reason: String,
    pub suggestion: String,
}

impl Refusal {
    pub fn new(reason: impl Into<String>, suggestion: impl Into<String>) -> Self {
        Self { reason: reason.into(), suggestion: suggestion.into() }
    }
}

impl From<TractError> for Refusal {
    fn from(error: TractError) -> Self {
        Self::new(format!("{error:#}"), "check the node's attributes and shapes")
    }
}

/// The lowering in progress.
pub(super) struct Lowering<'a> {
    pub model: &'a TypedModel,
    pub values: HashMap<OutletId, Value>,
    /// Nodes that the client may compute.
    pub tail: Tail,
    /// What the client computes.
    pub program: Program,
    /// Elements of all inputs.
    pub input_len: usize,
    pub stages: Vec<Stage>,
    pub value_count: usize,
    taps: usize,
    pub sum: RowSum,
    /// Whether linear layers become values of their own where rows would become too long.
    pub cuts: bool,
    work_left: u64,
    deadline: Deadline,
    refused: Vec<UnsupportedNode>,
    operator_of_node: HashMap<&'a str, &'a str>,
}

impl<'a> Lowering<'a> {
    pub fn new(
        model: &'a TypedModel,
        operator_of_node: &'a [(String, String)],
        deadline: Deadline,
        cuts: bool,
    ) -> Self {
        Self {
            model,
            values: HashMap::new(),
            tail: Tail::default(),
            program: Program::default(),
            input_len: 0,
            stages: Vec::new(),
            value_count: 0,
            taps: 0,
            sum: RowSum::bounded(MAX_WORK),
            cuts,
            work_left: MAX_WORK,
            deadline,
            refused: Vec::new(),
            operator_of_node: operator_of_node
                .iter()
                .map(|(name, operator)| (name.as_str(), operator.as_str()))
                .collect(),
        }
    }

    /// Lowers the whole model.
    pub fn run(mut self, interface: &Interface) -> Result<Network, ImportError> {
        let not_onnx = |e: TractError| ImportError::NotOnnx(format!("{e:#}"));
        for (outlet, input) in self.model.inputs.iter().zip(&interface.inputs) {
            let values = self.value_count..self.value_count + input.len();
            self.value_count = values.end;
            let elements = values.map(|i| Element::Row(Row::value(i as u32))).collect();
            let tensor = SymbolicTensor { shape: input.shape.clone(), elements, operators: Vec::new() };
            self.values.insert(*outlet, Value::Symbolic(tensor));
        }
        self.input_len = self.value_count;
        self.tail = Tail::of(self.model).map_err(not_onnx)?;
        for node in self.model.eval_order().map_err(not_onnx)? {
            self.deadline.check()?;
            let node = &self.model.nodes[node];
            if !node.op_is::<tract_onnx::tract_core::ops::source::TypedSource>() {
                self.node(node)?;
            }
        }
        if !self.refused.is_empty() {
            return Err(ImportError::Unsupported(self.refused));
        }
        self.finish(interface)
    }

    fn node(&mut self, node: &TypedNode) -> Result<(), ImportError> {
        let known: Option<Vec<Value>> =
            (0..node.outputs.len()).map(|slot| node.outputs[slot].fact.konst.clone().map(Value::Constant)).collect();
        let inputs: Vec<Value> =
            node.inputs.iter().map(|outlet| self.values.get(outlet).cloned().unwrap_or(Value::Unknown)).collect();
        let outputs = if let Some(known) = known {
            Ok(known)
        } else if inputs.iter().any(|value| matches!(value, Value::Unknown)) {
            Ok(vec![Value::Unknown; node.outputs.len()])
        } else {
            self.lower(node, inputs)
        };
        let outputs = match outputs {
            Ok(outputs) => outputs,
            Err(refusal) => {
                self.refused.push(UnsupportedNode {
                    operator: self.operator_name(node),
                    node: node.name.clone(),
                    reason: refusal.reason,
                    suggestion: refusal.suggestion,
                });
                vec![Value::Unknown; node.outputs.len()]
            }
        };
        for (slot, value) in outputs.into_iter().enumerate() {
            if let Value::Symbolic(tensor) = &value {
                self.account(tensor)?;
            }
            self.values.insert(OutletId::new(node.id, slot), value);
        }
        for outlet in &node.inputs {
            let readers = &self.model.nodes[outlet.node].outputs[outlet.slot].successors;
            let done = readers.iter().all(|reader| self.values.contains_key(&OutletId::new(reader.node, 0)));
            if done && !self.model.outputs.contains(outlet) {
                self.values.remove(outlet);
            }
        }
        Ok(())
    }

    fn account(&mut self, tensor: &SymbolicTensor) -> Result<(), ImportError> {
        let distinct = |element: &Element| match element {
            Element::Row(row) if Arc::strong_count(&row.taps) <= 2 => row.taps.len(),
            _ => 0,
        };
        self.taps = self.taps.saturating_add(tensor.elements.iter().map(distinct).sum());
        if self.taps > MAX_TAPS || self.value_count > MAX_VALUES || self.sum.is_exhausted() {
            return Err(ImportError::TooComplex(format!(
                "it has more than {MAX_TAPS} terms or {MAX_VALUES} values after lowering, or takes more than \
                 {MAX_WORK} additions"
            )));
        }
        Ok(())
    }

    /// The ONNX operator that a node came from, by its name; tract's own name otherwise.
    pub fn operator_name(&self, node: &TypedNode) -> String {
        let starts = (1..=node.name.len()).rev().filter_map(|end| node.name.get(..end));
        let best = starts.filter_map(|start| self.operator_of_node.get(start)).next();
        best.map_or_else(|| node.op().name().to_string(), |&operator| operator.to_string())
    }

    /// Takes work off the budget before it is done.
    pub fn spend(&mut self, work: usize) -> Result<(), Refusal> {
        match self.work_left.checked_sub(work as u64) {
            Some(left) => {
                self.work_left = left;
                Ok(())
            }
            None => Err(Refusal::new(
                format!("the model up to here takes more than {MAX_WORK} steps to lower"),
                "use smaller tensors and windows",
            )),
        }
    }

    /// Adds the node's operator to a tensor's list, once in a row.
    pub fn label(&self, node: &TypedNode, mut operators: Vec<String>) -> Vec<String> {
        let name = self.operator_name(node);
        if operators.last() != Some(&name) && operators.len() < MAX_LABELS {
            operators.push(if operators.len() + 1 == MAX_LABELS { "...".into() } else { name });
        }
        operators
    }

    /// Computes what is pending, so that every element is a row.
    pub fn materialise(&mut self, node: &TypedNode, tensor: &mut SymbolicTensor) {
        if let Some(stage) = tensor.materialise(&node.name, self.value_count) {
            self.push(stage);
        }
    }

    /// Adds a stage; returns the index of its first value.
    pub fn push(&mut self, stage: Stage) -> usize {
        let first = self.value_count;
        self.value_count += stage.rows.len();
        self.stages.push(stage);
        first
    }

    /// The encrypted input of a node that has one, materialised; the stored copy is replaced, so that other readers
    /// share it.
    pub fn materialised_input(
        &mut self,
        node: &TypedNode,
        slot: usize,
        value: Value,
    ) -> Result<SymbolicTensor, Refusal> {
        let outlet = node.inputs[slot];
        let Value::Symbolic(mut tensor) = value else {
            return Err(Refusal::new(
                "an encrypted operand was expected here",
                "make this operand depend on the input",
            ));
        };
        if tensor.is_pending() {
            let producer = &self.model.nodes[outlet.node];
            self.materialise(producer, &mut tensor);
            self.values.insert(outlet, Value::Symbolic(tensor.clone()));
        }
        Ok(tensor)
    }

    /// Shape of an output.
    pub fn output_shape(node: &TypedNode, slot: usize) -> Result<Vec<usize>, Refusal> {
        let shape = node.outputs[slot].fact.shape.as_concrete();
        shape.map(<[usize]>::to_vec).ok_or_else(|| {
            Refusal::new(
                "its output shape is not fixed",
                "export the model with fixed sizes (only the batch axis may be free)",
            )
        })
    }

    /// Applies one function to every element.
    pub fn map(&mut self, node: &TypedNode, mut tensor: SymbolicTensor, function: Function) -> Value {
        let function = Arc::new(function);
        let mut composed: HashMap<usize, (Arc<Function>, Arc<Function>)> = HashMap::new();
        for element in &mut tensor.elements {
            // Elements that share a function go on sharing it: that keeps a channel one table.
            *element = match element {
                Element::Pending(pending) => {
                    let entry = composed
                        .entry(Arc::as_ptr(&pending.function) as usize)
                        .or_insert_with(|| (pending.function.clone(), Arc::new(function.compose(&pending.function))));
                    Element::Pending(super::element::Pending { function: entry.1.clone(), row: pending.row.clone() })
                }
                Element::Row(_) => element.apply(&function),
            };
        }
        tensor.operators = self.label(node, tensor.operators);
        Value::Symbolic(tensor)
    }

    fn finish(mut self, interface: &Interface) -> Result<Network, ImportError> {
        let mut outputs = Vec::with_capacity(self.model.outputs.len());
        for (&outlet, named) in self.model.outputs.iter().zip(&interface.outputs) {
            let value = self.values.get(&outlet).cloned();
            let tensor = match value {
                Some(Value::ForClient(tensor)) => tensor,
                Some(Value::Symbolic(mut tensor)) => {
                    if tensor.is_pending() && !self.is_for_client(&tensor) {
                        self.materialise(&self.model.nodes[outlet.node], &mut tensor);
                        self.values.insert(outlet, Value::Symbolic(tensor.clone()));
                    }
                    self.program.decrypted(&tensor)
                }
                Some(Value::Constant(_)) => {
                    return Err(ImportError::Interface(format!(
                        "its output {} does not depend on its inputs; leave it out",
                        named.name
                    )));
                }
                _ => return Err(ImportError::Interface(format!("its output {} is not computed", named.name))),
            };
            let kind = self.model.outlet_fact(outlet).map_or(DatumType::F32, |fact| fact.datum_type);
            let kind = match &tensor.labels {
                Some(names) => ElementKind::Label(names.to_vec()),
                None if kind == DatumType::Bool => ElementKind::Boolean,
                None if kind.is_integer() || kind == DatumType::TDim => ElementKind::Integer,
                None => ElementKind::Real,
            };
            outputs.push((tensor, kind));
        }
        let no_output = || ImportError::Interface("its output does not depend on its input".into());
        let finished = std::mem::take(&mut self.program).finish(&interface.outputs, &outputs).ok_or_else(no_output)?;
        if finished.rows.len() > MAX_OUTPUTS {
            return Err(ImportError::TooComplex(format!(
                "its outputs have {} elements; up to {MAX_OUTPUTS} are encrypted",
                finished.rows.len()
            )));
        }
        finished.ops.shapes(&finished.output.shape).map_err(ImportError::TooComplex)?;
        let finite = |row: &Row| row.bias.is_finite() && row.taps.iter().all(|tap| tap.weight.is_finite());
        let rows = &finished.rows;
        if !self.stages.iter().flat_map(|stage| stage.rows.iter().chain(&stage.factors)).chain(rows).all(finite) {
            return Err(ImportError::NotOnnx("a weight is not a finite number".into()));
        }
        let operators = finished.operators;
        let output_operator = if operators.is_empty() { "Identity".to_string() } else { operators.join(" + ") };
        Ok(Network {
            input: TensorInfo::joined(&interface.inputs),
            inputs: interface.inputs.clone(),
            stages: self.stages,
            output: finished.output,
            output_rows: finished.rows,
            output_operator,
            client_ops: finished.ops,
        })
    }
}
