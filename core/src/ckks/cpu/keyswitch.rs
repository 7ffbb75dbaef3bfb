//! Hybrid key switching: digits of several limbs, special primes.
//!
//! Source: Han and Ki, CT-RSA 2020, section 3. Noise: [`crate::ckks::noise::key_switch`].

use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::context::{Conversion, Digit, Ring};
use crate::ckks::ring::keys::GaloisKey;
use crate::ckks::ring::keys::SwitchKey;
use crate::ckks::ring::modulus::{Factor, Modulus};
use crate::ckks::ring::words;

/// A polynomial's digits, extended to all primes in use.
pub struct Decomposed {
    limbs: usize,
    /// For each digit `u32[limbs + special][N]`, values in Montgomery form.
    digits: Vec<Vec<u32>>,
}

impl Ring {
    /// Limb of QP at place `at` of an extended polynomial that has `limbs` limbs of Q.
    pub(in crate::ckks) fn extended_limb(&self, limbs: usize, at: usize) -> usize {
        if at < limbs { at } else { self.limbs() + at - limbs }
    }

    fn active_digits(&self, limbs: usize) -> impl Iterator<Item = &Digit> {
        let alpha = self.params.special_primes.len();
        (0..limbs.div_ceil(alpha)).map(move |j| &self.digits[j][alpha.min(limbs - j * alpha) - 1])
    }

    /// Converts parts (coefficients, each with half its prime added) to one prime.
    fn convert(&self, modulus: Modulus, parts: &[u32], conversion: &Conversion, out: &mut [u32]) {
        let parts: Vec<&[u32]> = parts.chunks_exact(self.degree()).collect();
        words::combine(self.arch, modulus, out, &parts, &conversion.weights, conversion.offset);
    }

    /// A part for [`Ring::convert`]: times `factor`, half the prime added.
    fn prepare(&self, modulus: Modulus, words: &mut [u32], factor: Factor) {
        words::scale(self.arch, modulus, words, factor);
        words::shift(self.arch, modulus, words, modulus.p / 2);
    }

    /// Digits of a polynomial (values).
    ///
    /// # Panics
    /// If there are more limbs than primes.
    #[must_use]
    pub fn decompose(&self, polynomial: &[u32]) -> Decomposed {
        let degree = self.degree();
        let limbs = polynomial.len() / degree;
        let extended = limbs + self.params.special_primes.len();
        let mut coefficients = self.pool.take(polynomial.len());
        coefficients.copy_from_slice(polynomial);
        let active: Vec<&Digit> = self.active_digits(limbs).collect();
        let parts: Vec<(usize, &mut [u32])> = coefficients.chunks_exact_mut(degree).enumerate().collect();
        self.for_each(parts, |(limb, words)| {
            let digit = active[limb / self.params.special_primes.len()];
            self.rings[limb].inverse(self.arch, words);
            self.prepare(self.modulus(limb), words, digit.inverse[limb - digit.first]);
        });
        let mut digits: Vec<Vec<u32>> = active.iter().map(|_| self.pool.take(extended * degree)).collect();
        let mut places = Vec::with_capacity(active.len() * extended);
        for (digit, out) in active.iter().zip(&mut digits) {
            places.extend(out.chunks_exact_mut(degree).enumerate().map(|(at, out)| (*digit, at, out)));
        }
        self.for_each(places, |(digit, at, out)| {
            let own = digit.first..digit.first + digit.inverse.len();
            if own.contains(&at) {
                out.copy_from_slice(&polynomial[at * degree..][..degree]);
                return;
            }
            let limb = self.extended_limb(limbs, at);
            let sources = &coefficients[own.start * degree..own.end * degree];
            self.convert(self.modulus(limb), sources, &digit.conversions[limb], out);
            self.rings[limb].forward(self.arch, out);
        });
        self.pool.give(coefficients);
        Decomposed { limbs, digits }
    }

