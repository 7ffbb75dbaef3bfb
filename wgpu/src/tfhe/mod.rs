//! The steps of TFHE on the device.

mod bootstrap;
mod keyswitch;
mod linear;

use heman_core::device::error::BackendError;
use heman_core::tfhe::ops::InputOps;

use crate::context::Block;
use crate::device::WgpuBackend;

pub use bootstrap::{WgpuBootstrapKey, WgpuTables};
pub use keyswitch::WgpuKeyswitchKey;
pub use linear::WgpuAffine;

impl InputOps for WgpuBackend {}

impl WgpuBackend {
    /// Words on the device.
    fn load(&self, step: &'static str, words: &[u32]) -> Result<Block, BackendError> {
        let block = self.context.reserve(step, words.len())?;
        self.context.upload(step, words, &block, 0)?;
        Ok(block)
    }
}
