//! Keys and ciphertexts of CKKS as they travel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::context::{CkksParams, Context};
use super::evaluator::Ciphertext;
use super::keyswitch::{GaloisKey, SwitchKey};
use super::params::{KeyRequest, Params};
use super::seeded::{SeededCiphertext, SeededSwitchKey};
use crate::files::container as format;
use crate::files::container::{Binding, FormatError, HEADER_BYTES, Kind};
use crate::files::scheme::Scheme;
use crate::words;

/// All that an evaluation needs of a client's keys, without masks.
#[derive(Clone, Serialize, Deserialize)]
pub struct SeededEvaluationKey {
    /// From s^2 to s, if anything is multiplied.
    pub relinearise: Option<SeededSwitchKey>,
    /// By rotation, in slots to the left.
    pub rotations: BTreeMap<u32, SeededSwitchKey>,
}

/// The same, expanded.
pub struct EvaluationKey {
    /// From s^2 to s, if anything is multiplied.
    pub relinearise: Option<SwitchKey>,
    /// By rotation, in slots to the left.
    pub rotations: BTreeMap<usize, GaloisKey>,
}

/// A batch of encrypted inputs, run after run; within a run the ciphertexts of [`super::params::Packing`] in order.
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

fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, FormatError> {
    postcard::from_bytes(body).map_err(|e| FormatError::Body(e.to_string()))
}

/// Bytes of one seeded key for ciphertexts of so many limbs.
fn key_bytes(params: &CkksParams, limbs: usize) -> u64 {
    let special = params.special_primes.len();
    (4 * limbs.div_ceil(special) * (limbs + special)) as u64 * (1_u64 << params.log2_degree)
}

impl KeyRequest {
    /// Size of the evaluation key file, in bytes.
    #[must_use]
    pub fn file_bytes(&self, params: &CkksParams) -> u64 {
        let keys = self.rotation_limbs.values().chain(Some(&self.relinearisation_limbs).filter(|&&limbs| limbs > 0));
        HEADER_BYTES as u64 + keys.map(|&limbs| 48 + key_bytes(params, limbs)).sum::<u64>()
    }
}

impl SeededEvaluationKey {
    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self, binding: &Binding) -> Vec<u8> {
        format::seal_value(Kind::EvaluationKey, Scheme::Ckks, binding, self)
    }

    /// Decodes the body of a key file and expands its masks.
    ///
    /// # Errors
    /// [`FormatError::Body`] if keys are missing, or malformed.
    pub fn from_body(body: &[u8]) -> Result<Self, FormatError> {
        decode(body)
    }

    /// Expands the masks of the keys that the parameters ask for.
    ///
    /// # Errors
    /// [`FormatError::Body`] if one is missing, for fewer limbs, or malformed.
    pub fn expand(&self, context: &Context, request: &KeyRequest) -> Result<EvaluationKey, FormatError> {
        let bad = || FormatError::Body("the key's parts are not those that its parameters ask for".into());
        let sound = |key: &SeededSwitchKey, limbs: usize| {
            (key.limbs as usize >= limbs).then(|| context.expand_key(key)).flatten().ok_or_else(bad)
        };
        let relinearise = match (request.relinearisation_limbs, &self.relinearise) {
            (0, _) => None,
            (limbs, Some(key)) => Some(sound(key, limbs)?),
            (_, None) => return Err(bad()),
        };
        let rotation = |(&steps, &limbs): (&usize, &usize)| {
            let seeded = u32::try_from(steps).ok().and_then(|steps| self.rotations.get(&steps)).ok_or_else(bad)?;
            Ok((steps, GaloisKey::new(context, context.rotation_element(steps), sound(seeded, limbs)?)))
        };
        let rotations: Result<_, FormatError> = request.rotation_limbs.iter().map(rotation).collect();
        Ok(EvaluationKey { relinearise, rotations: rotations? })
    }
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
