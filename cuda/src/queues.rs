//! How many queues a device has in this process: they share its memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

static OPEN: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

fn open() -> MutexGuard<'static, BTreeMap<usize, usize>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A queue of a device, counted as long as it lives.
pub(crate) struct Queue {
    ordinal: usize,
}

impl Queue {
    /// One more queue of a device.
    pub fn new(ordinal: usize) -> Self {
        *open().entry(ordinal).or_default() += 1;
        Self { ordinal }
    }

    /// Queues of the device, itself among them.
    pub fn count(&self) -> usize {
        open().get(&self.ordinal).copied().unwrap_or(1).max(1)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if let Some(count) = open().get_mut(&self.ordinal) {
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_one_device_are_counted_while_they_live() {
        // A device that no test opens.
        let first = Queue::new(1 << 20);
        let second = Queue::new(1 << 20);
        let other = Queue::new((1 << 20) + 1);
        assert_eq!((first.count(), second.count(), other.count()), (2, 2, 1));
        drop(second);
        assert_eq!(first.count(), 1);
    }
}
