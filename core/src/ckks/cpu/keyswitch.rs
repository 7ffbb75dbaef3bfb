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

    /// Digits of a polynomial (values) times a key, divided by P: [`Ring::decompose`] and [`Ring::inner_product`], limb
    /// by limb, so that the digits of one limb are in the cache when they meet the key.
    ///
    /// # Panics
    /// If the key is for fewer limbs.
    #[must_use]
    pub fn switch(&self, polynomial: &[u32], key: &SwitchKey) -> [Vec<u32>; 2] {
        self.divide_by_special(self.switch_products(polynomial, key), polynomial.len() / self.degree())
    }

    /// The same with `addends` added and divided by the last prime of Q as well: [`Ring::rescale`] of the sum, at one
    /// transform a limb less.
    ///
    /// # Panics
    /// If there is one limb, or the key is for fewer.
    #[must_use]
    pub fn switch_and_rescale(&self, polynomial: &[u32], key: &SwitchKey, addends: &[Vec<u32>; 2]) -> [Vec<u32>; 2] {
        self.divide_twice(self.switch_products(polynomial, key), addends, polynomial.len() / self.degree())
    }

    /// Digits of a polynomial (values) times a key, over all primes in use.
    fn switch_products(&self, polynomial: &[u32], key: &SwitchKey) -> [Vec<u32>; 2] {
        let degree = self.degree();
        let limbs = polynomial.len() / degree;
        let active: Vec<&Digit> = self.active_digits(limbs).collect();
        let coefficients = self.digit_coefficients(polynomial, &active);
        let products = self.key_products(limbs, key, |at, multiply| {
            let limb = self.extended_limb(limbs, at);
            let extended: Vec<Option<Vec<u32>>> = active
                .iter()
                .map(|digit| {
                    (!digit.owns(at)).then(|| {
                        let mut out = self.pool.take(degree);
                        self.extend(digit, &coefficients, limb, &mut out);
                        out
                    })
                })
                .collect();
            let mut ours: Vec<&[u32]> = Vec::with_capacity(extended.len());
            for digit in &extended {
                ours.push(match digit {
                    Some(values) => values,
                    None => &polynomial[at * degree..][..degree],
                });
            }
            multiply(&ours);
            extended.into_iter().flatten().for_each(|buffer| self.pool.give(buffer));
        });
        self.pool.give(coefficients);
        products
    }

    /// Sums of digits times a key over all limbs in use; `digits` gives those of a limb to what it is called with.
    fn key_products(
        &self,
        limbs: usize,
        key: &SwitchKey,
        digits: impl Fn(usize, &mut dyn FnMut(&[&[u32]])) + Sync + Send,
    ) -> [Vec<u32>; 2] {
        let degree = self.degree();
        assert!(limbs <= key.limbs, "a key for {} limbs, a ciphertext of {limbs}", key.limbs);
        let extended = limbs + self.params.special_primes.len();
        let mut products = [self.pool.take(extended * degree), self.pool.take(extended * degree)];
        let [body, mask] = &mut products;
        let pairs = body.chunks_exact_mut(degree).zip(mask.chunks_exact_mut(degree)).enumerate().collect();
        self.for_each(pairs, |(at, (body, mask))| {
            let place = if at < limbs { at } else { key.limbs + at - limbs };
            let limb = self.extended_limb(limbs, at);
            digits(at, &mut |ours: &[&[u32]]| {
                let words = (key.limbs + self.params.special_primes.len()) * degree;
                let range = |digit: usize| digit * words + place * degree..digit * words + (place + 1) * degree;
                let bodies: Vec<&[u32]> = (0..ours.len()).map(|digit| &key.bodies[range(digit)]).collect();
                let mask_of = |digit: usize| match &key.masks {
                    Masks::Held(masks) => Cow::Borrowed(&masks[range(digit)]),
                    Masks::Seeded(seed) => Cow::Owned(self.mask_of(seed, digit, limb)),
                };
                let own: Vec<Cow<'_, [u32]>> = (0..ours.len()).map(mask_of).collect();
                let masks: Vec<&[u32]> = own.iter().map(AsRef::as_ref).collect();
                let sums = [&mut *body, &mut *mask];
                words::inner_products(self.arch, self.modulus(limb), sums, [&bodies, &masks], ours, 1);
                for mask in own {
                    if let Cow::Owned(made) = mask {
                        self.pool.give(made);
                    }
                }
            });
        });
        products
    }

    /// The mask of one digit of a key at one limb of QP.
    fn mask_of(&self, seed: &Seed, digit: usize, limb: usize) -> Vec<u32> {
        let mut mask = self.pool.take(self.degree());
        self.uniform(seed, digit, limb, &mut mask);
        mask
    }

    /// The digits' product with a key, divided by P: body and mask that decrypt under s to the polynomial times s'.
    ///
    /// # Panics
    /// If the key is for fewer limbs.
    #[must_use]
    pub fn inner_product(&self, decomposed: &Decomposed, key: &SwitchKey) -> [Vec<u32>; 2] {
        let (degree, limbs) = (self.degree(), decomposed.limbs);
        let products = self.key_products(limbs, key, |at, multiply| {
            let digits = decomposed.digits.iter().map(|digit| &digit[at * degree..][..degree]);
            multiply(&digits.collect::<Vec<&[u32]>>());
        });
        self.divide_by_special(products, limbs)
    }

    /// Coefficients of the special limbs of two extended polynomials, prepared for [`Ring::convert`].
    fn prepare_special(&self, polynomials: &mut [Vec<u32>; 2], limbs: usize) {
        let degree = self.degree();
        let [special, others] = polynomials.each_mut().map(|polynomial| &mut polynomial[limbs * degree..]);
        let parts = special.chunks_exact_mut(degree).zip(others.chunks_exact_mut(degree)).enumerate().collect();
        self.for_each(parts, |(at, (words, others))| {
            for words in [words, others] {
                self.rings[self.limbs() + at].inverse(self.arch, words);
                self.prepare(self.modulus(self.limbs() + at), words, self.special_inverse[at]);
            }
        });
    }

    /// Divides two extended polynomials (values) by P, adds `addends`, and divides by the last prime of Q: both
    /// remainders meet as coefficients, before one transform.
    fn divide_twice(&self, mut polynomials: [Vec<u32>; 2], addends: &[Vec<u32>; 2], limbs: usize) -> [Vec<u32>; 2] {
        let (degree, last) = (self.degree(), limbs - 1);
        self.prepare_special(&mut polynomials, limbs);
        let modulus = self.modulus(last);
        let half = modulus.p / 2;
        let remainders = [0, 1].map(|part| {
            let (kept, special) = polynomials[part].split_at_mut(limbs * degree);
            let words = &mut kept[last * degree..];
            let mut remainder = self.pool.take(degree);
            self.convert(modulus, special, &self.special_conversions[last], &mut remainder);
            self.rings[last].forward(self.arch, &mut remainder);
            words::subtract_and_scale(self.arch, modulus, words, &remainder, self.special_quotient[last]);
            words::add(self.arch, modulus, words, &addends[part][last * degree..limbs * degree]);
            remainder.copy_from_slice(words);
            self.rings[last].inverse(self.arch, &mut remainder);
            words::leave_montgomery(self.arch, modulus, &mut remainder, half);
            remainder
        });
        let [(kept, special), (other_kept, other_special)] =
            polynomials.each_mut().map(|polynomial| polynomial.split_at_mut(limbs * degree));
        let (special, other_special) = (&*special, &*other_special);
        let pairs = kept.chunks_exact_mut(degree).zip(other_kept.chunks_exact_mut(degree)).take(last);
        self.for_each(pairs.enumerate().collect(), |(limb, (words, others))| {
            let target = self.modulus(limb);
            let center = target.montgomery_of_word(half);
            let mut both = self.pool.take(degree);
            for (part, (words, special)) in [(words, special), (others, other_special)].into_iter().enumerate() {
                self.convert(target, special, &self.special_conversions[limb], &mut both);
                let quotient = self.special_quotient[limb];
                words::scale_and_recenter(self.arch, target, &mut both, quotient, &remainders[part], center);
                self.rings[limb].forward(self.arch, &mut both);
                let addend = &addends[part][limb * degree..][..degree];
                words::scale_add_and_scale(self.arch, target, words, quotient, addend, &both, self.rescale[last][limb]);
            }
            self.pool.give(both);
        });
        remainders.into_iter().for_each(|remainder| self.pool.give(remainder));
        for polynomial in &mut polynomials {
            polynomial.truncate(last * degree);
        }
        polynomials
    }

    /// Divides two extended polynomials (values) by P and drops the special limbs; both at one limb after the other, so
    /// that its roots are read once.
    fn divide_by_special(&self, mut polynomials: [Vec<u32>; 2], limbs: usize) -> [Vec<u32>; 2] {
        let degree = self.degree();
        self.prepare_special(&mut polynomials, limbs);
        let [(kept, special), (other_kept, other_special)] =
            polynomials.each_mut().map(|polynomial| polynomial.split_at_mut(limbs * degree));
        let (special, other_special) = (&*special, &*other_special);
        let parts = kept.chunks_exact_mut(degree).zip(other_kept.chunks_exact_mut(degree)).enumerate().collect();
        self.for_each(parts, |(limb, (words, others))| {
            let modulus = self.modulus(limb);
            let mut remainder = self.pool.take(degree);
            for (words, special) in [(words, special), (others, other_special)] {
                self.convert(modulus, special, &self.special_conversions[limb], &mut remainder);
                self.rings[limb].forward(self.arch, &mut remainder);
                words::subtract_and_scale(self.arch, modulus, words, &remainder, self.special_quotient[limb]);
            }
            self.pool.give(remainder);
        });
        for polynomial in &mut polynomials {
            polynomial.truncate(limbs * degree);
        }
        polynomials
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
        self.turn(ciphertext, self.switch(&ciphertext.parts[1], &key.key), key)
    }

    /// As [`Ring::automorphism`], with the digits of the ciphertext's mask at hand.
    ///
    /// Source: Halevi and Shoup, CRYPTO 2018, section 5 ("hoisting").
    #[must_use]
    pub fn hoisted(&self, ciphertext: &Ciphertext, decomposed: &Decomposed, key: &GaloisKey) -> Ciphertext {
        self.turn(ciphertext, self.inner_product(decomposed, &key.key), key)
    }

    /// The automorphism of a ciphertext whose mask was switched: values in another order, every limb alike.
    fn turn(&self, ciphertext: &Ciphertext, [mut body, mask]: [Vec<u32>; 2], key: &GaloisKey) -> Ciphertext {
        let degree = self.degree();
        let mut parts = [self.pool.take(body.len()), self.pool.take(mask.len())];
        let [out_body, out_mask] = &mut parts;
        let outs = out_body.chunks_exact_mut(degree).zip(out_mask.chunks_exact_mut(degree));
        let switched = body.chunks_exact_mut(degree).zip(mask.chunks_exact(degree));
        let limbs = outs.zip(switched).zip(ciphertext.parts[0].chunks_exact(degree)).enumerate().collect();
        self.for_each(limbs, |(limb, (((out_body, out_mask), (body, mask)), own))| {
            words::add(self.arch, self.modulus(limb), body, own);
            for ((out_body, out_mask), &from) in out_body.iter_mut().zip(out_mask).zip(&key.order) {
                *out_body = body[from as usize];
                *out_mask = mask[from as usize];
            }
        });
        [body, mask].into_iter().for_each(|buffer| self.pool.give(buffer));
        Ciphertext { parts, scale: ciphertext.scale }
    }

    /// Gives a decomposition's memory back for later operations.
    pub fn recycle_decomposed(&self, decomposed: Decomposed) {
        decomposed.digits.into_iter().for_each(|digit| self.pool.give(digit));
    }
}
