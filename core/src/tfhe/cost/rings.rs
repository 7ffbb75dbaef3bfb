//! How long a device takes for blind rotations, ring by ring.
//!
//! Operations do not tell it: what holds a device is shared memory in one ring, arithmetic in another, and how many
//! ciphertexts fit side by side in a third. So a device's times are listed where they are known, and operations only
//! carry them over to rings like the listed ones.

use std::collections::BTreeMap;

use super::operations::blind_rotation_operations;
use crate::tfhe::params::set::ParameterSet;

/// How much farther apart two rings are for a level than for a doubling of k + 1 or N: a level more needs memory for
/// one more set of transforms.
const LEVEL_DISTANCE: f64 = 4.0;
/// The same for a bit more a group: the products grow, and factors come in.
const GROUPING_DISTANCE: f64 = 2.0;
/// Distances that differ by less are the same.
const SAME_DISTANCE: f64 = 1e-9;

/// What the time of a step of the blind rotation depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ring {
    /// k: mask polynomials of a GLWE ciphertext.
    pub glwe_dimension: usize,
    /// N: degree of the ring, a power of two.
    pub polynomial_size: usize,
    /// Levels of the bootstrapping key.
    pub pbs_level: usize,
    /// g: bits of the small key that a step takes.
    pub grouping_factor: usize,
}

impl Ring {
    /// The ring of a set.
    #[must_use]
    pub fn of(params: &ParameterSet) -> Self {
        let ParameterSet { glwe_dimension, polynomial_size, pbs_level, grouping_factor, .. } = *params;
        Self { glwe_dimension, polynomial_size, pbs_level, grouping_factor }
    }

    /// A set of the ring with so many bits of the small key, for counts: nothing of it is secure or precise.
    #[must_use]
    pub fn bare_set(&self, lwe_dimension: usize) -> ParameterSet {
        ParameterSet {
            lwe_dimension,
            grouping_factor: self.grouping_factor,
            glwe_dimension: self.glwe_dimension,
            polynomial_size: self.polynomial_size,
            pbs_base_log: 1,
            pbs_level: self.pbs_level,
            ks_base_log: 1,
            ks_level: 1,
            ks_noise_bound_log2: 0,
            pbs_noise_bound_log2: 0,
            input_noise_bound_log2: 0,
        }
    }

    /// Operations of a blind rotation, a bit of the small key.
    #[must_use]
    pub fn bit_operations(&self) -> f64 {
        blind_rotation_operations(&self.bare_set(self.grouping_factor)) / self.grouping_factor as f64
    }

    /// How unlike two rings are.
    fn distance(&self, other: &Self) -> f64 {
        let log2 = |a: usize, b: usize| (a as f64 / b as f64).log2().abs();
        log2(self.polynomial_size, other.polynomial_size)
            + log2(self.glwe_dimension + 1, other.glwe_dimension + 1)
            + LEVEL_DISTANCE * self.pbs_level.abs_diff(other.pbs_level) as f64
            + GROUPING_DISTANCE * self.grouping_factor.abs_diff(other.grouping_factor) as f64
    }
}

/// Seconds that a bit of the small key takes a ciphertext, for rings that a device runs, when it has enough to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RingTimes {
    bit_seconds: BTreeMap<Ring, f64>,
}

impl RingTimes {
    /// Times as they are listed; of a ring that is listed twice the last one counts.
    #[must_use]
    pub fn new(listed: impl IntoIterator<Item = (Ring, f64)>) -> Self {
        Self { bit_seconds: listed.into_iter().collect() }
    }

    /// The time of a ring; none if it is not listed.
    #[must_use]
    pub fn listed(&self, ring: &Ring) -> Option<f64> {
        self.bit_seconds.get(ring).copied()
    }

