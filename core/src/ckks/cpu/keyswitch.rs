//! Hybrid key switching: digits of several limbs, special primes.
//!
//! Source: Han and Ki, CT-RSA 2020, section 3. Noise: [`crate::ckks::noise::key_switch`].

use std::borrow::Cow;

use crate::ckks::files::seeded::Seed;
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::context::{Conversion, Digit, Ring};
use crate::ckks::ring::keys::{GaloisKey, Masks, SwitchKey};
use crate::ckks::ring::words;
use crate::residues::modulus::{Factor, Modulus};

/// A polynomial's digits, extended to all primes in use.
pub struct Decomposed {
    limbs: usize,
    /// For each digit `u32[limbs + special][N]`, values in Montgomery form.
    digits: Vec<Vec<u32>>,
}

/// Gives the digits at one limb in use to what it is called with.
type DigitsAt<'d> = dyn Fn(usize, &mut dyn FnMut(&[&[u32]])) + Sync + 'd;

impl Ring {
    /// Limb of QP at place `at` of an extended polynomial that has `limbs` limbs of Q.
    #[must_use]
    pub fn extended_limb(&self, limbs: usize, at: usize) -> usize {
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

    /// The digits' coefficients, limb by limb, prepared for [`Ring::convert`].
    fn digit_coefficients(&self, polynomial: &[u32], active: &[&Digit]) -> Vec<u32> {
        let mut coefficients = self.pool.take(polynomial.len());
        let parts = coefficients.chunks_exact_mut(self.degree()).zip(polynomial.chunks_exact(self.degree()));
        self.for_each(parts.enumerate().collect(), |(limb, (words, values))| {
            let digit = active[limb / self.params.special_primes.len()];
            words.copy_from_slice(values);
            self.rings[limb].inverse(self.arch, words);
            self.prepare(self.modulus(limb), words, digit.inverse[limb - digit.first]);
        });
        coefficients
    }

    /// Values of a digit at a limb of QP that is not its own, from all digits' coefficients.
    fn extend(&self, digit: &Digit, coefficients: &[u32], limb: usize, out: &mut [u32]) {
        let (first, count) = (digit.first, digit.inverse.len());
        let sources = &coefficients[first * self.degree()..(first + count) * self.degree()];
        self.convert(self.modulus(limb), sources, &digit.conversions[limb], out);
        self.rings[limb].forward(self.arch, out);
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
        let active: Vec<&Digit> = self.active_digits(limbs).collect();
        let coefficients = self.digit_coefficients(polynomial, &active);
        let mut digits: Vec<Vec<u32>> = active.iter().map(|_| self.pool.take(extended * degree)).collect();
        let mut places = Vec::with_capacity(active.len() * extended);
        for (digit, out) in active.iter().zip(&mut digits) {
            places.extend(out.chunks_exact_mut(degree).enumerate().map(|(at, out)| (*digit, at, out)));
        }
        self.for_each(places, |(digit, at, out)| {
            if digit.owns(at) {
                out.copy_from_slice(&polynomial[at * degree..][..degree]);
            } else {
                self.extend(digit, &coefficients, self.extended_limb(limbs, at), out);
            }
        });
        self.pool.give(coefficients);
        Decomposed { limbs, digits }
    }

    /// Digits of a polynomial (values), as of [`Ring::decompose`], times a key, divided by P: limb by limb, so that the
    /// digits of one limb are in the cache when they meet the key.
    ///
    /// # Panics
    /// If the key is for fewer limbs.
    #[must_use]
    pub fn switch(&self, polynomial: &[u32], key: &SwitchKey) -> [Vec<u32>; 2] {
        self.with_digits(polynomial, |limbs, digits| self.divide(limbs, key, digits, |_, _| {}))
    }

    /// The same with `addends` added and divided by the last prime of Q as well: [`Ring::rescale`] of the sum, at one
    /// transform a limb less.
    ///
    /// # Panics
    /// If there is one limb, or the key is for fewer.
    #[must_use]
    pub fn switch_and_rescale(&self, polynomial: &[u32], key: &SwitchKey, addends: &[Vec<u32>; 2]) -> [Vec<u32>; 2] {
        self.with_digits(polynomial, |limbs, digits| self.divide_twice(limbs, key, digits, addends))
    }

    /// Calls `act` with what gives the digits of a polynomial (values) at one limb in use, made when asked for.
    fn with_digits<R>(&self, polynomial: &[u32], act: impl FnOnce(usize, &DigitsAt<'_>) -> R) -> R {
        let degree = self.degree();
        let limbs = polynomial.len() / degree;
        let active: Vec<&Digit> = self.active_digits(limbs).collect();
        let coefficients = self.digit_coefficients(polynomial, &active);
        let result = act(limbs, &|at, multiply| {
            let limb = self.extended_limb(limbs, at);
            let made = |digit: &&Digit| {
                (!digit.owns(at)).then(|| {
                    let mut out = self.pool.take(degree);
                    self.extend(digit, &coefficients, limb, &mut out);
                    out
                })
            };
            let made: Vec<Option<Vec<u32>>> = active.iter().map(made).collect();
            let own = &polynomial[(at * degree).min(polynomial.len())..];
            let ours: Vec<&[u32]> =
                made.iter().map(|digit| digit.as_deref().unwrap_or_else(|| &own[..degree])).collect();
            multiply(&ours);
            made.into_iter().flatten().for_each(|buffer| self.pool.give(buffer));
        });
        self.pool.give(coefficients);
        result
    }

    /// The sums of the digits at one limb in use times a key.
    fn key_product(&self, limbs: usize, key: &SwitchKey, at: usize, ours: &[&[u32]], sums: [&mut [u32]; 2]) {
        let degree = self.degree();
        let place = if at < limbs { at } else { key.limbs + at - limbs };
        let limb = self.extended_limb(limbs, at);
        let words = (key.limbs + self.params.special_primes.len()) * degree;
        let range = |digit: usize| digit * words + place * degree..digit * words + (place + 1) * degree;
        let bodies: Vec<&[u32]> = (0..ours.len()).map(|digit| &key.bodies[range(digit)]).collect();
        let mask_of = |digit: usize| match &key.masks {
            Masks::Held(masks) => Cow::Borrowed(&masks[range(digit)]),
            Masks::Seeded(seed) => Cow::Owned(self.mask_of(seed, digit, limb)),
        };
        let own: Vec<Cow<'_, [u32]>> = (0..ours.len()).map(mask_of).collect();
        let masks: Vec<&[u32]> = own.iter().map(AsRef::as_ref).collect();
        words::inner_products(self.arch, self.modulus(limb), sums, [&bodies, &masks], ours, 1);
        for mask in own {
            if let Cow::Owned(made) = mask {
                self.pool.give(made);
            }
        }
    }

    /// The mask of one digit of a key at one limb of QP.
    fn mask_of(&self, seed: &Seed, digit: usize, limb: usize) -> Vec<u32> {
        let mut mask = self.pool.take(self.degree());
        self.uniform(seed, digit, limb, &mut mask);
        mask
    }

    /// Body and mask of so many limbs, of which `act` writes one limb after the other.
    fn both_parts(&self, limbs: usize, act: impl Fn(usize, [&mut [u32]; 2]) + Sync + Send) -> [Vec<u32>; 2] {
        let degree = self.degree();
        let mut parts = [self.pool.take(limbs * degree), self.pool.take(limbs * degree)];
        let [bodies, masks] = &mut parts;
        let pairs = bodies.chunks_exact_mut(degree).zip(masks.chunks_exact_mut(degree)).enumerate().collect();
        self.for_each(pairs, |(limb, (body, mask))| act(limb, [body, mask]));
        parts
    }

    /// Coefficients of the digits' products with a key at the special primes, prepared for [`Ring::convert`].
    fn special_products(&self, limbs: usize, key: &SwitchKey, digits: &DigitsAt<'_>) -> [Vec<u32>; 2] {
        assert!(limbs <= key.limbs, "a key for {} limbs, a ciphertext of {limbs}", key.limbs);
        self.both_parts(self.params.special_primes.len(), |at, [body, mask]| {
            digits(limbs + at, &mut |ours| self.key_product(limbs, key, limbs + at, ours, [&mut *body, &mut *mask]));
            for words in [body, mask] {
                self.rings[self.limbs() + at].inverse(self.arch, words);
                self.prepare(self.modulus(self.limbs() + at), words, self.special_inverse[at]);
            }
        })
    }

    /// The digits' products with a key at the primes of Q, divided by P. A limb goes through all steps on one thread,
    /// both parts one after the other, so that its products and roots are in the cache; `finish` is the last of them.
    fn divide(
        &self,
        limbs: usize,
        key: &SwitchKey,
        digits: &DigitsAt<'_>,
        finish: impl Fn(usize, [&mut [u32]; 2]) + Sync + Send,
    ) -> [Vec<u32>; 2] {
        let degree = self.degree();
        let special = self.special_products(limbs, key, digits);
        let quotients = self.both_parts(limbs, |limb, [body, mask]| {
            digits(limb, &mut |ours| self.key_product(limbs, key, limb, ours, [&mut *body, &mut *mask]));
            let modulus = self.modulus(limb);
            let mut remainder = self.pool.take(degree);
            for (words, special) in [&mut *body, &mut *mask].into_iter().zip(&special) {
                self.convert(modulus, special, &self.special_conversions[limb], &mut remainder);
                self.rings[limb].forward(self.arch, &mut remainder);
                words::subtract_and_scale(self.arch, modulus, words, &remainder, self.special_quotient[limb]);
            }
            self.pool.give(remainder);
            finish(limb, [body, mask]);
        });
        special.into_iter().for_each(|buffer| self.pool.give(buffer));
        quotients
    }

    /// The digits' products with a key, divided by P, with `addends` added and divided by the last prime of Q: both
    /// remainders meet as coefficients, before one transform.
    fn divide_twice(
        &self,
        limbs: usize,
        key: &SwitchKey,
        digits: &DigitsAt<'_>,
        addends: &[Vec<u32>; 2],
    ) -> [Vec<u32>; 2] {
        let (degree, last) = (self.degree(), limbs - 1);
        let special = self.special_products(limbs, key, digits);
        let mut remainders = [self.pool.take(degree), self.pool.take(degree)];
        let [body, mask] = &mut remainders;
        digits(last, &mut |ours| self.key_product(limbs, key, last, ours, [&mut *body, &mut *mask]));
        let modulus = self.modulus(last);
        let half = modulus.p / 2;
        let mut remainder = self.pool.take(degree);
        for ((words, special), addend) in remainders.iter_mut().zip(&special).zip(addends) {
            self.convert(modulus, special, &self.special_conversions[last], &mut remainder);
            self.rings[last].forward(self.arch, &mut remainder);
            words::subtract_and_scale(self.arch, modulus, words, &remainder, self.special_quotient[last]);
            words::add(self.arch, modulus, words, &addend[last * degree..limbs * degree]);
            self.rings[last].inverse(self.arch, words);
            words::leave_montgomery(self.arch, modulus, words, half);
        }
        self.pool.give(remainder);
        let quotients = self.both_parts(last, |limb, [body, mask]| {
            digits(limb, &mut |ours| self.key_product(limbs, key, limb, ours, [&mut *body, &mut *mask]));
            let target = self.modulus(limb);
            let center = target.montgomery_of_word(half);
            let mut both = self.pool.take(degree);
            for (part, words) in [body, mask].into_iter().enumerate() {
                self.convert(target, &special[part], &self.special_conversions[limb], &mut both);
                let quotient = self.special_quotient[limb];
                words::scale_and_recenter(self.arch, target, &mut both, quotient, &remainders[part], center);
                self.rings[limb].forward(self.arch, &mut both);
                let addend = &addends[part][limb * degree..][..degree];
                words::scale_add_and_scale(self.arch, target, words, quotient, addend, &both, self.rescale[last][limb]);
            }
            self.pool.give(both);
        });
        special.into_iter().chain(remainders).for_each(|buffer| self.pool.give(buffer));
        quotients
    }

    /// The digits' product with a key, divided by P: body and mask that decrypt under s to the polynomial times s'.
    #[cfg(test)]
    pub(in crate::ckks) fn inner_product(&self, decomposed: &Decomposed, key: &SwitchKey) -> [Vec<u32>; 2] {
        self.divide(decomposed.limbs, key, &*self.digits_of(decomposed), |_, _| {})
    }

    /// What gives the digits that are at hand.
    fn digits_of<'d>(&self, decomposed: &'d Decomposed) -> Box<DigitsAt<'d>> {
        let degree = self.degree();
        Box::new(move |at, multiply| {
            let digits = decomposed.digits.iter().map(|digit| &digit[at * degree..][..degree]);
            multiply(&digits.collect::<Vec<&[u32]>>());
        })
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

    /// Applies the automorphism X -> X^element of the key. Element `5^r` rotates slots by r to the left; in
    /// the ring of complex slots 2N - 1 conjugates.
    ///
    /// Noise: adds [`crate::ckks::noise::key_switch`].
    #[must_use]
    pub fn automorphism(&self, ciphertext: &Ciphertext, key: &GaloisKey) -> Ciphertext {
        self.with_digits(&ciphertext.parts[1], |limbs, digits| self.turn(ciphertext, (limbs, digits), key))
    }

    /// As [`Ring::automorphism`], with the digits of the ciphertext's mask at hand.
    ///
    /// Source: Halevi and Shoup, CRYPTO 2018, section 5 ("hoisting").
    #[must_use]
    pub fn hoisted(&self, ciphertext: &Ciphertext, decomposed: &Decomposed, key: &GaloisKey) -> Ciphertext {
        self.turn(ciphertext, (decomposed.limbs, &*self.digits_of(decomposed)), key)
    }

    /// The automorphism of a ciphertext by its mask's digits: the mask is switched, and values change their order,
    /// every limb alike.
    fn turn(&self, ciphertext: &Ciphertext, (limbs, digits): (usize, &DigitsAt<'_>), key: &GaloisKey) -> Ciphertext {
        let degree = self.degree();
        let parts = self.divide(limbs, &key.key, digits, |limb, [body, mask]| {
            words::add(self.arch, self.modulus(limb), body, &ciphertext.parts[0][limb * degree..][..degree]);
            let mut before = self.pool.take(degree);
            for words in [body, mask] {
                before.copy_from_slice(words);
                for (word, &from) in words.iter_mut().zip(&key.order) {
                    *word = before[from as usize];
                }
            }
            self.pool.give(before);
        });
        Ciphertext { parts, scale: ciphertext.scale }
    }

    /// Gives a decomposition's memory back for later operations.
    pub fn recycle_decomposed(&self, decomposed: Decomposed) {
        decomposed.digits.into_iter().for_each(|digit| self.pool.give(digit));
    }
}
