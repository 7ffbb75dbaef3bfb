//! Predictions for devices that were not measured.
//!
//! One thread of the cost model is one of a Zen 5 with AVX-512, and does 253 keyswitches and bootstraps a second at
//! (n, k, N, l) = (800, 4, 512, 1).

use heman_cuda::CudaDevice;

use super::{DeviceProfile, Speed};

/// Keyswitches and bootstraps a second of one thread at (800, 4, 512, 1).
const BOOTSTRAPS_A_THREAD: f64 = 253.0;

/// The host. A thread with AVX-512 reaches the model's rate in TFHE, and two thirds of it in CKKS, on a Zen 5 and a
/// Zen 4. Half the width is taken for half the speed; in CKKS, whose transforms are not vectorised by hand there, for
/// a third of it. Plain code is taken for an eighth.
pub(super) fn cpu(name: &str, threads: usize) -> DeviceProfile {
    let (tfhe, ckks) = match name.rsplit(", ").next() {
        Some("AVX-512") => (1.0, 0.68),
        Some("AVX2") => (0.5, 0.25),
        _ => (0.125, 0.1),
    };
    let count = threads as f64;
    DeviceProfile {
        name: name.into(),
        measured: None,
        // A thread takes three ciphertexts to be that fast: they share what it reads of the key.
        tfhe: Some(Speed { threads: tfhe * count, rows: 3 * threads.max(1) as u32 }),
        // A single ciphertext is spread over the threads.
        ckks: Some(Speed { threads: ckks * count, rows: 1 }),
        step_seconds: 5e-6,
    }
}

/// Bootstraps a second of an H100: the lower end of what counts of instructions let expect, 150,000 to 200,000.
const H100_BOOTSTRAPS: f64 = 150e3;
/// Double-precision instructions a second of an H100: 132 multiprocessors, 64 a clock, 1.98 GHz.
const H100_DOUBLES: f64 = 132.0 * 64.0 * 1.98e9;

/// Threads of CKKS of an H100: a product at 12 limbs in a ring of 2^14 is bound at 7 µs by what it takes from the
/// second-level cache, and a third of that speed is expected; a thread takes 4.3 ms with the division by the last prime.
const CKKS_THREADS_OF_H100: f64 = 200.0;
/// 32-bit multiply-adds a second of an H100.
const H100_WORDS: f64 = 132.0 * 64.0 * 1.98e9;
/// Ciphertexts of a ring of 2^13 that fill the device.
const CKKS_ROWS: u32 = 16;

/// A CUDA device: an H100's bootstraps in proportion to the double-precision instructions that both do, which the
/// kernel is bound by; in CKKS in proportion to multiplications of words.
pub(super) fn cuda(name: &str, device: &CudaDevice) -> DeviceProfile {
    let share = device.rates().doubles / H100_DOUBLES;
    let threads = (H100_BOOTSTRAPS / BOOTSTRAPS_A_THREAD * share).max(1e-3);
    // A block holds four ciphertexts.
    let rows = 4 * device.multiprocessors.clamp(1, 1 << 16) as u32;
    DeviceProfile {
        name: name.into(),
        measured: None,
        tfhe: Some(Speed { threads, rows }),
        ckks: Some(Speed { threads: CKKS_THREADS_OF_H100 * device.rates().words / H100_WORDS, rows: CKKS_ROWS }),
        step_seconds: 3e-5,
    }
}

/// What an adapter is predicted to do.
struct Prediction {
    /// Words that the name holds in this order.
    words: &'static [&'static str],
    /// Bootstraps a second at (800, 4, 512, 1).
    bootstraps: f64,
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
/// CKKS: the lower of two bounds. By integer instructions: a thread does 6.25 · 10^9 butterflies a second, the RTX 4090
/// 2.3 · 10^12 (three multiplications and six other instructions each), of which it is granted the share that TFHE's
/// kernels are expected to reach of their bound, 31 %: 113 threads, and others in proportion to their bootstraps. By
/// memory: a transform of 2^13 words reads and writes them twice, and 70 % of the data sheet's bandwidth (1,008, 560,
/// 100 and 960 GB/s) gives 45, 25, 4.5 and 43 threads.
///
/// Side by side: enough workgroups of 256 threads for all multiprocessors, and enough limbs of ciphertexts.
const PREDICTIONS: [Prediction; 4] = [
    Prediction {
        words: &["nvidia", "geforce", "rtx", "4090"],
        bootstraps: 15e3,
        tfhe_rows: 512,
        ckks_threads: 45.0,
        ckks_rows: 4,
    },
    Prediction { words: &["arc", "a770"], bootstraps: 2e3, tfhe_rows: 128, ckks_threads: 15.0, ckks_rows: 2 },
    Prediction { words: &["apple", "m3"], bootstraps: 700.0, tfhe_rows: 32, ckks_threads: 4.5, ckks_rows: 1 },
    Prediction {
        words: &["amd", "radeon", "rx", "7900", "xtx"],
        bootstraps: 2.8e3,
        tfhe_rows: 192,
        ckks_threads: 21.0,
        ckks_rows: 4,
    },
];

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
        tfhe: Some(Speed { threads: found.bootstraps / BOOTSTRAPS_A_THREAD, rows: found.tfhe_rows }),
        ckks: Some(Speed { threads: found.ckks_threads, rows: found.ckks_rows }),
        step_seconds: 1e-4,
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
    fn cuda_devices_are_as_fast_as_their_double_precision_lets_them() {
        let device = |multiprocessors, clock_khz, compute_capability| CudaDevice {
            index: 0,
            name: "device".into(),
            compute_capability,
            memory_bytes: 0,
            multiprocessors,
            clock_khz,
        };
        let threads = |device: CudaDevice| cuda("device", &device).tfhe.expect("TFHE runs").threads;
        let h100 = threads(device(132, 1_980_000, (9, 0)));
        assert!((h100 * BOOTSTRAPS_A_THREAD - H100_BOOTSTRAPS).abs() < 1.0);
        // Half the multiprocessors, and a consumer's card.
        assert!((threads(device(66, 1_980_000, (9, 0))) / h100 - 0.5).abs() < 1e-9);
        assert!(threads(device(128, 2_520_000, (8, 9))) < h100 / 20.0);
        assert!(threads(device(0, 0, (9, 0))) > 0.0);
    }
}
