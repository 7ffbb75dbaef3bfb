//! The reference's arithmetic, as it would be written on paper: residues by division, the transform from its
//! definition, base conversions as sums of integers. It shares no code with the fast steps.

use crate::ckks::params::set::RingKind;
use crate::residues::modulus::PRIME_BITS;

/// A prime p with the powers of a root psi of order 2M. Polynomials are computed with modulo X^M + 1, M being N, or 2N
/// for the conjugate-invariant ring, whose elements are such polynomials with `c_(2N - j) = -c_j`.
pub(in crate::ckks::cpu) struct Prime {
    pub p: u64,
    /// 2^32 mod p: what residues are multiplied with for Montgomery form.
    form: u64,
    /// Its inverse.
    inverse_form: u64,
    kind: RingKind,
    /// N.
    degree: usize,
    /// `psi^e` for e below 2M.
    roots: Vec<u64>,
    /// For each place the k for whose point `psi^(2 k + 1)` the value stands there: place 256 t + 16 i + j holds leaf
    /// 256 t + 16 j + i, and k has the leaf's bits reversed; in the conjugate-invariant ring it is twice that.
    points: Vec<usize>,
}

/// `base^exponent` mod p.
fn power(base: u64, exponent: u64, p: u64) -> u64 {
    if exponent == 0 {
        return 1;
    }
    let root = power(base * base % p, exponent / 2, p);
    if exponent % 2 == 1 { root * base % p } else { root }
}

fn reversed(index: usize, bits: u32) -> usize {
    index.reverse_bits() >> (usize::BITS - bits)
}

impl Prime {
    /// psi is `b^((p - 1) / 2M)` for the smallest b of at least 2 with `psi^M = -1`.
    pub fn new(p: u32, kind: RingKind, degree: usize) -> Self {
        debug_assert!(p < 1 << PRIME_BITS, "products of two residues fit a u64");
        let times = match kind {
            RingKind::Complex => 1,
            RingKind::Real => 2,
        };
        let whole = times * degree;
        let (p, order) = (u64::from(p), 2 * whole as u64);
        let candidates = (2..p).map(|base| power(base, (p - 1) / order, p));
        let psi = candidates.into_iter().find(|&psi| power(psi, order / 2, p) == p - 1);
        let psi = psi.expect("parameters were checked: p is 1 mod 2M");
        let roots = std::iter::successors(Some(1), |root| Some(root * psi % p)).take(2 * whole).collect();
        let form = (1 << 32) % p;
        let leaf = |place: usize| place / 256 * 256 + place % 16 * 16 + place / 16 % 16;
        let points = (0..degree).map(|place| times * reversed(leaf(place), degree.trailing_zeros())).collect();
        Self { p, form, inverse_form: power(form, p - 2, p), kind, degree, roots, points }
    }

    /// M.
    fn whole(&self) -> usize {
        self.roots.len() / 2
    }

    /// M coefficients of the element with N ones.
    fn widened(&self, coefficients: &[u64]) -> Vec<u64> {
        match self.kind {
            RingKind::Complex => coefficients.to_vec(),
            RingKind::Real => {
                let negated = |c: &u64| (self.p - c) % self.p;
                let upper = coefficients[1..].iter().rev().map(negated);
                coefficients.iter().copied().chain([0]).chain(upper).collect()
            }
        }
    }

    /// `x(X^element)`: coefficient i of M goes to place `i element` mod 2M, and to the place M below with its sign
    /// turned.
    pub fn automorphism(&self, coefficients: &[u64], element: usize) -> Vec<u64> {
        let whole = self.whole();
        let mut moved = vec![0; whole];
        for (i, c) in self.widened(coefficients).into_iter().enumerate() {
            let place = i * element % (2 * whole);
            moved[place % whole] = if place < whole { c } else { (self.p - c) % self.p };
        }
        moved.truncate(self.degree);
        moved
    }

    /// The inverse of a residue that is not 0: `x^(p - 2)`.
    pub fn inverse(&self, x: u64) -> u64 {
        power(x % self.p, self.p - 2, self.p)
    }

    /// The residue of a signed integer.
    pub fn residue(&self, x: i64) -> u64 {
        x.rem_euclid(self.p as i64) as u64
    }

