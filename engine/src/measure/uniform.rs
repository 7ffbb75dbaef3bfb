//! Keys, ciphertexts and matrices of CKKS, of uniform residues.

use std::sync::Arc;

use heman_core::ckks::error::CkksError;
use heman_core::ckks::files::seeded::SeededSwitchKey;
use heman_core::ckks::params::set::ParameterSet;
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::ckks::ring::matrix::Matrix;

use super::words::words;

/// log2 of the scale.
pub(super) const SCALE_LOG2: u32 = 29;

pub(super) fn residues(params: &ParameterSet, primes: &[u32], seed: u64) -> Vec<u32> {
    let limb = |(at, &p): (usize, &u32)| {
        let words = words(seed + ((at as u64) << 32)).take(params.degree());
        words.map(move |word| (word % u64::from(p)) as u32)
    };
    primes.iter().enumerate().flat_map(limb).collect()
}

pub(super) fn uniform_key(params: &ParameterSet) -> SeededSwitchKey {
    let limbs = params.primes.len();
    let primes = [&params.primes[..], &params.special_primes].concat();
    let digits = limbs.div_ceil(params.special_primes.len()) as u64;
    let bodies = (0..digits).flat_map(|digit| residues(params, &primes, 100 + digit)).collect();
    SeededSwitchKey { seed: [3; 32], limbs: limbs as u32, bodies: Arc::new(bodies) }
}

pub(super) fn ciphertext(params: &ParameterSet, seed: u64) -> Ciphertext {
    let part = |part| residues(params, &params.primes, 200 + 2 * seed + part);
    Ciphertext { parts: [part(0), part(1)], scale: f64::from(SCALE_LOG2).exp2() }
}

/// A matrix of so many rows and terms whose products take the last prime to be rescaled.
pub(super) fn matrix(params: &ParameterSet, (rows, terms): (usize, usize)) -> Result<Matrix, CkksError> {
    let weights: Vec<f64> = (0..rows * terms).map(|at| (at % 15) as f64 / 7.0 - 1.0).collect();
    let scale = ciphertext(params, 0).scale;
    let last = f64::from(*params.primes.last().ok_or(CkksError::Depth)?);
    Matrix::new(&weights, vec![scale; terms], scale * last, &params.moduli()[..params.primes.len()])
}
