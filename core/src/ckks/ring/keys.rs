//! Keys of key switches and automorphisms.

use std::sync::Arc;

use crate::ckks::ring::context::Ring;

/// Encryptions of `P (Q/D_j) [(Q/D_j)^-1] s'` under s, one pair of polynomials mod QP a digit.
#[derive(Clone)]
pub struct SwitchKey {
    /// Largest number of limbs that it switches.
    pub limbs: usize,
    /// Bodies and masks, `u32[digit][limbs + special][N]`, values in Montgomery form; shared with what they were read
    /// from.
    pub parts: [Arc<Vec<u32>>; 2],
}

/// What an automorphism X -> X^element needs.
pub struct GaloisKey {
    /// For each place of the transform's order the place whose value comes there.
    pub(in crate::ckks) order: Vec<u32>,
    /// From s to s(X^(1 / element)): the switch comes first, and its result is permuted.
    pub(in crate::ckks) key: SwitchKey,
}

impl GaloisKey {
    /// The key with the automorphism's order of values.
    #[must_use]
    pub fn new(ring: &Ring, element: usize, key: SwitchKey) -> Self {
        Self { order: ring.automorphism_order(element), key }
    }

    /// Largest number of limbs that it rotates.
    #[must_use]
    pub fn limbs(&self) -> usize {
        self.key.limbs
    }
}

impl Ring {
    /// The automorphism that rotates slots by `steps` to the left: `5^steps` mod 2N.
    #[must_use]
    pub fn rotation_element(&self, steps: usize) -> usize {
        let mask = 2 * self.degree() - 1;
        (0..steps % (self.degree() / 2)).fold(1, |element, _| (element * 5) & mask)
    }

    /// For each place of the transform's order the place whose value X -> X^element brings there.
    #[must_use]
    pub fn automorphism_order(&self, element: usize) -> Vec<u32> {
        let (degree, bits) = (self.degree(), self.params.log2_degree);
        // Place 256 t + 16 i + j holds leaf 256 t + 16 j + i, the point psi^(2 rev(leaf) + 1); the map is its own inverse.
        let swap = |at: usize| at / 256 * 256 + at % 16 * 16 + at / 16 % 16;
        let reverse = |at: usize| at.reverse_bits() >> (usize::BITS - bits);
        (0..degree)
            .map(|place| {
                let exponent = (2 * reverse(swap(place)) + 1) * element & (2 * degree - 1);
                swap(reverse((exponent - 1) / 2)) as u32
            })
            .collect()
    }
}
