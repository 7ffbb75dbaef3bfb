//! What steps word by word ask of the device: memory, and launches over lists of addresses.

use heman_core::ckks::error::CkksError;
use heman_core::ckks::gpu::{Address, GpuRing, Operation, WordItem};
use heman_core::ckks::plan::width::GpuShares;
use heman_kernels::RnsLaunchParams;

use crate::ckks::Block;
use crate::ckks::launches::{Item, paired};
use crate::ckks::ring::CudaRing;

impl GpuRing for CudaRing {
    type Block = Block;

    fn shares(&self) -> GpuShares {
        GpuShares { reach_bytes: self.reach_bytes() }
    }

    fn reserve(&self, step: &'static str, polynomials: usize) -> Result<Block, CkksError> {
        Ok(self.block(self.backend.reserve(step, polynomials * self.degree())?))
    }

    fn run(
        &self,
        step: &'static str,
        operation: Operation,
        limbs: usize,
        items: &[WordItem<'_, Address<Self>>],
    ) -> Result<(), CkksError> {
        let params = RnsLaunchParams { operation: operation as u32, ..RnsLaunchParams::default() };
        let item = |item: &WordItem<'_, u64>| item.operands().into_iter().chain(paired(item.numbers())).collect();
        let items: Vec<Item> = items.iter().map(item).collect();
        self.over(&self.of_words(step, &self.kernels.words, params, limbs), &items)
    }
}
