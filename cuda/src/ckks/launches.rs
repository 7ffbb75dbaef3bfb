//! Launches over lists of items, cut to what one launch takes.

use cudarc::driver::{CudaFunction, CudaSlice, PushKernelArg};
use heman_core::ckks::error::CkksError;
use heman_core::ckks::gpu::GpuRing;
use heman_kernels::{RNS_ARGUMENTS, RnsArguments, RnsContextKey, RnsLaunchParams};

use crate::ckks::ring::CudaRing;
use crate::launch::{Block, config};

/// Blocks of a launch at the most: more would keep a device that a display hangs on from answering.
const MOST_BLOCKS: usize = 1 << 20;
/// Words of a block that goes word by word.
const WORDS_A_BLOCK: usize = 1024;

/// Arguments of one item; all items of a launch have as many.
pub type Item = Vec<u64>;

/// Words, two an argument.
pub fn paired(words: &[u32]) -> impl Iterator<Item = u64> + '_ {
    words.chunks(2).map(|pair| u64::from(pair[0]) | u64::from(pair.get(1).copied().unwrap_or(0)) << 32)
}

/// What a kernel is given between the table of constants and the items' arguments.
pub enum Given<'a> {
    /// Nothing.
    Nothing,
    /// Records or conversions, which lie on the device.
    Records(&'a CudaSlice<u32>),
    /// A matrix, its kernels and terms.
    Matrix(&'a CudaSlice<u32>, u32, u32),
    /// The key of masks.
    Context(RnsContextKey),
}

/// A kernel over items.
pub struct Over<'a> {
    pub step: &'static str,
    pub function: &'a CudaFunction,
    pub params: RnsLaunchParams,
    pub given: Given<'a>,
    /// Blocks of an item: parts of a polynomial, and limbs or records.
    pub grid: [usize; 2],
    pub threads: usize,
    pub shared_bytes: usize,
}

impl CudaRing {
    /// A kernel that goes word by word over `limbs` limbs of every item, given nothing but the items.
    pub fn of_words<'a>(
        &self,
        step: &'static str,
        function: &'a CudaFunction,
        params: RnsLaunchParams,
        limbs: usize,
    ) -> Over<'a> {
        let grid = [self.degree() / WORDS_A_BLOCK, limbs];
        Over { step, function, params, given: Given::Nothing, grid, threads: 256, shared_bytes: 0 }
    }

    /// Launches a kernel for all items.
    pub fn over(&self, over: &Over<'_>, items: &[Item]) -> Result<(), CkksError> {
        let Some(first) = items.first() else { return Ok(()) };
        let [parts, limbs] = over.grid;
        if limbs == 0 {
            return Ok(());
        }
        let each = first.len();
        debug_assert!(each <= RNS_ARGUMENTS, "an item fits a launch");
        let together = (RNS_ARGUMENTS / each).min(MOST_BLOCKS / (parts * limbs)).max(1);
        let params = Block(RnsLaunchParams {
            arguments: each as u32,
            log2_degree: self.log2_degree(),
            all_limbs: self.ring.limbs() as u32,
            special: self.special() as u32,
            ..over.params
        });
        for items in items.chunks(together) {
            let mut arguments = Block(RnsArguments::default());
            for (place, item) in arguments.0.words.chunks_exact_mut(each).zip(items) {
                place.copy_from_slice(item);
            }
            let stream = &self.backend.stream;
            let mut builder = stream.launch_builder(over.function);
            builder.arg(&params).arg(&self.table);
            let (kernels, terms, context);
            match over.given {
                Given::Nothing => {}
                Given::Records(records) => {
                    builder.arg(records);
                }
                Given::Matrix(matrix, of_kernels, of_terms) => {
                    (kernels, terms) = (of_kernels, of_terms);
                    builder.arg(matrix).arg(&kernels).arg(&terms);
                }
                Given::Context(key) => {
                    context = Block(key);
                    builder.arg(&context);
                }
            }
            builder.arg(&arguments);
            let config = config((items.len() * parts, limbs), over.threads, over.shared_bytes);
            // SAFETY: the arguments are those of the kernel's signature, in order; addresses of items are of blocks that
            // outlive the launch's place in the stream, and as long as the steps checked.
            let launched = unsafe { builder.launch(config) };
            launched.map_err(|error| self.backend.error(over.step, error, 0))?;
        }
        Ok(())
    }
}
