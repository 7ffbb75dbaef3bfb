//! Parameters, and ciphertexts and keys of reproducible residues: equality of words needs no secret behind them.

use std::sync::Arc;

use heman_core::ckks::files::seeded::{Seed, SeededCiphertext, SeededSwitchKey};
use heman_core::ckks::params::set::{ParameterSet, RingKind};
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::ckks::ring::plaintext::Plaintext;

use crate::tfhe::keys::words;

/// The smallest secure set with levels: three limbs at N = 2^12, one special prime.
///
/// # Panics
/// Never: the set is secure.
#[must_use]
pub fn smallest() -> ParameterSet {
    ParameterSet::new(12, 2, 22, 1).expect("a secure set")
}

/// A set in the ring of real slots, with digits of two limbs of which the last is short.
///
/// # Panics
/// Never: the set is secure.
#[must_use]
pub fn real() -> ParameterSet {
    ParameterSet::of(RingKind::Real, 13, 4, 28, 2).expect("a secure set")
}

/// Sets with one, two and three special primes: digits of one limb, of two of which the last is short, and one of three
/// beside a single limb whose primes are as large as they may be.
///
/// # Panics
/// Never: the sets are secure.
#[must_use]
pub fn sets() -> [ParameterSet; 3] {
    let set = |levels, scale_log2, special| ParameterSet::new(13, levels, scale_log2, special).expect("a secure set");
    [smallest(), set(4, 28, 2), set(3, 29, 3)]
}

/// Seven limbs in digits of five and two: more sources than kernels convert from registers.
///
/// # Panics
/// Never: the set is secure.
#[must_use]
pub fn long_digits() -> ParameterSet {
    ParameterSet::new(14, 6, 28, 5).expect("a secure set")
}

/// A reproducible seed.
#[must_use]
pub fn seed(number: u32) -> Seed {
    let mut seed = [0; 32];
    seed.chunks_exact_mut(4).zip(words(8, number)).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
    seed
}

/// A polynomial of arbitrary residues, `u32[limb][N]` for the given primes; the first words of each limb are 0 and p -
/// 1.
#[must_use]
pub fn residues(primes: &[u32], log2_degree: u32, seed: u32) -> Vec<u32> {
    let limb = |(at, &p): (usize, &u32)| {
        let mut limb: Vec<u32> = words(1 << log2_degree, seed * 64 + at as u32).iter().map(|word| word % p).collect();
        (limb[0], limb[1]) = (0, p - 1);
        limb
    };
    primes.iter().enumerate().flat_map(limb).collect()
}

/// A polynomial whose words are all p - 1.
#[must_use]
pub fn largest_residues(primes: &[u32], log2_degree: u32) -> Vec<u32> {
    primes.iter().flat_map(|&p| vec![p - 1; 1 << log2_degree]).collect()
}

/// `count` ciphertexts of arbitrary residues; the last has the largest ones.
#[must_use]
pub fn ciphertexts(params: &ParameterSet, count: usize, limbs: usize, scale: f64, seed: u32) -> Vec<Ciphertext> {
    let primes = &params.primes[..limbs];
    let ciphertext = |at: usize| {
        let part = |part: u32| match at + 1 {
            last if last == count => largest_residues(primes, params.log2_degree),
            _ => residues(primes, params.log2_degree, seed * 1024 + 2 * at as u32 + part),
        };
        Ciphertext { parts: [part(0), part(1)], scale }
    };
    (0..count).map(ciphertext).collect()
}

/// A plaintext of arbitrary residues.
#[must_use]
pub fn plaintext(params: &ParameterSet, limbs: usize, scale: f64, seed: u32) -> Plaintext {
    Plaintext::new(residues(&params.primes[..limbs], params.log2_degree, seed), scale)
}

/// A fresh ciphertext of so many limbs, its body of arbitrary residues.
#[must_use]
pub fn seeded_ciphertext(params: &ParameterSet, limbs: usize, number: u32) -> SeededCiphertext {
    SeededCiphertext { seed: seed(number), body: residues(&params.primes[..limbs], params.log2_degree, number) }
}

/// A key for ciphertexts of at most `limbs` limbs, its bodies of arbitrary residues.
#[must_use]
pub fn switch_key(params: &ParameterSet, limbs: usize, number: u32) -> SeededSwitchKey {
    let primes = [&params.primes[..limbs], &params.special_primes].concat();
    let digits = limbs.div_ceil(params.special_primes.len()) as u32;
    let bodies = (0..digits).flat_map(|digit| residues(&primes, params.log2_degree, number * 32 + digit)).collect();
    SeededSwitchKey { seed: seed(number), limbs: limbs as u32, bodies: Arc::new(bodies) }
}
