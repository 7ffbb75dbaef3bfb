//! The embedding of the conjugate-invariant ring: N real slots to N real coefficients and back.
//!
//! Slot j is the element's value at `zeta^(5^j)`, zeta = exp(i pi / 2N). Powers of five are 1 mod 4, so the slots are
//! the values v_m at `zeta^(4m + 1)` in another order. With `c_j = zeta^j (a_j - i a_(N - j))` these are the cyclic
//! transform `v_m = sum_j c_j exp(2 pi i m j / N)`; the v_m are real and `c_(N - j)` is the conjugate of c_j, so that a
//! complex transform of N/2 points does, one half of the v_m as real parts and the other as imaginary ones.

use std::f64::consts::TAU;

use crate::ckks::ring::encode::Complex;

/// Tables for one degree.
pub struct RealEncoder {
    /// For each slot the m of its value.
    places: Vec<u32>,
    /// `exp(-2 pi i k / N)` for k up to N/2.
    roots: Vec<Complex>,
    /// `zeta^-j` for j up to N/2.
    twists: Vec<Complex>,
}

/// `exp(-2 pi i k / order)`.
fn root(k: usize, order: usize) -> Complex {
    let (sin, cos) = (-TAU * k as f64 / order as f64).sin_cos();
    Complex::new(cos, sin)
}

impl RealEncoder {
    /// Tables for `2^log2_degree` coefficients, at least four.
    #[must_use]
    pub fn new(log2_degree: u32) -> Self {
        let degree = 1_usize << log2_degree;
        let powers = std::iter::successors(Some(1), |x| Some(x * 5 % (4 * degree))).take(degree);
        Self {
            places: powers.map(|power: usize| (power / 4) as u32).collect(),
            roots: (0..=degree / 2).map(|k| root(k, degree)).collect(),
            twists: (0..=degree / 2).map(|j| root(j, 4 * degree)).collect(),
        }
    }

    fn degree(&self) -> usize {
        self.places.len()
    }

    /// Coefficients of the element with these slots, times `scale`; missing slots are 0.
    #[must_use]
    pub fn coefficients(&self, slots: &[f64], scale: f64) -> Vec<f64> {
        let (degree, half) = (self.degree(), self.degree() / 2);
        let mut z = Points::new(half);
        for (&x, &m) in slots.iter().zip(&self.places) {
            let m = m as usize;
            let part = if m.is_multiple_of(2) { &mut z.re } else { &mut z.im };
            part[m / 2] = x;
        }
        self.transform(&mut z, 1.0);
        let factor = scale / degree as f64;
        let mut coefficients = vec![0.0; degree];
        for j in 0..=half {
            let (x, y) = (z.at(j % half), z.at((half - j % half) % half).conj());
            // Transforms of the even and of the odd values.
            let (even, odd) = ((x + y) * 0.5, (x - y) * Complex::new(0.0, -0.5));
            let c = (even + self.roots[j] * odd) * self.twists[j] * factor;
            coefficients[j] = c.re;
            if j > 0 && j < half {
                coefficients[degree - j] = -c.im;
            }
        }
        coefficients
    }

    /// Slots of the element with these coefficients, divided by `scale`.
    #[must_use]
    pub fn slots(&self, coefficients: &[f64], scale: f64) -> Vec<f64> {
        let (degree, half) = (self.degree(), self.degree() / 2);
        let term = |j: usize| {
            let partner = if j == 0 { 0.0 } else { coefficients[degree - j] };
            Complex::new(coefficients[j], -partner) * self.twists[j].conj()
        };
        let mut z = Points::new(half);
        for j in 0..half {
            let (low, high) = (term(j), term(half - j).conj());
            let odd = (low - high) * self.roots[j].conj();
            (z.re[j], z.im[j]) = (low.re + high.re - odd.im, low.im + high.im + odd.re);
        }
        self.transform(&mut z, -1.0);
        let value = |&m: &u32| {
            let m = m as usize;
            if m.is_multiple_of(2) { z.re[m / 2] } else { z.im[m / 2] }
        };
        self.places.iter().map(|m| value(m) / scale).collect()
    }

