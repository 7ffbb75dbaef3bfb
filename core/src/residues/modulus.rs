//! Arithmetic modulo primes below 2^30 that are 1 mod 2N.

/// Bits of the largest primes: products of four residues fit a u64, and lazy sums of four moduli fit a u32.
pub const PRIME_BITS: u32 = 30;

/// Products of residues that a sum takes before [`Modulus::reduce_sum`]: `12 p^2 < 3 * 2^32 p`, and with `2^32 p` on
/// top they stay below 2^64.
pub const LAZY_SUMS: usize = 12;

/// A prime p with its Montgomery constant for R = 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modulus {
    /// p, odd, below 2^30.
    pub p: u32,
    /// -p^-1 mod 2^32.
    negative_inverse: u32,
    /// 2^64 mod p: [`Modulus::reduce`] of a word times this is the word in Montgomery form.
    square_of_r: u32,
}

impl Modulus {
    /// Constants for an odd prime below 2^30.
    ///
    /// # Panics
    /// If `p` is even or too large: primes come from [`primes_below`].
    #[must_use]
    pub fn new(p: u32) -> Self {
        assert!(p % 2 == 1 && p < 1 << PRIME_BITS, "an odd prime below 2^30");
        // Newton's iteration doubles the right bits: 3, 6, 12, 24, 48.
        let inverse = (0..4).fold(p.wrapping_mul(3) ^ 2, |x, _| x.wrapping_mul(2_u32.wrapping_sub(p.wrapping_mul(x))));
        let r = (1_u64 << 32) % u64::from(p);
        Self { p, negative_inverse: inverse.wrapping_neg(), square_of_r: (r * r % u64::from(p)) as u32 }
    }

    /// -p^-1 mod 2^32, for loops that reduce by themselves.
    #[must_use]
    pub fn negative_inverse(self) -> u32 {
        self.negative_inverse
    }

    /// `x / 2^32` mod p, in `[0, 2p)` for x below `2^32 p`, in `[0, 2p + x / 2^32)` for any x.
    #[inline(always)]
    #[must_use]
    pub fn reduce_lazy(self, x: u64) -> u32 {
        let m = (x as u32).wrapping_mul(self.negative_inverse);
        ((x >> 32) + ((u64::from(m) * u64::from(self.p) + (x & 0xffff_ffff)) >> 32)) as u32
    }

    /// `x / 2^32` mod p, in `[0, p)`, for x below `2^32 p`.
    #[inline(always)]
    #[must_use]
    pub fn reduce(self, x: u64) -> u32 {
        let r = self.reduce_lazy(x);
        r.min(r.wrapping_sub(self.p))
    }

    /// `x / 2^32` mod p, in `[0, p)`, for x below `3 * 2^32 p` (three to four products of residues).
    #[inline(always)]
    #[must_use]
    pub fn reduce_sum(self, x: u64) -> u32 {
        let r = self.reduce_lazy(x);
        let r = r.min(r.wrapping_sub(2 * self.p));
        r.min(r.wrapping_sub(self.p))
    }

    /// `word * 2^32` mod p, for any word.
    #[inline(always)]
    #[must_use]
    pub fn montgomery_of_word(self, word: u32) -> u32 {
        self.reduce(u64::from(word) * u64::from(self.square_of_r))
    }

    /// `a + b` mod p for residues.
    #[inline(always)]
    #[must_use]
    pub fn add(self, a: u32, b: u32) -> u32 {
        let sum = a + b;
        sum.min(sum.wrapping_sub(self.p))
    }

    /// `a - b` mod p for residues.
    #[inline(always)]
    #[must_use]
    pub fn sub(self, a: u32, b: u32) -> u32 {
        let difference = a.wrapping_sub(b);
        difference.min(difference.wrapping_add(self.p))
    }

    /// `a b` mod p for residues; for constants, not for loops.
    #[must_use]
    pub fn mul(self, a: u32, b: u32) -> u32 {
        (u64::from(a) * u64::from(b) % u64::from(self.p)) as u32
    }

    /// `a^exponent` mod p.
    #[must_use]
    pub fn pow(self, a: u32, mut exponent: u32) -> u32 {
        let (mut base, mut power) = (a % self.p, 1);
        while exponent > 0 {
            if exponent % 2 == 1 {
                power = self.mul(power, base);
            }
            base = self.mul(base, base);
            exponent /= 2;
        }
        power
    }

    /// The inverse of a residue that is not 0.
    #[must_use]
    pub fn inverse(self, a: u32) -> u32 {
        self.pow(a, self.p - 2)
    }

