//! Pooling: sums are rows, maxima are rounds of comparisons.

use std::collections::HashMap;
use std::sync::Arc;

use heman_core::model::function::Function;
use heman_core::model::kink::never_falls;
use heman_core::model::network::Row;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::cnn::{MaxPool, SumPool};

use super::element::{Element, Pending, SymbolicTensor};
use super::lower::{Lowering, Refusal, Value};
use super::ops::Outputs;
use super::window;

impl Lowering<'_> {
    pub(super) fn sum_pool(&mut self, node: &TypedNode, value: Value, op: &SumPool) -> Outputs {
        let tensor = self.materialised_input(node, 0, value)?;
        let shape = Self::output_shape(node, 0)?;
        let mut elements = vec![Element::constant(0.0); shape.iter().product()];
        self.spend(window::pooled(&op.pool_spec, &tensor.shape, elements.len())?)?;
        let window = op.pool_spec.kernel_shape.iter().product();
        let tensor = self.cut(node, 0, tensor, elements.len(), window);
        let rows: Vec<&Row> = tensor.rows().collect();
        let sum = &mut self.sum;
        window::pool(&op.pool_spec, &tensor.shape, &shape, |output, inputs, window| {
            let count = if op.count_include_pad { window } else { inputs.len() };
            let weight = if op.normalize { 1.0 / count.max(1) as f64 } else { 1.0 };
            for &input in inputs {
                sum.add_row(rows[input], weight);
            }
            elements[output] = Element::Row(sum.take());
        })?;
        let operators = self.label(node, tensor.operators);
        Ok(vec![Value::Symbolic(SymbolicTensor { shape, elements, operators })])
    }

    /// Functions that never fall move behind the maximum, where there are fewer of them to compute.
    pub(super) fn max_pool(&mut self, node: &TypedNode, value: Value, op: &MaxPool) -> Outputs {
        if op.with_index_outputs.is_some() {
            return Err(Refusal::new("its second output (indices) is used", "use the maximum only"));
        }
        let Value::Symbolic(input) = &value else { return Err(super::ops::after_client_op()) };
        let shape = Self::output_shape(node, 0)?;
        let mut windows: Vec<Vec<usize>> = vec![Vec::new(); shape.iter().product()];
        // What windows see is kept.
        self.spend(window::pooled(&op.pool_spec, &input.shape, windows.len())?.saturating_mul(8))?;
        window::pool(&op.pool_spec, &input.shape, &shape, |output, inputs, _| windows[output] = inputs.to_vec())?;
        let moves =
            windows.len() < input.elements.len() && self.is_read_once(node) && have_one_function(input, &windows);
        let (tensor, functions) = if moves {
            let (mut tensor, functions) = arguments(input);
            self.materialise(&self.model.nodes[node.inputs[0].node], &mut tensor);
            (tensor, functions)
        } else {
            let tensor = self.materialised_input(node, 0, value)?;
            let compared = windows.iter().map(|window| 2 * window.len()).max().unwrap_or(0);
            (self.cut(node, 0, tensor, windows.len(), compared), Vec::new())
        };
        let lists = windows.iter().map(|window| window.iter().map(|&i| tensor.elements[i].clone()).collect()).collect();
        let operators = self.label(node, tensor.operators);
        let mut elements = self.tournament(node, lists, &shape, &operators)?;
        for (element, window) in elements.iter_mut().zip(&windows) {
            let moved = window.first().and_then(|&first| functions.get(first)?.as_ref());
            if let Some(function) = moved {
                *element = element.apply(function);
            }
        }
        Ok(vec![Value::Symbolic(SymbolicTensor { shape, elements, operators })])
    }

    /// Whether nothing but this node reads its input.
    fn is_read_once(&self, node: &TypedNode) -> bool {
        let outlet = node.inputs[0];
        let readers = &self.model.nodes[outlet.node].outputs[outlet.slot].successors;
        readers.len() == 1 && !self.model.outputs.contains(&outlet)
    }

    /// The largest of each list of rows, in rounds of pairs: one stage a round.
    pub(super) fn tournament(
        &mut self,
        node: &TypedNode,
        mut lists: Vec<Vec<Element>>,
        shape: &[usize],
        operators: &[String],
    ) -> Result<Vec<Element>, Refusal> {
        if lists.iter().any(Vec::is_empty) {
            return Err(Refusal::new("a window holds padding only", "reduce the padding"));
        }
        let channels = shape.get(1).copied().unwrap_or(1);
        let inner: usize = shape.iter().skip(2).product();
        while lists.iter().any(|list| list.len() > 1) {
            let mut flat = [Vec::new(), Vec::new()];
            let mut places = Vec::new();
            for (at, list) in lists.iter_mut().enumerate() {
                let pairs = list.len() / 2;
                for _ in 0..pairs {
                    let (Some(b), Some(a)) = (list.pop(), list.pop()) else { break };
                    flat[0].push(a);
                    flat[1].push(b);
                    places.push(at);
                }
            }
            // One channel a channel of the output, as far as pairs are spread evenly; else one table for all.
            let even = channels > 0 && inner > 0 && places.len() % channels == 0;
            let flat_shape = if even { vec![1, channels, places.len() / channels] } else { vec![1, 1, places.len()] };
            let tensor =
                |elements| SymbolicTensor { shape: flat_shape.clone(), elements, operators: operators.to_vec() };
            let [a, b] = flat.map(tensor);
            let mut rest = tensor(self.relu_of_difference(&b, &a));
            self.materialise(node, &mut rest);
            for (winner, at) in self.add(&a, &rest, 1.0).into_iter().zip(places) {
                lists[at].push(winner);
            }
        }
        Ok(lists.into_iter().filter_map(|mut list| list.pop()).collect())
    }
}

/// Whether the elements of each window are pending with the same function.
fn have_one_function(tensor: &SymbolicTensor, windows: &[Vec<usize>]) -> bool {
    let is_one = |pair: &[usize]| match (&tensor.elements[pair[0]], &tensor.elements[pair[1]]) {
        (Element::Pending(one), Element::Pending(other)) => {
            Arc::ptr_eq(&one.function, &other.function) || one.function == other.function
        }
        _ => false,
    };
    windows.iter().all(|window| window.windows(2).all(is_one))
}

/// A tensor with the arguments of those pending functions that never fall, and these functions: the largest value is
/// that of the largest argument. Other elements stay what they are.
fn arguments(tensor: &SymbolicTensor) -> (SymbolicTensor, Vec<Option<Arc<Function>>>) {
    let mut rises: HashMap<usize, bool> = HashMap::new();
    let split = |element: &Element| match element {
        Element::Pending(Pending { function, row })
            if *rises.entry(Arc::as_ptr(function) as usize).or_insert_with(|| never_falls(function)) =>
        {
            (Element::Row(row.clone()), Some(function.clone()))
        }
        other => (other.clone(), None),
    };
    let (elements, functions) = tensor.elements.iter().map(split).unzip();
    let (shape, operators) = (tensor.shape.clone(), tensor.operators.clone());
    (SymbolicTensor { shape, elements, operators }, functions)
}
