//! Evaluation keys as they travel: bodies and seeds.

use crate::files::sealed::decode;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ckks::files::seeded::SeededSwitchKey;
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
}
