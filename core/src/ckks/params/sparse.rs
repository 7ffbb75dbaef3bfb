//! What may be encrypted under the sparse secret of bootstraps.

use crate::ckks::params::set::ParameterSet;

/// Coefficients of the sparse secret that are not 0.
pub const SPARSE_WEIGHT: usize = 32;
/// Limbs of what is encrypted under the sparse secret at the most: those of a ciphertext that is raised.
pub const MOST_SPARSE_LIMBS: usize = 2;
/// log2 of the largest modulus under the sparse secret, by log2 N.
///
/// Source: the figures that the library poulpy has for 128 bits and secrets of 32 ternary coefficients, against the
/// hybrid attacks of ePrint 2026/279. Bossuat, Troncoso-Pastoriza, Hubaux, ePrint 2022/024, section 3, introduces the
/// sparse secret for this one step: all that is ever encrypted under it has the modulus of `Q_0 P`.
pub const MOST_SPARSE_MODULUS_BITS: [(u32, f64); 2] = [(15, 162.0), (16, 345.0)];

/// log2 of the modulus of a key under the sparse secret for so many limbs, the special primes among it.
#[must_use]
pub fn sparse_modulus_bits(params: &ParameterSet, limbs: usize) -> f64 {
    let primes = params.primes.iter().take(limbs).chain(&params.special_primes);
    primes.map(|&p| f64::from(p).log2()).sum()
}

/// Checks that a key under the sparse secret for so many limbs has 128 bits.
///
/// # Errors
/// A sentence that says what would be needed.
pub fn check_sparse_modulus(params: &ParameterSet, limbs: usize) -> Result<(), String> {
    let Some(&(_, most)) = MOST_SPARSE_MODULUS_BITS.iter().find(|(log2, _)| *log2 == params.log2_degree) else {
        return Err(format!("no sparse secret is known to be safe at N = 2^{}", params.log2_degree));
    };
    let bits = sparse_modulus_bits(params, limbs);
    if bits > most {
        return Err(format!("log2(Q_0 P) is {bits:.1}, more than the {most} that a sparse secret protects"));
    }
    Ok(())
}
