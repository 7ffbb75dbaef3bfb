//! The device of both schemes.

use std::sync::{Arc, OnceLock};

use heman_core::device::Device;
use heman_core::device::error::{BackendError, require};

use crate::context::{Block, Context, Restrictions, Table};
use crate::error::WgpuError;

/// Words on the device.
pub struct WgpuBuffer(pub(crate) Block);

/// Runs every step on one adapter, in the order of the calls.
pub struct WgpuBackend {
    pub(crate) context: Arc<Context>,
    /// For kernels that need no constants.
    empty: OnceLock<Table>,
}

impl WgpuBackend {
    /// Opens adapter `index` of [`crate::devices`].
    ///
    /// # Errors
    /// [`WgpuError`] where there is none, or it cannot run our kernels.
    pub fn open(index: usize) -> Result<Self, WgpuError> {
        Self::restricted(index, Restrictions::default())
    }

    /// The same within limits that are narrower than the adapter's, for tests.
    ///
    /// # Errors
    /// As [`WgpuBackend::open`].
    pub fn restricted(index: usize, restrictions: Restrictions) -> Result<Self, WgpuError> {
        Ok(Self { context: Arc::new(Context::open(index, restrictions)?), empty: OnceLock::new() })
    }

    /// A table without constants.
    pub(crate) fn empty_table(&self) -> Result<&Table, BackendError> {
        if let Some(table) = self.empty.get() {
            return Ok(table);
        }
        let table = self.context.table("loading constants", &[[0; 2]])?;
        Ok(self.empty.get_or_init(|| table))
    }

    /// Bytes that keys, maps and ciphertexts may take in all, as far as kernels reach; the device may have less.
    #[must_use]
    pub fn reach_bytes(&self) -> u64 {
        self.context.reach_bytes()
    }
}

impl Device for WgpuBackend {
    type Buffer = WgpuBuffer;

    fn name(&self) -> String {
        self.context.name.clone()
    }

    fn allocate(&self, words: usize) -> Result<WgpuBuffer, BackendError> {
        self.context.reserve("allocate", words).map(WgpuBuffer)
    }

    fn upload(&self, words: &[u32], buffer: &mut WgpuBuffer, at: usize) -> Result<(), BackendError> {
        require("upload", at.saturating_add(words.len()), buffer.0.words)?;
        self.context.upload("upload", words, &buffer.0, at)
    }

    fn download(&self, buffer: &WgpuBuffer, at: usize, words: &mut [u32]) -> Result<(), BackendError> {
        require("download", at.saturating_add(words.len()), buffer.0.words)?;
        self.context.download("download", &buffer.0, at, words)
    }

    fn buffer_bytes(&self) -> usize {
        // A pass's largest buffer is most of it, and no buffer is longer than a slab.
        4 * self.context.most_words()
    }

    fn sync(&self) -> Result<(), BackendError> {
        self.context.finish("waiting for the device")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_lost_is_an_error() {
        let Ok(backend) = WgpuBackend::open(0) else { return println!("skipped: no adapter") };
        let mut buffer = backend.allocate(64).expect("memory");
        backend.upload(&[1; 64], &mut buffer, 0).expect("uploads");
        backend.context.device.destroy();
        let uploaded = backend.upload(&[2; 64], &mut buffer, 0);
        let mut words = [0; 64];
        let downloaded = backend.download(&buffer, 0, &mut words);
        assert!(matches!(downloaded, Err(BackendError::Device { .. })), "{uploaded:?}, {downloaded:?}");
        assert!(backend.sync().is_err(), "and stays one");
    }

    #[test]
    fn what_no_binding_holds_is_out_of_memory() {
        let Ok(backend) = WgpuBackend::open(0) else { return println!("skipped: no adapter") };
        let refused = backend.allocate(1 << 40).err();
        assert!(matches!(refused, Some(BackendError::OutOfMemory { bytes, .. }) if bytes == 4 << 40), "{refused:?}");
        let words = backend.context.most_words();
        let held: Vec<_> = std::iter::from_fn(|| backend.allocate(words).ok()).take(100).collect();
        assert!(held.len() <= 6, "no more than there are slabs");
        assert!(matches!(backend.allocate(words).err(), Some(BackendError::OutOfMemory { .. })));
        drop(held);
        assert!(backend.allocate(words).is_ok(), "what was given back is free");
    }
}
