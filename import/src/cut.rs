//! Linear layers that become values of their own.
//!
//! Rows of one linear layer behind another are composed, which costs nothing but terms. Where a pointwise convolution
//! reads a depthwise one, or comparisons read either, there are many times as many terms as both layers have. A model
//! that is too large otherwise is lowered with such layers as stages, whose function is the identity. Planners compose
//! those that they can afford to.

use std::sync::Arc;

use heman_core::model::function::Function;
use tract_onnx::prelude::*;

use super::element::{Element, Pending, SymbolicTensor};
use super::lower::{Lowering, Value};

/// How many times as many terms composed rows have where they are cut.
const MOST_GROWTH: usize = 3;
/// Fewer terms are composed in any case.
const FEW_TERMS: usize = 1 << 16;

impl Lowering<'_> {
    /// A materialised input whose rows are values of their own, if they become too long in what reads them: so many
    /// outputs that read so many elements each.
    pub(super) fn cut(
        &mut self,
        node: &TypedNode,
        slot: usize,
        mut tensor: SymbolicTensor,
        outputs: usize,
        reads: usize,
    ) -> SymbolicTensor {
        if !self.cuts {
            return tensor;
        }
        let terms = tensor.terms();
        let mean = terms / tensor.elements.len().max(1);
        let composed = outputs.saturating_mul(reads.saturating_mul(mean).min(self.value_count));
        let apart = outputs.saturating_mul(reads).saturating_add(terms);
        if mean <= 1 || composed < FEW_TERMS || composed / MOST_GROWTH < apart {
            return tensor;
        }
        let identity = Arc::new(Function::X);
        for element in &mut tensor.elements {
            if let Element::Row(row) = element
                && row.taps.len() > 1
            {
                *element = Element::Pending(Pending { function: identity.clone(), row: row.clone() });
            }
        }
        let outlet = node.inputs[slot];
        let producer = &self.model.nodes[outlet.node];
        self.materialise(producer, &mut tensor);
        self.values.insert(outlet, Value::Symbolic(tensor.clone()));
        tensor
    }
}
