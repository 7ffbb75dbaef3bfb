//! Polynomials of degree 7 and 15 as sums of doubled Chebyshev polynomials, step by step.
//!
//! With `W_k(w) = 2 T_k(w / 2)`, products need no factors: `W_j W_k = W_(j + k) + W_|j - k|`. All of them stay between
//! -2 and 2 for arguments w there, and a fit's coefficients in that basis are small, so that nothing is lost to
//! cancellation, as it is in powers of the argument.
//!
//! A polynomial is divided by `T_4` (degree 7) or by `T_8` and `T_4` (degree 15) until linear and cubic ones are left
//! (Paterson and Stockmeyer, SIAM J. Comput. 1973). Scales are chosen from the result backwards: the value has just the
//! scale that the argument has.

use crate::ckks::bootstrap::series::{divide, parts_of_fifteenth};
use crate::ckks::params::set::ParameterSet;
use crate::ckks::ring::number::State;

/// Constants of a polynomial of degree 7.
pub const SEVENTH: usize = 8;
/// Constants of a polynomial of degree 15.
pub const FIFTEENTH: usize = 16;
/// Values of an evaluation at the most, the argument among them.
const MOST_VALUES: usize = 10;

/// What a value is multiplied with, or what is added to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Addend {
    /// The same for all slots and polynomials.
    Number(f64),
    /// The polynomial's constant of that number.
    Own(usize),
}

use Addend::{Number, Own};

/// One value: `sum of products + sum of values times constants`, rescaled, and a constant added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Values that are multiplied, by their numbers: 0 is the argument, i the value of step i - 1.
    pub products: &'static [(usize, usize)],
    /// Values and what they are multiplied with.
    pub terms: &'static [(usize, Addend)],
    /// What is added behind the division; none where nothing is.
    pub constant: Option<Addend>,
    /// Levels from the argument to the sum.
    pub depth: usize,
}

/// `p = W_4 Q + W_2 C + b` with `Q = W_2 E + f`; E, C, f and b are linear.
const STEPS_OF_SEVENTH: [Step; 6] = [
    Step { products: &[(0, 0)], terms: &[], constant: Some(Number(-2.0)), depth: 0 },
    Step { products: &[], terms: &[(0, Own(1))], constant: Some(Own(0)), depth: 0 },
    Step { products: &[], terms: &[(0, Own(5))], constant: Some(Own(4)), depth: 0 },
    Step { products: &[(1, 1)], terms: &[], constant: Some(Number(-2.0)), depth: 1 },
    Step { products: &[(1, 2)], terms: &[(0, Own(3))], constant: Some(Own(2)), depth: 1 },
    Step { products: &[(4, 5), (1, 3)], terms: &[(0, Own(7))], constant: Some(Own(6)), depth: 2 },
];

/// `p = W_8 H + W_4 C + b` with `H = W_4 (W_2 E + f) + d`; E and f are linear, d, C and b cubic.
const STEPS_OF_FIFTEENTH: [Step; 9] = [
    Step { products: &[(0, 0)], terms: &[], constant: Some(Number(-2.0)), depth: 0 },
    Step { products: &[], terms: &[(0, Own(1))], constant: Some(Own(0)), depth: 0 },
    Step { products: &[(1, 0)], terms: &[(0, Number(-1.0))], constant: None, depth: 1 },
    Step { products: &[(1, 1)], terms: &[], constant: Some(Number(-2.0)), depth: 1 },
    Step { products: &[(1, 2)], terms: &[(0, Own(3))], constant: Some(Own(2)), depth: 1 },
    Step { products: &[(4, 4)], terms: &[], constant: Some(Number(-2.0)), depth: 2 },
    Step { products: &[(4, 5)], terms: &[(0, Own(5)), (1, Own(6)), (3, Own(7))], constant: Some(Own(4)), depth: 2 },
    Step { products: &[], terms: &[(0, Own(9)), (1, Own(10)), (3, Own(11))], constant: Some(Own(8)), depth: 2 },
    Step {
        products: &[(6, 7), (4, 8)],
        terms: &[(0, Own(13)), (1, Own(14)), (3, Own(15))],
        constant: Some(Own(12)),
        depth: 3,
    },
];

