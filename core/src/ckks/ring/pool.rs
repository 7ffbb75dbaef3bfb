//! Buffers that are used again: fresh pages from the system cost more than the arithmetic on them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Buffers of the largest size that are kept for each thread; a polynomial has about as many in use.
const KEPT_PER_THREAD: usize = 16;

/// Free buffers of one ring, for all threads.
pub(in crate::ckks) struct Pool {
    free: Mutex<Free>,
    /// Words of the largest polynomials.
    largest: usize,
    /// Words that are kept on any number of threads.
    least_kept: usize,
}

/// Free buffers by their size, those of one size in the order in which they came.
#[derive(Default)]
struct Free {
    by_words: BTreeMap<usize, VecDeque<(u64, Vec<u32>)>>,
    /// Words of all.
    words: usize,
    /// Buffers that ever came.
    count: u64,
}

impl Free {
    fn put(&mut self, buffer: Vec<u32>) {
        self.count += 1;
        self.words += buffer.capacity();
        self.by_words.entry(buffer.capacity()).or_default().push_back((self.count, buffer));
    }

    /// The buffer of a size that came last: it may still lie in a cache.
    fn take(&mut self, words: usize) -> Option<Vec<u32>> {
        let (_, buffer) = self.by_words.get_mut(&words)?.pop_back()?;
        self.words -= words;
        Some(buffer)
    }

    /// The buffer that has waited longest.
    fn oldest(&mut self) -> Option<Vec<u32>> {
        self.by_words.retain(|_, buffers| !buffers.is_empty());
        let own = self.by_words.values_mut().min_by_key(|buffers| buffers.front().map(|(came, _)| *came))?;
        let (_, buffer) = own.pop_front()?;
        self.words -= buffer.capacity();
        Some(buffer)
    }
}

impl Pool {
    /// Of a ring whose largest polynomials have so many words.
    pub fn new(largest: usize) -> Self {
        Self { free: Mutex::default(), largest, least_kept: 0 }
    }

    /// Keeps as many words in any case.
    pub fn keeping(self, least_kept: usize) -> Self {
        Self { least_kept, ..self }
    }

    /// A buffer of `words` words and no more, content arbitrary: whoever takes it writes all of it.
    ///
    /// Sizes repeat: a larger buffer in a smaller one's place would only hold memory.
    pub fn take(&self, words: usize) -> Vec<u32> {
        let buffer = self.free.lock().unwrap_or_else(PoisonError::into_inner).take(words);
        // Fresh memory comes as zeros from the system: nobody needs to write them again.
        let Some(mut buffer) = buffer else { return vec![0; words] };
        buffer.resize(words, 0);
        buffer
    }

    /// Gives a buffer back; where all together hold too much, those that have waited longest are freed.
    pub fn give(&self, buffer: Vec<u32>) {
        if buffer.capacity() == 0 {
            return;
        }
        let most = (Self::most_kept(rayon::current_num_threads()) * self.largest).max(self.least_kept);
        let mut surplus = Vec::new();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.put(buffer);
        while free.words > most
            && let Some(oldest) = free.oldest()
        {
            surplus.push(oldest);
        }
        drop(free);
        drop(surplus);
    }

    /// Buffers of the largest size that are kept at most for so many threads, or as many words in smaller ones.
    pub fn most_kept(threads: usize) -> usize {
        KEPT_PER_THREAD * threads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pool: &Pool) -> usize {
        let free = pool.free.lock().expect("no thread panicked");
        let held: usize = free.by_words.values().flatten().map(|(_, buffer)| buffer.capacity()).sum();
        assert_eq!(free.words, held);
        free.by_words.values().map(VecDeque::len).sum()
    }

    #[test]
    fn buffers_come_back_in_their_own_size_only() {
        let pool = Pool::new(1000);
        let mut buffer = pool.take(1000);
        buffer.truncate(500);
        pool.give(buffer);
        assert_eq!((pool.take(500).len(), kept(&pool)), (500, 1));
        assert_eq!((pool.take(1000).len(), kept(&pool)), (1000, 0));
    }

    #[test]
    fn the_oldest_make_room() {
        let most = Pool::most_kept(rayon::current_num_threads());
        let pool = Pool::new(100);
        (0..2 * most).for_each(|_| pool.give(Vec::with_capacity(100)));
        assert_eq!(kept(&pool), most);
        // Smaller ones are kept in larger numbers, and a larger one frees several, the oldest first.
        (0..2 * most).for_each(|_| pool.give(Vec::with_capacity(50)));
        assert_eq!(kept(&pool), 2 * most);
        pool.give(Vec::with_capacity(100));
        assert_eq!(kept(&pool), 2 * most - 1);
        assert_eq!((pool.take(100).len(), kept(&pool)), (100, 2 * most - 2), "the last that came was kept");
    }
}
