//! Division by the last primes.

use crate::ckks::error::CkksError;
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::context::Ring;
use crate::ckks::ring::words;
use crate::residues::modulus::Factor;

impl Ring {
    /// Divides by the last prime and drops its limb; the numbers stay, the scale shrinks by that prime.
    ///
    /// Noise: [`crate::ckks::noise::rescale`].
    ///
    /// # Errors
    /// [`CkksError::Depth`] with one limb.
    pub fn rescale(&self, mut ciphertext: Ciphertext) -> Result<Ciphertext, CkksError> {
        let degree = self.degree();
        let last = self.limbs_of(&ciphertext) - 1;
        if last == 0 {
            return Err(CkksError::Depth);
        }
        let modulus = self.modulus(last);
        // Half a prime is added first, so that dropping the remainder rounds to nearest.
        let half = modulus.p / 2;
        // The part of a product under s^2 comes alone.
        let mut parts: Vec<&mut Vec<u32>> = ciphertext.parts.iter_mut().filter(|part| !part.is_empty()).collect();
        let divide_last = |part: &mut &mut Vec<u32>| {
            let mut remainder = self.copy(&part[last * degree..]);
            part.truncate(last * degree);
            self.rings[last].inverse(self.arch, &mut remainder);
            words::leave_montgomery(self.arch, modulus, &mut remainder, half);
            remainder
        };
        let remainders: Vec<Vec<u32>> = parts.iter_mut().map(divide_last).collect();
        // All parts at one limb after the other, so that its roots are read once.
        let mut limbs: Vec<Vec<&mut [u32]>> = (0..last).map(|_| Vec::with_capacity(parts.len())).collect();
        for part in parts {
            limbs.iter_mut().zip(part.chunks_exact_mut(degree)).for_each(|(limb, words)| limb.push(words));
        }
        self.for_each(limbs.into_iter().enumerate().collect(), |(limb, parts)| {
            let target = self.modulus(limb);
            let mut residues = self.pool.take(degree);
            for (words, remainder) in parts.into_iter().zip(&remainders) {
                words::recenter(self.arch, target, &mut residues, remainder, target.montgomery_of_word(half));
                self.rings[limb].forward(self.arch, &mut residues);
                words::subtract_and_scale(self.arch, target, words, &residues, self.rescale[last][limb]);
            }
            self.pool.give(residues);
        });
        remainders.into_iter().for_each(|remainder| self.pool.give(remainder));
        ciphertext.scale /= f64::from(modulus.p);
        Ok(ciphertext)
    }

    /// [`Ring::rescale`] so many times: the same words, with half of the transforms for every two primes.
    ///
    /// Noise: [`crate::ckks::noise::rescale`], once; that of the first divisions is divided by the last ones.
    ///
    /// # Errors
    /// [`CkksError::Depth`] if there are not more limbs than that.
    pub fn rescale_by(&self, mut ciphertext: Ciphertext, primes: usize) -> Result<Ciphertext, CkksError> {
        if primes >= self.limbs_of(&ciphertext) {
            return Err(CkksError::Depth);
        }
        for _ in 0..primes / 2 {
            ciphertext = self.rescale_by_two(ciphertext);
        }
        if primes % 2 == 1 { self.rescale(ciphertext) } else { Ok(ciphertext) }
    }

    /// Divides by the last two primes p, then q. The remainder of the first division, r, and that of the second, s,
    /// make one integer `r + p s`, which is taken away and divided by `p q` at once.
    fn rescale_by_two(&self, mut ciphertext: Ciphertext) -> Ciphertext {
        let degree = self.degree();
        let left = self.limbs_of(&ciphertext) - 2;
        let (q, p) = (self.modulus(left), self.modulus(left + 1));
        let (half_q, half_p) = (q.p / 2, p.p / 2);
        // Coefficients of r and s, each with half its prime added.
        // The part of a product under s^2 comes alone.
        let mut parts: Vec<&mut Vec<u32>> = ciphertext.parts.iter_mut().filter(|part| !part.is_empty()).collect();
        let divide_last = |part: &mut &mut Vec<u32>| {
            let (mut s, mut r) = (self.copy(&part[left * degree..][..degree]), self.copy(&part[(left + 1) * degree..]));
            part.truncate(left * degree);
            self.rings[left + 1].inverse(self.arch, &mut r);
            words::leave_montgomery(self.arch, p, &mut r, half_p);
            self.rings[left].inverse(self.arch, &mut s);
            let mut residues = self.pool.take(degree);
            words::recenter(self.arch, q, &mut residues, &r, q.montgomery_of_word(half_p));
            words::subtract_and_scale(self.arch, q, &mut s, &residues, self.rescale[left + 1][left]);
            self.pool.give(residues);
            words::leave_montgomery(self.arch, q, &mut s, half_q);
            [r, s]
        };
        let remainders: Vec<[Vec<u32>; 2]> = parts.iter_mut().map(divide_last).collect();
        let mut limbs: Vec<Vec<&mut [u32]>> = (0..left).map(|_| Vec::with_capacity(parts.len())).collect();
        for part in parts {
            limbs.iter_mut().zip(part.chunks_exact_mut(degree)).for_each(|(limb, words)| limb.push(words));
        }
        self.for_each(limbs.into_iter().enumerate().collect(), |(limb, parts)| {
            let target = self.modulus(limb);
            let p_here = p.p % target.p;
            // Twice in Montgomery form: the reduction takes one out, and the other is the coefficient's.
            let weights = [1, p_here].map(|weight| target.montgomery(target.montgomery(weight)));
            let halves = target.add(half_p % target.p, target.mul(p_here, half_q % target.p));
            let offset = u64::from(target.montgomery(target.montgomery(target.sub(0, halves))));
            let quotient = target.mul(self.rescale[left][limb].value, self.rescale[left + 1][limb].value);
            let quotient = Factor::new(quotient, target);
            let mut residues = self.pool.take(degree);
            for (words, [r, s]) in parts.into_iter().zip(&remainders) {
                words::combine(self.arch, target, &mut residues, &[r, s], &weights, offset);
                self.rings[limb].forward(self.arch, &mut residues);
                words::subtract_and_scale(self.arch, target, words, &residues, quotient);
            }
            self.pool.give(residues);
        });
        remainders.into_iter().flatten().for_each(|remainder| self.pool.give(remainder));
        ciphertext.scale = ciphertext.scale / f64::from(p.p) / f64::from(q.p);
        ciphertext
    }
}
