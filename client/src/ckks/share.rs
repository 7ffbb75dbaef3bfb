//! Terms on which results of CKKS leave the client's hands.
#![doc = include_str!("share.md")]

use heman_core::ckks::noise::{FRESH_DEVIATION, key_switch, of_slot, rescale};
use heman_core::ckks::params::public::Params;

use crate::error::ClientError;
use crate::random::Stream;

/// Half of 30 bits of statistical security.
const FLOOD_FACTOR: f64 = 32_768.0;
/// Deviations of an error that bound it.
const DEVIATIONS: f64 = 8.0;
/// Share of the largest value that parameters allow which the deviation of the noise may reach.
const LEAST_LEFT: f64 = 0.02;

/// What a client vouches for when it shares results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// Values that are shared under one key at the most: of all inputs, outputs and files together.
    pub most_values: u64,
    /// Whether the ciphertexts were evaluated as the protocol says. Of others nothing is shared.
    pub is_evaluation_trusted: bool,
}

/// The noise that shared values get, and what they must keep to.
pub(crate) struct Flood {
    /// Of the noise.
    deviation: f64,
    /// Bound on the error of an honest evaluation, in units of the values.
    error: f64,
    /// Largest magnitude of a value.
    largest: f64,
}

impl Flood {
    /// The noise for so many values.
    ///
    /// # Errors
    /// [`ClientError::Untrusted`] unless the evaluation is trusted, [`ClientError::Flooded`] if the noise leaves
    /// nothing of what the parameters can express.
    pub(crate) fn new(params: &Params, sharing: Sharing) -> Result<Self, ClientError> {
        let largest = largest_value(params);
        let deviation = |bound: f64| (12.0 * sharing.most_values.max(1) as f64).sqrt() * FLOOD_FACTOR * bound;
        if !sharing.is_evaluation_trusted {
            return Err(ClientError::Untrusted { deviation: deviation(largest), largest });
        }
        let error = DEVIATIONS * params.output.noise.max(least_error(params));
        let deviation = deviation(error);
        // Not below it: scales from outside may be no numbers.
        if deviation <= LEAST_LEFT * largest {
            return Ok(Self { deviation, error, largest });
        }
        Err(ClientError::Flooded { deviation, largest })
    }

    /// Adds the noise. Each value comes with the imaginary part of its slot, which is nothing but error; in
    /// the ring whose slots are real it is 0.
    ///
    /// # Errors
    /// [`ClientError::Outside`] for values and errors that no honest evaluation gives; it does not tell them.
    pub(crate) fn add(&self, values: &mut [Vec<f64>], imaginary: &[Vec<f64>]) -> Result<(), ClientError> {
        let is_sound = |value: &f64| value.abs() <= self.largest;
        let is_real = |part: &f64| part.abs() <= self.error;
        if !values.iter().flatten().all(is_sound) || !imaginary.iter().flatten().all(is_real) {
            return Err(ClientError::Outside);
        }
        let mut stream = Stream::new();
        values.iter_mut().flatten().for_each(|value| *value += self.deviation * stream.gaussian());
        Ok(())
    }
}

/// Largest magnitude that an output can have without leaving the modulus it is decrypted at, whatever was evaluated.
fn largest_value(params: &Params) -> f64 {
    let modulus: f64 = params.ckks.primes.iter().take(2).map(|&p| f64::from(p)).product();
    modulus / (2.0 * params.output.scale)
}

/// Deviation of a slot's error where every level rounds, switches keys once, and neither amplifies nor dampens.
fn least_error(params: &Params) -> f64 {
    let set = &params.ckks;
    let level = |limbs: usize| rescale(set).powi(2) + key_switch(set, limbs).powi(2);
    let levels: f64 = (1..set.primes.len()).map(level).sum();
    of_slot(set) * (FRESH_DEVIATION.powi(2) + levels).sqrt() / f64::from(set.scale_log2).exp2()
}
