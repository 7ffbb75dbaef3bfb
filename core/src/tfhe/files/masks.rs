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

    /// FIPS 197, appendix C.1: the block 00112233…ff under the key 000102…0f. As a counter, its bytes read backwards.
    #[test]
    fn a_block_is_the_standards() {
        let masks = Masks::new(&std::array::from_fn(|at| at as u8));
        let mut block: Block = std::array::from_fn::<u8, 16, _>(|at| 0x11 * at as u8).into();
        masks.0.encrypt_block(&mut block);
        let want = [0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30, 0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5, 0x5a];
        assert_eq!(block.0, want);
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
