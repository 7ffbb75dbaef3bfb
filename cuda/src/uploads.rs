//! Copies to the device beside its kernels.
//!
//! Words go by page-locked buffers on a stream of their own, so that a caller that queues work fills the next buffer
//! and sends it while the device still computes. Kernels that are queued after [`Uploads::join`] find them there.

use std::sync::{Arc, Mutex};

use cudarc::driver::sys::CUdeviceptr;
use cudarc::driver::{CudaEvent, CudaSlice, CudaStream, DevicePtr, DriverError, PinnedHostSlice, result};

/// Words of a buffer.
const BUFFER_WORDS: usize = 1 << 22;
/// One is filled while others are sent.
const BUFFERS: usize = 2;

/// A stream for copies, and the buffers that they go by.
pub(crate) struct Uploads {
    stream: Arc<CudaStream>,
    buffers: Mutex<Buffers>,
}

#[derive(Default)]
struct Buffers {
    all: Vec<Buffer>,
    next: usize,
}

struct Buffer {
    words: PinnedHostSlice<u32>,
    /// Behind the last copy out of it.
    sent: Option<CudaEvent>,
}

impl Uploads {
    /// Beside a stream of kernels. Buffers are allocated when there is something to send.
    pub fn new(kernels: &CudaStream) -> Result<Self, DriverError> {
        Ok(Self { stream: kernels.context().new_stream()?, buffers: Mutex::default() })
    }

    /// Room for `count` words that is `kernels`' own, the first of which are on their way. It must not be freed before
    /// [`Uploads::join`].
    pub fn send(&self, kernels: &Arc<CudaStream>, words: &[u32], count: usize) -> Result<CudaSlice<u32>, DriverError> {
        // SAFETY: every user writes what it does not send before it reads.
        let room = unsafe { self.stream.alloc::<u32>(count.max(1)) }?;
        // Freed behind the kernels that read it, not behind the copy.
        // SAFETY: the allocation is as long as that, and nobody else has it.
        let room = unsafe { kernels.upgrade_device_ptr::<u32>(room.leak(), count.max(1)) };
        let first = room.device_ptr(kernels).0;
        let sent = words.chunks(BUFFER_WORDS).enumerate().try_for_each(|(at, part)| {
            // SAFETY: the room has as many words behind this address.
            unsafe { self.send_part(part, first + 4 * (at * BUFFER_WORDS) as u64) }
        });
        if let Err(error) = sent {
            self.join(kernels)?;
            return Err(error);
        }
        Ok(room)
    }

    /// # Safety
    /// The target must have room for the words.
    unsafe fn send_part(&self, words: &[u32], target: CUdeviceptr) -> Result<(), DriverError> {
        let mut buffers = self.buffers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let buffer = buffers.next(&self.stream)?;
        if let Some(sent) = buffer.sent.take() {
            sent.synchronize()?;
        }
        let own = &mut buffer.words.as_mut_slice()?[..words.len()];
        own.copy_from_slice(words);
        // SAFETY: as the caller says; the buffer is not touched before the event behind the copy.
        unsafe { result::memcpy_htod_async(target, own, self.stream.cu_stream()) }?;
        // Without its event a buffer would be filled again under the copy.
        let sent = self.stream.record_event(None).inspect_err(|_| _ = self.stream.synchronize());
        buffer.sent = Some(sent?);
        Ok(())
    }

    /// Lets kernels that are queued from now on wait for what was sent.
    pub fn join(&self, kernels: &CudaStream) -> Result<(), DriverError> {
        // Where that fails, nothing may be freed before the copies are done.
        kernels.join(&self.stream).inspect_err(|_| _ = self.stream.synchronize())
    }
}

impl Buffers {
    fn next(&mut self, stream: &CudaStream) -> Result<&mut Buffer, DriverError> {
        let at = self.next;
        self.next = (self.next + 1) % BUFFERS;
        if at == self.all.len() {
            // SAFETY: words are written before they are sent.
            let words = unsafe { stream.context().alloc_pinned::<u32>(BUFFER_WORDS) }?;
            self.all.push(Buffer { words, sent: None });
        }
        Ok(&mut self.all[at])
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // The device must not read what is freed. An error here has been met by whoever waited for the results.
        if let Some(sent) = self.sent.take() {
            let _ = sent.synchronize();
        }
    }
}
