//! CKKS: keys, encryption, decryption of polynomials.

use std::sync::Arc;

use heman_core::ckks::files::seeded::{SeededCiphertext, SeededSwitchKey};
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::ckks::ring::context::Ring;
use heman_core::residues::modulus::Modulus;
use zeroize::Zeroizing;

use crate::random::Stream;

/// A uniform ternary secret.
pub struct SecretPolynomial {
    /// Coefficients -1, 0, 1.
    coefficients: Zeroizing<Vec<i8>>,
    /// All limbs of QP, values in Montgomery form.
    values: Zeroizing<Vec<u32>>,
}

impl SecretPolynomial {
    /// A fresh key.
    #[must_use]
    pub fn generate(ring: &Ring) -> Self {
        let mut stream = Stream::new();
        let mut coefficients = Zeroizing::new(vec![0; ring.degree()]);
        coefficients.iter_mut().for_each(|s| *s = stream.below(3) as i8 - 1);
        Self::from_coefficients(ring, coefficients)
    }

    /// A key with given coefficients, each -1, 0 or 1.
    pub(crate) fn from_coefficients(ring: &Ring, coefficients: Zeroizing<Vec<i8>>) -> Self {
        let values = ternary_values(ring, &coefficients);
        Self { coefficients, values }
    }

    pub(crate) fn coefficients(&self) -> &[i8] {
        &self.coefficients
    }

    /// All limbs of QP, values in Montgomery form.
    pub(crate) fn values(&self) -> &[u32] {
        &self.values
    }

    /// Encrypts coefficients (already times the scale) at all limbs of Q. Noise:
    /// [`FRESH_DEVIATION`](heman_core::ckks::noise::FRESH_DEVIATION).
    #[must_use]
    pub fn encrypt(&self, ring: &Ring, coefficients: &[f64]) -> SeededCiphertext {
        let mut stream = Stream::new();
        let noisy = |c: &f64| c.round() as i64 + stream.error();
        let noisy = Zeroizing::new(coefficients.iter().map(noisy).collect::<Vec<i64>>());
        let mut body = ring.lift(0..ring.limbs(), &noisy);
        let seed = stream.seed();
        let mut mask = vec![0; ring.degree()];
        for (limb, body) in body.chunks_exact_mut(ring.degree()).enumerate() {
            ring.uniform(&seed, 0, limb, &mut mask);
            subtract_product(ring.modulus(limb), body, &mask, &self.values[limb * mask.len()..]);
        }
        SeededCiphertext { seed, body }
    }

    /// Coefficients of the message, times the ciphertext's scale; magnitudes below a quarter of the first two primes'
    /// product.
    #[must_use]
    pub fn decrypt(&self, ring: &Ring, ciphertext: &Ciphertext) -> Zeroizing<Vec<f64>> {
        let degree = ring.degree();
        let limbs = ring.limbs_of(ciphertext).min(2);
        let mut words = Zeroizing::new(ciphertext.parts[0][..limbs * degree].to_vec());
        for (limb, words) in words.chunks_exact_mut(degree).enumerate() {
            let modulus = ring.modulus(limb);
            let mask = &ciphertext.parts[1][limb * degree..][..degree];
            let secret = &self.values[limb * degree..][..degree];
            for ((word, &a), &s) in words.iter_mut().zip(mask).zip(secret) {
                *word = modulus.add(*word, modulus.reduce(u64::from(a) * u64::from(s)));
            }
        }
        ring.inverse(0, &mut words);
        let (first, rest) = words.split_at(degree);
        let p = ring.modulus(0);
        let centred = |value: i64, modulus: i64| if value > modulus / 2 { value - modulus } else { value };
        if rest.is_empty() {
            let coefficient = |&x: &u32| centred(i64::from(p.reduce(u64::from(x))), i64::from(p.p)) as f64;
            return Zeroizing::new(first.iter().map(coefficient).collect());
        }
        // Garner: x = a + p ((b - a) / p mod q).
        let q = ring.modulus(1);
        let inverse = q.inverse(p.p % q.p);
        let coefficient = |(&a, &b): (&u32, &u32)| {
            let (a, b) = (p.reduce(u64::from(a)), q.reduce(u64::from(b)));
            let digit = q.mul(q.sub(b, a % q.p), inverse);
            let value = i64::from(a) + i64::from(p.p) * i64::from(digit);
            centred(value, i64::from(p.p) * i64::from(q.p)) as f64
        };
        Zeroizing::new(first.iter().zip(rest).map(coefficient).collect())
    }

    /// A key with which others can encrypt for the owner of this one: an encryption of 0.
    #[must_use]
    pub fn public_key(&self, ring: &Ring) -> CkksPublicKey {
        CkksPublicKey(self.encrypt(ring, &vec![0.0; ring.degree()]))
    }

    /// The key from s^2 to s, for ciphertexts of at most `limbs` limbs.
    ///
    /// # Panics
    /// If there are not so many limbs.
    #[must_use]
    pub fn relinearisation_key(&self, ring: &Ring, limbs: usize) -> SeededSwitchKey {
        let mut square = Zeroizing::new(self.values.to_vec());
        for (limb, words) in square.chunks_exact_mut(ring.degree()).enumerate() {
            let modulus = ring.modulus(limb);
            words.iter_mut().for_each(|word| *word = modulus.reduce(u64::from(*word) * u64::from(*word)));
        }
        switch_key(ring, &square, &self.values, limbs)
    }

