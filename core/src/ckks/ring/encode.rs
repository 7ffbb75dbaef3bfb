//! The canonical embedding: N/2 complex slots to N real coefficients and back.
//!
//! Slot j is the polynomial's value at `zeta^(5^j)`, zeta = exp(i pi / N); the conjugates hold no information, so that
//! the coefficients are real. Rotating slots is the automorphism X -> X^5. Source: Cheon et al., ASIACRYPT 2017,
//! section 3.2.
//!
//! Every exponent `5^j` mod 2N is 1 mod 4. With `e = 4 t + 1` and `c_k = m_k + i m_(k + N/2)` the value at `zeta^e` is
//! `sum_k (c_k zeta^k) exp(2 pi i k t / (N/2))`: a Fourier transform of N/2 points, turned by `zeta^k`, whose results
//! stand in the order of t.
//!
//! **Content that repeats.** Slots that repeat after P of them are those of a polynomial in `X^(N / 2P)`: its
//! coefficients are those of the P slots in a ring of degree 2P.

use std::f64::consts::PI;

/// A slot.
pub use tfhe_fft::c64 as Complex;

use Complex as c64;

use crate::ckks::ring::fourier::Fourier;

/// Tables for one degree.
pub struct Encoder {
    /// For each t the slot at `zeta^(4 t + 1)`.
    slots: Vec<u32>,
    /// `zeta^k`, k below N/2: real and imaginary parts.
    turns: [Vec<f64>; 2],
    fourier: Fourier,
}

impl Encoder {
    /// Tables for `2^log2_degree` coefficients.
    ///
    /// # Panics
    /// If there is less than one slot, or more than 2^31.
    #[must_use]
    pub fn new(log2_degree: u32) -> Self {
        assert!((1..=32).contains(&log2_degree), "one slot at least");
        let (degree, size) = (1_usize << log2_degree, 1_usize << (log2_degree - 1));
        let mut slots = vec![0; size];
        let mut power = 1;
        for slot in 0..size {
            slots[power / 4] = slot as u32;
            power = power * 5 % (2 * degree);
        }
        let turn = |k: usize| (PI * k as f64 / degree as f64).sin_cos();
        let turns: (Vec<f64>, Vec<f64>) = (0..size).map(turn).map(|(sin, cos)| (cos, sin)).unzip();
        Self { slots, turns: turns.into(), fourier: Fourier::new(size) }
    }

    /// Coefficients of the polynomial with these slots, times `scale`; missing slots are 0.
    #[must_use]
    pub fn coefficients(&self, slots: &[c64], scale: f64) -> Vec<f64> {
        self.transformed(scale, |slot| slots.get(slot).map_or((0.0, 0.0), |z| (z.re, z.im)))
    }

    /// As [`Encoder::coefficients`], for slots without imaginary parts.
    #[must_use]
    pub fn coefficients_of_reals(&self, slots: &[f64], scale: f64) -> Vec<f64> {
        self.transformed(scale, |slot| (slots.get(slot).copied().unwrap_or(0.0), 0.0))
    }

    fn transformed(&self, scale: f64, slot: impl Fn(usize) -> (f64, f64)) -> Vec<f64> {
        let size = self.slots.len();
        let mut coefficients = vec![0.0; 2 * size];
        let (re, im) = coefficients.split_at_mut(size);
        for ((re, im), &at) in re.iter_mut().zip(&mut *im).zip(&self.slots) {
            (*re, *im) = slot(at as usize);
        }
        self.fourier.backward(re, im);
        let factor = scale / size as f64;
        let [cos, sin] = &self.turns;
        for ((re, im), (&cos, &sin)) in re.iter_mut().zip(im).zip(cos.iter().zip(sin)) {
            (*re, *im) = ((*re * cos + *im * sin) * factor, (*im * cos - *re * sin) * factor);
        }
        coefficients
    }

    /// Slots of the polynomial with these coefficients, divided by `scale`.
    #[must_use]
    pub fn slots(&self, coefficients: &[f64], scale: f64) -> Vec<c64> {
        let size = self.slots.len();
        let mut turned = coefficients.to_vec();
        let (re, im) = turned.split_at_mut(size);
        let [cos, sin] = &self.turns;
        for ((re, im), (&cos, &sin)) in re.iter_mut().zip(&mut *im).zip(cos.iter().zip(sin)) {
            let (x, y) = (*re / scale, *im / scale);
            (*re, *im) = (x * cos - y * sin, y * cos + x * sin);
        }
        self.fourier.forward(re, im);
        let mut slots = vec![c64::new(0.0, 0.0); size];
        for (&at, (&re, &im)) in self.slots.iter().zip(re.iter().zip(&*im)) {
            slots[at as usize] = c64::new(re, im);
        }
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots_of(size: usize) -> Vec<c64> {
        (0..size).map(|j| c64::new(j as f64 - 7.0, (j * j % 5) as f64)).collect()
    }

    #[test]
    fn slots_are_values_at_the_powers_of_five() {
        for log2_degree in 1..=9 {
            let (encoder, degree) = (Encoder::new(log2_degree), 1_usize << log2_degree);
            let slots = slots_of(degree / 2);
            let coefficients = encoder.coefficients(&slots, 1.0);
            let mut power = 1;
            for (j, slot) in slots.iter().enumerate() {
                let angle = PI * power as f64 / degree as f64;
                power = power * 5 % (2 * degree);
                let value = coefficients.iter().enumerate().fold(c64::new(0.0, 0.0), |sum, (k, &c)| {
                    let (sin, cos) = (angle * k as f64).sin_cos();
                    sum + c64::new(cos, sin) * c
                });
                assert!((value - slot).norm_sqr().sqrt() < 1e-9, "N = {degree}, slot {j}: {value} for {slot}");
            }
            let back = encoder.slots(&coefficients, 1.0);
            assert!(back.iter().zip(&slots).all(|(a, b)| (a - b).norm_sqr().sqrt() < 1e-9));
        }
    }

    #[test]
    fn content_that_repeats_is_a_polynomial_in_a_power() {
        let reals = [0.5, -3.0, 2.0, 1.0];
        let few = Encoder::new(3).coefficients_of_reals(&reals, 2.0);
        let all = Encoder::new(7).coefficients_of_reals(&reals.repeat(16), 2.0);
        for (at, &c) in all.iter().enumerate() {
            let want = if at % 16 == 0 { few[at / 16] } else { 0.0 };
            assert!((c - want).abs() < 1e-12, "coefficient {at}: {c}, not {want}");
        }
    }

    #[test]
    fn missing_slots_are_zero() {
        let encoder = Encoder::new(6);
        let mut slots = slots_of(10);
        let short = encoder.coefficients(&slots, 3.0);
        slots.resize(32, c64::new(0.0, 0.0));
        assert_eq!(short, encoder.coefficients(&slots, 3.0));
    }
}
