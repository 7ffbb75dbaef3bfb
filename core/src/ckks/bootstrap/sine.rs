//! The way back from `m + Q_0 I` to m: a sine of period `Q_0`, as a polynomial.
//!
//! With `t = I + m / Q_0`, `sin(2 pi t) / 2 pi` is `m / Q_0` but for its cube. It is the cosine of `2 pi (t - 1/4)`,
//! which three times `cos 2x = 2 cos^2 x - 1` make of the cosine of an eighth of the angle. That one is even: as a
//! polynomial of degree 15 in `u = T_2(x)`, where x is `t - 1/4` over its largest magnitude, it has degree 30 in x.
//! Doubled Chebyshev polynomials `W_k = 2 T_k(u)` multiply without factors: `W_j W_k = W_(j + k) + W_|j - k|`.
//!
//! Sources: Han and Ki, CT-RSA 2020, section 4, for the cosine and its doublings; Bossuat, Mouchet, Troncoso-Pastoriza,
//! Hubaux, EUROCRYPT 2021, for scales that are chosen from the result backwards.

use std::f64::consts::TAU;

use crate::ckks::bootstrap::recipe::{PRIMES_A_LEVEL, Recipe};
use crate::ckks::bootstrap::series::{interpolate, parts_of_fifteenth};
use crate::ckks::params::set::ParameterSet;
use crate::ckks::params::sparse::SPARSE_WEIGHT;
use crate::ckks::ring::number::State;

/// Half of the range of `t - 1/4`: I is at most half of the sparse secret's weight, m a small share of `Q_0`.
pub const RANGE: f64 = SPARSE_WEIGHT as f64 / 2.0 + 0.5;
/// Doublings of the angle.
const DOUBLINGS: usize = 3;
/// Degree of the polynomial in u.
const DEGREE: usize = 15;

/// One value of the evaluation: `sum of products + sum of values times numbers`, rescaled, and a constant added.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Values that are multiplied, by their numbers: 0 is the argument, i the value of step i - 1.
    pub products: Vec<(usize, usize)>,
    /// Values and the numbers that they are multiplied with.
    pub terms: Vec<(usize, f64)>,
    /// What is added behind the division.
    pub constant: f64,
    /// Limbs and scale before the division.
    pub sum: State,
    /// Limbs and scale behind it.
    pub value: State,
}

/// The steps from the argument to the sine, the last of which gives the result. Limbs of their sums never rise.
#[derive(Clone, Debug, PartialEq)]
pub struct Sine {
    /// Of the argument without its shift: twice `t / RANGE`.
    pub argument: State,
    /// What is added to the argument.
    pub shift: f64,
    /// The steps in order.
    pub steps: Vec<Step>,
    /// What a unit of the result is of `sin(2 pi t)`: the bound over the sine's argument at the bound.
    pub gain: f64,
}

/// Numbers of the values.
const ARGUMENT: usize = 0;
const W1: usize = 1;
const W2: usize = 2;
const LOWEST: usize = 3;
const W3: usize = 4;
const W4: usize = 5;
const LOW: usize = 6;
const W8: usize = 7;
const HIGH: usize = 8;
const OTHER: usize = 9;
const POLYNOMIAL: usize = 10;

impl Sine {
    /// The steps for an argument of `limbs` limbs, whose result has the recipe's scale.
    ///
    /// # Panics
    /// If there are not enough limbs: recipes are checked.
    #[must_use]
    pub fn new(params: &ParameterSet, recipe: &Recipe, limbs: usize) -> Self {
        let dropped = |limbs: usize| -> f64 {
            params.primes[limbs - PRIMES_A_LEVEL..limbs].iter().map(|&p| f64::from(p)).product()
        };
        let at = |depth: usize| limbs - depth * PRIMES_A_LEVEL;
        let argument = State { scale: dropped(limbs), limbs };
        // Scales of the W_k, from the argument on.
        let product = |a: f64, b: f64, depth: usize| a * b / dropped(at(depth));
        let w1 = product(argument.scale, argument.scale, 0);
        let w2 = product(w1, w1, 1);
        let (w3, w4) = (product(w2, w1, 2), product(w2, w2, 2));
        let w8 = product(w4, w4, 3);
        // Scales and gains of the doublings, from the result back: w^2 - g^2 / 2 doubles the angle of w = g cos and has
        // the gain g^2 / 2.
        let gain = recipe.bound * f64::from(recipe.ratio_log2).exp2() / TAU;
        let (mut gains, mut scales) = ([gain; DOUBLINGS + 1], [recipe.output_scale; DOUBLINGS + 1]);
        for doubling in (0..DOUBLINGS).rev() {
            gains[doubling] = (2.0 * gains[doubling + 1]).sqrt();
            scales[doubling] = (scales[doubling + 1] * dropped(at(5 + doubling))).sqrt();
        }
        // The scale of a step's sum, and from it that of a factor beside one of the W_k.
        let before = |scale: f64, depth: usize| scale * dropped(at(depth));
        let top = before(scales[0], 4);
        let (high, other) = (top / w8, top / w4);
        let low = before(high, 3) / w4;
        let lowest = before(low, 2) / w2;
        let angle = TAU * RANGE / f64::from(1 << DOUBLINGS);
        let cosine = |u: f64| gains[0] * (angle * ((u + 1.0) / 2.0).max(0.0).sqrt()).cos();
        // p = T_8 (T_4 (T_2 e + f) + d) + T_4 c + b.
        let [e, f, d, c, b] = parts_of_fifteenth(&interpolate(DEGREE, cosine));
        // T_k is half of W_k, and so is every T_d that multiplies: factor by factor.
        let terms = |coefficients: &[f64], by: f64| -> Vec<(usize, f64)> {
            let values = [W1, W2, W3].into_iter();
            values.zip(coefficients.iter().skip(1)).map(|(value, c)| (value, 0.5 * by * c)).collect()
        };
        let mut steps = Vec::new();
        let mut step = |depth: usize, scale: f64, products: &[(usize, usize)], terms: Vec<(usize, f64)>, constant| {
            let value = State { scale, limbs: at(depth + 1) };
            let sum = State { scale: before(scale, depth), limbs: at(depth) };
            steps.push(Step { products: products.to_vec(), terms, constant, sum, value });
        };
        step(0, w1, &[(ARGUMENT, ARGUMENT)], vec![], -2.0);
        step(1, w2, &[(W1, W1)], vec![], -2.0);
        step(1, lowest, &[], terms(&e, 0.125), 0.125 * e[0]);
        step(2, w3, &[(W2, W1)], vec![(W1, -1.0)], 0.0);
        step(2, w4, &[(W2, W2)], vec![], -2.0);
        step(2, low, &[(W2, LOWEST)], terms(&f, 0.25), 0.25 * f[0]);
        step(3, w8, &[(W4, W4)], vec![], -2.0);
        step(3, high, &[(W4, LOW)], terms(&d, 0.5), 0.5 * d[0]);
        step(3, other, &[], terms(&c, 0.5), 0.5 * c[0]);
        step(4, scales[0], &[(W8, HIGH), (W4, OTHER)], terms(&b, 1.0), b[0]);
        for doubling in 0..DOUBLINGS {
            let last = POLYNOMIAL + doubling;
            step(5 + doubling, scales[doubling + 1], &[(last, last)], vec![], -gains[doubling + 1]);
        }
        Self { argument, shift: -0.5 / RANGE, steps, gain }
    }

