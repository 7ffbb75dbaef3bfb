//! Predictions for devices that were not measured.
//!
//! One thread of the cost model is one of a Zen 5 with AVX-512.

use heman_core::tfhe::cost::CostModel;
use heman_core::tfhe::params::set::ParameterSet;
use heman_wgpu::bounds::Gpu;

use super::rings::{RingRate, bit_seconds, rates};
use super::{CkksRates, DeviceProfile, KindRates, Shape, ShapeRates, Speed};

/// Seconds that a step of CKKS takes the host beside its work.
const CKKS_STEP_SECONDS: f64 = 6e-6;

/// The shapes that rates of few ciphertexts are shipped for.
const FROM_MEMORY: Shape = Shape { log2_degree: 14, limbs: 9, special_primes: 3, is_cached: false };
const FROM_CACHES: Shape = Shape { log2_degree: 12, limbs: 3, special_primes: 1, is_cached: true };

/// The set whose bootstraps are counted: what the planner takes for many networks.
fn counted_set() -> ParameterSet {
    ParameterSet::with_least_noise(800, 4, 512, (23, 1), (2, 7))
}

/// Threads of TFHE's cost model that do so many keyswitches and bootstraps a second at (n, k, N, l) = (800, 4, 512, 1).
pub(super) fn tfhe_threads(bootstraps: f64) -> f64 {
    bootstraps * CostModel::default().bootstrap_seconds(&counted_set())
}

/// The host, a thread of it by what two threads measured: of a Zen 5 with AVX-512 and without vectors on 27 November
/// 2026, before rotations by several amounts had a rate of their own, and of a Zen 3 with AVX2 on 28 November 2026.
pub(super) fn cpu(name: &str, threads: usize) -> DeviceProfile {
    // Switching, rotations of one ciphertext by several amounts, and products: with many ciphertexts, with few, and with
    // few that caches hold.
    let (tfhe, [many, few, cached]) = match name.rsplit(", ").next() {
        Some("AVX-512") => (1.0, [(2.0, 2.0, 1.5), (1.6, 1.6, 1.45), (2.5, 2.5, 2.3)]),
        Some("AVX2") => (0.5, [(0.9, 0.9, 0.45), (0.65, 0.9, 0.85), (0.4, 0.65, 1.3)]),
        _ => (0.16, [(0.32, 0.32, 0.16), (0.31, 0.31, 0.64), (0.3, 0.3, 0.9)]),
    };
    let count = threads as f64;
    let rates = |(switching, hoisted, products): (f64, f64, f64), threads: usize| KindRates {
        switching: switching * count,
        hoisted: hoisted * count,
        products: products * count,
        step_seconds: CKKS_STEP_SECONDS,
        threads: threads as u32,
    };
    let few_rates = |shape, few| ShapeRates { shape, rates: rates(few, 0) };
    let shapes = vec![few_rates(FROM_MEMORY, few), few_rates(FROM_CACHES, cached)];
    let ckks_rates = CkksRates { many: rates(many, threads), few: shapes };
    DeviceProfile {
        name: name.into(),
        measured: None,
        // A thread takes three ciphertexts to be that fast: they share what it reads of the key.
        tfhe: Some(Speed { threads: tfhe * count, rows: 3 * threads.max(1) as u32 }),
        // A single ciphertext is spread over the threads.
        ckks: Some(Speed { threads: few.0 * count, rows: 1 }),
        ckks_rates: Some(ckks_rates),
        step_seconds: 5e-6,
        rings: Vec::new(),
    }
}

/// What an adapter is predicted to do.
struct Prediction {
    /// Words that the name holds in this order.
    words: &'static [&'static str],
    /// Bootstraps a second at (800, 4, 512, 1).
    bootstraps: f64,
    /// 32-bit multiplications and other instructions that a unit does a clock: they tell how rings differ.
    lanes: [f64; 2],
    /// Bootstraps side by side.
    tfhe_rows: u32,
    /// Threads of CKKS.
    ckks_threads: f64,
    /// Ciphertexts side by side, in a ring of 2^13.
    ckks_rows: u32,
}

/// Words that make another device of a name: a part of a laptop, or a chip of another size.
const OTHER_DEVICES: [&str; 7] = ["laptop", "max-q", "mobile", "pro", "max", "ultra", "d"];

