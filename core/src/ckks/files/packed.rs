//! Residues as they travel: as many bits each as their prime has, one behind the other, least significant bit first.

use std::io::{self, Write};

use crate::files::chunks::Reader;
use crate::files::container::FormatError;

/// Words that fill whole bytes together, whatever their width.
const GROUP: usize = 8;
/// Bytes that are loaded for one residue: of at most 30 bits, from any bit of a byte on. Unpacking reads so many behind
/// the last one.
pub const LOAD: usize = size_of::<u64>();

/// Bits of a residue modulo an odd prime.
fn bits(p: u32) -> usize {
    (u32::BITS - p.leading_zeros()) as usize
}

/// Bytes of `count` residues modulo `p`; `count` is a multiple of 8, as every degree is.
pub fn packed_bytes(p: u32, count: usize) -> u64 {
    (count / GROUP * bits(p)) as u64
}

/// Residues modulo `p` to bytes, behind what `out` holds.
fn pack(p: u32, words: &[u32], out: &mut Vec<u8>) {
    let bits = bits(p);
    let (mut sum, mut filled) = (0_u64, 0);
    for &word in words {
        sum |= u64::from(word) << filled;
        filled += bits;
        if filled >= 32 {
            out.extend_from_slice(&(sum as u32).to_le_bytes());
            sum >>= 32;
            filled -= 32;
        }
    }
    out.extend_from_slice(&sum.to_le_bytes()[..filled / 8]);
}

/// The inverse of [`pack`]; `bytes` has [`LOAD`] more than it needs. Whether all words are residues.
fn unpack(p: u32, bytes: &[u8], words: &mut [u32]) -> bool {
    macro_rules! of_width {
        ($($bits:literal)*) => {
            match bits(p) {
                $($bits => unpack_bits::<$bits>(p, bytes, words),)*
                bits => unpack_any(bits, p, bytes, words),
            }
        };
    }
    of_width!(20 21 22 23 24 25 26 27 28 29 30)
}

/// With a width that the compiler knows, and shifts that follow from it.
fn unpack_bits<const BITS: usize>(p: u32, bytes: &[u8], words: &mut [u32]) -> bool {
    unpack_any(BITS, p, bytes, words)
}

#[inline(always)]
fn unpack_any(bits: usize, p: u32, bytes: &[u8], words: &mut [u32]) -> bool {
    let mask = (1_u64 << bits) - 1;
    let mut largest = 0;
    let groups = words.as_chunks_mut::<GROUP>().0;
    for (group, words) in groups.iter_mut().enumerate() {
        let bytes = &bytes[group * bits..][..bits + LOAD];
        for (at, word) in words.iter_mut().enumerate() {
            let load = bytes[at * bits / 8..].first_chunk().expect("the bytes reach beyond the group");
            *word = ((u64::from_le_bytes(*load) >> (at * bits % 8)) & mask) as u32;
            largest = largest.max(*word);
        }
    }
    largest < p
}

/// Writes a polynomial, `u32[limb][degree]`, the limbs modulo the given primes.
///
/// # Errors
/// The target's.
pub fn write_residues(primes: &[u32], words: &[u32], degree: usize, out: &mut dyn Write) -> io::Result<()> {
    let mut bytes = Vec::new();
    for (&p, words) in primes.iter().zip(words.chunks(degree)) {
        bytes.clear();
        pack(p, words, &mut bytes);
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Reads a polynomial and appends it to `words`.
///
/// # Errors
/// As [`Reader::fill`]; [`FormatError::Body`] for words that are no residues.
pub fn read_residues(
    primes: &[u32],
    degree: usize,
    body: &mut Reader<'_>,
    words: &mut Vec<u32>,
) -> Result<(), FormatError> {
    let length: u64 = primes.iter().map(|&p| packed_bytes(p, degree)).sum();
    let mut bytes = vec![0; length as usize + LOAD];
    body.fill(&mut bytes[..length as usize])?;
    let start = words.len();
    words.resize(start + primes.len() * degree, 0);
    unpack_residues(primes, degree, &bytes, &mut words[start..])
}

/// Unpacks a polynomial, `u32[limb][degree]`; there are [`LOAD`] bytes more than it needs.
///
/// # Errors
/// [`FormatError::Body`] for words that are no residues.
pub fn unpack_residues(primes: &[u32], degree: usize, bytes: &[u8], words: &mut [u32]) -> Result<(), FormatError> {
    let mut first = 0;
    for (&p, words) in primes.iter().zip(words.chunks_exact_mut(degree)) {
        if !unpack(p, &bytes[first..], words) {
            return Err(FormatError::Body("a polynomial has words that are no residues".into()));
        }
        first += packed_bytes(p, degree) as usize;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::residues::modulus::primes_below;

    fn packed(p: u32, words: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        pack(p, words, &mut bytes);
        assert_eq!(bytes.len() as u64, packed_bytes(p, words.len()));
        bytes.resize(bytes.len() + LOAD, 0xff);
        bytes
    }

    proptest! {
        #[test]
        fn residues_come_back(bits in 14_u32..=30, draws in proptest::collection::vec(any::<u32>(), 1..20)) {
            let p = primes_below(1 << bits, 10).next().expect("a prime of every size");
            let words: Vec<u32> = draws.iter().flat_map(|&draw| (0..8).map(move |i| draw.rotate_left(i) % p)).collect();
            let mut back = vec![0; words.len()];
            prop_assert!(unpack(p, &packed(p, &words), &mut back));
            prop_assert_eq!(back, words);
        }
    }

    #[test]
    fn the_layout_is_one_bit_string() {
        // Nine bits each: word i begins at bit 9 i.
        let words = [1, 2, 3, 4, 5, 6, 7, 256];
        let bytes = packed(257, &words);
        let bit = |at: usize| u32::from(bytes[at / 8] >> (at % 8)) & 1;
        for (at, word) in words.iter().enumerate() {
            assert_eq!((0..9).map(|i| bit(9 * at + i) << i).sum::<u32>(), *word);
        }
    }

    #[test]
    fn words_that_are_no_residues_are_noticed() {
        let p = primes_below(1 << 30, 12).next().expect("a prime");
        let mut words = [p - 1; 16];
        let mut back = [0; 16];
        assert!(unpack(p, &packed(p, &words), &mut back));
        for at in 0..16 {
            words[at] = p;
            assert!(!unpack(p, &packed(p, &words), &mut back), "word {at}");
            words[at] = p - 1;
        }
    }
}
