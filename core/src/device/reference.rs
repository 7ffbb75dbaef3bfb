//! The slow, readable mirror of the host's steps, for both schemes: what fast devices are compared with.

use crate::device::Device;
use crate::device::cpu::allocate;
use crate::device::error::{BackendError, require};

/// One thread, one row at a time.
pub struct ReferenceBackend;

impl Device for ReferenceBackend {
    type Buffer = Vec<u32>;

    fn name(&self) -> String {
        "reference".into()
    }

    fn allocate(&self, words: usize) -> Result<Vec<u32>, BackendError> {
        allocate(words)
    }

    fn upload(&self, words: &[u32], buffer: &mut Vec<u32>, at: usize) -> Result<(), BackendError> {
        require("upload", at + words.len(), buffer.len())?;
        buffer[at..at + words.len()].copy_from_slice(words);
        Ok(())
    }

    fn download(&self, buffer: &Vec<u32>, at: usize, words: &mut [u32]) -> Result<(), BackendError> {
        require("download", at + words.len(), buffer.len())?;
        words.copy_from_slice(&buffer[at..at + words.len()]);
        Ok(())
    }

    fn sync(&self) -> Result<(), BackendError> {
        Ok(())
    }
}
