//! Residues as they travel.

use std::io::{self, Write};

use crate::files::chunks::Reader;
use crate::files::container::FormatError;

/// Bytes of `count` residues modulo `p`.
pub fn packed_bytes(_p: u32, count: usize) -> u64 {
    4 * count as u64
}

/// Writes a polynomial, `u32[limb][degree]`, the limbs modulo the given primes.
///
/// # Errors
/// The target's.
pub fn write_residues(_primes: &[u32], words: &[u32], _degree: usize, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(bytemuck::cast_slice(words))
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
    for &p in primes {
        let start = words.len();
        words.resize(start + degree, 0);
        body.fill(bytemuck::cast_slice_mut(&mut words[start..]))?;
        if words[start..].iter().fold(false, |bad, &word| bad | (word >= p)) {
            return Err(FormatError::Body("a polynomial has words that are no residues".into()));
        }
    }
    Ok(())
}
