//! Keys that an evaluation needs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ckks::params::set::{ParameterSet, RingKind};
use crate::ckks::params::sparse::{MOST_SPARSE_LIMBS, check_sparse_modulus};

/// Keys that the evaluation needs, each for so many limbs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// Limbs of the relinearisation key; 0 if nothing is multiplied.
    pub relinearisation_limbs: usize,
    /// By rotation, in slots to the left.
    pub rotation_limbs: BTreeMap<usize, usize>,
    /// What bootstraps need beside those; none where there are none.
    pub bootstrap: Option<BootstrapLimbs>,
}

impl KeyRequest {
    /// Limbs of each key, in the order of the file.
    pub(in crate::ckks) fn all_limbs(&self) -> impl Iterator<Item = usize> {
        Some(self.relinearisation_limbs)
            .into_iter()
            .filter(|&limbs| limbs > 0)
            .chain(self.rotation_limbs.values().copied())
            .chain(self.bootstrap.into_iter().flat_map(BootstrapLimbs::all))
    }

    /// Bytes of all keys in memory, without their masks.
    #[must_use]
    pub fn bodies_bytes(&self, params: &ParameterSet) -> u64 {
        self.all_limbs().map(|limbs| loaded_key_bytes(params, limbs) / 2).fold(0, u64::saturating_add)
    }
}

/// Bytes of a key for so many limbs on a device, with its masks: a word for each residue.
#[must_use]
pub fn loaded_key_bytes(params: &ParameterSet, limbs: usize) -> u64 {
    let special = params.special_primes.len();
    ((8 * limbs.div_ceil(special) * (limbs + special)) as u64) << params.log2_degree
}

/// Limbs of the keys that bootstraps alone need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapLimbs {
    /// Of the key that conjugates slots.
    pub conjugation_limbs: usize,
    /// Of the key to the sparse secret, the only one that is made under it.
    pub to_sparse_limbs: usize,
    /// Of the key from the sparse secret.
    pub from_sparse_limbs: usize,
}

impl BootstrapLimbs {
    /// In the order of the file.
    #[must_use]
    pub fn all(self) -> [usize; 3] {
        [self.conjugation_limbs, self.to_sparse_limbs, self.from_sparse_limbs]
    }

    /// Checks that the keys can be made, and that the one under the sparse secret is safe.
    ///
    /// # Errors
    /// A sentence that names the first violation.
    pub fn check(self, params: &ParameterSet) -> Result<(), String> {
        if params.ring != RingKind::Complex {
            return Err("keys of bootstraps are asked for in a ring that has none".into());
        }
        let within = self.all().iter().all(|own| (1..=params.key_limbs).contains(own));
        if !within || self.to_sparse_limbs > MOST_SPARSE_LIMBS {
            return Err("a key of bootstraps is asked for that cannot be made".into());
        }
        check_sparse_modulus(params, self.to_sparse_limbs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_bootstraps_that_cannot_be_made_are_refused() {
        let params = ParameterSet::new(15, 25, 29, 3).expect("a secure set");
        let sound = BootstrapLimbs { conjugation_limbs: 20, to_sparse_limbs: 2, from_sparse_limbs: 26 };
        assert_eq!(sound.check(&params), Ok(()));
        for wrong in [
            BootstrapLimbs { conjugation_limbs: 0, ..sound },
            BootstrapLimbs { to_sparse_limbs: 0, ..sound },
            BootstrapLimbs { from_sparse_limbs: 0, ..sound },
            BootstrapLimbs { conjugation_limbs: 27, ..sound },
            BootstrapLimbs { from_sparse_limbs: usize::MAX, ..sound },
            BootstrapLimbs { to_sparse_limbs: 3, ..sound },
        ] {
            let error = wrong.check(&params).expect_err("no such key");
            assert!(error.contains("cannot be made"), "{wrong:?}: {error}");
        }
        let short = ParameterSet { key_limbs: 25, ..params.clone() };
        assert!(sound.check(&short).is_err_and(|error| error.contains("cannot be made")));
        let real = ParameterSet { ring: RingKind::Real, ..params.clone() };
        assert!(sound.check(&real).is_err_and(|error| error.contains("a ring that has none")));
        let small = ParameterSet { log2_degree: 14, ..params };
        assert!(sound.check(&small).is_err_and(|error| error.contains("N = 2^14")));
        let wide = ParameterSet::new(15, 23, 29, 4).expect("a secure set");
        let limbs = BootstrapLimbs { from_sparse_limbs: 24, ..sound };
        assert!(limbs.check(&wide).is_err_and(|error| error.contains("a sparse secret protects")));
    }
}