    /// `a * 2^32` mod p: the factor that [`Modulus::reduce`] takes out again.
    #[must_use]
    pub fn montgomery(self, a: u32) -> u32 {
        ((u64::from(a) << 32) % u64::from(self.p)) as u32
    }

    /// The residue of a signed integer.
    #[must_use]
    pub fn residue(self, value: i64) -> u32 {
        value.rem_euclid(i64::from(self.p)) as u32
    }

    /// The residue of an integer that a double holds exactly or nearly so, of any size.
    #[must_use]
    pub fn residue_of_double(self, value: f64) -> u32 {
        (value.round() % f64::from(self.p)).rem_euclid(f64::from(self.p)) as u32 % self.p
    }
}

/// A constant factor with its quotient: products without a division (Shoup; Harvey, J. Symb. Comput. 2014).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Factor {
    /// w, below p.
    pub value: u32,
    /// floor(w 2^32 / p).
    pub quotient: u32,
}

impl Factor {
    /// The factor `value`, a residue.
    #[must_use]
    pub fn new(value: u32, modulus: Modulus) -> Self {
        // `value 2^32` less its residue is the quotient times p, and 0 mod 2^32 but for the residue.
        let remainder = modulus.montgomery_of_word(value);
        Self { value, quotient: remainder.wrapping_mul(modulus.negative_inverse) }
    }
}

/// `x w` mod p in `[0, 2p)`, for any x.
#[inline(always)]
pub(crate) fn times(x: u32, value: u32, quotient: u32, p: u32) -> u32 {
    let q = ((u64::from(x) * u64::from(quotient)) >> 32) as u32;
    x.wrapping_mul(value).wrapping_sub(q.wrapping_mul(p))
}

/// Deterministic Miller-Rabin below 2^32 (bases 2, 7, 61; Jaeschke, Math. Comp. 1993).
pub(crate) fn is_prime(candidate: u32) -> bool {
    if candidate < 64 {
        return [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61].contains(&candidate);
    }
    let n = u64::from(candidate);
    let power = |mut base: u64, mut exponent: u64| {
        let mut result = 1;
        while exponent > 0 {
            if exponent % 2 == 1 {
                result = result * base % n;
            }
            base = base * base % n;
            exponent /= 2;
        }
        result
    };
    let twos = (n - 1).trailing_zeros();
    candidate % 2 == 1
        && [2, 7, 61].iter().all(|&witness| {
            let mut x = power(witness, (n - 1) >> twos);
            x == 1
                || (0..twos).any(|_| {
                    let minus_one = x == n - 1;
                    x = x * x % n;
                    minus_one
                })
        })
}

/// Primes below `below`, 1 mod 2N, largest first.
pub fn primes_below(below: u32, log2_degree: u32) -> impl Iterator<Item = u32> {
    let step = 2_u32 << log2_degree;
    let first = below.saturating_sub(2) / step * step + 1;
    (0..first / step).map(move |at| first - at * step).filter(|&candidate| is_prime(candidate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_prime_and_of_the_right_form() {
        for log2_degree in [10, 14, 16] {
            let primes: Vec<u32> = primes_below(1 << 30, log2_degree).take(20).collect();
            assert_eq!(primes.len(), 20);
            for p in primes {
                assert_eq!(p % (2 << log2_degree), 1);
                assert!((2..40_000).take_while(|d| d * d <= p).all(|d| p % d != 0), "{p}");
            }
        }
    }

    #[test]
    fn reductions_agree_with_division_over_their_whole_range() {
        let modulus = Modulus::new(primes_below(1 << 30, 14).next().expect("a prime"));
        let p = u64::from(modulus.p);
        let inverse = u64::from(modulus.inverse(modulus.montgomery(1)));
        for x in [0, 1, p - 1, p, (p - 1) * (p - 1), (p << 32) - 1, (p - 1) << 32] {
            assert_eq!(u64::from(modulus.reduce(x)), u128::from(x) as u64 % p * inverse % p, "{x}");
        }
        for x in [0, 4 * (p - 1) * (p - 1), 3 * (p << 32) - 1] {
            assert_eq!(u64::from(modulus.reduce_sum(x)), x % p * inverse % p, "{x}");
        }
        let factor = Factor::new(modulus.p - 2, modulus);
        for x in [0, 1, modulus.p, u32::MAX] {
            let r = times(x, factor.value, factor.quotient, modulus.p);
            assert!(r < 2 * modulus.p && u64::from(r) % p == u64::from(x) * (p - 2) % p);
        }
        assert_eq!(modulus.residue_of_double(-1.0), modulus.p - 1);
        assert_eq!(u64::from(modulus.residue_of_double((1_u64 << 52) as f64)), (1 << 52) % p);
    }
}
