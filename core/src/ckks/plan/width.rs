//! How much a device takes at a time.

use crate::ckks::params::set::ParameterSet;
use crate::ckks::ring::pool::Pool;

/// Rows of a wave for each thread at the least: the end of a wave leaves a thread idle for half a row.
const WAVE_ROWS_PER_THREAD: usize = 16;
/// Rows of a wave at the least, and at the most: so many share what is read of their operands.
const WAVE_ROWS: [usize; 2] = [32, 128];
/// Bytes of the sums of a wave, between those bounds.
const WAVE_BYTES: usize = 1 << 25;

/// What a device holds and works on at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width {
    /// Rows of a map that are evaluated together.
    pub wave_rows: usize,
    /// Bytes that a wave's steps hold beside the ciphertexts that they are given and give.
    pub working_bytes: u64,
}

impl Width {
    /// Of so many threads of the host: a row each at the highest level, and the buffers that wait.
    #[must_use]
    pub fn of_threads(params: &ParameterSet, threads: usize) -> Self {
        let (limbs, special) = (params.primes.len(), params.special_primes.len());
        let extended = limbs + special;
        // Four ciphertexts of an activation, the product's three parts and its coefficients; digits and their products.
        let row = 4 * 2 * limbs + 4 * limbs + (limbs.div_ceil(special) + 2) * extended;
        let polynomials = threads * row + Pool::most_kept(threads) * extended;
        let fitting = WAVE_BYTES >> (3 + params.log2_degree);
        let fitting = fitting / limbs;
        Self {
            wave_rows: fitting.clamp(WAVE_ROWS[0], WAVE_ROWS[1]).max(WAVE_ROWS_PER_THREAD * threads),
            working_bytes: (4 * polynomials as u64) << params.log2_degree,
        }
    }
}
