//! Keys for bootstrapping, and the sparse secret that they lead to and from.

use heman_core::ckks::bootstrap::keys::{BootstrapKeyRequest, SeededBootstrapKey};
use heman_core::ckks::files::evaluation_key::SeededBootstrapKeys;
use heman_core::ckks::params::key_request::BootstrapLimbs;
use heman_core::ckks::params::sparse::SPARSE_WEIGHT;
use heman_core::ckks::ring::context::Ring;
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::ckks::secret::{SecretPolynomial, switch_key, ternary_values};
use crate::random::Stream;

/// A ternary secret of [`SPARSE_WEIGHT`] coefficients that are not 0. It lives as long as keys are made, and no
/// ciphertext but those of a raised modulus is ever under it.
struct SparseSecret {
    /// All limbs of QP, values in Montgomery form.
    values: Zeroizing<Vec<u32>>,
}

impl SparseSecret {
    /// Uniform among all such secrets.
    fn generate(ring: &Ring) -> Self {
        let coefficients = sparse_coefficients(ring.degree());
        Self { values: ternary_values(ring, &coefficients) }
    }
}

/// Places drawn again where they are taken, and signs.
fn sparse_coefficients(degree: usize) -> Zeroizing<Vec<i8>> {
    let mut stream = Stream::new();
    let mut coefficients = Zeroizing::new(vec![0_i8; degree]);
    let mut left = SPARSE_WEIGHT;
    while left > 0 {
        let place = stream.below(degree as u32) as usize;
        let sign = 1 - 2 * (stream.below(2) as i8);
        if coefficients[place] == 0 {
            coefficients[place] = sign;
            left -= 1;
        }
    }
    coefficients
}

impl SecretPolynomial {
    /// All keys of a bootstrap, with a sparse secret of their own, which is forgotten.
    ///
    /// # Panics
    /// If there are not so many limbs.
    #[must_use]
    pub fn bootstrap_key(&self, ring: &Ring, request: &BootstrapKeyRequest) -> SeededBootstrapKey {
        let SeededBootstrapKeys { conjugate, to_sparse, from_sparse } = self.sparse_keys(
            ring,
            BootstrapLimbs {
                conjugation_limbs: request.conjugation_limbs,
                to_sparse_limbs: request.to_sparse_limbs,
                from_sparse_limbs: request.from_sparse_limbs,
            },
        );
        let rotation =
            |(&steps, &limbs): (&usize, &usize)| (steps, self.galois_key(ring, ring.rotation_element(steps), limbs));
        SeededBootstrapKey {
            relinearise: self.relinearisation_key(ring, request.relinearisation_limbs),
            conjugate,
            to_sparse,
            from_sparse,
            rotations: request.rotation_limbs.par_iter().map(rotation).collect(),
        }
    }

    /// Keys that bootstraps alone need, with a sparse secret of their own, which is forgotten.
    ///
    /// # Panics
    /// If there are not so many limbs.
    #[must_use]
    pub fn sparse_keys(&self, ring: &Ring, limbs: BootstrapLimbs) -> SeededBootstrapKeys {
        let sparse = SparseSecret::generate(ring);
        SeededBootstrapKeys {
            conjugate: self.galois_key(ring, ring.conjugation_element(), limbs.conjugation_limbs),
            to_sparse: switch_key(ring, self.values(), &sparse.values, limbs.to_sparse_limbs),
            from_sparse: switch_key(ring, &sparse.values, self.values(), limbs.from_sparse_limbs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparse_secrets_have_their_weight_anywhere_with_either_sign() {
        let (mut first_half, mut positive) = (0, 0);
        for _ in 0..50 {
            let coefficients = sparse_coefficients(4096);
            assert_eq!(coefficients.iter().filter(|&&s| s != 0).count(), SPARSE_WEIGHT);
            first_half += coefficients[..2048].iter().filter(|&&s| s != 0).count();
            positive += coefficients.iter().filter(|&&s| s == 1).count();
        }
        // 1,600 draws: six deviations of a fair coin are 120.
        assert!(first_half.abs_diff(800) < 120 && positive.abs_diff(800) < 120, "{first_half} {positive}");
    }
}
