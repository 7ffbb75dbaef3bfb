//! Uniform polynomials from public seeds: the masks of fresh ciphertexts and keys do not travel.
//!
//! A residue takes 64 bits of its stream, always, and `floor(w p / 2^64)` of a uniform word w is not quite uniform:
//! each value comes from `floor(2^64 / p)` words or one more, so that its probability is at most `(1 + p / 2^64) / p`,
//! within 2^-34 of `1 / p` relative to it. Against uniform masks, m residues have a Renyi divergence of order infinity
//! of at most `(1 + 2^-34)^m`. The largest key-switching key (N = 2^17, 116 digits of 117 limbs) has m = 2^30.7 of
//! them, and a key file of 8 GiB at most 2^31.1 (more with smaller primes, whose bias is smaller by more): a divergence
//! below 1.15. An adversary against such masks gives one against uniform masks whose advantage is smaller by no more
//! than that factor, 0.2 bits: it keeps uniform masks with a probability of the ratio between both distributions, which
//! anyone can compute, over its bound, and guesses otherwise. One ciphertext, at most 2^23.9 residues, costs 2^-9.6
//! bits.
//!
//! Source: Bai, Langlois, Lepoint, Stehle, Steinfeld, ASIACRYPT 2015, for arguments by Renyi divergence in place of
//! statistical distance.

use std::sync::Arc;

use rayon::prelude::*;

use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::context::Ring;
use crate::ckks::ring::keys::{GaloisKey, Masks, SwitchKey};
use crate::ckks::ring::words;

/// What masks are expanded from.
pub type Seed = [u8; 32];

const CONTEXT: &str = "heman 2026-11 CKKS masks of 64 bits a residue";
/// Residues whose stream is made at a time.
const BLOCK: usize = 2048;

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
    pub bodies: Arc<Vec<u32>>,
}

/// The key that masks' streams are derived with, for devices that make them: the chaining value with which BLAKE3's
/// derivation hashes seed, polynomial and limb, as one root block of 40 bytes.
#[must_use]
pub fn mask_context() -> [u32; 8] {
    let key = blake3::hazmat::hash_derive_key_context(CONTEXT);
    std::array::from_fn(|at| u32::from_le_bytes(std::array::from_fn(|byte| key[4 * at + byte])))
}

impl Ring {
    /// A uniform polynomial over limb `limb` of QP, the `polynomial`-th of its seed. Values, in any form: uniform ones
    /// stay uniform.
    ///
    /// Residue i is `floor(w p / 2^64)`, w the little-endian bytes `8 i..8 i + 8` of a BLAKE3 stream of its own for
    /// seed, polynomial and limb: every word can be made alone, on any device. Bias: see the module's documentation.
    pub fn uniform(&self, seed: &Seed, polynomial: usize, limb: usize, out: &mut [u32]) {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(seed).update(&(polynomial as u32).to_le_bytes()).update(&(limb as u32).to_le_bytes());
        let mut stream = hasher.finalize_xof();
        let mut wide = [0_u64; BLOCK];
        for words in out.chunks_mut(BLOCK) {
            let wide = &mut wide[..words.len()];
            stream.fill(bytemuck::cast_slice_mut(wide));
            words::scale_down(self.arch, self.modulus(limb), words, wide);
        }
    }

    /// Whether a body is a whole number of limbs of Q, and its words are residues.
    #[must_use]
    pub fn is_fresh(&self, seeded: &SeededCiphertext) -> bool {
        let limbs = seeded.body.len() / self.degree();
        let whole = (1..=self.limbs()).contains(&limbs) && limbs * self.degree() == seeded.body.len();
        whole && self.are_residues(&seeded.body)
    }

    /// The ciphertext with its mask; `None` if it is not [`Ring::is_fresh`].
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

    /// Whether all words of a polynomial over the first limbs are residues of their primes: others would overflow lazy
    /// sums.
    #[must_use]
    pub fn are_residues(&self, polynomial: &[u32]) -> bool {
        let limbs = polynomial.chunks(self.degree()).enumerate();
        limbs.into_iter().all(|(limb, words)| {
            let p = self.modulus(limb).p;
            words.iter().fold(true, |sound, &word| sound & (word < p))
        })
    }

    /// The shape of a key; `None` if its length is wrong, or it holds words that are no residues.
    #[must_use]
    pub fn sound_key(&self, seeded: &SeededSwitchKey) -> Option<KeyShape> {
        let (degree, limbs) = (self.degree(), seeded.limbs as usize);
        let shape = self.key_shape(limbs)?;
        if seeded.bodies.len() != shape.digits * shape.limbs * degree {
            return None;
        }
        let is_reduced = |(at, body): (usize, &[u32])| {
            let p = self.modulus(self.extended_limb(limbs, at % shape.limbs)).p;
            body.iter().fold(true, |sound, &word| sound & (word < p))
        };
        seeded.bodies.par_chunks_exact(degree).enumerate().all(is_reduced).then_some(shape)
    }

    /// The key with its masks; `None` if it is not a [`Ring::sound_key`].
    #[must_use]
    pub fn expand_key(&self, seeded: &SeededSwitchKey) -> Option<SwitchKey> {
        let (degree, limbs) = (self.degree(), seeded.limbs as usize);
        let shape = self.sound_key(seeded)?;
        let mut masks = vec![0; seeded.bodies.len()];
        masks.par_chunks_exact_mut(degree).enumerate().for_each(|(at, mask)| {
            let limb = self.extended_limb(limbs, at % shape.limbs);
            self.uniform(&seeded.seed, at / shape.limbs, limb, mask);
        });
        Some(SwitchKey { limbs, bodies: seeded.bodies.clone(), masks: Masks::Held(Arc::new(masks)) })
    }

