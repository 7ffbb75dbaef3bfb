//! Ciphertexts as they travel.

use serde::{Deserialize, Serialize};
use tfhe::core_crypto::commons::math::random::Seed;
use tfhe::core_crypto::prelude::*;

use crate::files::container as format;
use crate::files::container::{Binding, FormatError, Kind};
use crate::files::scheme::Scheme;
use crate::tfhe::params::public::Params;
use crate::words;

/// Largest ciphertext file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 16 << 30;

/// A batch of encrypted inputs: one body a value, image after image, and a seed of masks for each image.
#[derive(Clone, Serialize, Deserialize)]
pub struct EncryptedInput {
    /// Number of inputs in the batch.
    pub images: u32,
    /// Whether the client's file had a batch axis, so that the result gets one too.
    pub batched: bool,
    /// Seeds of the masks, one an image: its values are the LWE ciphertexts of a list expanded in order.
    pub seeds: Vec<[u8; 16]>,
    /// Bodies, `image x value`, words mod 2^32.
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
        format::seal_value(Kind::Input, Scheme::Tfhe, binding, self)
    }

    /// Decodes the body of a file and checks it against the parameters.
    ///
    /// # Errors
    /// [`FormatError::Body`].
    pub fn from_body(body: &[u8], params: &Params) -> Result<Self, FormatError> {
        let input: Self = postcard::from_bytes(body).map_err(|e| FormatError::Body(e.to_string()))?;
        let want = params.input.tensor.len().checked_mul(input.images as usize);
        if input.images == 0 || want != Some(input.bodies.len()) || input.seeds.len() != input.images as usize {
            return Err(FormatError::Body("the number of ciphertexts disagrees with the batch".into()));
        }
        Ok(input)
    }

    /// Expands the masks of `count` images from `first` on to rows of `k N + 1` words, `value x image`.
    ///
    /// # Panics
    /// If there are not so many images; [`EncryptedInput::from_body`] has checked the rest.
    #[must_use]
    pub fn expand(&self, row_words: usize, first: usize, count: usize) -> Vec<u32> {
        let values = self.bodies.len() / self.images as usize;
        let mut rows = vec![0; values * count * row_words];
        for image in 0..count {
            let seeded = SeededLweCiphertextList::from_container(
                &self.bodies[(first + image) * values..][..values],
                LweSize(row_words),
                Seed(u128::from_le_bytes(self.seeds[first + image])).into(),
                CiphertextModulus::new_native(),
            );
            let modulus = CiphertextModulus::new_native();
            let mut list = LweCiphertextList::new(0_u32, LweSize(row_words), LweCiphertextCount(values), modulus);
            par_decompress_seeded_lwe_ciphertext_list::<_, _, _, DefaultRandomGenerator>(&mut list, &seeded);
            let own = list.into_container();
            for (value, row) in own.chunks_exact(row_words).enumerate() {
                rows[(value * count + image) * row_words..][..row_words].copy_from_slice(row);
            }
        }
        rows
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
        format::seal_value(Kind::Output, Scheme::Tfhe, binding, self)
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
