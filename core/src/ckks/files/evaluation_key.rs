//! Evaluation keys as they travel: bodies and seeds.

use std::collections::BTreeMap;

use crate::ckks::files::seeded::SeededSwitchKey;
use crate::ckks::params::key_request::BootstrapLimbs;
use crate::files::container::Fingerprint;

/// All that an evaluation needs of a client's keys, without masks.
#[derive(Clone)]
pub struct SeededEvaluationKey {
    /// The client's key.
    pub fingerprint: Fingerprint,
    /// From s^2 to s, if anything is multiplied.
    pub relinearise: Option<SeededSwitchKey>,
    /// By rotation, in slots to the left.
    pub rotations: BTreeMap<u32, SeededSwitchKey>,
    /// What bootstraps need beside those, if there are any.
    pub bootstrap: Option<SeededBootstrapKeys>,
}

/// Keys that bootstraps alone need.
#[derive(Clone)]
pub struct SeededBootstrapKeys {
    /// Of X -> X^-1.
    pub conjugate: SeededSwitchKey,
    /// From s to the sparse secret.
    pub to_sparse: SeededSwitchKey,
    /// From the sparse secret to s.
    pub from_sparse: SeededSwitchKey,
}

impl SeededBootstrapKeys {
    /// In the order of the file.
    #[must_use]
    pub fn all(&self) -> [&SeededSwitchKey; 3] {
        [&self.conjugate, &self.to_sparse, &self.from_sparse]
    }

    /// Limbs of each.
    #[must_use]
    pub fn limbs(&self) -> BootstrapLimbs {
        let [conjugation_limbs, to_sparse_limbs, from_sparse_limbs] = self.all().map(|key| key.limbs as usize);
        BootstrapLimbs { conjugation_limbs, to_sparse_limbs, from_sparse_limbs }
    }
}
