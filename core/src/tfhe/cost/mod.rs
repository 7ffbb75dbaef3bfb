//! Predicted time of the steps of a plan: on the CPU backend from operation counts, on other devices from a table.

mod operations;
pub mod rings;

pub use operations::{blind_rotation_operations, keyswitch_operations};

use crate::tfhe::cost::rings::{Ring, RingTimes};
use crate::tfhe::params::set::ParameterSet;

/// Nanoseconds a unit of work on one thread; or, with a table of rings, on the whole of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct CostModel {
    /// A floating-point instruction's share of the blind rotation, per real operation counted by
    /// [`blind_rotation_operations`]. Without effect where there is a table.
    pub rotation_ns: f64,
    /// A 32-bit multiply-accumulate of the keyswitch.
    pub keyswitch_ns: f64,
    /// A 32-bit multiply-accumulate of a linear map.
    pub linear_ns: f64,
    /// Times of blind rotations on a device, for all rings that it runs.
    pub rings: Option<RingTimes>,
}

impl Default for CostModel {
    /// Measured on one thread of a Zen 5 with AVX-512, at 128 rows in nine sets; only the ratios steer the search.
    fn default() -> Self {
        Self { rotation_ns: 0.0175, keyswitch_ns: 0.0105, linear_ns: 0.09, rings: None }
    }
}

impl CostModel {
    /// Thread-seconds of one blind rotation, or seconds of a device; infinite in a ring that the device does not run.
    #[must_use]
    pub fn rotation_seconds(&self, params: &ParameterSet) -> f64 {
        match &self.rings {
            None => 1e-9 * self.rotation_ns * blind_rotation_operations(params),
            Some(rings) => {
                rings.listed(&Ring::of(params)).map_or(f64::INFINITY, |bit| bit * params.lwe_dimension as f64)
            }
        }
    }

    /// Seconds of one keyswitch and bootstrap, as [`Self::rotation_seconds`].
    #[must_use]
    pub fn bootstrap_seconds(&self, params: &ParameterSet) -> f64 {
        match &self.rings {
            None => {
                1e-9 * (self.rotation_ns * blind_rotation_operations(params)
                    + self.keyswitch_ns * keyswitch_operations(params))
            }
            Some(_) => self.rotation_seconds(params) + 1e-9 * self.keyswitch_ns * keyswitch_operations(params),
        }
    }

    /// Seconds of a linear map with so many terms.
    #[must_use]
    pub fn linear_seconds(&self, terms: usize, params: &ParameterSet) -> f64 {
        1e-9 * self.linear_ns * terms as f64 * params.big_row_words() as f64
    }

    /// The model that counts thread-seconds: this one, or where it is a device's, that of the CPU.
    #[must_use]
    pub fn of_a_thread(&self) -> Self {
        if self.rings.is_none() { self.clone() } else { Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_operations_and_knows_no_other_rings() {
        let set = ParameterSet::with_least_noise(800, 4, 512, (23, 1), (2, 7));
        let table = RingTimes::new([(Ring::of(&set), 1e-8)]);
        let device = CostModel { keyswitch_ns: 0.0, rings: Some(table), ..CostModel::default() };
        assert!((device.bootstrap_seconds(&set) - 8e-6).abs() < 1e-15);
        let other = ParameterSet { pbs_level: 2, pbs_base_log: 11, ..set };
        assert_eq!(device.bootstrap_seconds(&other), f64::INFINITY);
        assert_eq!(device.of_a_thread(), CostModel::default());
        assert!(CostModel::default().bootstrap_seconds(&other).is_finite());
    }
}
