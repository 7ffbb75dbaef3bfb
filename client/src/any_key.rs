//! A secret key of either scheme.

use std::path::Path;

use heman_core::files::container as format;
use heman_core::files::container::{FormatError, Kind};
use heman_core::files::scheme::Scheme;
use heman_core::model::network::TensorInfo;

use crate::{CkksKey, ClientError, SecretKey};

/// A secret key of either scheme.
pub enum AnyKey {
    /// TFHE.
    Tfhe(Box<SecretKey>),
    /// CKKS.
    Ckks(Box<CkksKey>),
}

impl AnyKey {
    /// Reads and checks a secret key file.
    ///
    /// # Errors
    /// As [`SecretKey::read`].
    pub fn read(path: &Path) -> Result<Self, ClientError> {
        let start = format::read_start(path)?;
        let found = format::kind_of(&start)?;
        if found != Kind::SecretKey {
            return Err(FormatError::Kind { found, expected: Kind::SecretKey }.into());
        }
        match format::scheme_of(&start)? {
            Scheme::Tfhe => SecretKey::read(path).map(|key| Self::Tfhe(Box::new(key))),
            Scheme::Ckks => CkksKey::read(path).map(|key| Self::Ckks(Box::new(key))),
        }
    }

    /// What it encrypts.
    #[must_use]
    pub fn input(&self) -> &TensorInfo {
        match self {
            Self::Tfhe(key) => &key.params().input.tensor,
            Self::Ckks(key) => &key.params().input.tensor,
        }
    }

    /// An encrypted input file for a batch of inputs.
    ///
    /// # Errors
    /// As [`SecretKey::encrypt`].
    pub fn encrypt_file(&self, values: &[f32], batched: bool) -> Result<Vec<u8>, ClientError> {
        match self {
            Self::Tfhe(key) => Ok(key.encrypt(values, batched)?.to_bytes(&key.params().binding())),
            Self::Ckks(key) => Ok(key.encrypt(values, batched)?.to_bytes(&key.params().binding())),
        }
    }
}
