//! Rates of TFHE's bootstraps, ring by ring, and the cost model that a planner takes from them.

use heman_core::tfhe::cost::CostModel;
use heman_core::tfhe::cost::rings::{Ring, RingTimes};
use heman_core::tfhe::exact;
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::planner::search::rings;
use serde::{Deserialize, Serialize};

use super::DeviceProfile;

/// Bits of the small key of the bootstraps that are counted.
const COUNTED_BITS: f64 = 800.0;

/// How many bootstraps a device does in one ring.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingRate {
    /// k: mask polynomials of a GLWE ciphertext.
    pub glwe_dimension: usize,
    /// N: degree of the ring.
    pub polynomial_size: usize,
    /// Levels of the bootstrapping key.
    pub pbs_level: usize,
    /// g: bits of the small key that a step takes.
    pub grouping_factor: usize,
    /// Bootstraps a second with 800 bits of the small key, without their keyswitches, when the device has enough to do.
    pub bootstraps_per_second: f64,
}

impl RingRate {
    pub(crate) fn new(ring: Ring, bit_seconds: f64) -> Self {
        let Ring { glwe_dimension, polynomial_size, pbs_level, grouping_factor } = ring;
        let bootstraps_per_second = 1.0 / (COUNTED_BITS * bit_seconds);
        Self { glwe_dimension, polynomial_size, pbs_level, grouping_factor, bootstraps_per_second }
    }

    fn ring(&self) -> Ring {
        let Self { glwe_dimension, polynomial_size, pbs_level, grouping_factor, .. } = *self;
        Ring { glwe_dimension, polynomial_size, pbs_level, grouping_factor }
    }

    fn bit_seconds(&self) -> f64 {
        1.0 / (COUNTED_BITS * self.bootstraps_per_second)
    }

    /// Whether a plan could have the ring.
    pub(super) fn check(&self) -> Result<(), String> {
        let dimension = 6 * self.grouping_factor.clamp(1, 8);
        self.ring().bare_set(dimension).check()
    }
}

/// Bits of the small key that counts are made for: every group divides them.
const SOME_BITS: usize = 6;

/// Seconds of a bit of the small key, from those of a bootstrap.
pub(super) fn bit_seconds(ring: Ring, bootstrap_seconds: impl Fn(&ParameterSet) -> f64) -> f64 {
    bootstrap_seconds(&ring.bare_set(SOME_BITS)) / SOME_BITS as f64
}

/// Rates of all rings that a device of this name has kernels for, from the seconds of a bit of the small key.
pub(super) fn rates(name: &str, of_bit: impl Fn(Ring) -> f64) -> Vec<RingRate> {
    let interface = Interface::of(name);
    rings().filter(|&ring| interface.runs(ring)).map(|ring| RingRate::new(ring, of_bit(ring))).collect()
}

/// What runs the kernels of a device, as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interface {
    /// The host's threads.
    Host,
    /// CUDA, of this compute capability.
    Cuda((i32, i32)),
    /// Vulkan and its like.
    Adapter,
}

impl Interface {
    fn of(name: &str) -> Self {
        let capability = || {
            let digits = name.strip_suffix(')')?.rsplit_once("(sm_")?.1;
            let number: i32 = digits.parse().ok().filter(|number| (10..10_000).contains(number))?;
            Some((number / 10, number % 10))
        };
        match capability() {
            Some(capability) => Self::Cuda(capability),
            None if name.starts_with("CPU, ") => Self::Host,
            None => Self::Adapter,
        }
    }

    fn runs(self, ring: Ring) -> bool {
        match self {
            Self::Host => true,
            Self::Cuda(capability) => {
                heman_cuda::has_ring(capability, ring.polynomial_size, ring.glwe_dimension, ring.pbs_level)
            }
            Self::Adapter => exact::check(&ring.bare_set(SOME_BITS)).is_ok(),
        }
    }
}

