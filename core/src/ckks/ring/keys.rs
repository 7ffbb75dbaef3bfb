//! Keys of key switches and automorphisms.

use std::sync::Arc;

use crate::ckks::error::CkksError;
use crate::ckks::params::set::RingKind;
use crate::ckks::ring::context::Ring;

/// Encryptions of `P (Q/D_j) [(Q/D_j)^-1] s'` under s, one pair of polynomials mod QP a digit.
#[derive(Clone)]
pub struct SwitchKey {
    /// Largest number of limbs that it switches.
    pub limbs: usize,
    /// `u32[digit][limbs + special][N]`, values in Montgomery form; shared with what they were read from.
    pub bodies: Arc<Vec<u32>>,
    /// As many values.
    pub masks: Masks,
}

/// Masks of a key.
#[derive(Clone)]
pub enum Masks {
    /// All of them.
    Held(Arc<Vec<u32>>),
    /// Made again from their seed whenever they are used: [`Ring::uniform`].
    Seeded([u8; 32]),
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
    /// The automorphism that rotates slots by `steps` to the left: X -> X^(5^steps).
    #[must_use]
    pub fn rotation_element(&self, steps: usize) -> usize {
        let mask = self.params.root_order() - 1;
        (0..steps % self.params.slots()).fold(1, |element, _| (element * 5) & mask)
    }

    /// The automorphism of the ring of complex slots that conjugates them: X -> X^-1.
    #[must_use]
    pub fn conjugation_element(&self) -> usize {
        self.params.root_order() - 1
    }

    /// Fails unless X -> X^element is an automorphism, with the least exponent that it has.
    ///
    /// # Errors
    /// [`CkksError::Plan`].
    pub fn check_element(&self, element: usize) -> Result<(), CkksError> {
        let order = self.params.root_order();
        if element % 2 == 1 && element < order {
            return Ok(());
        }
        Err(CkksError::Plan(format!("X -> X^{element} is no automorphism by an odd exponent below {order}")))
    }

    /// For each place of the transform's order the place whose value X -> X^element brings there.
    #[must_use]
    pub fn automorphism_order(&self, element: usize) -> Vec<u32> {
        let (degree, bits, order) = (self.degree(), self.params.log2_degree, self.params.root_order());
        // Place 256 t + 16 i + j holds leaf 256 t + 16 j + i; the map is its own inverse. The leaf is the point
        // psi^(step rev(leaf) + 1), by steps of 2, or of 4 where points and their inverses are one.
        let step = order / degree;
        let swap = |at: usize| at / 256 * 256 + at % 16 * 16 + at / 16 % 16;
        let reverse = |at: usize| at.reverse_bits() >> (usize::BITS - bits);
        let leaf = |exponent: usize| {
            let own = if exponent & (step - 1) == 1 { exponent } else { order - exponent };
            reverse(own >> step.trailing_zeros())
        };
        let point = |place: usize| ((step * reverse(swap(place)) + 1) * element) & (order - 1);
        (0..degree).map(|place| swap(leaf(point(place))) as u32).collect()
    }

    /// Where X -> X^element brings the basis element of coefficient `place`, and whether its sign turns: X^place, or
    /// `X^place + X^-place` in the conjugate-invariant ring.
    #[must_use]
    pub fn moved_coefficient(&self, place: usize, element: usize) -> (usize, bool) {
        let (degree, order) = (self.degree(), self.params.root_order());
        let exponent = place * element % order;
        match self.params.ring {
            RingKind::Complex => (exponent % degree, exponent >= degree),
            RingKind::Real => {
                // X^2N is -1, so that N stands for 0, and is not reached by an odd element.
                let exponent = exponent.min(order - exponent);
                if exponent < degree { (exponent, false) } else { (order / 2 - exponent, true) }
            }
        }
    }
}
