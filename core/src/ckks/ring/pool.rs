//! Buffers that are used again: fresh pages from the system cost more than the arithmetic on them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Buffers kept at most for each thread; a polynomial has about as many in use.
const KEPT_PER_THREAD: usize = 16;

/// Free buffers of one ring, for all threads, the one that has waited longest first.
#[derive(Default)]
pub(in crate::ckks) struct Pool(Mutex<VecDeque<Vec<u32>>>);

impl Pool {
    /// A buffer of `words` words and no more, content arbitrary: whoever takes it writes all of it.
    ///
    /// Sizes repeat: a larger buffer in a smaller one's place would only hold memory.
    pub fn take(&self, words: usize) -> Vec<u32> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = free.iter().rposition(|buffer| buffer.capacity() == words);
        let buffer = fitting.and_then(|at| free.remove(at));
        drop(free);
        // Fresh memory comes as zeros from the system: nobody needs to write them again.
        let Some(mut buffer) = buffer else { return vec![0; words] };
        buffer.resize(words, 0);
        buffer
    }

    /// Gives a buffer back; where there are too many, the one that has waited longest is freed.
    pub fn give(&self, buffer: Vec<u32>) {
        if buffer.capacity() == 0 {
            return;
        }
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.push_back(buffer);
        let surplus = if free.len() > Self::most_kept(rayon::current_num_threads()) { free.pop_front() } else { None };
        drop(free);
        drop(surplus);
    }

    /// Buffers that are kept at most for so many threads.
    pub fn most_kept(threads: usize) -> usize {
        KEPT_PER_THREAD * threads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most_kept() -> usize {
        Pool::most_kept(rayon::current_num_threads())
    }

    fn kept(pool: &Pool) -> usize {
        pool.0.lock().expect("no thread panicked").len()
    }

    #[test]
    fn buffers_come_back_in_their_own_size_only() {
        let pool = Pool::default();
        let mut buffer = pool.take(1000);
        buffer.truncate(500);
        pool.give(buffer);
        assert_eq!((pool.take(500).len(), kept(&pool)), (500, 1));
        assert_eq!((pool.take(1000).len(), kept(&pool)), (1000, 0));
    }

    #[test]
    fn the_oldest_make_room() {
        let pool = Pool::default();
        (0..2 * most_kept()).for_each(|at| pool.give(Vec::with_capacity(10 + at)));
        assert_eq!(kept(&pool), most_kept());
        assert_eq!(pool.take(10).len(), 10);
        assert_eq!(kept(&pool), most_kept(), "the first was freed");
        assert_eq!(pool.take(9 + 2 * most_kept()).len(), 9 + 2 * most_kept());
        assert_eq!(kept(&pool), most_kept() - 1, "the last was kept");
    }
}