    /// `x_j = sum_m x_m exp(-2 pi i m j sign / n)`, n = N/2, by Stockham's arrangement: every depth reads and writes
    /// neighbours. Source: Cochran et al., Proc. IEEE 1967.
    fn transform(&self, points: &mut Points, sign: f64) {
        let size = points.re.len();
        let mut other = Points::new(size);
        let mut stride = 1;
        while stride < size {
            let half = size / 2;
            let (low_re, high_re) = points.re.split_at(half);
            let (low_im, high_im) = points.im.split_at(half);
            let from = low_re.chunks_exact(stride).zip(high_re.chunks_exact(stride));
            let from = from.zip(low_im.chunks_exact(stride).zip(high_im.chunks_exact(stride)));
            let to = other.re.chunks_exact_mut(2 * stride).zip(other.im.chunks_exact_mut(2 * stride));
            for (block, (((a_re, b_re), (a_im, b_im)), (re, im))) in from.zip(to).enumerate() {
                // The table is one of N-th roots, twice as many as there are points.
                let w = self.roots[2 * block * stride];
                let (w_re, w_im) = (w.re, w.im * sign);
                let ((sum_re, rest_re), (sum_im, rest_im)) = (re.split_at_mut(stride), im.split_at_mut(stride));
                for q in 0..stride {
                    let (x, y) = (a_re[q] - b_re[q], a_im[q] - b_im[q]);
                    sum_re[q] = a_re[q] + b_re[q];
                    sum_im[q] = a_im[q] + b_im[q];
                    rest_re[q] = x * w_re - y * w_im;
                    rest_im[q] = x * w_im + y * w_re;
                }
            }
            std::mem::swap(points, &mut other);
            stride *= 2;
        }
    }
}

/// Complex numbers, real and imaginary parts apart.
struct Points {
    re: Vec<f64>,
    im: Vec<f64>,
}

impl Points {
    fn new(count: usize) -> Self {
        Self { re: vec![0.0; count], im: vec![0.0; count] }
    }

    fn at(&self, place: usize) -> Complex {
        Complex::new(self.re[place], self.im[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::ring::encode::Encoder;

    fn numbers(count: usize) -> Vec<f64> {
        (0..count).map(|j| ((j * j + 3) as f64 * 0.37).sin()).collect()
    }

    #[test]
    fn slots_are_values_at_the_powers_of_five() {
        let degree = 32;
        let encoder = RealEncoder::new(5);
        let slots = numbers(degree);
        let coefficients = encoder.coefficients(&slots, 1.0);
        let mut power = 1;
        for slot in &slots {
            let angle = TAU * f64::from(power) / (4 * degree) as f64;
            let cosines = coefficients.iter().enumerate().skip(1).map(|(j, a)| 2.0 * a * (angle * j as f64).cos());
            let value = coefficients[0] + cosines.sum::<f64>();
            assert!((value - slot).abs() < 1e-12, "{value} for {slot}");
            power = power * 5 % (4 * degree as i32);
        }
    }

    #[test]
    fn coefficients_are_the_first_of_the_ring_of_twice_the_dimension() {
        for log2_degree in [2, 3, 8, 13] {
            let degree = 1 << log2_degree;
            let encoder = RealEncoder::new(log2_degree);
            let slots = numbers(degree - 1);
            let whole: Vec<Complex> = slots.iter().map(|&x| Complex::new(x, 0.0)).collect();
            let want = Encoder::new(log2_degree + 1).coefficients(&whole, 3.0);
            let got = encoder.coefficients(&slots, 3.0);
            assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-11), "2^{log2_degree}");
            let back = encoder.slots(&got, 3.0);
            assert_eq!(back.len(), degree);
            assert!(back.iter().zip(slots.iter().chain(&[0.0])).all(|(b, s)| (b - s).abs() < 1e-11));
        }
    }
}