    /// A residue's word: times 2^32.
    pub fn word(&self, residue: u64) -> u32 {
        (residue * self.form % self.p) as u32
    }

    /// Words' residues: times 2^-32.
    pub fn residues(&self, words: &[u32]) -> Vec<u64> {
        words.iter().map(|&word| u64::from(word) * self.inverse_form % self.p).collect()
    }

    /// The word of a sum of two residues.
    pub fn sum(&self, a: u32, b: u32) -> u32 {
        ((u64::from(a) + u64::from(b)) % self.p) as u32
    }

    /// The word of a sum of products of residues: `2^-32 sum a b` of their words.
    pub fn inner_product(&self, pairs: impl IntoIterator<Item = (u32, u32)>) -> u32 {
        let sum = pairs.into_iter().fold(0, |sum, (a, b)| (sum + u64::from(a) * u64::from(b)) % self.p);
        (sum * self.inverse_form % self.p) as u32
    }

    /// Words of the values of a polynomial: `sum_i c_i psi^((2 k + 1) i)` for each place's k.
    pub fn values(&self, coefficients: &[u64]) -> Vec<u32> {
        // A cyclic transform with root psi^2, of c_i psi^i.
        let twisted = self.widened(coefficients).iter().zip(&self.roots).map(|(c, root)| c * root % self.p).collect();
        let values = self.cyclic(twisted, |exponent| exponent);
        self.points.iter().map(|&k| self.word(values[k])).collect()
    }

    /// Coefficients of the polynomial with these words of values: the inverse of [`Prime::values`].
    pub fn coefficients(&self, words: &[u32]) -> Vec<u64> {
        let (whole, residues) = (self.whole(), self.residues(words));
        let mut values = vec![0; whole];
        for (&k, value) in self.points.iter().zip(residues) {
            values[k] = value;
            if self.kind == RingKind::Real {
                // The inverse point, psi^(4N - 2k - 1).
                values[whole - 1 - k] = value;
            }
        }
        let negated = |exponent: usize| (2 * whole - exponent) % (2 * whole);
        let sums = self.cyclic(values, negated);
        let scale = self.inverse(whole as u64);
        sums.iter()
            .take(self.degree)
            .enumerate()
            .map(|(i, sum)| sum * self.roots[negated(i)] % self.p * scale % self.p)
            .collect()
    }

    /// `sum_i x_i omega^(i k)` for all k, omega = psi^2 or, by `exponent`, its inverse. Source: Cooley and Tukey, Math.
    /// Comp. 1965.
    fn cyclic(&self, x: Vec<u64>, exponent: impl Fn(usize) -> usize) -> Vec<u64> {
        let (whole, bits) = (self.whole(), self.whole().trailing_zeros());
        let mut sums: Vec<u64> = (0..whole).map(|i| x[reversed(i, bits)]).collect();
        for depth in 0..bits {
            let half = 1 << depth;
            for block in sums.chunks_exact_mut(2 * half) {
                for k in 0..half {
                    let root = self.roots[exponent(whole / half * k)];
                    let (even, odd) = (block[k], block[k + half] * root % self.p);
                    (block[k], block[k + half]) = ((even + odd) % self.p, (even + self.p - odd) % self.p);
                }
            }
        }
        sums
    }
}

/// An integer polynomial that is x modulo the product D of some primes: `sum_i c_i (D / q_i)`, where c_i is the residue
/// of `x (D / q_i)^-1` modulo q_i that is nearest to 0.
pub(in crate::ckks::cpu) struct Parts<'a> {
    primes: Vec<&'a Prime>,
    /// For each prime the c_i of all coefficients.
    centred: Vec<Vec<i64>>,
}

impl<'a> Parts<'a> {
    /// From the residues of x, one vector of coefficients for each prime.
    pub fn new(primes: Vec<&'a Prime>, coefficients: &[Vec<u64>]) -> Self {
        let centred = |(at, (prime, coefficients)): (usize, (&&Prime, &Vec<u64>))| {
            let inverse = prime.inverse(quotient(&primes, at, prime));
            let centre = |c: u64| if c > prime.p / 2 { c as i64 - prime.p as i64 } else { c as i64 };
            coefficients.iter().map(|x| centre(x * inverse % prime.p)).collect()
        };
        let centred = primes.iter().zip(coefficients).enumerate().map(centred).collect();
        Self { primes, centred }
    }

