//! Keys that an evaluation needs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Keys that the evaluation needs, each for so many limbs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// Limbs of the relinearisation key; 0 if nothing is multiplied.
    pub relinearisation_limbs: usize,
    /// By rotation, in slots to the left.
    pub rotation_limbs: BTreeMap<usize, usize>,
}
