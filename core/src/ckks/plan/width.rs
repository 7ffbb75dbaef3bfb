//! How much a device takes at a time.

use crate::ckks::params::set::ParameterSet;
use crate::ckks::ring::pool::Pool;

/// Rows of a wave for each thread at the least: the end of a wave leaves a thread idle for half a row.
const WAVE_ROWS_PER_THREAD: usize = 16;
/// Rows of a wave at the least, and at the most: so many share what is read of their operands.
const WAVE_ROWS: [usize; 2] = [32, 128];
/// Bytes of the sums of a wave, between those bounds.
const WAVE_BYTES: usize = 1 << 25;

/// Rows of a wave on a GPU at the least and at the most; between, their sums are [`GPU_WAVE_SHARE`] of its memory.
const GPU_WAVE_ROWS: [usize; 2] = [32, 256];
const GPU_WAVE_SHARE: u64 = 32;
/// The share of a GPU's memory that the ciphertexts of polynomials in the works take, and that of key switches.
const WORK_SHARE: u64 = 12;
/// Bytes of either at the most: fifty products of the largest plans, whose launches are then tens of times what a
/// device runs at once. With fewer, its last blocks leave it idle for up to a third of a launch.
const MOST_WORK_BYTES: u64 = 2 << 30;
/// Ciphertexts that a polynomial's evaluation holds at one time, the argument and the result among them.
const HELD_BY_POLYNOMIAL: usize = 8;

/// Bytes of a ciphertext.
fn ciphertext_bytes(params: &ParameterSet, limbs: usize) -> u64 {
    (8 * limbs as u64) << params.log2_degree
}

/// Bytes that one product takes at a number of limbs while it is relinearised: parts, the product of the masks, low
/// parts and words between two launches; digits at all primes, and their products with the key.
#[must_use]
pub fn switch_bytes(params: &ParameterSet, limbs: usize) -> u64 {
    let special = params.special_primes.len();
    let polynomials = 6 * limbs + (limbs.div_ceil(special) + 2) * (limbs + special);
    (4 * polynomials as u64) << params.log2_degree
}

/// How a GPU's memory is shared out.
#[derive(Clone, Copy, Debug)]
pub struct GpuShares {
    /// Bytes that kernels reach.
    pub reach_bytes: u64,
}

impl GpuShares {
    /// Bytes of the polynomials, or of the key switches, that are in the works at one time, but for one that takes
    /// more.
    #[must_use]
    pub fn work_bytes(self) -> u64 {
        (self.reach_bytes / WORK_SHARE).min(MOST_WORK_BYTES)
    }

    /// Elements whose polynomials are evaluated together, from arguments of so many limbs.
    #[must_use]
    pub fn polynomials_together(self, params: &ParameterSet, limbs: usize) -> usize {
        let of_element = HELD_BY_POLYNOMIAL as u64 * ciphertext_bytes(params, limbs);
        ((self.work_bytes() / of_element) as usize).max(1)
    }

    /// Polynomials that are switched together.
    #[must_use]
    pub fn switched_together(self, params: &ParameterSet, limbs: usize) -> usize {
        ((self.work_bytes() / switch_bytes(params, limbs)) as usize).max(1)
    }

    /// Ciphertexts that are divided by their last prime together.
    #[must_use]
    pub fn rescaled_together(self, params: &ParameterSet, limbs: usize) -> usize {
        ((self.work_bytes() / ciphertext_bytes(params, limbs)) as usize).max(1)
    }

    /// All of it for a ring.
    #[must_use]
    pub fn width(self, params: &ParameterSet) -> Width {
        let limbs = params.primes.len();
        let of_ciphertext = ciphertext_bytes(params, limbs);
        let fitting = (self.reach_bytes / GPU_WAVE_SHARE / of_ciphertext) as usize;
        let one_polynomial = HELD_BY_POLYNOMIAL as u64 * of_ciphertext;
        Width {
            wave_rows: fitting.clamp(GPU_WAVE_ROWS[0], GPU_WAVE_ROWS[1]),
            working_bytes: self.work_bytes().max(one_polynomial) + self.work_bytes().max(switch_bytes(params, limbs)),
        }
    }
}

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
        let words = ((threads * row) << params.log2_degree) + waiting_words(params, threads);
        Self { wave_rows: wave_rows(params, threads), working_bytes: 4 * words as u64 }
    }
}

/// Rows of a wave on so many threads.
fn wave_rows(params: &ParameterSet, threads: usize) -> usize {
    let fitting = (WAVE_BYTES >> (3 + params.log2_degree)) / params.primes.len();
    fitting.clamp(WAVE_ROWS[0], WAVE_ROWS[1]).max(WAVE_ROWS_PER_THREAD * threads)
}

/// Words of the buffers that wait for use on so many threads: those of polynomials, and those of a wave's sums.
#[must_use]
pub fn waiting_words(params: &ParameterSet, threads: usize) -> usize {
    let limbs = params.primes.len();
    let of_polynomials = Pool::most_kept(threads) * (limbs + params.special_primes.len());
    (of_polynomials + 2 * limbs * wave_rows(params, threads)) << params.log2_degree
}
