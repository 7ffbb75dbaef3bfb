//! The way from the last primes to all of them: where a bootstrap begins.
//!
//! A ciphertext modulo `Q_0`, the product of the first one or two primes, decrypts to `m + Q_0 I` as soon as its
//! coefficients are taken as integers: m is the message, and I a polynomial of small integers. With h coefficients of
//! the secret that are not 0, integers between `-Q_0 / 2` and `Q_0 / 2` sum up to at most `(h + 1) Q_0 / 2`, so that I
//! is at most `(h + 1) / 2` and that share of `Q_0` which the message has.

use crate::ckks::error::CkksError;
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::context::Ring;
use crate::ckks::ring::words;

/// Most limbs of what is raised: the product of so many primes fits a signed word of 64 bits.
pub const MOST_RAISED_LIMBS: usize = 2;

impl Ring {
    /// The ciphertext's integers, between `-Q_0 / 2` and `Q_0 / 2`, modulo the first `limbs` primes; scale and the
    /// words of limbs that are there already stay. Exact: the message gains `Q_0 I`.
    ///
    /// # Errors
    /// [`CkksError::Level`] for more than [`MOST_RAISED_LIMBS`] limbs or for more than `limbs`, [`CkksError::Depth`] if
    /// there are not so many primes.
    ///
    /// Source: Cheon, Han, Kim, Kim, Song, EUROCRYPT 2018, section 3.
    pub fn raise(&self, ciphertext: &Ciphertext, limbs: usize) -> Result<Ciphertext, CkksError> {
        let degree = self.degree();
        let own = ciphertext.parts[0].len() / degree;
        if own > MOST_RAISED_LIMBS.min(limbs) {
            return Err(CkksError::Level { left: own, right: MOST_RAISED_LIMBS.min(limbs) });
        }
        if limbs > self.limbs() {
            return Err(CkksError::Depth);
        }
        let parts = ciphertext.parts.each_ref().map(|part| {
            let integers = self.centred_integers(part);
            let mut raised = self.pool.take(limbs * degree);
            let (kept, new) = raised.split_at_mut(part.len());
            kept.copy_from_slice(part);
            let new = new.chunks_exact_mut(degree).enumerate().collect();
            self.for_each(new, |(at, out): (usize, &mut [u32])| {
                words::lift(self.arch, self.modulus(own + at), out, &integers);
                self.rings[own + at].forward(self.arch, out);
            });
            raised
        });
        Ok(Ciphertext { parts, scale: ciphertext.scale })
    }

    /// Coefficients of a polynomial (values) of one limb or two, between minus and plus half of the primes' product.
    fn centred_integers(&self, polynomial: &[u32]) -> Vec<i64> {
        let mut words = polynomial.to_vec();
        self.inverse(0, &mut words);
        for (limb, words) in words.chunks_exact_mut(self.degree()).enumerate() {
            words::leave_montgomery(self.arch, self.modulus(limb), words, 0);
        }
        let (first, second) = words.split_at(self.degree());
        let p = self.modulus(0);
        let centred = |value: i64, modulus: i64| if value > modulus / 2 { value - modulus } else { value };
        if second.is_empty() {
            return first.iter().map(|&a| centred(i64::from(a), i64::from(p.p))).collect();
        }
        // Garner: x = a + p ((b - a) / p mod q).
        let q = self.modulus(1);
        let inverse = q.inverse(p.p % q.p);
        let integer = |(&a, &b): (&u32, &u32)| {
            let digit = q.mul(q.sub(b, a % q.p), inverse);
            let value = i64::from(a) + i64::from(p.p) * i64::from(digit);
            centred(value, i64::from(p.p) * i64::from(q.p))
        };
        first.iter().zip(second).map(integer).collect()
    }
}
