//! Keys and inputs from their seeds on the device: only seeds and bodies cross the bus, a fraction of what they become.

use std::ops::Range;

use cudarc::driver::{CudaView, CudaViewMut, DeviceRepr};
use heman_core::device::error::BackendError;
use heman_kernels::{SEEDED_ROWS, SeededRowsParams};

use crate::device::CudaBackend;
use crate::launch::{Block, config, launch};

const THREADS: usize = 256;
/// The S-box and eleven round keys.
const SHARED_BYTES: usize = 256 + 11 * 16;

/// Rows of mask and body whose masks come from one seed; lengths in 32-bit words.
pub struct SeededRows<'a> {
    pub seed: &'a [u8; 16],
    pub mask_words: usize,
    pub body_words: usize,
    /// From a row of the result to the next.
    pub stride: usize,
}

impl SeededRows<'_> {
    /// Writes some of the rows; `bodies` holds theirs.
    pub fn expand<T: DeviceRepr>(
        &self,
        backend: &CudaBackend,
        step: &'static str,
        rows: Range<usize>,
        bodies: &CudaView<'_, T>,
        out: &mut CudaViewMut<'_, T>,
    ) -> Result<(), BackendError> {
        let function = backend.function(step, &SEEDED_ROWS, "seeded_rows_u32", SHARED_BYTES)?;
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| self.seed[4 * at + byte]));
        let block = Block(SeededRowsParams {
            rows: rows.len() as u32,
            mask_words: self.mask_words as u32,
            body_words: self.body_words as u32,
            first_row: rows.start as u32,
            stride: self.stride as u32,
            seed: std::array::from_fn(word),
        });
        // Four words a thread, one more where the range begins within a block of the stream; then the bodies.
        let threads = rows.len() * self.mask_words / 4 + 2 + rows.len() * self.body_words;
        let config = config((threads.div_ceil(THREADS), 1), THREADS, SHARED_BYTES);
        launch!(backend, step, &function, config, &block, bodies, out)
    }
}
