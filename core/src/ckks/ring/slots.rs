//! Real numbers in the slots of either ring.

use crate::ckks::params::set::{ParameterSet, RingKind};
use crate::ckks::ring::encode::{Complex, Encoder};
use crate::ckks::ring::encode_real::RealEncoder;

/// Tables for one parameter set.
pub enum SlotEncoder {
    /// N/2 slots, whose imaginary parts nobody uses.
    Complex(Encoder),
    /// N slots.
    Real(RealEncoder),
}

impl SlotEncoder {
    /// Tables for the ring of a set.
    #[must_use]
    pub fn new(params: &ParameterSet) -> Self {
        match params.ring {
            RingKind::Complex => Self::Complex(Encoder::new(params.log2_degree)),
            RingKind::Real => Self::Real(RealEncoder::new(params.log2_degree)),
        }
    }

    /// N coefficients of what has these slots, times `scale`; missing slots are 0.
    #[must_use]
    pub fn coefficients(&self, slots: &[f64], scale: f64) -> Vec<f64> {
        match self {
            Self::Complex(encoder) => {
                let slots: Vec<Complex> = slots.iter().map(|&x| Complex::new(x, 0.0)).collect();
                encoder.coefficients(&slots, scale)
            }
            Self::Real(encoder) => encoder.coefficients(slots, scale),
        }
    }

    /// Slots of what has these coefficients, divided by `scale`. Their imaginary parts are nothing but error, and there
    /// are none in the ring whose slots are real.
    #[must_use]
    pub fn slots(&self, coefficients: &[f64], scale: f64) -> Vec<Complex> {
        match self {
            Self::Complex(encoder) => encoder.slots(coefficients, scale),
            Self::Real(encoder) => {
                encoder.slots(coefficients, scale).into_iter().map(|x| Complex::new(x, 0.0)).collect()
            }
        }
    }
}
