//! Polynomials by their coefficients of the Chebyshev polynomials `T_0, T_1, …`.

use std::f64::consts::PI;

/// The polynomial of a degree that has the values of f at the Chebyshev points.
#[must_use]
pub fn interpolate(degree: usize, f: impl Fn(f64) -> f64) -> Vec<f64> {
    let points = degree + 1;
    let angle = |at: usize| PI * (at as f64 + 0.5) / points as f64;
    let coefficient = |k: usize| {
        let sum: f64 = (0..points).map(|at| f(angle(at).cos()) * (k as f64 * angle(at)).cos()).sum();
        sum * if k == 0 { 1.0 } else { 2.0 } / points as f64
    };
    (0..points).map(coefficient).collect()
}

/// Quotient and remainder of a division by `T_d`, d at least half of the number of coefficients.
#[must_use]
pub fn divide(coefficients: &[f64], d: usize) -> (Vec<f64>, Vec<f64>) {
    let mut remainder = coefficients[..d].to_vec();
    let mut quotient = vec![coefficients[d]];
    for (k, &c) in coefficients.iter().enumerate().skip(d + 1) {
        // T_(d + j) = 2 T_d T_j - T_(d - j).
        quotient.push(2.0 * c);
        remainder[2 * d - k] -= c;
    }
    (quotient, remainder)
}

/// e, f, d, c and b of `T_8 (T_4 (T_2 e + f) + d) + T_4 c + b` for 16 coefficients: e and f are linear, d, c and b
/// cubic.
#[must_use]
pub fn parts_of_fifteenth(coefficients: &[f64]) -> [Vec<f64>; 5] {
    let (high, rest) = divide(coefficients, 8);
    let ((low, d), (c, b)) = (divide(&high, 4), divide(&rest, 4));
    let (e, f) = divide(&low, 2);
    [e, f, d, c, b]
}

/// The value at u by the definition: what tests compare with.
#[cfg(test)]
pub(in crate::ckks) fn value(coefficients: &[f64], u: f64) -> f64 {
    coefficients.iter().enumerate().map(|(k, c)| c * (k as f64 * u.acos()).cos()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolation_gives_a_polynomial_itself() {
        let polynomial = |u: f64| 0.3 - 0.7 * u + 2.0 * u.powi(3);
        let coefficients = interpolate(5, polynomial);
        assert!([-1.0, -0.4, 0.1, 0.8].iter().all(|&u| (value(&coefficients, u) - polynomial(u)).abs() < 1e-14));
    }

    #[test]
    fn quotients_and_remainders_make_the_polynomial() {
        let coefficients: Vec<f64> = (0..16).map(|k| (f64::from(k) * 1.7).sin()).collect();
        let (quotient, remainder) = divide(&coefficients, 8);
        let [e, f, d, c, b] = parts_of_fifteenth(&coefficients);
        for u in [-0.99, -0.3, 0.0, 0.71, 1.0] {
            let t = |k: f64| (k * f64::acos(u)).cos();
            let of_parts = t(8.0) * (t(4.0) * (t(2.0) * value(&e, u) + value(&f, u)) + value(&d, u))
                + t(4.0) * value(&c, u)
                + value(&b, u);
            for whole in [t(8.0) * value(&quotient, u) + value(&remainder, u), of_parts] {
                assert!((whole - value(&coefficients, u)).abs() < 1e-12);
            }
        }
    }
}
