//! Ciphertexts and what can be computed on them, with exact bookkeeping of scale and level.

use std::borrow::Cow;

use crate::ckks::error::{CkksError, enough_limbs, same_limbs, same_scale};
use crate::ckks::ops::{Constant, Product};
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::number::Number;
use crate::ckks::ring::plaintext::Plaintext;
use rayon::prelude::*;

use crate::ckks::ring::context::Ring;
use crate::ckks::ring::keys::SwitchKey;
use crate::ckks::ring::words;
use crate::residues::modulus::Modulus;

/// Words of a limb that are summed at a time: those of some tens of ciphertexts fit the second-level cache.
const TILE: usize = 1024;

type WordLoop = fn(pulp::Arch, Modulus, &mut [u32], &[u32]);

impl Ring {
    /// Limbs of a ciphertext.
    #[must_use]
    pub fn limbs_of(&self, ciphertext: &Ciphertext) -> usize {
        ciphertext.parts[0].len() / self.degree()
    }

    /// A loop over words for every limb of two polynomials.
    fn for_limbs(&self, operation: WordLoop, a: &mut [u32], b: &[u32]) {
        for (limb, (a, b)) in a.chunks_exact_mut(self.degree()).zip(b.chunks_exact(self.degree())).enumerate() {
            operation(self.arch, self.modulus(limb), a, b);
        }
    }

    /// `a += b` for polynomials of one length.
    pub(in crate::ckks) fn add_words(&self, a: &mut [u32], b: &[u32]) {
        self.for_limbs(words::add, a, b);
    }

    fn check_pair(&self, a: &Ciphertext, b: &Ciphertext) -> Result<(), CkksError> {
        same_limbs(self.limbs_of(a), self.limbs_of(b))
    }

