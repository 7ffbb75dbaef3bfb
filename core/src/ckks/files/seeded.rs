//! Uniform polynomials from public seeds: the masks of fresh ciphertexts and keys do not travel.

use rayon::prelude::*;

use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::context::Context;
use crate::ckks::ring::keys::{GaloisKey, SwitchKey};

/// What masks are expanded from.
pub type Seed = [u8; 32];

const CONTEXT: &str = "heman 2026-11 CKKS masks";

/// A fresh ciphertext without its mask.
#[derive(Clone, Debug, PartialEq)]
pub struct SeededCiphertext {
    /// Seed of the mask.
    pub seed: Seed,
    /// `u32[limb][N]`, values in Montgomery form.
    pub body: Vec<u32>,
}

/// A key-switching key without its masks, for ciphertexts of at most `limbs` limbs.
#[derive(Clone)]
pub struct SeededSwitchKey {
    /// Seed of the masks.
    pub seed: Seed,
    /// Largest number of limbs that it switches.
    pub limbs: u32,
    /// `u32[digit][limbs + special][N]`, values in Montgomery form.
    pub bodies: Vec<u32>,
}

/// Residues below `p` from words of an extendable output, by rejection (Lemire, ACM TOMACS 2019).
struct Uniform {
    reader: blake3::OutputReader,
    buffer: Box<[u8; 16384]>,
    used: usize,
}

impl Uniform {
    fn new(seed: &Seed, polynomial: usize, limb: usize) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(seed).update(&(polynomial as u32).to_le_bytes()).update(&(limb as u32).to_le_bytes());
        Self { reader: hasher.finalize_xof(), buffer: Box::new([0; 16384]), used: 16384 }
    }

    fn below(&mut self, p: u32, threshold: u32) -> u32 {
        loop {
            if self.used == self.buffer.len() {
                self.reader.fill(&mut *self.buffer);
                self.used = 0;
            }
            let word = u32::from_le_bytes(*self.buffer[self.used..].first_chunk().expect("whole words are used"));
            self.used += 4;
            let product = u64::from(word) * u64::from(p);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }
}

impl Context {
    /// A uniform polynomial over limb `limb` of QP, the `polynomial`-th of its seed. Values, in any form: uniform ones stay uniform.
    pub fn uniform(&self, seed: &Seed, polynomial: usize, limb: usize, out: &mut [u32]) {
        let p = self.modulus(limb).p;
        let threshold = p.wrapping_neg() % p;
        let mut source = Uniform::new(seed, polynomial, limb);
        out.iter_mut().for_each(|word| *word = source.below(p, threshold));
    }

    /// Whether a body is a whole number of limbs of Q, and its words are residues.
    #[must_use]
    pub fn is_fresh(&self, seeded: &SeededCiphertext) -> bool {
        let limbs = seeded.body.len() / self.degree();
        let whole = (1..=self.limbs()).contains(&limbs) && limbs * self.degree() == seeded.body.len();
        whole && self.are_residues(&seeded.body)
    }

    /// The ciphertext with its mask; `None` if it is not [`Context::is_fresh`].
    #[must_use]
    pub fn expand(&self, seeded: &SeededCiphertext, scale: f64) -> Option<Ciphertext> {
        if !self.is_fresh(seeded) {
            return None;
        }
        let mut parts = [self.pool.take(seeded.body.len()), self.pool.take(seeded.body.len())];
        parts[0].copy_from_slice(&seeded.body);
        for (limb, mask) in parts[1].chunks_exact_mut(self.degree()).enumerate() {
            self.uniform(&seeded.seed, 0, limb, mask);
        }
        Some(Ciphertext { parts, scale })
    }

    /// Whether all words of a polynomial over the first limbs are residues of their primes: others would overflow lazy sums.
    #[must_use]
    pub fn are_residues(&self, polynomial: &[u32]) -> bool {
        let limbs = polynomial.chunks(self.degree()).enumerate();
        limbs.into_iter().all(|(limb, words)| {
            let p = self.modulus(limb).p;
            words.iter().fold(true, |sound, &word| sound & (word < p))
        })
    }

    /// The key with its masks. `None` if its length is wrong, or it holds words that are no residues.
    #[must_use]
    pub fn expand_key(&self, seeded: &SeededSwitchKey) -> Option<SwitchKey> {
        let degree = self.degree();
        let limbs = seeded.limbs as usize;
        let key = self.key_shape(limbs)?;
        if seeded.bodies.len() != key.digits * key.limbs * degree {
            return None;
        }
        let digit = |(at, bodies): (usize, &[u32])| {
            let mut masks = vec![0; bodies.len()];
            let mut sound = true;
            for (place, (mask, body)) in masks.chunks_exact_mut(degree).zip(bodies.chunks_exact(degree)).enumerate() {
                let limb = self.extended_limb(limbs, place);
                let p = self.modulus(limb).p;
                sound &= body.iter().fold(true, |sound, &word| sound & (word < p));
                self.uniform(&seeded.seed, at, limb, mask);
            }
            sound.then(|| [bodies.to_vec(), masks])
        };
        let digits: Option<Vec<[Vec<u32>; 2]>> =
            seeded.bodies.par_chunks_exact(key.limbs * degree).enumerate().map(digit).collect();
        Some(SwitchKey { limbs, digits: digits? })
    }

    /// As [`Context::expand_key`], for a rotation by `steps` to the left.
    #[must_use]
    pub fn expand_rotation(&self, seeded: &SeededSwitchKey, steps: usize) -> Option<GaloisKey> {
        Some(GaloisKey::new(self, self.rotation_element(steps), self.expand_key(seeded)?))
    }

    /// Shape of a key for ciphertexts of `limbs` limbs; `None` if there are not so many.
    #[must_use]
    pub fn key_shape(&self, limbs: usize) -> Option<KeyShape> {
        let special = self.params.special_primes.len();
        let fits = (1..=self.limbs()).contains(&limbs);
        fits.then(|| KeyShape { digits: limbs.div_ceil(special), limbs: limbs + special })
    }
}

/// Digits of a key-switching key, and primes of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyShape {
    /// Digits.
    pub digits: usize,
    /// Primes of Q in use, and all special ones.
    pub limbs: usize,
}
