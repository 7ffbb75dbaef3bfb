//! The maps between slots and coefficients, in a few factors of few diagonals.
//!
//! With `n` slots that repeat, slot j is `sum_k z_k zeta^(5^j k)`, where zeta is a root of order 4n and `z_k = a_k + i
//! a_(k + n)` has two coefficients of a polynomial in `X^(N / 2n)`. Over the z_k in the order of their reversed bits
//! that is a Fourier transform of `log2 n` depths. Depth d combines entries `h = 2^d` apart, in blocks of `L = 2 h`:
//! with `w_p = exp(2 pi i 5^p / 4L)`, entries p and p + h of a block become `a + w_p b` and `a - w_p b`. As a matrix it
//! has three diagonals, h apart. r depths together have `2^(r + 1) - 1` of them, `2^d` of the first depth apart, and
//! content that repeats after the last block.
//!
//! The order does not matter: what one transform writes in reversed order the other one reads.
//!
//! Source: Chen, Chillotti, Song, EUROCRYPT 2019, section 4, for the factors; Cheon, Han, Kim, Kim, Song, EUROCRYPT
//! 2018, for the maps.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use crate::ckks::ring::encode::Complex;

/// Which way a transform goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From numbers in slots to a polynomial whose coefficients they are.
    ToCoefficients,
    /// The inverse.
    ToSlots,
}

/// A linear map of slots by its diagonals: `y_j = sum_k m_k[j] x_(j + k step)`.
#[derive(Clone, Debug)]
pub struct Diagonals {
    /// What offsets are multiples of.
    pub step: usize,
    /// Offsets modulo this many steps are one: those of the last depth, half of all slots apart, meet.
    pub cycle: usize,
    /// By the offset in steps; the numbers of one period.
    pub masks: BTreeMap<isize, Vec<Complex>>,
}

fn root(turn: f64) -> Complex {
    let (sin, cos) = (2.0 * PI * turn).sin_cos();
    Complex::new(cos, sin)
}

/// The diagonals at offsets 0, h and -h of one depth, in numbers of a block, each times `gain`.
fn depth_diagonals(direction: Direction, depth: u32, gain: f64) -> [Vec<Complex>; 3] {
    let (h, block) = (1_usize << depth, 2_usize << depth);
    let zero = Complex::new(0.0, 0.0);
    let mut diagonals = [vec![zero; block], vec![zero; block], vec![zero; block]];
    // 5^p mod 4L.
    let mut power = 1;
    for p in 0..h {
        let w = root(power as f64 / (4 * block) as f64);
        power = power * 5 % (4 * block);
        let [same, up, down] = &mut diagonals;
        match direction {
            Direction::ToCoefficients => {
                (same[p], up[p]) = (Complex::new(gain, 0.0), w * gain);
                (down[p + h], same[p + h]) = (Complex::new(gain, 0.0), w * -gain);
            }
            Direction::ToSlots => {
                let half = 0.5 * gain;
                (same[p], up[p]) = (Complex::new(half, 0.0), Complex::new(half, 0.0));
                (down[p + h], same[p + h]) = (w.conj() * half, w.conj() * -half);
            }
        }
    }
    diagonals
}

impl Diagonals {
    /// Depths `first` to `first + count - 1` of the transform of `2^log2_slots` slots, every number of the product
    /// times `gain`.
    ///
    /// # Panics
    /// If there are not so many depths, or none are asked for.
    #[must_use]
    pub fn new(direction: Direction, log2_slots: u32, first: u32, count: u32, gain: f64) -> Self {
        assert!(count > 0 && first + count <= log2_slots, "depths that there are");
        let (step, cycle) = (1_usize << first, 1_usize << (log2_slots - first));
        let period = 1_usize << (first + count);
        let each = gain.powf(1.0 / f64::from(count));
        let mut product = Self { step, cycle, masks: BTreeMap::from([(0, vec![Complex::new(1.0, 0.0); period])]) };
        let depths = first..first + count;
        let order: Vec<u32> = match direction {
            Direction::ToCoefficients => depths.collect(),
            Direction::ToSlots => depths.rev().collect(),
        };
        for depth in order {
            let h = 1_isize << (depth - first);
            let diagonals = depth_diagonals(direction, depth, each);
            product = product.followed_by(&[0, h, -h], &diagonals);
        }
        product
    }

