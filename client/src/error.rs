//! Errors of the client.

use heman_core::files::container::FormatError;
use heman_core::files::params::ParamsError;

/// What the client refuses.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Parameters that are malformed or insecure.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// A file that cannot be used.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// An input of the wrong size.
    #[error("the input has {found} values; the model takes {expected} an input")]
    InputLength {
        /// Values found.
        found: usize,
        /// Values an input.
        expected: usize,
    },
    /// An input value that the parameters do not allow for.
    #[error("input {input}, value {index} is {value}; the parameters allow {low} to {high}")]
    InputRange {
        /// Which input of the batch.
        input: usize,
        /// Which value of it.
        index: usize,
        /// The value.
        value: f32,
        /// Smallest allowed.
        low: f64,
        /// Largest allowed.
        high: f64,
    },
    /// Noise that hides the encryption's own would hide the result too.
    #[error(
        "to be shared, this result needs noise of deviation {deviation:.3}, and its largest value is {largest:.3}: nothing would be \
         left; share the decision only"
    )]
    Flooded {
        /// Of the noise.
        deviation: f64,
        /// Of the result's magnitudes.
        largest: f64,
    },
    /// Keys and ciphertexts of different schemes.
    #[error("the output is for the other scheme than the key")]
    Scheme,
    /// Noise that hides the encryption's own is there for CKKS only.
    #[error("a result of TFHE cannot be shared without its noise; share the decision only")]
    NotShared,
}