    /// The time of a ring, listed or in proportion to the operations of the listed ring that is most like it; of
    /// several the dearest. None where nothing is listed.
    #[must_use]
    pub fn estimated(&self, ring: &Ring) -> Option<f64> {
        let nearest = self.bit_seconds.keys().map(|known| known.distance(ring)).min_by(f64::total_cmp)?;
        let like = self.bit_seconds.iter().filter(|(known, _)| known.distance(ring) <= nearest + SAME_DISTANCE);
        let carried = like.map(|(known, seconds)| seconds * (ring.bit_operations() / known.bit_operations()));
        carried.max_by(f64::total_cmp)
    }

    /// The times of these rings and no others, listed or estimated.
    #[must_use]
    pub fn over(&self, rings: impl IntoIterator<Item = Ring>) -> Self {
        Self::new(rings.into_iter().filter_map(|ring| Some((ring, self.estimated(&ring)?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(glwe_dimension: usize, polynomial_size: usize, pbs_level: usize, grouping_factor: usize) -> Ring {
        Ring { glwe_dimension, polynomial_size, pbs_level, grouping_factor }
    }

    #[test]
    fn a_ring_has_the_operations_of_its_sets() {
        for (n, grouping_factor) in [(800, 1), (800, 2), (801, 3)] {
            let params =
                ParameterSet { grouping_factor, ..ParameterSet::with_least_noise(n, 2, 1024, (15, 2), (2, 7)) };
            let (found, want) = (Ring::of(&params).bit_operations() * n as f64, blind_rotation_operations(&params));
            assert!((found / want - 1.0).abs() < 1e-12, "{grouping_factor} bits a step");
        }
    }

    #[test]
    fn a_listed_ring_has_its_own_time() {
        let times = RingTimes::new([(ring(4, 512, 1, 1), 1e-8), (ring(2, 1024, 2, 1), 5e-8)]);
        assert_eq!(times.listed(&ring(2, 1024, 2, 1)), Some(5e-8));
        assert_eq!(times.estimated(&ring(2, 1024, 2, 1)), Some(5e-8));
        assert_eq!(times.listed(&ring(1, 2048, 1, 1)), None);
    }

    #[test]
    fn another_ring_has_the_time_of_the_most_similar_by_operations() {
        let (one, two) = (ring(4, 512, 1, 1), ring(2, 1024, 2, 1));
        let times = RingTimes::new([(one, 1e-8), (two, 5e-8)]);
        for (other, like, seconds) in [
            (ring(7, 256, 1, 1), one, 1e-8),
            (ring(1, 2048, 1, 1), one, 1e-8),
            (ring(4, 512, 2, 1), two, 5e-8),
            (ring(2, 1024, 3, 1), two, 5e-8),
            (ring(4, 512, 1, 2), one, 1e-8),
        ] {
            let want = seconds * other.bit_operations() / like.bit_operations();
            let found = times.estimated(&other).expect("rings are listed");
            assert!((found / want - 1.0).abs() < 1e-12, "{other:?}: {found} and not {want}");
        }
    }

    #[test]
    fn of_rings_that_are_equally_similar_the_dearer_one_counts() {
        let middle = ring(1, 2048, 1, 1);
        let time = |small, large| {
            let times = RingTimes::new([
                (ring(1, 1024, 1, 1), small * ring(1, 1024, 1, 1).bit_operations()),
                (ring(1, 4096, 1, 1), large * ring(1, 4096, 1, 1).bit_operations()),
            ]);
            times.estimated(&middle).expect("rings are listed") / middle.bit_operations()
        };
        assert!((time(1.0, 3.0) - 3.0).abs() < 1e-9 && (time(3.0, 1.0) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_table_holds_the_rings_that_it_is_asked_for_and_an_empty_one_none() {
        let times = RingTimes::new([(ring(4, 512, 1, 1), 1e-8)]);
        let over = times.over([ring(2, 1024, 1, 1)]);
        assert!(over.listed(&ring(2, 1024, 1, 1)).is_some());
        assert_eq!(over.listed(&ring(4, 512, 1, 1)), None);
        assert_eq!(RingTimes::default().estimated(&ring(4, 512, 1, 1)), None);
    }
}