    /// This map and then one with diagonals at some offsets, whose numbers repeat within a period of this one's.
    fn followed_by(&self, offsets: &[isize], diagonals: &[Vec<Complex>]) -> Self {
        let mut masks: BTreeMap<isize, Vec<Complex>> = BTreeMap::new();
        for (&offset, diagonal) in offsets.iter().zip(diagonals) {
            for (&own, mask) in &self.masks {
                let (period, shift) = (mask.len(), offset * self.step as isize);
                let sum =
                    masks.entry(self.nearest(offset + own)).or_insert_with(|| vec![Complex::new(0.0, 0.0); period]);
                for (j, sum) in sum.iter_mut().enumerate() {
                    let from = (j as isize + shift).rem_euclid(period as isize) as usize;
                    *sum += diagonal[j % diagonal.len()] * mask[from];
                }
            }
        }
        Self { masks, ..*self }
    }

    /// The representative of an offset that is nearest to 0, the positive one of two.
    fn nearest(&self, offset: isize) -> isize {
        let (cycle, offset) = (self.cycle as isize, offset.rem_euclid(self.cycle as isize));
        if offset > cycle / 2 { offset - cycle } else { offset }
    }

    /// Whether all offsets that there are have a diagonal, so that grids may go round.
    #[must_use]
    pub fn is_cyclic(&self) -> bool {
        self.masks.len() == self.cycle
    }

    /// What the map makes of slots, one period or more of them.
    #[must_use]
    pub fn apply(&self, x: &[Complex]) -> Vec<Complex> {
        let entry = |j: usize| {
            self.masks.iter().fold(Complex::new(0.0, 0.0), |sum, (&offset, mask)| {
                let from = (j as isize + offset * self.step as isize).rem_euclid(x.len() as isize) as usize;
                sum + mask[j % mask.len()] * x[from]
            })
        };
        (0..x.len()).map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::ring::encode::Encoder;

    fn numbers(count: usize) -> Vec<Complex> {
        (0..count).map(|j| Complex::new((j as f64 * 0.7).sin(), (j as f64 * 1.3).cos())).collect()
    }

    fn distance(a: &[Complex], b: &[Complex]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).norm_sqr().sqrt()).fold(0.0, f64::max)
    }

    #[test]
    fn factors_make_the_embedding_of_coefficients_in_reversed_order() {
        for (log2_slots, groups) in [(6, vec![2, 2, 2]), (5, vec![2, 2, 1]), (4, vec![4]), (3, vec![1, 1, 1])] {
            let n = 1_usize << log2_slots;
            let x = numbers(n);
            let mut first = 0;
            let mut slots = x.clone();
            for &count in &groups {
                slots = Diagonals::new(Direction::ToCoefficients, log2_slots, first, count, 1.0).apply(&slots);
                first += count;
            }
            let coefficients = Encoder::new(log2_slots + 1).coefficients(&slots, 1.0);
            let reversed = |k: usize| k.reverse_bits() >> (usize::BITS - log2_slots);
            let read: Vec<Complex> =
                (0..n).map(|k| Complex::new(coefficients[reversed(k)], coefficients[n + reversed(k)])).collect();
            assert!(distance(&read, &x) < 1e-9, "{n} slots in {groups:?}: {}", distance(&read, &x));
            for &count in groups.iter().rev() {
                first -= count;
                slots = Diagonals::new(Direction::ToSlots, log2_slots, first, count, 0.5).apply(&slots);
            }
            let want: Vec<Complex> = x.iter().map(|x| x * 0.5_f64.powi(groups.len() as i32)).collect();
            assert!(distance(&slots, &want) < 1e-9, "and back, with the gain of each");
        }
    }

    #[test]
    fn depths_together_have_few_diagonals() {
        for direction in [Direction::ToCoefficients, Direction::ToSlots] {
            let inner = Diagonals::new(direction, 10, 2, 3, 1.0);
            assert_eq!((inner.masks.len(), inner.step, inner.masks[&0].len()), (15, 4, 32));
            assert!(!inner.is_cyclic());
            let last = Diagonals::new(direction, 10, 7, 3, 1.0);
            assert_eq!((last.masks.len(), last.cycle, last.masks[&0].len()), (8, 8, 1024));
            assert!(last.is_cyclic());
        }
    }
}
