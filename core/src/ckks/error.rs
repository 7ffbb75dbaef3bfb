//! Why an operation was refused.

use crate::device::error::BackendError;

/// Why an operation was refused.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum CkksError {
    /// No prime is left to divide by.
    #[error("no level is left: the circuit is deeper than the parameters")]
    Depth,
    /// Sums of different scales mean nothing.
    #[error("scales 2^{left:.3} and 2^{right:.3} differ")]
    Scale {
        /// log2 of one scale.
        left: f64,
        /// log2 of the other.
        right: f64,
    },
    /// Words that no encryption gives.
    #[error("a ciphertext has a wrong length, or words that are no residues of its primes")]
    Residues,
    /// A plan that does not belong to its network or keys.
    #[error("{0}")]
    Plan(String),
    /// Operands of different levels.
    #[error("operands of {left} and {right} limbs")]
    Level {
        /// Limbs of one.
        left: usize,
        /// Limbs of the other.
        right: usize,
    },
    /// A budget that does not hold what an evaluation keeps at one time.
    #[error(
        "the evaluation holds up to {needed} bytes of ciphertexts at one time, more than the budget of {budget} bytes"
    )]
    Memory {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that were allowed.
        budget: u64,
    },
    /// The device is full, or failed.
    #[error(transparent)]
    Device(#[from] BackendError),
}

/// Scales that differ by less are one: sums of them lose no more than rescaling does.
const SCALE_TOLERANCE: f64 = 1e-9;

/// Fails unless two scales are one.
///
/// # Errors
/// [`CkksError::Scale`].
pub fn same_scale(left: f64, right: f64) -> Result<(), CkksError> {
    // A scale that is no number equals none.
    if (left / right - 1.0).abs() <= SCALE_TOLERANCE {
        return Ok(());
    }
    Err(CkksError::Scale { left: left.log2(), right: right.log2() })
}

/// Fails unless there are as many limbs on both sides.
///
/// # Errors
/// [`CkksError::Level`].
pub fn same_limbs(left: usize, right: usize) -> Result<(), CkksError> {
    if left == right { Ok(()) } else { Err(CkksError::Level { left, right }) }
}

/// Fails if there are fewer limbs on the right: a constant's, a term's, or those that a key switches.
///
/// # Errors
/// [`CkksError::Level`].
pub fn enough_limbs(left: usize, right: usize) -> Result<(), CkksError> {
    if left <= right { Ok(()) } else { Err(CkksError::Level { left, right }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_that_differ_or_are_no_numbers_are_refused() {
        assert_eq!(same_scale(2_f64.powi(29), 2_f64.powi(29) * (1.0 + 1e-10)), Ok(()));
        for wrong in [2_f64.powi(29) * (1.0 + 1e-8), 2_f64.powi(30), 0.0, f64::NAN, f64::INFINITY] {
            assert!(
                same_scale(2_f64.powi(29), wrong).is_err() && same_scale(wrong, 2_f64.powi(29)).is_err(),
                "{wrong}"
            );
        }
        assert!(same_scale(0.0, 0.0).is_err());
    }
}
