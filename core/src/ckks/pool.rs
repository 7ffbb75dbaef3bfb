//! Buffers that are used again: fresh pages from the system cost more than the arithmetic on them.

use std::sync::{Mutex, PoisonError};

/// Buffers kept at most; more are freed.
const MOST_KEPT: usize = 64;

/// Free buffers of one context, for all threads.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Vec<u32>>>);

impl Pool {
    /// A buffer of `words` words, content arbitrary: whoever takes it writes all of it.
    pub fn take(&self, words: usize) -> Vec<u32> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = free.iter().rposition(|buffer| buffer.capacity() >= words);
        let mut buffer = fitting.map_or_else(Vec::new, |at| free.swap_remove(at));
        drop(free);
        buffer.resize(words, 0);
        buffer
    }

    /// Gives a buffer back.
    pub fn give(&self, buffer: Vec<u32>) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < MOST_KEPT {
            free.push(buffer);
        }
    }
}