    /// The key of the automorphism X -> X^element, for an odd element below its order: from s to s(X^(1 / element)).
    ///
    /// # Panics
    /// If there are not so many limbs.
    #[must_use]
    pub fn galois_key(&self, ring: &Ring, element: usize, limbs: usize) -> SeededSwitchKey {
        let degree = ring.degree();
        let mut rotated = Zeroizing::new(vec![0_i8; degree]);
        for (i, rotated) in rotated.iter_mut().enumerate() {
            // Coefficient i of s(X^(1 / element)) is the one that X -> X^element brings from there.
            let (place, turns) = ring.moved_coefficient(i, element);
            *rotated = if turns { -self.coefficients[place] } else { self.coefficients[place] };
        }
        switch_key(ring, &self.values, &ternary_values(ring, &rotated), limbs)
    }
}

/// Encrypts for the owner of a secret key, and can do nothing else.
pub struct CkksPublicKey(SeededCiphertext);

impl CkksPublicKey {
    /// Encrypts coefficients (already times `scale`) at all limbs of Q.
    /// Noise: [`heman_core::ckks::noise::public_encryption`].
    ///
    /// # Panics
    /// If the ring is not the key's.
    #[must_use]
    pub fn encrypt(&self, ring: &Ring, coefficients: &[f64], scale: f64) -> Ciphertext {
        let mut stream = Stream::new();
        let ternary: Vec<i8> = (0..ring.degree()).map(|_| stream.below(3) as i8 - 1).collect();
        let ternary = Zeroizing::new(ternary);
        let blind = ternary_values(ring, &ternary);
        let mut zero = ring.expand(&self.0, scale).expect("a key for this ring");
        for (part, message) in zero.parts.iter_mut().zip([Some(coefficients), None]) {
            let noisy = |i: usize| message.map_or(0, |m| m[i].round() as i64) + stream.error();
            let noisy = Zeroizing::new((0..ring.degree()).map(noisy).collect::<Vec<i64>>());
            let noisy = Zeroizing::new(ring.lift(0..ring.limbs(), &noisy));
            let words = part.iter_mut().zip(blind.iter()).zip(noisy.iter()).enumerate();
            for (at, ((word, &v), &e)) in words {
                let modulus = ring.modulus(at / ring.degree());
                *word = modulus.add(modulus.reduce(u64::from(*word) * u64::from(v)), e);
            }
        }
        zero
    }
}

/// Values of a ternary polynomial at all limbs of QP, in Montgomery form.
pub(crate) fn ternary_values(ring: &Ring, coefficients: &[i8]) -> Zeroizing<Vec<u32>> {
    let wide = Zeroizing::new(coefficients.iter().map(|&s| i64::from(s)).collect::<Vec<i64>>());
    Zeroizing::new(ring.lift(0..ring.key_limbs(), &wide))
}

/// `body -= mask secret`, values of one limb.
fn subtract_product(modulus: Modulus, body: &mut [u32], mask: &[u32], secret: &[u32]) {
    for ((body, &a), &s) in body.iter_mut().zip(mask).zip(secret) {
        *body = modulus.sub(*body, modulus.reduce(u64::from(a) * u64::from(s)));
    }
}

/// A key from `source` to `target` (all limbs of QP, values in Montgomery form).
pub(crate) fn switch_key(ring: &Ring, source: &[u32], target: &[u32], limbs: usize) -> SeededSwitchKey {
    let degree = ring.degree();
    let alpha = ring.params.special_primes.len();
    let shape = ring.key_shape(limbs).expect("a key is for limbs that there are");
    let mut stream = Stream::new();
    let seed = stream.seed();
    let mut mask = vec![0; degree];
    let mut bodies = Vec::with_capacity(shape.digits * shape.limbs * degree);
    for digit in 0..shape.digits {
        let errors = Zeroizing::new((0..degree).map(|_| stream.error()).collect::<Vec<i64>>());
        let special = Zeroizing::new(ring.lift(ring.limbs()..ring.key_limbs(), &errors));
        let start = bodies.len();
        // The room is there already: nothing moves and leaves a copy behind.
        bodies.extend_from_slice(&Zeroizing::new(ring.lift(0..limbs, &errors)));
        bodies.extend_from_slice(&special);
        for (place, body) in bodies[start..].chunks_exact_mut(degree).enumerate() {
            let limb = if place < limbs { place } else { ring.limbs() + place - limbs };
            let modulus = ring.modulus(limb);
            let own = limb * degree..(limb + 1) * degree;
            ring.uniform(&seed, digit, limb, &mut mask);
            subtract_product(modulus, body, &mask, &target[own.clone()]);
            if place < limbs && place / alpha == digit {
                let special = ring.params.special_primes.iter();
                let factor = modulus.montgomery(special.fold(1, |x, &p| modulus.mul(x, p % modulus.p)));
                for (body, &s) in body.iter_mut().zip(&source[own]) {
                    *body = modulus.add(*body, modulus.reduce(u64::from(s) * u64::from(factor)));
                }
            }
        }
    }
    SeededSwitchKey { seed, limbs: limbs as u32, bodies: Arc::new(bodies) }
}
