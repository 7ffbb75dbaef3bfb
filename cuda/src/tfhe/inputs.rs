//! Fresh inputs, expanded from their seeds on the device.

use cudarc::driver::CudaSlice;
use heman_core::device::error::{BackendError, require};
use heman_core::tfhe::files::ciphertexts::EncryptedInput;
use heman_core::tfhe::ops::InputOps;

use crate::device::CudaBackend;
use crate::tfhe::seeded_rows::SeededRows;

impl InputOps for CudaBackend {
    fn upload_inputs(
        &self,
        inputs: &EncryptedInput,
        (first, count): (usize, usize),
        row_words: usize,
        buffer: &mut CudaSlice<u32>,
        at: usize,
    ) -> Result<(), BackendError> {
        const STEP: &str = "inputs";
        let values = inputs.bodies.len() / inputs.inputs as usize;
        require(STEP, at.saturating_add(values * count * row_words), buffer.len())?;
        let bodies = self.load(STEP, &inputs.bodies[first * values..(first + count) * values])?;
        for (input, seed) in inputs.seeds[first..first + count].iter().enumerate() {
            let rows = SeededRows { seed, mask_words: row_words - 1, body_words: 1, stride: count * row_words };
            let mut target = buffer.slice_mut(at + input * row_words..at + values * count * row_words);
            let bodies = bodies.slice(input * values..(input + 1) * values);
            rows.expand(self, STEP, 0..values, &bodies, &mut target)?;
        }
        Ok(())
    }
}
