//! Evaluation keys as they travel: bodies and seeds.

use crate::files::sealed::decode;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ckks::files::seeded::SeededSwitchKey;
use crate::ckks::params::key_request::KeyRequest;
use crate::ckks::ring::context::Context;
use crate::ckks::ring::keys::{GaloisKey, SwitchKey};
use crate::files::container as format;
use crate::files::container::{Binding, FormatError, Kind};
use crate::files::scheme::Scheme;

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
