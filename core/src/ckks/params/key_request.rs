//! Keys that an evaluation needs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ckks::params::set::CkksParams;
use crate::files::container::HEADER_BYTES;

/// Keys that the evaluation needs, each for so many limbs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// Limbs of the relinearisation key; 0 if nothing is multiplied.
    pub relinearisation_limbs: usize,
    /// By rotation, in slots to the left.
    pub rotation_limbs: BTreeMap<usize, usize>,
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
