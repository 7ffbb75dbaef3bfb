//! Keys that a bootstrap needs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ckks::files::seeded::SeededSwitchKey;
use crate::ckks::params::key_request::loaded_key_bytes;
use crate::ckks::params::set::ParameterSet;

/// Keys that a bootstrap needs, each for so many limbs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapKeyRequest {
    /// Limbs of the key from s^2 to s.
    pub relinearisation_limbs: usize,
    /// Limbs of the key that conjugates slots.
    pub conjugation_limbs: usize,
    /// Limbs of the key to the sparse secret.
    pub to_sparse_limbs: usize,
    /// Limbs of the key from the sparse secret.
    pub from_sparse_limbs: usize,
    /// By rotation, in slots to the left.
    pub rotation_limbs: BTreeMap<usize, usize>,
}

impl BootstrapKeyRequest {
    /// Limbs of all keys.
    pub fn limbs(&self) -> impl Iterator<Item = usize> {
        let single = [self.relinearisation_limbs, self.conjugation_limbs, self.to_sparse_limbs, self.from_sparse_limbs];
        single.into_iter().chain(self.rotation_limbs.values().copied())
    }

    /// Bytes of all keys with their masks, as a device holds them; what travels is half of it.
    #[must_use]
    pub fn loaded_bytes(&self, params: &ParameterSet) -> u64 {
        self.limbs().map(|limbs| loaded_key_bytes(params, limbs)).sum()
    }
}

/// All that a bootstrap needs of a client's keys, without masks.
#[derive(Clone)]
pub struct SeededBootstrapKey {
    /// From s^2 to s.
    pub relinearise: SeededSwitchKey,
    /// Of X -> X^-1.
    pub conjugate: SeededSwitchKey,
    /// From s to the sparse secret.
    pub to_sparse: SeededSwitchKey,
    /// From the sparse secret to s.
    pub from_sparse: SeededSwitchKey,
    /// By rotation, in slots to the left.
    pub rotations: BTreeMap<usize, SeededSwitchKey>,
}
