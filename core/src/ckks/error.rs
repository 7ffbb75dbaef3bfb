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
