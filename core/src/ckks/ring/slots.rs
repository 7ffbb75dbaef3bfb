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
    /// Fewest slots: what repeats after fewer repeats after these.
    pub const LEAST: usize = 4;

    /// Tables for all slots of a set's ring.
    #[must_use]
    pub fn new(params: &ParameterSet) -> Self {
        Self::of_slots(params.ring, params.slots().trailing_zeros())
    }

    /// Tables for `2^log2_slots` slots, at least [`SlotEncoder::LEAST`], in the ring that has no more of them; in a
    /// larger one they repeat.
    #[must_use]
    pub fn of_slots(ring: RingKind, log2_slots: u32) -> Self {
        match ring {
            RingKind::Complex => Self::Complex(Encoder::new(log2_slots + 1)),
            RingKind::Real => Self::Real(RealEncoder::new(log2_slots)),
        }
    }

    /// N coefficients of what has these slots, times `scale`; missing slots are 0.
    #[must_use]
    pub fn coefficients(&self, slots: &[f64], scale: f64) -> Vec<f64> {
        match self {
            Self::Complex(encoder) => encoder.coefficients_of_reals(slots, scale),
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
