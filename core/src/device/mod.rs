#![doc = include_str!("contract.md")]

pub mod cache;
pub mod cpu;
pub mod error;
pub mod reference;
pub(crate) mod simd;

use crate::device::error::BackendError;

/// Bytes for the buffers of one pass where a backend knows no better.
pub const DEFAULT_BUFFER_BYTES: usize = 1 << 30;

/// Memory of a device and the way in and out.
pub trait Device {
    /// Words on the device.
    type Buffer: Send;

    /// For people: "CPU, 2 threads, AVX-512".
    fn name(&self) -> String;

    /// A buffer of `words` words, content undefined.
    ///
    /// # Errors
    /// [`BackendError::OutOfMemory`].
    fn allocate(&self, words: usize) -> Result<Self::Buffer, BackendError>;

    /// Copies `words` to the buffer from word `at` on.
    ///
    /// # Errors
    /// [`BackendError::Shape`] past the buffer's end.
    fn upload(&self, words: &[u32], buffer: &mut Self::Buffer, at: usize) -> Result<(), BackendError>;

    /// Copies words `at .. at + words.len()` of the buffer to the host, after all steps before it.
    ///
    /// # Errors
    /// [`BackendError::Shape`] past the buffer's end; any error of the steps before.
    fn download(&self, buffer: &Self::Buffer, at: usize, words: &mut [u32]) -> Result<(), BackendError>;

    /// Bytes that the buffers of one pass should stay within.
    fn buffer_bytes(&self) -> usize {
        DEFAULT_BUFFER_BYTES
    }

    /// Waits for all steps before it.
    ///
    /// # Errors
    /// Any error of the steps before.
    fn sync(&self) -> Result<(), BackendError>;
}