/// TFHE: counts of instructions of the kernels at (800, 4, 512, 1) give 15,000 to 19,000 bootstraps a second for the
/// RTX 4090, 2,000 to 3,000 for the Arc A770 and 700 for the M3; the least is taken. The RX 7900 XTX has the RTX 4090's
/// in proportion to 32-bit integer multiplications: 96 compute units that take 64 each in four clocks (AMD's RDNA 3
/// instruction set reference, quarter rate) at 2.5 GHz, 3.8 · 10^12 a second, beside 128 multiprocessors of 64 a clock
/// at 2.52 GHz, 20.6 · 10^12.
///
/// The L4 and the L40S have the RTX 4090's in proportion to multiprocessors and clocks of their data sheets: 58 at
/// 2.04 GHz and 142 at 2.52 GHz. Other rings have their share of the same bound.
///
/// CKKS: the lower of two bounds. By integer instructions: a thread does 6.25 · 10^9 butterflies a second, the RTX 4090
/// 2.3 · 10^12 (three multiplications and six other instructions each), of which it is granted the share that TFHE's
/// kernels are expected to reach of their bound, 31 %: 113 threads, and others in proportion to their bootstraps. By
/// memory: a transform of 2^13 words reads and writes them twice, and 70 % of the data sheet's bandwidth (1,008, 560,
/// 100, 960, 300 and 864 GB/s) gives 45, 25, 4.5, 43, 13 and 38 threads.
///
/// Side by side: enough workgroups of 256 threads for all multiprocessors, and enough limbs of ciphertexts.
const PREDICTIONS: [Prediction; 6] = [
    Prediction {
        words: &["nvidia", "geforce", "rtx", "4090"],
        bootstraps: 15e3,
        lanes: [64.0, 64.0],
        tfhe_rows: 512,
        ckks_threads: 45.0,
        ckks_rows: 4,
    },
    Prediction {
        words: &["arc", "a770"],
        bootstraps: 2e3,
        lanes: [16.0, 64.0],
        tfhe_rows: 128,
        ckks_threads: 15.0,
        ckks_rows: 2,
    },
    Prediction {
        words: &["apple", "m3"],
        bootstraps: 700.0,
        lanes: [32.0, 128.0],
        tfhe_rows: 32,
        ckks_threads: 4.5,
        ckks_rows: 1,
    },
    Prediction {
        words: &["amd", "radeon", "rx", "7900", "xtx"],
        bootstraps: 2.8e3,
        lanes: [16.0, 64.0],
        tfhe_rows: 192,
        ckks_threads: 21.0,
        ckks_rows: 4,
    },
    Prediction {
        words: &["nvidia", "l4"],
        bootstraps: 5.5e3,
        lanes: [64.0, 64.0],
        tfhe_rows: 232,
        ckks_threads: 13.0,
        ckks_rows: 2,
    },
    Prediction {
        words: &["nvidia", "l40s"],
        bootstraps: 16.6e3,
        lanes: [64.0, 64.0],
        tfhe_rows: 568,
        ckks_threads: 38.0,
        ckks_rows: 4,
    },
];

/// Rates of all rings: the reference's in proportion to the bounds of both.
fn rings(name: &str, found: &Prediction) -> Vec<RingRate> {
    let [multiplications, others] = found.lanes;
    let gpu = Gpu { name: "", multiplications, others };
    let scale = 1.0 / (found.bootstraps * gpu.bootstrap_seconds(&counted_set()));
    rates(name, |ring| scale * bit_seconds(ring, |params| gpu.bootstrap_seconds(params)))
}

/// An adapter that there is a prediction for.
pub(super) fn wgpu(name: &str) -> Option<DeviceProfile> {
    let lower = name.to_lowercase();
    let parts = || lower.split(|c: char| !c.is_alphanumeric() && c != '-').filter(|part| !part.is_empty());
    if parts().any(|part| OTHER_DEVICES.contains(&part)) {
        return None;
    }
    let holds = |words: &[&str]| {
        let mut parts = parts();
        words.iter().all(|word| parts.any(|part| part == *word))
    };
    let found = PREDICTIONS.iter().find(|prediction| holds(prediction.words))?;
    Some(DeviceProfile {
        name: name.into(),
        measured: None,
        tfhe: Some(Speed { threads: tfhe_threads(found.bootstraps), rows: found.tfhe_rows }),
        ckks: Some(Speed { threads: found.ckks_threads, rows: found.ckks_rows }),
        ckks_rates: None,
        step_seconds: 1e-4,
        rings: rings(name, found),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_are_known_by_the_words_of_their_names() {
        for name in [
            "NVIDIA GeForce RTX 4090 (Vulkan)",
            "Intel(R) Arc(tm) A770 Graphics (DG2) (Vulkan)",
            "Intel(R) Arc(TM) A770 Graphics (Dx12)",
            "Apple M3 (Metal)",
            "AMD Radeon RX 7900 XTX (RADV NAVI31) (Vulkan)",
            "NVIDIA L4 (Vulkan)",
            "NVIDIA L40S (Vulkan)",
        ] {
            assert!(wgpu(name).is_some_and(|known| known.measured.is_none() && known.name == name), "{name}");
        }
        for name in [
            "NVIDIA GeForce RTX 4090 Laptop GPU (Vulkan)",
            "NVIDIA GeForce RTX 4090 D (Vulkan)",
            "Apple M3 Max (Metal)",
            "AMD Radeon RX 7900 XT (RADV NAVI31) (Vulkan)",
            "llvmpipe (LLVM 15.0.6, 256 bits) (Vulkan)",
            "",
        ] {
            assert_eq!(wgpu(name), None, "{name}");
        }
    }

    #[test]
    fn rings_of_adapters_have_their_share_of_the_bound() {
        let profile = wgpu("NVIDIA GeForce RTX 4090 (Vulkan)").expect("it is known");
        let rate = |k: usize, size: usize, level: usize| {
            let is = |rate: &&RingRate| {
                (rate.glwe_dimension, rate.polynomial_size, rate.pbs_level, rate.grouping_factor) == (k, size, level, 1)
            };
            profile.rings.iter().find(is).map(|rate| rate.bootstraps_per_second)
        };
        assert!((rate(4, 512, 1).expect("a ring") / 15e3 - 1.0).abs() < 1e-9);
        assert!(rate(2, 1024, 2).expect("a ring") < 12e3);
        assert_eq!(rate(1, 8192, 1), None, "there is no kernel");
    }
}