    /// As [`Ring::expand_key`], with masks that are made whenever they are used: half the memory, and for each use
    /// about as much time as its products take.
    #[must_use]
    pub fn lean_key(&self, seeded: &SeededSwitchKey) -> Option<SwitchKey> {
        self.sound_key(seeded)?;
        let limbs = seeded.limbs as usize;
        Some(SwitchKey { limbs, bodies: seeded.bodies.clone(), masks: Masks::Seeded(seeded.seed) })
    }

    /// As [`Ring::expand_key`], for a rotation by `steps` to the left.
    #[must_use]
    pub fn expand_rotation(&self, seeded: &SeededSwitchKey, steps: usize) -> Option<GaloisKey> {
        Some(GaloisKey::new(self, self.rotation_element(steps), self.expand_key(seeded)?))
    }

    /// Shape of a key for ciphertexts of `limbs` limbs; `None` if keys do not have so many.
    #[must_use]
    pub fn key_shape(&self, limbs: usize) -> Option<KeyShape> {
        let special = self.params.special_primes.len();
        let fits = (1..=self.params.key_limbs).contains(&limbs);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::params::set::ParameterSet;

    #[test]
    fn every_residue_comes_from_its_own_eight_bytes() {
        let ring = Ring::new(ParameterSet::new(12, 1, 28, 1).expect("secure")).expect("secure");
        let (seed, polynomial, limb) = ([3; 32], 5, 2);
        let mut got = vec![0; ring.degree()];
        ring.uniform(&seed, polynomial, limb, &mut got);
        let mut hasher = blake3::Hasher::new_derive_key("heman 2026-11 CKKS masks of 64 bits a residue");
        hasher.update(&seed).update(&[5, 0, 0, 0, 2, 0, 0, 0]);
        let p = u128::from(ring.modulus(limb).p);
        for at in [0, 1, 2047, 2048, 2049, 4095] {
            let mut stream = hasher.finalize_xof();
            stream.set_position(8 * at as u64);
            let mut bytes = [0; 8];
            stream.fill(&mut bytes);
            assert_eq!(u128::from(got[at]), (u128::from(u64::from_le_bytes(bytes)) * p) >> 64, "residue {at}");
        }
    }

    #[test]
    fn the_contexts_key_is_what_streams_are_derived_with() {
        use blake3::hazmat::HasherExt;
        let key = mask_context().map(u32::to_le_bytes);
        let mut hasher = blake3::Hasher::new_from_context_key(key.as_flattened().try_into().expect("32 bytes"));
        assert_eq!(*hasher.update(&[1, 2, 3]).finalize().as_bytes(), blake3::derive_key(CONTEXT, &[1, 2, 3]));
    }

    #[test]
    fn polynomials_limbs_and_seeds_have_streams_of_their_own() {
        let ring = Ring::new(ParameterSet::new(12, 1, 28, 1).expect("secure")).expect("secure");
        let draw = |seed: u8, polynomial: usize, limb: usize| {
            let mut out = vec![0; ring.degree()];
            ring.uniform(&[seed; 32], polynomial, limb, &mut out);
            out
        };
        let all = [draw(1, 0, 0), draw(2, 0, 0), draw(1, 1, 0), draw(1, 0, 1)];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other.iter().zip(one).filter(|(a, b)| a == b).count() < 4));
        }
        // The mean of 4,096 uniform residues: six of its deviations are 2.7 % of p.
        let p = f64::from(ring.modulus(0).p);
        let mean = all[0].iter().map(|&x| f64::from(x)).sum::<f64>() / all[0].len() as f64;
        assert!((mean / p - 0.5).abs() < 0.027, "{}", mean / p);
    }

    #[test]
    fn masks_that_are_made_for_each_use_are_those_that_are_held() {
        let params = ParameterSet::new(13, 2, 28, 1).expect("secure");
        let ring = Ring::new(params).expect("secure");
        let (degree, limbs) = (ring.degree(), 2);
        let shape = ring.key_shape(limbs).expect("keys have so many limbs");
        let mut bodies = vec![0; shape.digits * shape.limbs * degree];
        for (at, body) in bodies.chunks_exact_mut(degree).enumerate() {
            ring.uniform(&[4; 32], at / shape.limbs, ring.extended_limb(limbs, at % shape.limbs), body);
        }
        let seeded = SeededSwitchKey { seed: [5; 32], limbs: limbs as u32, bodies: Arc::new(bodies) };
        let [held, made] = [ring.expand_key(&seeded), ring.lean_key(&seeded)].map(|key| key.expect("a sound key"));
        for used in 1..=limbs {
            let mut polynomial = vec![0; used * degree];
            for (limb, words) in polynomial.chunks_exact_mut(degree).enumerate() {
                ring.uniform(&[6; 32], 0, limb, words);
            }
            let switched = ring.switch(&polynomial, &held);
            assert!(switched == ring.switch(&polynomial, &made) && switched[0] != switched[1], "{used} limbs");
            let digits = ring.decompose(&polynomial);
            assert!(ring.inner_product(&digits, &made) == switched, "{used} limbs, digits at hand");
        }
        let short = SeededSwitchKey { bodies: Arc::new(vec![0; degree]), ..seeded };
        assert!(ring.lean_key(&short).is_none());
    }
}
