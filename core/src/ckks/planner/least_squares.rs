//! Polynomials fitted to functions on calibration data.

use crate::ckks::plan::activation::{Activation, Form};

/// How much wider than the calibrated range fits reach, in the order in which that is tried: what is narrow is close,
/// what is wide stays bounded where new data go further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Widening {
    /// By a twentieth for degree 4, and by 15 % for higher ones.
    Narrow,
    /// By 15 % for degree 4, and by 30 % for higher ones.
    Middle,
    /// By 30 % for degree 4, and by half for higher ones.
    Wide,
}

impl Widening {
    /// All that are tried for polynomials of up to a degree.
    #[must_use]
    pub fn tried(degree: usize) -> &'static [Self] {
        match degree {
            0..=3 => &[Self::Middle],
            _ => &[Self::Narrow, Self::Middle, Self::Wide],
        }
    }

    /// The fitted range over the calibrated one, the same for all up to degree 3. The higher the degree, the faster a
    /// polynomial grows out there, and the less a wider range costs.
    #[must_use]
    pub fn factor(self, degree: usize) -> f64 {
        match (self, degree) {
            (_, 0..=3) => 1.15,
            (Self::Narrow, 4) => 1.05,
            (Self::Narrow, _) | (Self::Middle, 4) => 1.15,
            (Self::Middle, _) | (Self::Wide, 4) => 1.3,
            (Self::Wide, _) => 1.5,
        }
    }
}

/// Share of the weight on the uniform grid.
const GRID_SHARE: f64 = 0.05;
/// Points of the grid.
const GRID: usize = 64;
/// Largest share of the last but one coefficient in twice the leading one: beyond it the completed square cancels.
const MOST_SKEW: f64 = 1.0;
/// Error over the largest value below which two functions are one.
const NO_ERROR: f64 = 1e-9;
/// Bounds of what u reaches to.
const LEAST_REACH: f64 = 0.5;
const MOST_REACH: f64 = 2.0;
/// Least share of a quartic's leading coefficient in its largest one: below it the linear rest outgrows its scale.
const LEAST_LEAD: f64 = 1.0 / 64.0;

/// What a channel's polynomial is fitted to.
pub struct Channel<'a> {
    /// On calibration data the arguments, behind the polynomials before, and the values that the network has there.
    pub samples: Vec<(f64, f64)>,
    /// The function.
    pub function: &'a dyn Fn(f64) -> f64,
}