    /// What the steps make of `t`, with an error added to each value, that of the argument first.
    #[must_use]
    pub fn evaluate(&self, t: f64, errors: &[f64]) -> f64 {
        let error = |at: usize| errors.get(at).copied().unwrap_or(0.0);
        let mut values = vec![2.0 * t / RANGE + self.shift + error(0)];
        for (at, step) in self.steps.iter().enumerate() {
            let products: f64 = step.products.iter().map(|&(a, b)| values[a] * values[b]).sum();
            let terms: f64 = step.terms.iter().map(|&(value, number)| values[value] * number).sum();
            values.push(products + terms + step.constant + error(at + 1));
        }
        values[self.steps.len()]
    }

    /// The step behind which a value is not read again; the result is read by whoever asked for it.
    #[must_use]
    pub fn last_use(&self, value: usize) -> usize {
        let reads = |step: &Step| {
            step.products.iter().any(|&(a, b)| a == value || b == value)
                || step.terms.iter().any(|term| term.0 == value)
        };
        self.steps.iter().rposition(reads).unwrap_or(self.steps.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_give_the_sine_around_every_integer() {
        let params = ParameterSet::new(15, 24, 29, 3).expect("a secure set");
        for ratio_log2 in [6, 8, 10] {
            let recipe = Recipe::new(&params, 6, 4.0, ratio_log2, [2_f64.powi(29); 2]).expect("a sound recipe");
            let sine = Sine::new(&params, &recipe, params.primes.len() - 6);
            let ratio = f64::from(ratio_log2).exp2();
            let mut worst: f64 = 0.0;
            for whole in -16..=16 {
                for share in [-1.0, -0.4, 0.0, 0.7, 1.0] {
                    let t = f64::from(whole) + share / ratio;
                    let error = sine.evaluate(t, &[]) - sine.gain * (TAU * t).sin();
                    worst = worst.max(error.abs() / recipe.bound);
                }
            }
            // 2^-25 of the cosine, seen 2^ratio_log2 / 2 pi times as large.
            assert!(worst < 2_f64.powi(-25) * ratio / TAU, "2^{:.1} at ratio 2^-{ratio_log2}", worst.log2());
            assert!(worst > 2_f64.powi(-30) * ratio / TAU, "the bound is no idle one");
        }
    }

    #[test]
    fn levels_fall_and_scales_fit() {
        let params = ParameterSet::new(16, 49, 29, 8).expect("a secure set");
        let recipe = Recipe::new(&params, 15, 1.0, 9, [2_f64.powi(29); 2]).expect("a sound recipe");
        let sine = Sine::new(&params, &recipe, params.primes.len() - 6);
        let states: Vec<State> =
            std::iter::once(sine.argument).chain(sine.steps.iter().map(|step| step.value)).collect();
        for (at, step) in sine.steps.iter().enumerate() {
            assert!(at == 0 || step.sum.limbs <= sine.steps[at - 1].sum.limbs);
            for &(a, b) in &step.products {
                assert!((states[a].scale * states[b].scale / step.sum.scale - 1.0).abs() < 1e-12, "step {at}");
            }
            let read = step.products.iter().flat_map(|&(a, b)| [a, b]).chain(step.terms.iter().map(|term| term.0));
            assert!(read.into_iter().all(|value| states[value].limbs >= step.sum.limbs), "step {at}");
            assert!((25.0..62.0).contains(&step.value.scale.log2()), "step {at}: 2^{}", step.value.scale.log2());
        }
        let result = states[sine.steps.len()];
        assert_eq!((result, recipe.levels_left(&params)), (recipe.output(&params), 23));
    }
}
