//! The steps of TFHE on the host.

mod bootstrap;
mod bootstrap_key;
mod exact;
mod fourier;
mod keyswitch;
mod linear;
mod product;
pub mod reference;
mod rotation;
#[cfg(test)]
mod rounding;

pub use bootstrap::bytes_of_a_thread;
pub use bootstrap_key::CpuBootstrapKey;
pub use exact::{ExactBackend, ExactBootstrapKey};
pub use keyswitch::CpuKeyswitchKey;

use crate::device::Device;
use crate::device::cpu::CpuBackend;
use crate::device::error::BackendError;
use crate::tfhe::files::ciphertexts::EncryptedInput;
use crate::tfhe::ops::InputOps;

impl InputOps for CpuBackend {
    fn upload_inputs(
        &self,
        inputs: &EncryptedInput,
        (first, count): (usize, usize),
        row_words: usize,
        buffer: &mut Vec<u32>,
        at: usize,
    ) -> Result<(), BackendError> {
        let rows = self.pool.install(|| inputs.expand(row_words, first, count));
        self.upload(&rows, buffer, at)
    }
}

/// A pointer that threads share while they write to different rows.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut(pub(crate) *mut u32);

// SAFETY: every user writes rows that no other thread touches, as its own comment says.
unsafe impl Send for SharedMut {}
// SAFETY: as above.
unsafe impl Sync for SharedMut {}

impl SharedMut {
    /// # Safety
    /// `at + length` lies within the buffer that the pointer was made from, which outlives the slice, and no other
    /// thread reads or writes these words meanwhile.
    pub(crate) unsafe fn slice<'a>(self, at: usize, length: usize) -> &'a mut [u32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(at), length) }
    }
}
