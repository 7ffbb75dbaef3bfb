//! Predictions for CUDA devices, and cards that plans can be made for without having one.

use heman_core::ckks::cost::CkksCost;
use heman_core::ckks::params::set::ParameterSet as CkksSet;
use heman_core::tfhe::cost::rings::{Ring, RingTimes};
use heman_cuda::{Rates, Transform};

use super::rings::{RingRate, bit_seconds, rates};
use super::{DeviceProfile, Speed, shipped};

/// Cycles of a multiprocessor for a ciphertext and a bit of the small key, for (k, N, l, g).
///
/// Measured on an H200 on 27 November 2026: batches of 50,000 with 800 bits, the last three with 96 bits by `heman
/// devices --measure` (`benches/RESULTS.md`).
const CYCLES: [(usize, usize, usize, usize, f64); 7] = [
    (4, 512, 1, 1, 3_170.0),
    (4, 512, 1, 2, 2_850.0),
    (1, 2048, 1, 1, 5_840.0),
    (2, 1024, 2, 2, 9_780.0),
    (2, 1024, 2, 1, 9_960.0),
    (2, 1024, 1, 1, 4_840.0),
    (7, 256, 1, 1, 3_000.0),
];
/// What double precision is expected to reach of its bound where nothing else holds a device.
const SHARE: f64 = 0.8;
/// What the kernel of exact transforms is expected to reach of its bound, which counts the instructions of arithmetic
/// alone.
const EXACT_SHARE: f64 = 0.31;
/// Seconds of a product with relinearisation and rescaling on an H200 at N = 2^14 with three special primes, 32 at a
/// time, measured on 27 November 2026; the bound by counts of instructions and bytes is 7.1 microseconds.
const H200_PRODUCT_SECONDS: f64 = 21.0e-6;
/// The ring of that product: degree, levels, bits of the scale, special primes.
const PRODUCT_RING: (u32, usize, u32, usize) = (14, 10, 28, 3);
/// Seconds that one step waits for the one before, measured on the same device.
const STEP_SECONDS: f64 = 6e-6;
/// 32-bit multiply-adds a second of an H200: 132 multiprocessors, 64 a clock, 1.98 GHz.
const H200_WORDS: f64 = 132.0 * 64.0 * 1.98e9;

/// A CUDA device that was not measured. By doubles, in every ring it is held by what holds compute capability 9.0, or
/// by its own double precision where that is slower; the faster of both kernels counts.
pub(super) fn cuda(name: &str, most: &Rates, multiprocessors: usize) -> DeviceProfile {
    // Every multiprocessor of all generations does 64 multiply-adds of words a clock.
    let clocks = (most.words / 64.0).max(1.0);
    let cycles = RingTimes::new(CYCLES.map(|(glwe_dimension, polynomial_size, pbs_level, grouping_factor, cycles)| {
        (Ring { glwe_dimension, polynomial_size, pbs_level, grouping_factor }, cycles)
    }));
    let of_bit = |ring: Ring| {
        let shared = cycles.estimated(&ring).unwrap_or(f64::INFINITY) / clocks;
        let bound = |transform: Transform| bit_seconds(ring, |params| transform.seconds(params, most));
        let doubles = shared.max(bound(Transform::Doubles) / SHARE);
        doubles.min(bound(Transform::Exact) / EXACT_SHARE).min(1.0)
    };
    let reference = Ring { glwe_dimension: 4, polynomial_size: 512, pbs_level: 1, grouping_factor: 1 };
    let bootstraps = RingRate::new(reference, of_bit(reference)).bootstraps_per_second;
    // A block holds four ciphertexts.
    let rows = 4 * multiprocessors.clamp(1, 1 << 16) as u32;
    DeviceProfile {
        name: name.into(),
        measured: None,
        tfhe: Some(Speed { threads: shipped::tfhe_threads(bootstraps).max(1e-6), rows }),
        ckks: ckks(most, multiprocessors),
        ckks_rates: None,
        step_seconds: STEP_SECONDS,
        rings: rates(name, of_bit),
    }
}

/// CKKS in proportion to multiply-adds of words.
fn ckks(most: &Rates, multiprocessors: usize) -> Option<Speed> {
    let (log2_degree, levels, scale_log2, special) = PRODUCT_RING;
    let params = CkksSet::new(log2_degree, levels, scale_log2, special).ok()?;
    let thread_seconds = CkksCost::default().multiply_seconds(&params, params.primes.len());
    let threads = thread_seconds / H200_PRODUCT_SECONDS * (most.words / H200_WORDS);
    // A block takes a limb; a ciphertext in a ring of 2^13 has about a dozen in two parts.
    Some(Speed { threads: threads.max(1e-6), rows: multiprocessors.div_ceil(12).clamp(1, 1 << 16) as u32 })
}

/// A card that plans can be made for.
pub(crate) struct Card {
    /// As users name it.
    pub name: &'static str,
    kind: Kind,
}