    /// The digits' product with a key, divided by P: body and mask that decrypt under s to the polynomial times s'.
    ///
    /// # Panics
    /// If the key is for fewer limbs.
    #[must_use]
    pub fn inner_product(&self, decomposed: &Decomposed, key: &SwitchKey) -> [Vec<u32>; 2] {
        let (degree, limbs) = (self.degree(), decomposed.limbs);
        assert!(limbs <= key.limbs, "a key for {} limbs, a ciphertext of {limbs}", key.limbs);
        let extended = limbs + self.params.special_primes.len();
        let mut products = [self.pool.take(extended * degree), self.pool.take(extended * degree)];
        let [body, mask] = &mut products;
        let pairs = body.chunks_exact_mut(degree).zip(mask.chunks_exact_mut(degree)).enumerate().collect();
        self.for_each(pairs, |(at, (body, mask))| {
            let ours: Vec<&[u32]> = decomposed.digits.iter().map(|digit| &digit[at * degree..][..degree]).collect();
            let place = if at < limbs { at } else { key.limbs + at - limbs };
            let of_key = |part: usize| -> Vec<&[u32]> {
                key.digits[..ours.len()].iter().map(|key| &key[part][place * degree..][..degree]).collect()
            };
            let modulus = self.modulus(self.extended_limb(limbs, at));
            words::inner_products(self.arch, modulus, [body, mask], [&of_key(0), &of_key(1)], &ours);
        });
        products.map(|product| self.divide_by_special(product, limbs))
    }

    /// Divides an extended polynomial (values) by P and drops the special limbs.
    fn divide_by_special(&self, mut polynomial: Vec<u32>, limbs: usize) -> Vec<u32> {
        let degree = self.degree();
        let (kept, special) = polynomial.split_at_mut(limbs * degree);
        let parts = special.chunks_exact_mut(degree).enumerate().collect();
        self.for_each(parts, |(at, words)| {
            self.rings[self.limbs() + at].inverse(self.arch, words);
            self.prepare(self.modulus(self.limbs() + at), words, self.special_inverse[at]);
        });
        let special = &*special;
        let parts = kept.chunks_exact_mut(degree).enumerate().collect();
        self.for_each(parts, |(limb, words)| {
            let modulus = self.modulus(limb);
            let mut remainder = self.pool.take(degree);
            self.convert(modulus, special, &self.special_conversions[limb], &mut remainder);
            self.rings[limb].forward(self.arch, &mut remainder);
            words::subtract_and_scale(self.arch, modulus, words, &remainder, self.special_quotient[limb]);
            self.pool.give(remainder);
        });
        polynomial.truncate(limbs * degree);
        polynomial
    }
}

impl Ring {
    /// Digits of a ciphertext's mask at its first `limbs` limbs: what all rotations of one ciphertext share.
    ///
    /// # Panics
    /// If there are fewer limbs.
    #[must_use]
    pub fn decompose_mask(&self, ciphertext: &Ciphertext, limbs: usize) -> Decomposed {
        self.decompose(&ciphertext.parts[1][..limbs * self.degree()])
    }

    /// Applies the automorphism X -> X^element of the key. Element `5^r` rotates slots by r to the left, 2N - 1
    /// conjugates.
    ///
    /// Noise: adds [`crate::ckks::noise::key_switch`].
    #[must_use]
    pub fn automorphism(&self, ciphertext: &Ciphertext, key: &GaloisKey) -> Ciphertext {
        let decomposed = self.decompose_mask(ciphertext, self.limbs_of(ciphertext));
        let result = self.hoisted(ciphertext, &decomposed, key);
        self.recycle_decomposed(decomposed);
        result
    }

    /// As [`Ring::automorphism`], with the digits of the ciphertext's mask at hand.
    ///
    /// Source: Halevi and Shoup, CRYPTO 2018, section 5 ("hoisting").
    #[must_use]
    pub fn hoisted(&self, ciphertext: &Ciphertext, decomposed: &Decomposed, key: &GaloisKey) -> Ciphertext {
        let [mut body, mask] = self.inner_product(decomposed, &key.key);
        self.add_words(&mut body, &ciphertext.parts[0]);
        let parts = [self.permute(&body, &key.order), self.permute(&mask, &key.order)];
        [body, mask].into_iter().for_each(|buffer| self.pool.give(buffer));
        Ciphertext { parts, scale: ciphertext.scale }
    }

    /// Values in another order, every limb alike.
    fn permute(&self, values: &[u32], order: &[u32]) -> Vec<u32> {
        let mut out = self.pool.take(values.len());
        for (out, limb) in out.chunks_exact_mut(order.len()).zip(values.chunks_exact(order.len())) {
            for (out, &from) in out.iter_mut().zip(order) {
                *out = limb[from as usize];
            }
        }
        out
    }

    /// Gives a decomposition's memory back for later operations.
    pub fn recycle_decomposed(&self, decomposed: Decomposed) {
        decomposed.digits.into_iter().for_each(|digit| self.pool.give(digit));
    }
}
