//! Masks made of their seed, as `tfhe-csprng` makes them.
//!
//! All masks of a seed are one stream of bytes: AES-128 in counter mode (FIPS 197), the seed being the key, and block i
//! the encryption of i, least significant byte first. Words are read from it least significant byte first. So the masks
//! of any part of a key are made on their own. tfhe hands its stream out byte by byte, which takes longer than all else
//! that is done when a key is loaded; here, blocks are encrypted many at a time.

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Block};

/// Bytes of a block.
const BLOCK: usize = 16;
/// Blocks that are encrypted at a time: they stay in the first-level cache.
const TOGETHER: usize = 128;

/// The stream of one seed.
pub struct Masks(Aes128);

impl Masks {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: &[u8; 16]) -> Self {
        Self(Aes128::new(seed.into()))
    }

    /// Bytes of the stream from place `first` on.
    fn fill(&self, first: u64, mut out: &mut [u8]) {
        let mut blocks = [Block::default(); TOGETHER];
        let (mut number, mut skipped) = (first / BLOCK as u64, (first % BLOCK as u64) as usize);
        while !out.is_empty() {
            let needed = &mut blocks[..(skipped + out.len()).div_ceil(BLOCK).min(TOGETHER)];
            for block in needed.iter_mut() {
                block.0 = u128::from(number).to_le_bytes();
                number += 1;
            }
            self.0.encrypt_blocks(needed);
            let bytes = &Block::slice_as_flattened(needed)[skipped..];
            let (now, rest) = out.split_at_mut(bytes.len().min(out.len()));
            now.copy_from_slice(&bytes[..now.len()]);
            (out, skipped) = (rest, 0);
        }
    }

    /// Words of 32 bits of the stream, from word `first` of it on.
    pub fn fill_u32(&self, first: u64, words: &mut [u32]) {
        self.fill(size_of::<u32>() as u64 * first, bytemuck::cast_slice_mut(words));
        words.iter_mut().for_each(|word| *word = u32::from_le(*word));
    }

    /// Words of 64 bits of the stream, from word `first` of it on.
    pub fn fill_u64(&self, first: u64, words: &mut [u64]) {
        self.fill(size_of::<u64>() as u64 * first, bytemuck::cast_slice_mut(words));
        words.iter_mut().for_each(|word| *word = u64::from_le(*word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The block of zeros under the key of zeros: the hash key of test case 1 of the GCM specification.
    #[test]
    fn the_stream_begins_with_the_encryption_of_zero() {
        let mut block = [0; BLOCK];
        Masks::new(&[0; 16]).fill(0, &mut block);
        let want = [0x66, 0xe9, 0x4b, 0xd4, 0xef, 0x8a, 0x2c, 0x3b, 0x88, 0x4c, 0xfa, 0x59, 0xca, 0x34, 0x2b, 0x2e];
        assert_eq!(block, want);
    }

    #[test]
    fn counters_begin_with_their_least_significant_byte() {
        let masks = Masks::new(&[3; 16]);
        let mut block = [0; BLOCK];
        masks.fill(0x0102_0304 * BLOCK as u64, &mut block);
        let mut want: Block = [4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].into();
        masks.0.encrypt_block(&mut want);
        assert_eq!(block, want.0);
    }

    #[test]
    fn any_part_of_the_stream_is_what_the_whole_has_there() {
        let masks = Masks::new(&[7; 16]);
        let mut whole = vec![0; 3 * TOGETHER * BLOCK + 5];
        masks.fill(0, &mut whole);
        for (first, count) in [(0, 1), (1, 15), (3, 14), (15, 2), (16, 16), (5, 2 * TOGETHER * BLOCK), (9, 0)] {
            let mut part = vec![0; count];
            masks.fill(first as u64, &mut part);
            assert_eq!(part, whole[first..][..count], "{count} bytes from {first} on");
        }
        let mut words = [0; 3];
        masks.fill_u64(5, &mut words);
        let want = [5, 6, 7].map(|at| u64::from_le_bytes(whole[8 * at..][..8].try_into().expect("eight bytes")));
        assert_eq!(words, want);
    }
}
