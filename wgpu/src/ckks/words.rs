//! What steps word by word ask of the device: memory, and launches over lists of addresses.

use heman_core::ckks::error::CkksError;
use heman_core::ckks::gpu::{Address, GpuRing, Operation, WordItem};
use heman_core::ckks::plan::width::GpuShares;
use heman_kernels::RnsWordsParams;

use crate::ckks::batch::{Item, Over};
use crate::ckks::ring::WgpuRing;
use crate::context::Block;

impl WgpuRing {
    /// Runs an operation over the first `limbs` limbs of all items.
    pub(super) fn run_items(
        &self,
        step: &'static str,
        operation: Operation,
        limbs: usize,
        items: &[Item],
    ) -> Result<(), CkksError> {
        let over = Over {
            step,
            kernel: &self.kernels.words,
            params: RnsWordsParams { items: 0, log2_degree: self.log2_degree(), operation: operation as u32 },
            groups: [self.limb_groups(), limbs],
            multiplications: (limbs * self.degree()) as f64,
        };
        self.over(&over, items)
    }
}

impl GpuRing for WgpuRing {
    type Block = Block;

    fn shares(&self) -> GpuShares {
        GpuShares { reach_bytes: self.context.reach_bytes() }
    }

    fn reserve(&self, step: &'static str, polynomials: usize) -> Result<Block, CkksError> {
        Ok(self.context.reserve(step, polynomials * self.degree())?)
    }

    fn run(
        &self,
        step: &'static str,
        operation: Operation,
        limbs: usize,
        items: &[WordItem<'_, Address<Self>>],
    ) -> Result<(), CkksError> {
        let item = |item: &WordItem<'_, u32>| match item.numbers() {
            [] => Item::new(item.operands()),
            numbers => Item::with_list(item.operands(), 3, numbers.to_vec()),
        };
        self.run_items(step, operation, limbs, &items.iter().map(item).collect::<Vec<_>>())
    }
}