    /// `a + b`. Noise: the sum of both.
    ///
    /// # Errors
    /// Different levels or scales.
    pub fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let mut sum = a.clone();
        self.add_assign(&mut sum, b)?;
        Ok(sum)
    }

    /// `a += b`. Noise: the sum of both.
    ///
    /// # Errors
    /// Different levels or scales.
    pub fn add_assign(&self, a: &mut Ciphertext, b: &Ciphertext) -> Result<(), CkksError> {
        self.check_pair(a, b)?;
        same_scale(a.scale, b.scale)?;
        a.parts.iter_mut().zip(&b.parts).for_each(|(a, b)| self.add_words(a, b));
        Ok(())
    }

    /// The sum of a group of one level and scale. Noise: the sum of all.
    ///
    /// # Errors
    /// [`CkksError::Depth`] without terms; different levels or scales.
    pub fn sum(&self, group: &[&Ciphertext]) -> Result<Ciphertext, CkksError> {
        let (first, rest) = group.split_first().ok_or(CkksError::Depth)?;
        let mut sum = self.view(first, self.limbs_of(first))?;
        rest.iter().try_for_each(|term| self.add_assign(&mut sum, term))?;
        Ok(sum)
    }

    /// `a - b`. Noise: the sum of both.
    ///
    /// # Errors
    /// Different levels or scales.
    pub fn subtract(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.check_pair(a, b)?;
        same_scale(a.scale, b.scale)?;
        let mut difference = a.clone();
        difference.parts.iter_mut().zip(&b.parts).for_each(|(a, b)| self.for_limbs(words::subtract, a, b));
        Ok(difference)
    }

    /// Adds a plaintext of the ciphertext's scale. Exact.
    ///
    /// # Errors
    /// A plaintext of fewer limbs or another scale.
    pub fn add_plain(&self, ciphertext: &mut Ciphertext, plaintext: &Plaintext) -> Result<(), CkksError> {
        let (left, right) = (ciphertext.parts[0].len(), plaintext.len());
        if right < left {
            return Err(CkksError::Level { left: left / self.degree(), right: right / self.degree() });
        }
        same_scale(ciphertext.scale, plaintext.scale)?;
        let mut room = Vec::new();
        for (limb, words) in ciphertext.parts[0].chunks_exact_mut(self.degree()).enumerate() {
            let own = plaintext.limb(limb, self.degree(), &mut room);
            words::add(self.arch, self.modulus(limb), words, own);
        }
        Ok(())
    }

    /// Adds one number of the ciphertext's scale to all slots. Exact.
    ///
    /// # Errors
    /// A number of fewer limbs or another scale.
    pub fn add_number(&self, ciphertext: &mut Ciphertext, number: &Number) -> Result<(), CkksError> {
        let (left, right) = (self.limbs_of(ciphertext), number.residues.len());
        enough_limbs(left, right)?;
        same_scale(ciphertext.scale, number.scale)?;
        let limbs = ciphertext.parts[0].chunks_exact_mut(self.degree()).zip(&number.residues);
        for (limb, (words, &residue)) in limbs.enumerate() {
            // A constant polynomial has the same value everywhere.
            words::shift(self.arch, self.modulus(limb), words, residue);
        }
        Ok(())
    }

    /// `a x` for one number for all slots; rescale afterwards. Noise: a's times the number.
    ///
    /// # Errors
    /// A number of fewer limbs.
    pub fn multiply_number(&self, a: &Ciphertext, number: &Number) -> Result<Ciphertext, CkksError> {
        let (degree, left, right) = (self.degree(), self.limbs_of(a), number.residues.len());
        enough_limbs(left, right)?;
        let parts = a.parts.each_ref().map(|part| {
            let mut out = self.pool.take(part.len());
            let limbs = out.chunks_exact_mut(degree).zip(part.chunks_exact(degree)).zip(&number.residues);
            for (limb, ((out, words), &residue)) in limbs.enumerate() {
                words::combine(self.arch, self.modulus(limb), out, &[words], &[residue], 0);
            }
            out
        });
        Ok(Ciphertext { parts, scale: a.scale * number.scale })
    }

    /// `sum += a x` at the sum's limbs, for a number or a plaintext x. Noise: a's times the size of x.
    ///
    /// # Errors
    /// A term or factor of fewer limbs than the sum, or of other scales.
    pub fn add_product(
        &self,
        sum: &mut Ciphertext,
        a: &Ciphertext,
        factor: &Constant<'_, Plaintext>,
    ) -> Result<(), CkksError> {
        let (degree, left) = (self.degree(), self.limbs_of(sum));
        let (right, scale) = match factor {
            Constant::Number(number) => (number.residues.len(), number.scale),
            Constant::Slots(plaintext) => (plaintext.len() / degree, plaintext.scale),
        };
        let right = right.min(self.limbs_of(a));
        enough_limbs(left, right)?;
        same_scale(sum.scale, a.scale * scale)?;
        let mut room = Vec::new();
        for (sum, a) in sum.parts.iter_mut().zip(&a.parts) {
            for (limb, (sum, a)) in sum.chunks_exact_mut(degree).zip(a.chunks_exact(degree)).enumerate() {
                let modulus = self.modulus(limb);
                match factor {
                    Constant::Number(number) => {
                        words::add_scaled(self.arch, modulus, sum, a, number.residues[limb]);
                    }
                    Constant::Slots(plaintext) => {
                        let own = plaintext.limb(limb, degree, &mut room);
                        words::multiply_add(self.arch, modulus, sum, a, own);
                    }
                }
            }
        }
        Ok(())
    }

    /// `sum_i weights[i] terms[i]`, one number for all slots of a term, at the given scale; rescale afterwards.
    ///
    /// Terms may have any scales and levels: weights carry the ratio, the result has the lowest level.
    /// Noise: that of the terms times their weights, and half a unit of each term's message from rounding its weight.
    ///
    /// # Errors
    /// [`CkksError::Depth`] without terms.
    pub fn linear_combination(&self, terms: &[(&Ciphertext, f64)], scale: f64) -> Result<Ciphertext, CkksError> {
        let degree = self.degree();
        let limbs = terms.iter().map(|(term, _)| self.limbs_of(term)).min().ok_or(CkksError::Depth)?;
        let weights: Vec<Vec<u32>> = (0..limbs)
            .map(|limb| {
                let modulus = self.modulus(limb);
                let weight = |term: &Ciphertext, weight: f64| {
                    modulus.montgomery(modulus.residue_of_double(weight * scale / term.scale))
                };
                terms.iter().map(|&(term, w)| weight(term, w)).collect()
            })
            .collect();
        let parts = std::array::from_fn(|part| {
            let mut out = self.pool.take(limbs * degree);
            for (limb, out) in out.chunks_exact_mut(degree).enumerate() {
                let words: Vec<&[u32]> =
                    terms.iter().map(|(term, _)| &term.parts[part][limb * degree..][..degree]).collect();
                words::combine(self.arch, self.modulus(limb), out, &words, &weights[limb], 0);
            }
            out
        });
        Ok(Ciphertext { parts, scale })
    }

    /// The scale at which a linear combination at `limbs` limbs comes out at `scale` when it is rescaled.
    #[must_use]
    pub fn before_rescale(&self, scale: f64, limbs: usize) -> f64 {
        scale * f64::from(self.modulus(limbs - 1).p)
    }

    /// `a p` slot by slot; rescale afterwards. Noise: a's times the size of p, and vice versa.
    ///
    /// # Errors
    /// A plaintext of fewer limbs.
    pub fn multiply_plain(&self, a: &Ciphertext, plaintext: &Plaintext) -> Result<Ciphertext, CkksError> {
        let (left, right) = (self.limbs_of(a), plaintext.len() / self.degree());
        enough_limbs(left, right)?;
        let (degree, mut room) = (self.degree(), Vec::new());
        let parts = std::array::from_fn(|part| {
            let mut out = self.pool.take(a.parts[part].len());
            let operands = out.chunks_exact_mut(degree).zip(a.parts[part].chunks_exact(degree));
            for (limb, (out, a)) in operands.enumerate() {
                let own = plaintext.limb(limb, degree, &mut room);
                words::multiply(self.arch, self.modulus(limb), out, a, own);
            }
            out
        });
        Ok(Ciphertext { parts, scale: a.scale * plaintext.scale })
    }

    /// For each of `sums` the sum of `inputs[i] p` over its terms (i, p), slot by slot; rescale afterwards.
    /// Noise: the sum of those of [`Ring::multiply_plain`].
    ///
    /// # Errors
    /// [`CkksError::Depth`] for a sum without terms, different levels or scales, a plaintext of fewer limbs.
    pub fn inner_products_plain<'p>(
        &self,
        inputs: &[Ciphertext],
        sums: &[Vec<(usize, &'p Plaintext)>],
    ) -> Result<Vec<Ciphertext>, CkksError> {
        let first = inputs.first().ok_or(CkksError::Depth)?;
        let (degree, words) = (self.degree(), first.parts[0].len());
        inputs.iter().try_for_each(|input| self.check_pair(first, input))?;
        let scale_of = |&(input, plaintext): &(usize, &Plaintext)| inputs[input].scale * plaintext.scale;
        let mut results = Vec::with_capacity(sums.len());
        for terms in sums {
            let scale = terms.first().map(scale_of).ok_or(CkksError::Depth)?;
            for term in terms {
                same_scale(scale, scale_of(term))?;
                let right = term.1.len();
                if right < words {
                    return Err(CkksError::Level { left: words / degree, right: right / degree });
                }
            }
            results.push(Ciphertext { parts: [self.pool.take(words), self.pool.take(words)], scale });
        }
        // The rows of one sum's plaintexts, each standing for as many.
        let rows_of = |terms: &Vec<(usize, &'p Plaintext)>| {
            let repeats = terms.iter().map(|(_, plaintext)| plaintext.repeats).min().unwrap_or(1);
            (repeats, terms.iter().map(|(_, plaintext)| plaintext.rows(repeats)).collect())
        };
        let factors: Vec<(usize, Vec<Cow<'p, [u32]>>)> = sums.iter().map(rows_of).collect();
        // By limb and then by tile, so that the inputs' tiles are read from the cache for all sums.
        let mut limbs: Vec<Vec<[&mut [u32]; 2]>> = (0..words / degree).map(|_| Vec::new()).collect();
        for result in &mut results {
            let [body, mask] = &mut result.parts;
            let pairs = body.chunks_exact_mut(degree).zip(mask.chunks_exact_mut(degree));
            limbs.iter_mut().zip(pairs).for_each(|(limb, (body, mask))| limb.push([body, mask]));
        }
        limbs.into_par_iter().enumerate().for_each(|(limb, mut outs)| {
            let tile = TILE.min(degree);
            let (mut masks, mut bodies, mut plains) = (Vec::new(), Vec::new(), Vec::new());
            for start in (0..degree).step_by(tile) {
                let range = limb * degree + start..limb * degree + start + tile;
                for (([body, mask], terms), (repeats, factors)) in outs.iter_mut().zip(sums).zip(&factors) {
                    bodies.clear();
                    masks.clear();
                    plains.clear();
                    for (&(input, _), factor) in terms.iter().zip(factors) {
                        bodies.push(&inputs[input].parts[0][range.clone()]);
                        masks.push(&inputs[input].parts[1][range.clone()]);
                        plains.push(&factor[range.start / repeats..range.end / repeats]);
                    }
                    let out = [&mut body[start..start + tile], &mut mask[start..start + tile]];
                    words::inner_products(self.arch, self.modulus(limb), out, [&bodies, &masks], &plains, *repeats);
                }
            }
        });
        Ok(results)
    }

    /// `a b` slot by slot, back under s with the relinearisation key (s^2 to s); rescale afterwards.
    ///
    /// Noise: a's times the size of b and vice versa, plus [`crate::ckks::noise::key_switch`].
    ///
    /// # Errors
    /// Different levels, or a key for lower ones.
    pub fn multiply(&self, a: &Ciphertext, b: &Ciphertext, key: &SwitchKey) -> Result<Ciphertext, CkksError> {
        self.check_pair(a, b)?;
        enough_limbs(self.limbs_of(a), key.limbs)?;
        self.relinearise(self.tensor(a, b)?, key)
    }

    /// `a b` slot by slot, in three parts; rescale afterwards. Noise: a's times the size of b and vice versa.
    ///
    /// # Errors
    /// Different levels.
    pub fn tensor(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Product<Ciphertext>, CkksError> {
        self.check_pair(a, b)?;
        let (degree, words) = (self.degree(), a.parts[0].len());
        let (mut low, mut middle, mut high) = (self.pool.take(words), self.pool.take(words), self.pool.take(words));
        for limb in 0..words / degree {
            let range = limb * degree..(limb + 1) * degree;
            let out = [&mut low[range.clone()], &mut middle[range.clone()], &mut high[range.clone()]];
            let a = [&a.parts[0][range.clone()], &a.parts[1][range.clone()]];
            let b = [&b.parts[0][range.clone()], &b.parts[1][range]];
            words::tensor(self.arch, self.modulus(limb), out, a, b);
        }
        let scale = a.scale * b.scale;
        let [low, high] = [[low, middle], [high, Vec::new()]].map(|parts| Ciphertext { parts, scale });
        Ok(Product { low, high })
    }

    /// The ciphertext of two parts for a product of three. Noise: adds [`crate::ckks::noise::key_switch`].
    ///
    /// # Errors
    /// Parts of different levels, or a key for lower ones.
    pub fn relinearise(&self, product: Product<Ciphertext>, key: &SwitchKey) -> Result<Ciphertext, CkksError> {
        let Product { mut low, high } = product;
        self.check_pair(&low, &high)?;
        enough_limbs(self.limbs_of(&low), key.limbs)?;
        let switched = self.switch(&high.parts[0], key);
        for (part, switched) in low.parts.iter_mut().zip(switched) {
            self.add_words(part, &switched);
            self.pool.give(switched);
        }
        self.recycle(high);
        Ok(low)
    }

    /// [`Ring::rescale`] of [`Ring::relinearise`], at a transform a limb less.
    ///
    /// # Errors
    /// As both.
    pub fn relinearise_and_rescale(
        &self,
        product: Product<Ciphertext>,
        key: &SwitchKey,
    ) -> Result<Ciphertext, CkksError> {
        let Product { low, high } = product;
        let limbs = self.limbs_of(&low);
        self.check_pair(&low, &high)?;
        enough_limbs(limbs, key.limbs)?;
        if limbs == 1 {
            return Err(CkksError::Depth);
        }
        let parts = self.switch_and_rescale(&high.parts[0], key, &low.parts);
        let scale = low.scale / f64::from(self.modulus(limbs - 1).p);
        [low, high].into_iter().for_each(|own| self.recycle(own));
        Ok(Ciphertext { parts, scale })
    }

    /// Drops limbs down to `limbs`; numbers, scale and noise stay.
    ///
    /// # Errors
    /// [`CkksError::Depth`] if there are fewer.
    pub fn drop_to(&self, mut ciphertext: Ciphertext, limbs: usize) -> Result<Ciphertext, CkksError> {
        if limbs == 0 || limbs > self.limbs_of(&ciphertext) {
            return Err(CkksError::Depth);
        }
        for part in &mut ciphertext.parts {
            part.truncate(limbs * self.degree());
        }
        Ok(ciphertext)
    }

    /// A copy of the first `limbs` limbs.
    pub(in crate::ckks) fn view(&self, ciphertext: &Ciphertext, limbs: usize) -> Result<Ciphertext, CkksError> {
        let words = limbs * self.degree();
        if words > ciphertext.parts[0].len() {
            return Err(CkksError::Level { left: self.limbs_of(ciphertext), right: limbs });
        }
        let parts = ciphertext.parts.each_ref().map(|part| self.copy(&part[..words.min(part.len())]));
        Ok(Ciphertext { parts, scale: ciphertext.scale })
    }

    /// A copy in a buffer of just its size.
    pub(in crate::ckks) fn copy(&self, words: &[u32]) -> Vec<u32> {
        let mut out = self.pool.take(words.len());
        out.copy_from_slice(words);
        out
    }

    /// Gives a ciphertext's memory back for later operations.
    pub fn recycle(&self, ciphertext: Ciphertext) {
        ciphertext.parts.into_iter().for_each(|part| self.pool.give(part));
    }
}
