//! Keys and ciphertexts of CKKS as they travel.

use crate::ckks::files::seeded::SeededCiphertext;
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::context::Ring;
use crate::files::container::Fingerprint;

/// A batch of encrypted inputs, run after run; within a run the ciphertexts of
/// [`crate::ckks::params::packing::Packing`] in order.
#[derive(Clone)]
pub struct EncryptedInput {
    /// The client's key.
    pub fingerprint: Fingerprint,
    /// Number of inputs in the batch.
    pub inputs: u32,
    /// Whether the client's file had a batch axis, so that the result gets one too.
    pub batched: bool,
    /// Fresh ciphertexts at all limbs.
    pub ciphertexts: Vec<SeededCiphertext>,
}

/// A batch of encrypted outputs, as [`EncryptedInput`].
#[derive(Clone)]
pub struct EncryptedOutput {
    /// The client's key.
    pub fingerprint: Fingerprint,
    /// Number of inputs in the batch.
    pub inputs: u32,
    /// Whether the input had a batch axis.
    pub batched: bool,
    /// Body and mask of every ciphertext.
    pub ciphertexts: Vec<Parts>,
}

/// Body and mask, `u32[limb][N]`, values in Montgomery form.
#[derive(Clone)]
pub struct Parts {
    /// Body.
    pub body: Vec<u32>,
    /// Mask.
    pub mask: Vec<u32>,
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
    pub fn ciphertext(&self, ring: &Ring, scale: f64) -> Option<Ciphertext> {
        let sound = ring.are_residues(&self.body) && ring.are_residues(&self.mask);
        sound.then(|| Ciphertext { parts: [self.body.clone(), self.mask.clone()], scale })
    }
}
