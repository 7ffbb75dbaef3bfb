//! Copies to the device beside its kernels.
//!
//! Words go by page-locked buffers on a stream of their own, so that a caller that queues work fills the next buffer
//! and sends it while the device still computes. Kernels that are queued after [`Uploads::join`] find them there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys::CUdeviceptr;
use cudarc::driver::{CudaEvent, CudaSlice, CudaStream, DriverError, PinnedHostSlice, result};
use rayon::prelude::*;

/// Words of a buffer.
const BUFFER_WORDS: usize = 1 << 22;
/// Words that one thread copies at a time.
const PIECE_WORDS: usize = 1 << 16;
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

    /// Room for `count` words that is `kernels`' own, for [`Uploads::send`] to write to. It must not be freed between
    /// that and [`Uploads::join`].
    pub fn room(&self, kernels: &Arc<CudaStream>, count: usize) -> Result<CudaSlice<u32>, DriverError> {
        // SAFETY: every user writes what it does not send before it reads.
        let room = unsafe { self.stream.alloc::<u32>(count.max(1)) }?;
        // Freed behind the kernels that read it, not behind the copy.
        // SAFETY: the allocation is as long as that, and nobody else has it.
        Ok(unsafe { kernels.upgrade_device_ptr::<u32>(room.leak(), count.max(1)) })
    }

    /// Sends words, each of the parts to an address. All threads fill the buffers: one alone copies a tenth of what the
    /// bus takes.
    ///
    /// # Safety
    /// There is room for the words at each address, that of [`Uploads::room`].
    pub unsafe fn send(&self, parts: &[(&[u32], CUdeviceptr)]) -> Result<(), DriverError> {
        // Not locked meanwhile: a thread that waits for others' copies may take up work that sends, too.
        let mut buffers = std::mem::take(&mut *self.buffers());
        // SAFETY: as the caller says.
        let sent = unsafe { self.send_by(&mut buffers, parts) };
        let mut kept = self.buffers();
        if kept.all.is_empty() {
            *kept = buffers;
        }
        sent
    }

    fn buffers(&self) -> MutexGuard<'_, Buffers> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Safety
    /// As [`Uploads::send`].
    unsafe fn send_by(&self, buffers: &mut Buffers, parts: &[(&[u32], CUdeviceptr)]) -> Result<(), DriverError> {
        let mut left = parts.iter().flat_map(|&(words, target)| pieces(words, target)).peekable();
        while left.peek().is_some() {
            let buffer = buffers.next(&self.stream)?;
            if let Some(sent) = buffer.sent.take() {
                sent.synchronize()?;
            }
            let mut free = buffer.words.as_mut_slice()?;
            let mut filled = Vec::new();
            while let Some((words, target)) = left.next_if(|(words, _)| words.len() <= free.len()) {
                let (own, rest) = free.split_at_mut(words.len());
                free = rest;
                filled.push((own, words, target));
            }
            filled.par_iter_mut().for_each(|(own, words, _)| own.copy_from_slice(words));
            let sent = filled.iter().try_for_each(|(own, _, target)| {
                // SAFETY: as the caller says; the buffer is not touched before the event behind the copies.
                unsafe { result::memcpy_htod_async(*target, own, self.stream.cu_stream()) }
            });
            // Without its event a buffer would be filled again under the copies.
            let event = sent.and_then(|()| self.stream.record_event(None));
            buffer.sent = Some(event.inspect_err(|_| _ = self.stream.synchronize())?);
        }
        Ok(())
    }

    /// Lets kernels that are queued from now on wait for what was sent.
    pub fn join(&self, kernels: &CudaStream) -> Result<(), DriverError> {
        // Where that fails, nothing may be freed before the copies are done.
        kernels.join(&self.stream).inspect_err(|_| _ = self.stream.synchronize())
    }
}

/// Words, and where they go, in parts that one thread copies.
fn pieces(words: &[u32], target: CUdeviceptr) -> impl Iterator<Item = (&[u32], CUdeviceptr)> {
    let address = move |at: usize| target + (at * PIECE_WORDS * size_of::<u32>()) as u64;
    words.chunks(PIECE_WORDS).enumerate().map(move |(at, piece)| (piece, address(at)))
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
