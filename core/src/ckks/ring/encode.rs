//! The canonical embedding: N/2 complex slots to N real coefficients and back.
//!
//! Slot j is the polynomial's value at `zeta^(5^j)`, zeta = exp(i pi / N); the conjugates hold no information, so that
//! the coefficients are real. Rotating slots is the automorphism X -> X^5. Source: Cheon et al., ASIACRYPT 2017,
//! section 3.2.

use std::f64::consts::PI;

/// A slot.
pub use tfhe_fft::c64 as Complex;

use Complex as c64;

/// Tables for one degree.
pub struct Encoder {
    degree: usize,
    /// `5^j mod 2N`.
    powers_of_five: Vec<usize>,
    /// `exp(i pi k / N)`.
    roots: Vec<c64>,
}

impl Encoder {
    /// Tables for `2^log2_degree` coefficients.
    #[must_use]
    pub fn new(log2_degree: u32) -> Self {
        let degree = 1_usize << log2_degree;
        let powers_of_five = std::iter::successors(Some(1), |x| Some(x * 5 % (2 * degree))).take(degree / 2).collect();
        let roots = (0..2 * degree)
            .map(|k| {
                let (sin, cos) = (PI * k as f64 / degree as f64).sin_cos();
                c64::new(cos, sin)
            })
            .collect();
        Self { degree, powers_of_five, roots }
    }

    /// Coefficients of the polynomial with these slots, times `scale`; missing slots are 0.
    #[must_use]
    pub fn coefficients(&self, slots: &[c64], scale: f64) -> Vec<f64> {
        let size = self.degree / 2;
        let mut z: Vec<c64> = slots.iter().copied().chain(std::iter::repeat(c64::new(0.0, 0.0))).take(size).collect();
        let mut length = size;
        while length > 1 {
            let (half, gap) = (length / 2, 2 * self.degree / (4 * length));
            for block in z.chunks_exact_mut(length) {
                for j in 0..half {
                    let index = (4 * length - self.powers_of_five[j] % (4 * length)) * gap;
                    let (a, b) = (block[j], block[j + half]);
                    block[j] = a + b;
                    block[j + half] = (a - b) * self.roots[index % (2 * self.degree)];
                }
            }
            length /= 2;
        }
        reverse_bits(&mut z);
        let factor = scale / size as f64;
        z.iter().map(|z| z.re * factor).chain(z.iter().map(|z| z.im * factor)).collect()
    }

    /// Slots of the polynomial with these coefficients, divided by `scale`.
    #[must_use]
    pub fn slots(&self, coefficients: &[f64], scale: f64) -> Vec<c64> {
        let size = self.degree / 2;
        let (re, im) = coefficients.split_at(size);
        let mut z: Vec<c64> = re.iter().zip(im).map(|(&re, &im)| c64::new(re / scale, im / scale)).collect();
        reverse_bits(&mut z);
        let mut length = 2;
        while length <= size {
            let (half, gap) = (length / 2, 2 * self.degree / (4 * length));
            for block in z.chunks_exact_mut(length) {
                for j in 0..half {
                    let index = self.powers_of_five[j] % (4 * length) * gap;
                    let (a, b) = (block[j], block[j + half] * self.roots[index]);
                    block[j] = a + b;
                    block[j + half] = a - b;
                }
            }
            length *= 2;
        }
        z
    }
}

fn reverse_bits(z: &mut [c64]) {
    let bits = z.len().trailing_zeros();
    if bits == 0 {
        return;
    }
    for i in 0..z.len() {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            z.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_values_at_the_powers_of_five() {
        let encoder = Encoder::new(5);
        let slots: Vec<c64> = (0..16).map(|j| c64::new(f64::from(j) - 7.0, f64::from(j * j % 5))).collect();
        let coefficients = encoder.coefficients(&slots, 1.0);
        for (j, slot) in slots.iter().enumerate() {
            let angle = PI * encoder.powers_of_five[j] as f64 / 32.0;
            let value = coefficients.iter().enumerate().fold(c64::new(0.0, 0.0), |sum, (k, &c)| {
                let (sin, cos) = (angle * k as f64).sin_cos();
                sum + c64::new(cos, sin) * c
            });
            assert!((value - slot).norm_sqr().sqrt() < 1e-12, "slot {j}: {value} for {slot}");
        }
        let back = encoder.slots(&coefficients, 1.0);
        assert!(back.iter().zip(&slots).all(|(a, b)| (a - b).norm_sqr().sqrt() < 1e-12));
    }
}
