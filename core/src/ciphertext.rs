//! Ciphertexts as they travel.

use serde::{Deserialize, Serialize};
use tfhe::core_crypto::commons::math::random::Seed;
use tfhe::core_crypto::prelude::*;

use crate::format::{self, Binding, FormatError, Kind, words};
use crate::params::Params;

/// Largest ciphertext file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 16 << 30;

/// A batch of encrypted inputs: one body a value and image, value-major, and the seed of the masks.
#[derive(Clone, Serialize, Deserialize)]
pub struct EncryptedInput {
    /// Number of inputs in the batch.
    pub images: u32,
    /// Whether the client's file had a batch axis, so that the result gets one too.
    pub batched: bool,
    /// Seed of the masks: LWE number `value * images + image` of a list expanded in order.
    pub seed: [u8; 16],
    /// Bodies, `value x image`, words mod 2^32.
    #[serde(with = "words")]
    pub bodies: Vec<u32>,
}

/// A batch of encrypted outputs: LWE rows under the flattened GLWE key, value-major.
#[derive(Clone, Serialize, Deserialize)]
pub struct EncryptedOutput {
    /// Number of inputs in the batch.
    pub images: u32,
    /// Whether the input had a batch axis.
    pub batched: bool,
    /// Rows `value x image` of `k N + 1` words mod 2^32.
    #[serde(with = "words")]
    pub rows: Vec<u32>,
}

impl EncryptedInput {
    /// Number of inputs that the body of a file holds.
    ///
    /// # Errors
    /// [`FormatError::Body`].
    pub fn images_of(body: &[u8]) -> Result<u32, FormatError> {
        let own: Self = postcard::from_bytes(body).map_err(|e| FormatError::Body(e.to_string()))?;
        Ok(own.images)
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self, binding: &Binding) -> Vec<u8> {
        let body = postcard::to_allocvec(self).expect("plain words always serialise");
        format::seal(Kind::Input, binding, &body)
    }

    /// Decodes the body of a file and checks it against the parameters.
    ///
    /// # Errors
    /// [`FormatError::Body`].
    pub fn from_body(body: &[u8], params: &Params) -> Result<Self, FormatError> {
        let input: Self = postcard::from_bytes(body).map_err(|e| FormatError::Body(e.to_string()))?;
        let want = params.input.tensor.len().checked_mul(input.images as usize);
        if input.images == 0 || want != Some(input.bodies.len()) {
            return Err(FormatError::Body("the number of ciphertexts disagrees with the batch".into()));
        }
        Ok(input)
    }

    /// Expands the masks to rows of `k N + 1` words, value-major.
    #[must_use]
    pub fn expand(&self, row_words: usize) -> Vec<u32> {
        let seeded = SeededLweCiphertextList::from_container(
            self.bodies.as_slice(),
            LweSize(row_words),
            Seed(u128::from_le_bytes(self.seed)).into(),
            CiphertextModulus::new_native(),
        );
        let count = LweCiphertextCount(self.bodies.len());
        let mut list = LweCiphertextList::new(0_u32, LweSize(row_words), count, CiphertextModulus::new_native());
        par_decompress_seeded_lwe_ciphertext_list::<_, _, _, DefaultRandomGenerator>(&mut list, &seeded);
        list.into_container()
    }
}

impl EncryptedOutput {
    /// Number of inputs that the body of a file holds.
    ///
    /// # Errors
    /// [`FormatError::Body`].
    pub fn images_of(body: &[u8]) -> Result<u32, FormatError> {
        let own: Self = postcard::from_bytes(body).map_err(|e| FormatError::Body(e.to_string()))?;
        Ok(own.images)
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self, binding: &Binding) -> Vec<u8> {
        let body = postcard::to_allocvec(self).expect("plain words always serialise");
        format::seal(Kind::Output, binding, &body)
    }

    /// Decodes the body of a file and checks it against the parameters.
    ///
    /// # Errors
    /// [`FormatError::Body`].
    pub fn from_body(body: &[u8], params: &Params) -> Result<Self, FormatError> {
        let output: Self = postcard::from_bytes(body).map_err(|e| FormatError::Body(e.to_string()))?;
        let values = params.output.tensor.len();
        let want = values.checked_mul(output.images as usize).and_then(|r| r.checked_mul(params.tfhe.big_row_words()));
        if output.images == 0 || want != Some(output.rows.len()) {
            return Err(FormatError::Body("the number of ciphertexts disagrees with the batch".into()));
        }
        Ok(output)
    }
}
