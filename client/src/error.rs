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
    /// A file of a secret key that others than its owner have rights to.
    #[error("{path} is a secret key that others have rights to (mode {mode:04o}); mend it with: chmod 600 {path}")]
    Permissions {
        /// Which file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// A passphrase that does not open the key.
    #[error("this is not the passphrase of the key, or its file was changed")]
    Passphrase,
    /// An input of the wrong size.
    #[error("the input has {found} values; the model takes {expected} an input")]
    InputLength {
        /// Values found.
        found: usize,
        /// Values an input.
        expected: usize,
    },
    /// An input value that the parameters do not allow for. The value itself is not told: errors end up in logs.
    #[error("input {input}, value {index} lies outside of what the parameters allow, {low} to {high}")]
    InputRange {
        /// Which input of the batch.
        input: usize,
        /// Which value of it.
        index: usize,
        /// Smallest allowed.
        low: f64,
        /// Largest allowed.
        high: f64,
    },
    /// Noise that hides what a ciphertext from anywhere can decrypt to would hide everything.
    #[error(
        "whoever evaluated this could make it decrypt to any function of the secret key up to {largest:.3}, and noise that \
         hides that, of deviation {deviation:.1e}, leaves nothing of a result; it is shared only if you vouch that the \
         evaluation followed the protocol"
    )]
    Untrusted {
        /// Of the noise.
        deviation: f64,
        /// Of the values that the parameters can express.
        largest: f64,
    },
    /// Noise that hides the encryption's own would hide every result of these parameters too.
    #[error(
        "to be shared, results need noise of deviation {deviation:.3}, and the parameters allow values up to \
         {largest:.3}: nothing would be left; share the decision only"
    )]
    Flooded {
        /// Of the noise.
        deviation: f64,
        /// Of the values that the parameters can express.
        largest: f64,
    },
    /// A result that an honest evaluation cannot have. Its values are not told.
    #[error("the result lies outside of what an evaluation that follows the protocol gives; it is not shared")]
    Outside,
    /// Keys and ciphertexts of different schemes.
    #[error("the output is for the other scheme than the key")]
    Scheme,
    /// Noise that hides the encryption's own is there for CKKS only.
    #[error("a result of TFHE cannot be shared without its noise; share the decision only")]
    NotShared,
}
