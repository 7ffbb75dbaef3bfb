//! Errors of the client.

use heman_core::format::FormatError;
use heman_core::params::ParamsError;

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
    #[error("input {image}, value {index} is {value}; the parameters allow {low} to {high}")]
    InputRange {
        /// Which input of the batch.
        image: usize,
        /// Which value of it.
        index: usize,
        /// The value.
        value: f32,
        /// Smallest allowed.
        low: f64,
        /// Largest allowed.
        high: f64,
    },
    /// A ciphertext of other parameters.
    #[error("this {what} belongs to other parameters than this key")]
    Binding {
        /// What does.
        what: &'static str,
    },
}
