//! A secret key of either scheme.

use std::io::{self, Write};

use heman_core::either::files::{EncryptedInput, EncryptedOutput, EvaluationKey};
use heman_core::either::params::Params;
use heman_core::files::container::Fingerprint;
use heman_core::files::sealed::Sealed;
use heman_core::model::network::TensorInfo;
use heman_core::progress::Progress;

use crate::ckks;
use crate::error::ClientError;
use crate::tensor::Output;
use crate::tfhe;

/// A secret key of either scheme.
pub enum SecretKey {
    /// TFHE.
    Tfhe(Box<tfhe::SecretKey>),
    /// CKKS.
    Ckks(Box<ckks::SecretKey>),
}

impl SecretKey {
    /// Draws a fresh key.
    ///
    /// # Errors
    /// [`ClientError::Params`] if the parameters are malformed or below 128 bits of security, whoever sent them.
    pub fn generate(params: &Params) -> Result<Self, ClientError> {
        match params {
            Params::Tfhe(params) => tfhe::SecretKey::generate(params).map(|key| Self::Tfhe(Box::new(key))),
            Params::Ckks(params) => ckks::SecretKey::generate(params).map(|key| Self::Ckks(Box::new(key))),
        }
    }

    /// Writes the secret key file; no image of it is kept in memory.
    ///
    /// # Errors
    /// The target's.
    pub fn seal_to(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Tfhe(key) => key.seal_to(&(), out),
            Self::Ckks(key) => key.seal_to(&(), out),
        }
    }

    /// By which files of this key know each other.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Tfhe(key) => key.fingerprint(),
            Self::Ckks(key) => key.fingerprint(),
        }
    }

    /// What it encrypts: all inputs one after another.
    #[must_use]
    pub fn input(&self) -> &TensorInfo {
        match self {
            Self::Tfhe(key) => &key.params().input.tensor,
            Self::Ckks(key) => &key.params().input.tensor,
        }
    }

    /// The model's inputs, in the order in which their values are encrypted.
    #[must_use]
    pub fn inputs(&self) -> &[TensorInfo] {
        match self {
            Self::Tfhe(key) => &key.params().input.parts,
            Self::Ckks(key) => &key.params().input.parts,
        }
    }

    /// Values that decrypting this many inputs gives, before the client's operators.
    #[must_use]
    pub fn values_of(&self, inputs: usize) -> u64 {
        let values = match self {
            Self::Tfhe(key) => key.params().output.tensor.len(),
            Self::Ckks(key) => key.params().output.tensor.len(),
        };
        (inputs as u64).saturating_mul(values as u64)
    }

    /// The public parameters.
    #[must_use]
    pub fn params(&self) -> Params {
        match self {
            Self::Tfhe(key) => Params::Tfhe(key.params().clone()),
            Self::Ckks(key) => Params::Ckks(key.params().clone()),
        }
    }

    /// Makes the evaluation key.
    #[must_use]
    pub fn evaluation_key(&self, progress: &dyn Progress) -> EvaluationKey {
        match self {
            Self::Tfhe(key) => EvaluationKey::Tfhe(key.evaluation_key(progress)),
            Self::Ckks(key) => EvaluationKey::Ckks(key.evaluation_key(progress)),
        }
    }

    /// Encrypts a batch of inputs, one after the other in `values`.
    ///
    /// # Errors
    /// As [`SecretKey::encrypt`].
    pub fn encrypt(&self, values: &[f32], batched: bool) -> Result<EncryptedInput, ClientError> {
        match self {
            Self::Tfhe(key) => Ok(EncryptedInput::Tfhe(key.encrypt(values, batched)?)),
            Self::Ckks(key) => Ok(EncryptedInput::Ckks(key.encrypt(values, batched)?)),
        }
    }

    /// Decrypts a batch to one vector of values an input, before the client's operators.
    ///
    /// # Errors
    /// [`ClientError::Scheme`] for outputs of the other scheme, [`ClientError::Format`] for malformed ones.
    pub fn decrypt_values(&self, output: &EncryptedOutput) -> Result<Vec<Vec<f64>>, ClientError> {
        match (self, output) {
            (Self::Tfhe(key), EncryptedOutput::Tfhe(output)) => Ok(key.decrypt_values(output)),
            (Self::Ckks(key), EncryptedOutput::Ckks(output)) => key.decrypt_values(output),
            _ => Err(ClientError::Scheme),
        }
    }

    /// Decrypts a batch and runs the client's program. With `sharing`, noise hides that of the encryption, for
    /// results that leave the client's hands.
    ///
    /// # Errors
    /// As [`SecretKey::decrypt_values`]; as [`ckks::SecretKey::decrypt`]; [`ClientError::NotShared`] for TFHE.
    pub fn decrypt(
        &self,
        output: &EncryptedOutput,
        sharing: Option<ckks::Sharing>,
    ) -> Result<Vec<Output>, ClientError> {
        match (self, output) {
            (Self::Tfhe(_), EncryptedOutput::Tfhe(_)) if sharing.is_some() => Err(ClientError::NotShared),
            (Self::Tfhe(key), EncryptedOutput::Tfhe(output)) => Ok(key.decrypt(output)),
            (Self::Ckks(key), EncryptedOutput::Ckks(output)) => key.decrypt(output, sharing),
            _ => Err(ClientError::Scheme),
        }
    }
}