    /// The integers' residues modulo another prime, or one of D.
    pub fn modulo(&self, target: &Prime) -> Vec<u64> {
        let mut sums = vec![0; target.degree];
        for (at, centred) in self.centred.iter().enumerate() {
            let quotient = quotient(&self.primes, at, target);
            for (sum, &c) in sums.iter_mut().zip(centred) {
                *sum = (*sum + target.residue(c) * quotient) % target.p;
            }
        }
        sums
    }
}

/// For each place the integer that has these residues, a vector for each prime, and is nearest to 0.
pub(in crate::ckks::cpu) fn nearest_to_zero(primes: &[Prime], residues: &[Vec<u64>]) -> Vec<i128> {
    let product: i128 = primes.iter().map(|prime| i128::from(prime.p)).product();
    let integer = |place: usize| {
        let term = |(prime, residues): (&Prime, &Vec<u64>)| {
            let others = product / i128::from(prime.p);
            let inverse = prime.inverse((others % i128::from(prime.p)) as u64);
            others * i128::from(residues[place] * inverse % prime.p)
        };
        let sum = primes.iter().zip(residues).map(term).sum::<i128>() % product;
        if sum > product / 2 { sum - product } else { sum }
    };
    (0..residues.first().map_or(0, Vec::len)).map(integer).collect()
}

/// `D / q` modulo `target`, q the prime `at` of those of D.
fn quotient(primes: &[&Prime], at: usize, target: &Prime) -> u64 {
    let others = primes.iter().enumerate().filter(|&(other, _)| other != at);
    others.fold(1, |product, (_, prime)| product * (prime.p % target.p) % target.p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::residues::modulus::primes_below;

    #[test]
    fn values_are_the_polynomial_at_its_points() {
        let degree = 256;
        for kind in [RingKind::Complex, RingKind::Real] {
            let p = primes_below(1 << PRIME_BITS, 9).next().expect("a prime");
            values_are_right(&Prime::new(p, kind, degree), degree);
        }
    }

    fn values_are_right(prime: &Prime, degree: usize) {
        let coefficients: Vec<u64> = (0..degree as u64).map(|i| (i * i * 12_345 + 7) % prime.p).collect();
        let words = prime.values(&coefficients);
        for place in [0, 1, 15, 16, 17, 200, 255] {
            let point = prime.roots[2 * prime.points[place] + 1];
            let value = prime.widened(&coefficients).iter().rev().fold(0, |sum, c| (sum * point + c) % prime.p);
            assert_eq!(prime.residues(&words[place..=place]), [value], "place {place}");
        }
        assert_eq!(prime.coefficients(&words), coefficients);
        let points = prime.points[..3].iter().map(|k| k * degree / prime.whole()).collect::<Vec<_>>();
        assert_eq!(points, [0, 8, 4], "place 1 holds leaf 16: tiles are transposed");
    }

    #[test]
    fn parts_are_the_integer_nearest_to_zero_or_beside_it() {
        let primes: Vec<Prime> =
            primes_below(1 << 20, 8).take(3).map(|p| Prime::new(p, RingKind::Complex, 256)).collect();
        let product: i128 = i128::from(primes[0].p) * i128::from(primes[1].p);
        let integers: Vec<i128> = (0..256).map(|i| (i - 128) * 1_000_003 * 4_001 % (product / 2)).collect();
        let modulo = |p: u64| integers.iter().map(|x| x.rem_euclid(i128::from(p)) as u64).collect::<Vec<u64>>();
        let parts = Parts::new(vec![&primes[0], &primes[1]], &[modulo(primes[0].p), modulo(primes[1].p)]);
        for prime in &primes[..2] {
            assert_eq!(parts.modulo(prime), modulo(prime.p), "the sum is x modulo D");
        }
        let t = i128::from(primes[2].p);
        let allowed = [-1, 0, 1].map(|multiple| multiple * product);
        for (got, x) in parts.modulo(&primes[2]).into_iter().zip(&integers) {
            assert!(allowed.iter().any(|more| (x + more).rem_euclid(t) as u64 == got), "{x}: {got}");
        }
    }
}