impl DeviceProfile {
    /// Seconds that a bit of the small key takes a ciphertext in a ring, when the device has enough to do. None where
    /// there is no kernel for the ring, or nothing of TFHE.
    pub(crate) fn bit_seconds(&self, ring: Ring) -> Option<f64> {
        let threads = self.tfhe?.threads;
        if !Interface::of(&self.name).runs(ring) {
            return None;
        }
        let known = RingTimes::new(self.rings.iter().map(|rate| (rate.ring(), rate.bit_seconds())));
        let by_threads = || 1e-9 * CostModel::default().rotation_ns * ring.bit_operations() / threads;
        Some(known.estimated(&ring).unwrap_or_else(by_threads))
    }

    /// What a planner reckons with for the device; none where it does not run TFHE.
    #[must_use]
    pub fn tfhe_cost(&self) -> Option<CostModel> {
        let threads = self.tfhe?.threads;
        let CostModel { rotation_ns, keyswitch_ns, linear_ns, .. } = CostModel::default();
        let times = rings().filter_map(|ring| Some((ring, self.bit_seconds(ring)?)));
        Some(CostModel {
            rotation_ns: rotation_ns / threads,
            keyswitch_ns: keyswitch_ns / threads,
            linear_ns: linear_ns / threads,
            rings: Some(RingTimes::new(times)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Speed;
    use super::*;

    const RING: Ring = Ring { glwe_dimension: 4, polynomial_size: 512, pbs_level: 1, grouping_factor: 1 };

    fn profile(name: &str, rings: Vec<RingRate>) -> DeviceProfile {
        let tfhe = Some(Speed { threads: 2.0, rows: 1 });
        DeviceProfile {
            name: name.into(),
            measured: None,
            tfhe,
            ckks: None,
            ckks_rates: None,
            step_seconds: 1e-6,
            rings,
        }
    }

    #[test]
    fn names_tell_what_runs_the_kernels() {
        for (name, interface) in [
            ("NVIDIA H100 80GB HBM3 (sm_90)", Interface::Cuda((9, 0))),
            ("NVIDIA GeForce RTX 5090 (sm_120)", Interface::Cuda((12, 0))),
            ("NVIDIA GeForce RTX 4090 (Vulkan)", Interface::Adapter),
            ("CPU, 2 threads, AVX-512", Interface::Host),
            ("x (sm_)", Interface::Adapter),
        ] {
            assert_eq!(Interface::of(name), interface, "{name}");
        }
    }

    #[test]
    fn without_rates_a_device_is_so_many_threads_in_every_ring() {
        let set = ParameterSet::with_least_noise(800, 1, 2048, (23, 1), (2, 7));
        let (device, thread) = (profile("CPU, 2 threads, AVX2", vec![]).tfhe_cost(), CostModel::default());
        let share = device.expect("TFHE runs").bootstrap_seconds(&set) / thread.bootstrap_seconds(&set);
        assert!((share - 0.5).abs() < 1e-12, "{share}");
    }

    #[test]
    fn a_rate_is_the_time_of_its_ring() {
        let rate = RingRate::new(RING, 1e-8);
        assert!((rate.bootstraps_per_second - 125e3).abs() < 1e-6);
        let cost = profile("GPU (sm_90)", vec![rate]).tfhe_cost().expect("TFHE runs");
        let set = ParameterSet::with_least_noise(800, 4, 512, (23, 1), (2, 7));
        assert!((cost.rotation_seconds(&set) - 8e-6).abs() < 1e-15);
    }

    #[test]
    fn rings_without_kernels_have_no_time() {
        let large = Ring { glwe_dimension: 1, polynomial_size: 8192, ..RING };
        for (name, runs) in [("GPU (sm_90)", false), ("GPU (Vulkan)", false), ("CPU, 2 threads, AVX2", true)] {
            assert_eq!(profile(name, vec![]).bit_seconds(large).is_some(), runs, "{name}");
            assert!(profile(name, vec![]).bit_seconds(RING).is_some());
        }
        assert_eq!(DeviceProfile { tfhe: None, ..profile("GPU (sm_90)", vec![]) }.bit_seconds(RING), None);
    }
}
