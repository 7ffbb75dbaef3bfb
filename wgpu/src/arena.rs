//! Which words of the slabs are taken.

use std::collections::BTreeMap;

/// Slabs that kernels see, one storage buffer each.
pub const SLABS: usize = 6;
/// Bits of an address that are a word's place in its slab.
pub const PLACE_BITS: u32 = 29;
/// Words of which every block takes a multiple: rows then begin where memory is read as a whole.
const GRANULE: usize = 64;

/// The free words of one slab.
#[derive(Debug)]
pub struct Arena {
    words: usize,
    /// Length of each free stretch, by its first word.
    free: BTreeMap<usize, usize>,
}

/// Words that a block of `words` takes.
pub fn granules(words: usize) -> usize {
    words.max(1).next_multiple_of(GRANULE)
}

impl Arena {
    /// All of `words` words free.
    pub fn new(words: usize) -> Self {
        Self { words, free: BTreeMap::from([(0, words)]) }
    }

    /// The first word of a stretch that was free, the shortest that is long enough; `words` as of [`granules`].
    pub fn take(&mut self, words: usize) -> Option<usize> {
        let fitting = self.free.iter().filter(|&(_, &length)| length >= words);
        let (&first, &length) = fitting.min_by_key(|&(_, &length)| length)?;
        self.free.remove(&first);
        if length > words {
            self.free.insert(first + words, length - words);
        }
        Some(first)
    }

    /// Gives a stretch back, and joins it with its free neighbours.
    pub fn give(&mut self, first: usize, words: usize) {
        let (mut first, mut words) = (first, words);
        if let Some((&before, &length)) = self.free.range(..first).next_back()
            && before + length == first
        {
            self.free.remove(&before);
            (first, words) = (before, words + length);
        }
        if let Some(length) = self.free.remove(&(first + words)) {
            words += length;
        }
        debug_assert!(first + words <= self.words, "a stretch of this slab");
        self.free.insert(first, words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_whole_again() {
        let mut arena = Arena::new(1024);
        let blocks: Vec<usize> = (0..4).map(|_| arena.take(256).expect("fits")).collect();
        assert_eq!(arena.take(64), None);
        for &at in &[1, 3, 0, 2] {
            arena.give(blocks[at], 256);
        }
        assert_eq!(arena.take(1024), Some(0), "stretches join");
    }

    #[test]
    fn the_shortest_stretch_that_fits_is_taken() {
        let mut arena = Arena::new(1024);
        let (a, b, c) = (arena.take(512), arena.take(64), arena.take(128));
        assert_eq!((a, b, c), (Some(0), Some(512), Some(576)));
        arena.give(512, 64);
        assert_eq!(arena.take(64), Some(512));
        assert_eq!(arena.take(1024 - 512 - 64 - 128), Some(704));
        assert_eq!(arena.take(64), None);
    }
}
