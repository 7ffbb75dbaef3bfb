//! Keys and ciphertexts of CKKS as they travel.

use crate::files::sealed::decode;

use serde::{Deserialize, Serialize};

use crate::ckks::files::seeded::SeededCiphertext;
use crate::ckks::params::public::Params;
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::context::Context;
use crate::files::container as format;
use crate::files::container::{Binding, FormatError, Kind};
use crate::files::scheme::Scheme;
use crate::words;

/// A batch of encrypted inputs, run after run; within a run the ciphertexts of [`crate::ckks::params::packing::Packing`] in order.
#[derive(Clone, Serialize, Deserialize)]
pub struct EncryptedInput {
    /// Number of inputs in the batch.
    pub images: u32,
    /// Whether the client's file had a batch axis, so that the result gets one too.
    pub batched: bool,
    /// Fresh ciphertexts at all limbs.
    pub ciphertexts: Vec<SeededCiphertext>,
}

/// A batch of encrypted outputs, as [`EncryptedInput`].
#[derive(Clone, Serialize, Deserialize)]
pub struct EncryptedOutput {
    /// Number of inputs in the batch.
    pub images: u32,
    /// Whether the input had a batch axis.
    pub batched: bool,
    /// Body and mask of every ciphertext.
    pub ciphertexts: Vec<Parts>,
}

/// Body and mask, `u32[limb][N]`, values in Montgomery form.
#[derive(Clone, Serialize, Deserialize)]
pub struct Parts {
    /// Body.
    #[serde(with = "words")]
    pub body: Vec<u32>,
    /// Mask.
    #[serde(with = "words")]
    pub mask: Vec<u32>,
}

/// Checks that a batch has as many ciphertexts as it needs.
fn check_count(images: u32, found: usize, per_run: usize, params: &Params) -> Result<(), FormatError> {
    let runs = (images as usize).div_ceil(params.inputs_per_run());
    if images == 0 || runs.checked_mul(per_run) != Some(found) {
        return Err(FormatError::Body("the number of ciphertexts disagrees with the batch".into()));
    }
    Ok(())
}

impl EncryptedInput {
    /// Number of inputs that the body of a file holds.
    ///
    /// # Errors
    /// [`FormatError::Body`].
    pub fn images_of(body: &[u8]) -> Result<u32, FormatError> {
        decode::<Self>(body).map(|own| own.images)
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self, binding: &Binding) -> Vec<u8> {
        format::seal_value(Kind::Input, Scheme::Ckks, binding, self)
    }

    /// Decodes the body of a file and checks it against the parameters.
    ///
    /// # Errors
    /// [`FormatError::Body`].
    pub fn from_body(body: &[u8], params: &Params) -> Result<Self, FormatError> {
        let input: Self = decode(body)?;
        check_count(input.images, input.ciphertexts.len(), params.ciphertexts_per_run().0, params)?;
        let words = params.ckks.primes.len() << params.ckks.log2_degree;
        if input.ciphertexts.iter().any(|ciphertext| ciphertext.body.len() != words) {
            return Err(FormatError::Body("a ciphertext's length disagrees with the parameters".into()));
        }
        Ok(input)
    }
}

impl EncryptedOutput {
    /// Number of inputs that the body of a file holds.
    ///
    /// # Errors
    /// [`FormatError::Body`].
    pub fn images_of(body: &[u8]) -> Result<u32, FormatError> {
        decode::<Self>(body).map(|own| own.images)
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self, binding: &Binding) -> Vec<u8> {
        format::seal_value(Kind::Output, Scheme::Ckks, binding, self)
    }

    /// Decodes the body of a file and checks it against the parameters.
    ///
    /// # Errors
    /// [`FormatError::Body`].
    pub fn from_body(body: &[u8], params: &Params) -> Result<Self, FormatError> {
        let output: Self = decode(body)?;
        check_count(output.images, output.ciphertexts.len(), params.ciphertexts_per_run().1, params)?;
        let words = params.ckks.primes.len().min(2) << params.ckks.log2_degree;
        let fits = |parts: &Parts| parts.body.len() == words && parts.mask.len() == words;
        if !output.ciphertexts.iter().all(fits) {
            return Err(FormatError::Body("a ciphertext's length disagrees with the parameters".into()));
        }
        Ok(output)
    }
}

impl Parts {
    /// The parts of a ciphertext.
    #[must_use]
    pub fn new(ciphertext: Ciphertext) -> Self {
        let [body, mask] = ciphertext.parts;
        Self { body, mask }
    }

    /// The ciphertext, if all words are residues.
    #[must_use]
    pub fn ciphertext(&self, context: &Context, scale: f64) -> Option<Ciphertext> {
        let sound = context.are_residues(&self.body) && context.are_residues(&self.mask);
        sound.then(|| Ciphertext { parts: [self.body.clone(), self.mask.clone()], scale })
    }
}
