//! Pooling: sums are rows, maxima are rounds of comparisons.

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
        let moved = (windows.len() < input.elements.len()).then(|| self.arguments(node, input, &windows)).flatten();
        let (tensor, functions) = match moved {
            Some((arguments, functions)) => (arguments, Some(functions)),
            None => {
                let tensor = self.materialised_input(node, 0, value)?;
                let compared = windows.iter().map(|window| 2 * window.len()).max().unwrap_or(0);
                (self.cut(node, 0, tensor, windows.len(), compared), None)
            }
        };
        let lists = windows.iter().map(|window| window.iter().map(|&i| tensor.elements[i].clone()).collect()).collect();
        let operators = self.label(node, tensor.operators);
        let mut elements = self.tournament(node, lists, &shape, &operators)?;
        if let Some(functions) = functions {
            let behind = |(element, window): (&Element, &Vec<usize>)| match window.first() {
                Some(&first) => element.apply(&functions[first]),
                None => element.clone(),
            };
            elements = elements.iter().zip(&windows).map(behind).collect();
        }
        Ok(vec![Value::Symbolic(SymbolicTensor { shape, elements, operators })])
    }

    /// What pending functions are functions of, with the function of each element, if all windows have one that falls
    /// nowhere and nothing but this node reads them: the largest value is then the function of the largest argument.
    fn arguments(
        &self,
        node: &TypedNode,
        tensor: &SymbolicTensor,
        windows: &[Vec<usize>],
    ) -> Option<(SymbolicTensor, Vec<Arc<Function>>)> {
        let outlet = node.inputs[0];
        let readers = &self.model.nodes[outlet.node].outputs[outlet.slot].successors;
        if readers.len() != 1 || self.model.outputs.contains(&outlet) {
            return None;
        }
        let mut elements = Vec::with_capacity(tensor.elements.len());
        let mut functions: Vec<Arc<Function>> = Vec::with_capacity(tensor.elements.len());
        for element in &tensor.elements {
            let Element::Pending(Pending { function, row }) = element else { return None };
            let is_known = functions.last().is_some_and(|last| Arc::ptr_eq(last, function));
            if !is_known && !never_falls(function) {
                return None;
            }
            functions.push(function.clone());
            elements.push(Element::Row(row.clone()));
        }
        let is_one = |pair: &[usize]| {
            let (one, other) = (&functions[pair[0]], &functions[pair[1]]);
            Arc::ptr_eq(one, other) || one == other
        };
        if !windows.iter().all(|window| window.windows(2).all(is_one)) {
            return None;
        }
        let (shape, operators) = (tensor.shape.clone(), tensor.operators.clone());
        Some((SymbolicTensor { shape, elements, operators }, functions))
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