/// The steps of a polynomial with so many constants.
#[must_use]
pub fn steps(constants: usize) -> &'static [Step] {
    if constants == SEVENTH { &STEPS_OF_SEVENTH } else { &STEPS_OF_FIFTEENTH }
}

/// The step behind which a value is not read again; the last one's value is the result.
#[must_use]
pub fn last_use(steps: &[Step], value: usize) -> usize {
    let reads = |step: &Step| {
        step.products.iter().any(|&(a, b)| a == value || b == value) || step.terms.iter().any(|term| term.0 == value)
    };
    steps.iter().rposition(reads).unwrap_or(steps.len())
}

/// Constants of the polynomial of degree 7 with these coefficients of `T_0, T_1, …`, whose argument is twice that of
/// the `T_k`.
#[must_use]
pub fn seventh(coefficients: &[f64; SEVENTH]) -> [f64; SEVENTH] {
    let (q, rest) = divide(coefficients, 4);
    let ((e, f), (c, b)) = (divide(&q, 2), divide(&rest, 2));
    [e[0] / 4.0, e[1] / 8.0, f[0] / 2.0, f[1] / 4.0, c[0] / 2.0, c[1] / 4.0, b[0], b[1] / 2.0]
}

/// The same for degree 15.
#[must_use]
pub fn fifteenth(coefficients: &[f64; FIFTEENTH]) -> [f64; FIFTEENTH] {
    let [e, f, d, c, b] = parts_of_fifteenth(coefficients);
    let parts = [(&e, 0.125), (&f, 0.25), (&d, 0.5), (&c, 0.5), (&b, 1.0)];
    // T_k is half of W_k, but for T_0.
    let of_part = |(part, by): (&Vec<f64>, f64)| {
        part.iter().enumerate().map(move |(k, c)| c * by * if k == 0 { 1.0 } else { 0.5 }).collect::<Vec<f64>>()
    };
    let mut constants = [0.0; FIFTEENTH];
    constants.iter_mut().zip(parts.into_iter().flat_map(of_part)).for_each(|(to, from)| *to = from);
    constants
}

/// The value for w, with what `error` gives added behind every division.
pub(in crate::ckks) fn evaluate(constants: &[f64], w: f64, mut error: impl FnMut() -> f64) -> f64 {
    let steps = steps(constants.len());
    let number = |addend: Addend| match addend {
        Number(number) => number,
        Own(at) => constants[at],
    };
    let mut values = [0.0; MOST_VALUES];
    values[0] = w;
    for (at, step) in steps.iter().enumerate() {
        let products: f64 = step.products.iter().map(|&(a, b)| values[a] * values[b]).sum();
        let terms: f64 = step.terms.iter().map(|&(value, factor)| values[value] * number(factor)).sum();
        values[at + 1] = products + terms + step.constant.map_or(0.0, number) + error();
    }
    values[steps.len()]
}