impl Activation {
    /// Fits polynomials of at most `degree` (one of [`DEGREES`](crate::ckks::plan::activation::DEGREES)) to the
    /// functions of a stage, each on the samples of its channel and `widening` times their range. All have the same
    /// form, so that channels can share a ciphertext.
    ///
    /// # Panics
    /// If a channel has no samples.
    #[must_use]
    pub fn fit(channels: &[Channel<'_>], degree: usize, widening: f64) -> Vec<Self> {
        let ranges: Vec<(f64, f64)> = channels.iter().map(|channel| range(&channel.samples, widening)).collect();
        // What corrects the errors of stages before would hide that the function is a square.
        let are_squares = channels.iter().zip(&ranges).all(|(channel, &range)| is_quadratic(channel.function, range));
        let degree = if are_squares { 2 } else { degree };
        let polynomial = |(at, channel): (usize, &Channel<'_>)| {
            least_squares(&channel.samples, degree, ranges[at], channel.function)
        };
        let fitted: Vec<Vec<f64>> = channels.iter().enumerate().map(polynomial).collect();
        let squares: Option<Vec<Form>> = fitted.iter().map(|c| Form::square(c)).collect();
        if let Some(squares) = squares {
            let activation = |(form, (centre, radius))| Self { centre, radius, form };
            return squares.into_iter().zip(ranges).map(activation).collect();
        }
        let activation = |(at, c): (usize, &Vec<f64>)| {
            let (centre, radius) = ranges[at];
            if degree < 4 {
                let form = Form::Cubic(std::array::from_fn(|i| c.get(i).copied().unwrap_or(0.0)));
                return Self { centre, radius, form };
            }
            let c = with_lead(c, &channels[at].samples, ranges[at], channels[at].function);
            let reach = reach(&c);
            let c: Vec<f64> = c.iter().enumerate().map(|(power, c)| c / reach.powi(power as i32)).collect();
            let form = match degree {
                4 => Form::quartic(&c),
                6 => Form::sextic(&c),
                _ => Form::octic(&c),
            };
            Self { centre, radius: radius / reach, form }
        };
        fitted.iter().enumerate().map(activation).collect()
    }
}

/// How far u should reach, for coefficients of a u up to 1: so far that the leading one is as large as the values. A
/// completed square is then as large as they are, neither its noise nor that of the weights that it meets grows.
fn reach(c: &[f64]) -> f64 {
    let value = |u: f64| c.iter().rev().fold(0.0, |sum, c| sum * u + c);
    let largest = (0..=GRID).map(|i| value(2.0 * i as f64 / GRID as f64 - 1.0).abs()).fold(0.0, f64::max);
    let degree = c.len() - 1;
    let reach = (c[degree].abs() / largest).powf(1.0 / degree as f64);
    if reach.is_finite() { reach.clamp(LEAST_REACH, MOST_REACH) } else { 1.0 }
}

/// Whether a function is a polynomial of degree 2 or less on a range.
fn is_quadratic(function: &dyn Fn(f64) -> f64, (centre, radius): (f64, f64)) -> bool {
    let at = |u: f64| function(centre + radius * u);
    let (low, middle, high) = (at(-1.0), at(0.0), at(1.0));
    let (square, linear) = (f64::midpoint(low, high) - middle, (high - low) / 2.0);
    let most = NO_ERROR * low.abs().max(middle.abs()).max(high.abs()).max(f64::MIN_POSITIVE);
    (1..GRID).all(|i| {
        let u = 2.0 * i as f64 / GRID as f64 - 1.0;
        (at(u) - (middle + u * (linear + u * square))).abs() <= most
    })
}

/// Middle and half width of the range that is fitted.
fn range(samples: &[(f64, f64)], widening: f64) -> (f64, f64) {
    assert!(!samples.is_empty(), "a fit needs samples");
    let low = samples.iter().map(|&(x, _)| x).fold(f64::INFINITY, f64::min);
    let high = samples.iter().map(|&(x, _)| x).fold(f64::NEG_INFINITY, f64::max);
    let centre = f64::midpoint(low, high);
    (centre, ((high - low) / 2.0 * widening).max(1e-6 * centre.abs()).max(1e-9))
}

/// A polynomial of even degree whose leading coefficient is large enough to complete its square; the others are fitted
/// again where it was not.
fn with_lead(c: &[f64], samples: &[(f64, f64)], range: (f64, f64), function: &dyn Fn(f64) -> f64) -> Vec<f64> {
    let degree = c.len() - 1;
    let largest = c.iter().fold(0.0_f64, |m, c| m.max(c.abs()));
    let least = (c[degree - 1].abs() / (2.0 * MOST_SKEW)).max(LEAST_LEAD * largest);
    if c[degree].abs() >= least {
        return c.to_vec();
    }
    let lead = least.copysign(c[degree]);
    let power = |x: f64| lead * ((x - range.0) / range.1).powi(degree as i32);
    let rests: Vec<(f64, f64)> = samples.iter().map(|&(x, y)| (x, y - power(x))).collect();
    let mut refitted = least_squares(&rests, degree - 1, range, &|x| function(x) - power(x));
    refitted.push(lead);
    refitted
}

/// Coefficients of `1, u, …, u^degree` of the weighted least-squares fit.
fn least_squares(
    samples: &[(f64, f64)],
    degree: usize,
    (centre, radius): (f64, f64),
    function: &dyn Fn(f64) -> f64,
) -> Vec<f64> {
    let size = degree + 1;
    let mut normal = vec![vec![0.0; size + 1]; size];
    let mut add = |u: f64, value: f64, weight: f64| {
        let mut basis = vec![1.0, u];
        for i in 2..size {
            basis.push(2.0 * u * basis[i - 1] - basis[i - 2]);
        }
        for (i, row) in normal.iter_mut().enumerate() {
            for (j, entry) in row[..size].iter_mut().enumerate() {
                *entry += weight * basis[i] * basis[j];
            }
            row[size] += weight * basis[i] * value;
        }
    };
    for &(x, value) in samples {
        add((x - centre) / radius, value, (1.0 - GRID_SHARE) / samples.len() as f64);
    }
    for i in 0..GRID {
        let u = (2.0 * i as f64 + 1.0) / GRID as f64 - 1.0;
        add(u, function(centre + radius * u), GRID_SHARE / GRID as f64);
    }
    let chebyshev = solve(normal);
    // T_0 … T_degree in powers of u.
    let mut powers = vec![vec![1.0], vec![0.0, 1.0]];
    for i in 2..size {
        let mut next = vec![0.0; i + 1];
        for (j, c) in powers[i - 1].iter().enumerate() {
            next[j + 1] += 2.0 * c;
        }
        for (j, c) in powers[i - 2].iter().enumerate() {
            next[j] -= c;
        }
        powers.push(next);
    }
    let mut coefficients = vec![0.0; size];
    for (weight, polynomial) in chebyshev.iter().zip(&powers) {
        for (c, p) in coefficients.iter_mut().zip(polynomial) {
            *c += weight * p;
        }
    }
    coefficients
}

/// Gaussian elimination with pivots on an augmented matrix.
pub(in crate::ckks) fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let size = rows.len();
    for column in 0..size {
        let pivot = (column..size).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()));
        rows.swap(column, pivot.unwrap_or(column));
        let head = rows[column].clone();
        for row in &mut rows[column + 1..] {
            let factor = row[column] / head[column];
            for (x, h) in row.iter_mut().zip(&head) {
                *x -= factor * h;
            }
        }
    }
    let mut solution = vec![0.0; size];
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|j| rows[row][j] * solution[j]).sum();
        solution[row] = (rows[row][size] - known) / rows[row][row];
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;

    type Function = fn(f64) -> f64;

    fn samples() -> Vec<f64> {
        (0..200).map(|i| f64::from(i * i % 97) / 40.0 - 0.7).collect()
    }

    fn seen(samples: &[f64], function: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        samples.iter().map(|&x| (x, function(x))).collect()
    }

    fn fit(degree: usize, functions: &[Function]) -> Vec<Activation> {
        let channels: Vec<Channel<'_>> =
            functions.iter().map(|f| Channel { samples: seen(&samples(), f), function: f }).collect();
        Activation::fit(&channels, degree, 1.15)
    }

    #[test]
    fn polynomials_are_fitted_exactly_and_with_one_form() {
        let quartic: Function = |x| 0.1 * x * x * x * x - x * x + 0.5 * x + 2.0;
        let cubic: Function = |x| x * x * x - 0.25 * x;
        let square: Function = |x| 0.5 + x * (2.0 - 3.0 * x);
        let sextic: Function = |x| 0.2 * x.powi(6) - 0.3 * x.powi(5) + x * x * x - x + 0.25;
        let octic: Function = |x| 0.3 * x.powi(8) - 0.5 * x.powi(7) + x.powi(6) + 0.2 * x.powi(3) - x * x + x - 0.5;
        let squares: [Function; 2] = [square, |x| x * x];
        let cases =
            [(4, squares.to_vec()), (3, vec![cubic, square]), (4, vec![quartic]), (6, vec![sextic]), (8, vec![octic])];
        for (degree, functions) in cases {
            let fitted = fit(degree, &functions);
            for (fitted, function) in fitted.iter().zip(&functions) {
                for x in samples() {
                    let error = (fitted.evaluate(x, 1.0) - function(x)).abs();
                    assert!(error < 1e-8 * (1.0 + function(x).abs()), "{fitted:?} at {x}: {error}");
                }
            }
            let same = |f: &Activation| std::mem::discriminant(&f.form) == std::mem::discriminant(&fitted[0].form);
            assert!(fitted.iter().all(same));
        }
        assert!(fit(4, &[square, |x| x * x]).iter().all(|f| matches!(f.form, Form::Square { .. })));
    }

    #[test]
    fn a_square_behind_values_that_are_off_stays_one() {
        let square: Function = |x| x * x;
        // The argument is off by what a rectifier's polynomial errs.
        let samples = samples().iter().map(|&x| (x, square(x + 0.1 * (9.0 * x).sin()))).collect();
        let fitted = Activation::fit(&[Channel { samples, function: &square }], 8, 1.15);
        assert!(matches!(fitted[0].form, Form::Square { .. }), "{fitted:?}");
    }

    #[test]
    fn channels_that_are_no_quartics_stay_close_to_themselves_beside_one() {
        let functions: [Function; 5] = [|x| x.max(0.0), |x| x, |_| 0.0, |_| 1.5, |x| x * x];
        for ((fitted, function), degree) in [4, 6, 8].into_iter().flat_map(|degree| {
            fit(degree, &functions).into_iter().zip(functions).skip(1).map(move |pair| (pair, degree))
        }) {
            assert_eq!(fitted.form.degree(), degree);
            let worst = samples().iter().map(|&x| (fitted.evaluate(x, 1.0) - function(x)).abs()).fold(0.0, f64::max);
            assert!(worst < 2e-2, "{fitted:?}: {worst}");
        }
    }

    #[test]
    fn a_rectifier_is_close_where_the_samples_are_and_bounded_beyond() {
        let samples: Vec<f64> =
            (0..1000).map(|i| (f64::from(i) * 0.37).sin() + 0.3 * (f64::from(i) * 1.7).cos()).collect();
        let relu = |x: f64| x.max(0.0);
        let fitted = Activation::fit(&[Channel { samples: seen(&samples, relu), function: &relu }], 4, 1.15)[0];
        let error = samples.iter().map(|&x| (fitted.evaluate(x, 1.0) - x.max(0.0)).powi(2)).sum::<f64>() / 1000.0;
        assert!(error.sqrt() < 0.05, "{}", error.sqrt());
        assert!((0..30).all(|i| fitted.evaluate(f64::from(i) / 10.0 - 1.49, 1.0).abs() < 3.0));
    }
}