enum Kind {
    /// By CUDA: name, compute capability, multiprocessors, clock in Hz.
    Cuda(&'static str, (i32, i32), usize, f64),
    /// As an adapter of this name.
    Adapter(&'static str),
}

/// Cards that there are predictions for, but for adapters by data sheets' multiprocessors and boost clocks.
pub(crate) const CARDS: [Card; 10] = [
    cuda_card("a100", "NVIDIA A100 (sm_80)", (8, 0), 108, 1.41e9),
    cuda_card("h100", "NVIDIA H100 (sm_90)", (9, 0), 132, 1.98e9),
    cuda_card("h200", "NVIDIA H200 (sm_90)", (9, 0), 132, 1.98e9),
    cuda_card("b200", "NVIDIA B200 (sm_100)", (10, 0), 148, 1.965e9),
    cuda_card("l4", "NVIDIA L4 (sm_89)", (8, 9), 58, 2.04e9),
    cuda_card("l40s", "NVIDIA L40S (sm_89)", (8, 9), 142, 2.52e9),
    cuda_card("rtx4090", "NVIDIA GeForce RTX 4090 (sm_89)", (8, 9), 128, 2.52e9),
    adapter("a770", "Intel Arc A770 (Vulkan)"),
    adapter("rx7900xtx", "AMD Radeon RX 7900 XTX (Vulkan)"),
    adapter("m3", "Apple M3 (Metal)"),
];

const fn cuda_card(
    name: &'static str,
    device: &'static str,
    capability: (i32, i32),
    multiprocessors: usize,
    clock_hz: f64,
) -> Card {
    Card { name, kind: Kind::Cuda(device, capability, multiprocessors, clock_hz) }
}

const fn adapter(name: &'static str, device: &'static str) -> Card {
    Card { name, kind: Kind::Adapter(device) }
}

/// The prediction for a card of this name.
pub(crate) fn card(name: &str) -> Option<DeviceProfile> {
    match CARDS.iter().find(|card| card.name.eq_ignore_ascii_case(name))?.kind {
        Kind::Cuda(device, capability, multiprocessors, clock_hz) => {
            Some(cuda(device, &Rates::new(multiprocessors, clock_hz, capability), multiprocessors))
        }
        Kind::Adapter(device) => shipped::wgpu(device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(multiprocessors: usize, clock_hz: f64, capability: (i32, i32)) -> DeviceProfile {
        let name = format!("device (sm_{}{})", capability.0, capability.1);
        cuda(&name, &Rates::new(multiprocessors, clock_hz, capability), multiprocessors)
    }

    fn rate(profile: &DeviceProfile, ring: (usize, usize, usize, usize)) -> f64 {
        let (glwe_dimension, polynomial_size, pbs_level, grouping_factor) = ring;
        let ring = Ring { glwe_dimension, polynomial_size, pbs_level, grouping_factor };
        1.0 / (800.0 * profile.bit_seconds(ring).expect("it runs the ring"))
    }

    #[test]
    fn an_h100_has_the_rates_of_its_cycles() {
        let h100 = card("H100").expect("it is known");
        for (k, size, level, grouping, cycles) in CYCLES {
            let want = 132.0 * 1.98e9 / (800.0 * cycles);
            let found = rate(&h100, (k, size, level, grouping));
            assert!((found / want - 1.0).abs() < 1e-9, "({k}, {size}, {level}, {grouping}): {found}");
        }
        let ratio = rate(&h100, (4, 512, 1, 1)) / rate(&h100, (2, 1024, 2, 1));
        assert!((3.1..3.2).contains(&ratio), "a second level costs more than its operations: {ratio}");
        assert!(h100.measured.is_none());
    }

    #[test]
    fn devices_are_as_fast_as_multiprocessors_and_double_precision_let_them() {
        let h100 = rate(&profile(132, 1.98e9, (9, 0)), (4, 512, 1, 1));
        assert!((rate(&profile(66, 1.98e9, (9, 0)), (4, 512, 1, 1)) / h100 - 0.5).abs() < 1e-9);
        // Where doubles would take 1,520 instructions of 64 lanes a ciphertext and bit, two lanes a clock, integers are faster.
        let consumer = rate(&profile(128, 2.52e9, (8, 9)), (4, 512, 1, 1));
        assert!(consumer > 3.0 * SHARE * 128.0 * 2.52e9 / (800.0 * 32.0 * 1520.0), "{consumer}");
        assert!(consumer < h100 / 2.0, "{consumer}");
        assert!(profile(0, 0.0, (9, 0)).tfhe.is_some_and(|speed| speed.threads > 0.0));
    }

    #[test]
    fn every_card_has_a_prediction_that_a_file_would_take() {
        for Card { name, .. } in &CARDS {
            let profile = card(name).expect("it is listed");
            let mut profiles = super::super::Profiles::default();
            profiles.insert(profile.clone());
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("devices.json");
            std::fs::write(&path, profiles.to_json()).expect("writable");
            assert_eq!(super::super::Profiles::read(&path).expect("sound").devices().len(), 1, "{name}");
            assert!(profile.rings.len() > 50, "{name}");
        }
        assert!(card("gtx").is_none());
    }
}