/// Scale and limbs of each step's sum, and of its value.
///
/// # Panics
/// If the argument has no limb left for each level.
#[must_use]
pub fn states(constants: usize, params: &ParameterSet, u: State) -> Vec<(State, State)> {
    let dropped = |depth: usize| f64::from(params.primes[u.limbs - 1 - depth]);
    let product = |a: f64, b: f64, depth: usize| a * b / dropped(depth);
    // The scale of a factor whose product with another one has a scale behind its division.
    let factor = |result: f64, other: f64, depth: usize| result * dropped(depth) / other;
    let w2 = product(u.scale, u.scale, 0);
    let w4 = product(w2, w2, 1);
    let scales: Vec<f64> = if constants == SEVENTH {
        let (q, c) = (factor(u.scale, w4, 2), factor(u.scale, w2, 2));
        vec![w2, factor(q, w2, 1), c, w4, q, u.scale]
    } else {
        let w8 = product(w4, w4, 2);
        let (high, other) = (factor(u.scale, w8, 3), factor(u.scale, w4, 3));
        let low = factor(high, w4, 2);
        vec![w2, factor(low, w2, 1), product(w2, u.scale, 1), w4, low, w8, high, other, u.scale]
    };
    let state = |(step, scale): (&Step, f64)| {
        let sum = State { scale: scale * dropped(step.depth), limbs: u.limbs - step.depth };
        (sum, State { scale, limbs: sum.limbs - 1 })
    };
    steps(constants).iter().zip(scales).map(state).collect()
}

/// Where each constant is used: see [`crate::ckks::plan::uses::Uses::constants`].
#[must_use]
pub fn uses_of_constants(constants: usize, u: State, states: &[(State, State)]) -> Vec<State> {
    let of_value = |value: usize| value.checked_sub(1).map_or(u, |at| states[at].1);
    let mut uses = vec![u; constants];
    for (step, &(sum, value)) in steps(constants).iter().zip(states) {
        for &(read, addend) in step.terms {
            if let Own(at) = addend {
                uses[at] = State { scale: sum.scale / of_value(read).scale, limbs: sum.limbs };
            }
        }
        if let Some(Own(at)) = step.constant {
            uses[at] = value;
        }
    }
    uses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::bootstrap::series::value;

    #[test]
    fn steps_give_the_series() {
        let seven: [f64; SEVENTH] = std::array::from_fn(|k| (k as f64 * 1.7 + 0.3).sin());
        let fifteen: [f64; FIFTEENTH] = std::array::from_fn(|k| (k as f64 * 0.9 - 0.2).cos());
        for x in [-1.0, -0.73, -0.1, 0.0, 0.41, 0.99] {
            let got = [evaluate(&seventh(&seven), 2.0 * x, || 0.0), evaluate(&fifteenth(&fifteen), 2.0 * x, || 0.0)];
            assert!((got[0] - value(&seven, x)).abs() < 1e-12 && (got[1] - value(&fifteen, x)).abs() < 1e-12);
        }
    }

    #[test]
    fn scales_meet_and_the_result_has_the_arguments() {
        let params = ParameterSet::new(14, 9, 28, 2).expect("a secure set");
        let u = State { scale: 2_f64.powi(28), limbs: 8 };
        for (constants, depth) in [(SEVENTH, 3), (FIFTEENTH, 4)] {
            let states = states(constants, &params, u);
            let value = |at: usize| if at == 0 { u } else { states[at - 1].1 };
            for (step, (sum, own)) in steps(constants).iter().zip(&states) {
                for &(a, b) in step.products {
                    assert!((value(a).scale * value(b).scale / sum.scale - 1.0).abs() < 1e-12);
                    assert!(value(a).limbs >= sum.limbs && value(b).limbs >= sum.limbs);
                }
                assert!(step.terms.iter().all(|term| value(term.0).limbs >= sum.limbs));
                assert!((27.0..29.0).contains(&own.scale.log2()), "{own:?}");
            }
            assert_eq!(states.last().map(|state| state.1), Some(State { limbs: u.limbs - depth, ..u }));
            let uses = uses_of_constants(constants, u, &states);
            assert!(uses.iter().all(|own| (26.0..31.0).contains(&own.scale.log2())), "{uses:?}");
        }
    }

    #[test]
    fn values_are_kept_as_long_as_they_are_read() {
        for constants in [SEVENTH, FIFTEENTH] {
            let steps = steps(constants);
            assert_eq!(last_use(steps, steps.len()), steps.len());
            assert!((0..steps.len()).all(|value| (value..steps.len()).contains(&last_use(steps, value))));
        }
    }
}
