//! Keys and ciphertexts of either scheme.

use std::io::{self, Write};

use crate::ckks::files::ciphertexts as ckks;
use crate::ckks::files::evaluation_key as ckks_key;
use crate::either::params::Params;
use crate::files::chunks::Reader;
use crate::files::container::{Fingerprint, FormatError};
use crate::files::sealed::{Batch, OfBatch, Sealed};
use crate::tfhe::files::ciphertexts as tfhe;
use crate::tfhe::files::evaluation_key as tfhe_key;

/// A file's content that each scheme has in its own form.
macro_rules! either {
    ($(#[$meta:meta])* $name:ident, $tfhe:ty, $ckks:ty) => {
        $(#[$meta])*
        pub enum $name {
            /// TFHE.
            Tfhe($tfhe),
            /// CKKS.
            Ckks($ckks),
        }

        impl $name {
            /// Reads a file that belongs to the parameters, and to the key of that fingerprint if one is given.
            ///
            /// # Errors
            /// As [`Sealed::open`].
            pub fn open(file: Reader<'_>, params: &Params, of: Option<Fingerprint>) -> Result<Self, FormatError> {
                match params {
                    Params::Tfhe(params) => <$tfhe>::open(file, params, of).map(Self::Tfhe),
                    Params::Ckks(params) => <$ckks>::open(file, params, of).map(Self::Ckks),
                }
            }

            /// Writes the file; returns its length in bytes.
            ///
            /// # Errors
            /// The target's; parameters of the other scheme.
            pub fn seal_to(&self, params: &Params, out: &mut dyn Write) -> io::Result<u64> {
                match (self, params) {
                    (Self::Tfhe(own), Params::Tfhe(params)) => own.seal_to(params, out)?,
                    (Self::Ckks(own), Params::Ckks(params)) => own.seal_to(params, out)?,
                    _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "parameters of the other scheme")),
                }
                Ok(self.sealed_bytes(params))
            }

            /// Length of the file, in bytes; 0 with parameters of the other scheme.
            #[must_use]
            pub fn sealed_bytes(&self, params: &Params) -> u64 {
                match (self, params) {
                    (Self::Tfhe(own), Params::Tfhe(params)) => own.sealed_bytes(params),
                    (Self::Ckks(own), Params::Ckks(params)) => own.sealed_bytes(params),
                    _ => 0,
                }
            }

            /// The client's key.
            #[must_use]
            pub fn fingerprint(&self) -> Fingerprint {
                match self {
                    Self::Tfhe(own) => own.fingerprint(),
                    Self::Ckks(own) => own.fingerprint(),
                }
            }
        }
    };
}

either! {
    /// An evaluation key of either scheme.
    EvaluationKey, tfhe_key::SeededEvaluationKey, ckks_key::SeededEvaluationKey
}
either! {
    /// A batch of encrypted inputs of either scheme.
    EncryptedInput, tfhe::EncryptedInput, ckks::EncryptedInput
}
either! {
    /// A batch of encrypted outputs of either scheme.
    EncryptedOutput, tfhe::EncryptedOutput, ckks::EncryptedOutput
}

impl EncryptedInput {
    /// The inputs that it holds.
    #[must_use]
    pub fn batch(&self) -> Batch {
        match self {
            Self::Tfhe(input) => input.batch(),
            Self::Ckks(input) => input.batch(),
        }
    }

    /// Number of inputs.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Tfhe(input) => input.inputs as usize,
            Self::Ckks(input) => input.inputs as usize,
        }
    }
}

impl EncryptedOutput {
    /// Number of inputs that it answers.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Tfhe(output) => output.inputs as usize,
            Self::Ckks(output) => output.inputs as usize,
        }
    }
}
