//! Keyswitch and bootstrap beside tfhe-rs's, interleaved in one run on the same threads.
//!
//! The reference is one keyswitch and bootstrap of PARAM_MESSAGE_2_CARRY_2_KS_PBS (n = 918, k = 1, N = 2048, bootstrap
//! base 2^23 with one level, keyswitch base 2^4 with four, 64-bit words) on every thread at once.
//!
//! Usage: `pbs_ratio [rounds]`

use std::time::Instant;

use heman_benches::{keys, median, sets, words};
use heman_core::device::Device;
use heman_core::device::cpu::CpuBackend;
use heman_core::tfhe::ops::{BootstrapOps, KeyswitchOps};
use heman_core::tfhe::table_set::TableSet;
use tfhe::core_crypto::commons::math::random::Seeder;
use tfhe::core_crypto::fft_impl::fft64::math::fft::Fft;
use tfhe::core_crypto::prelude::*;
use tfhe::core_crypto::seeders::UnixSeeder;

/// Rows of one of our batches, a thread.
const ROWS: usize = 96;
/// Rows of one reference measurement, a thread.
const REFERENCE_ROWS: usize = 24;

/// tfhe-rs's default set.
struct Reference {
    keyswitch: LweKeyswitchKeyOwned<u64>,
    bootstrap: FourierLweBootstrapKeyOwned,
    accumulator: GlweCiphertextOwned<u64>,
    input: LweCiphertextOwned<u64>,
    fft: Fft,
}

impl Reference {
    fn new() -> Self {
        let mut seeder = UnixSeeder::new(0);
        let mut secrets = SecretRandomGenerator::<DefaultRandomGenerator>::new(seeder.seed());
        let mut noise = EncryptionRandomGenerator::<DefaultRandomGenerator>::new(seeder.seed(), &mut seeder);
        let (n, k, size) = (LweDimension(918), GlweDimension(1), PolynomialSize(2048));
        let modulus = CiphertextModulus::new_native();
        let small = allocate_and_generate_new_binary_lwe_secret_key::<u64, _>(n, &mut secrets);
        let glwe = allocate_and_generate_new_binary_glwe_secret_key::<u64, _>(k, size, &mut secrets);
        let (lwe_noise, glwe_noise) =
            (DynamicDistribution::<u64>::new_t_uniform(45), DynamicDistribution::<u64>::new_t_uniform(17));
        let standard = par_allocate_and_generate_new_lwe_bootstrap_key(
            &small,
            &glwe,
            DecompositionBaseLog(23),
            DecompositionLevelCount(1),
            glwe_noise,
            modulus,
            &mut noise,
        );
        let mut bootstrap = FourierLweBootstrapKey::new(
            n,
            k.to_glwe_size(),
            size,
            DecompositionBaseLog(23),
            DecompositionLevelCount(1),
        );
        convert_standard_lwe_bootstrap_key_to_fourier(&standard, &mut bootstrap);
        let big = glwe.into_lwe_secret_key();
        let keyswitch = allocate_and_generate_new_lwe_keyswitch_key(
            &big,
            &small,
            DecompositionBaseLog(4),
            DecompositionLevelCount(4),
            lwe_noise,
            modulus,
            &mut noise,
        );
        let accumulator = GlweCiphertext::new(1 << 60, k.to_glwe_size(), size, modulus);
        let input = allocate_and_encrypt_new_lwe_ciphertext(&big, Plaintext(1 << 59), glwe_noise, modulus, &mut noise);
        Self { keyswitch, bootstrap, accumulator, input, fft: Fft::new(size) }
    }

    /// Thread-seconds of one keyswitch and bootstrap while all threads do the same: `(keyswitch, bootstrap)`.
    fn measure(&self, threads: usize) -> (f64, f64) {
        let times: Vec<(f64, f64)> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.measure_thread())).collect();
            handles.into_iter().map(|handle| handle.join().expect("no panic")).collect()
        });
        let count = threads as f64;
        (times.iter().map(|t| t.0).sum::<f64>() / count, times.iter().map(|t| t.1).sum::<f64>() / count)
    }

    fn measure_thread(&self) -> (f64, f64) {
        let fft = self.fft.as_view();
        let size = self.bootstrap.polynomial_size();
        let need = programmable_bootstrap_lwe_ciphertext_mem_optimized_requirement::<u64>(GlweSize(2), size, fft);
        let mut buffers = ComputationBuffers::new();
        buffers.resize(need.unaligned_bytes_required());
        let modulus = CiphertextModulus::new_native();
        let mut switched = LweCiphertext::new(0_u64, LweSize(919), modulus);
        let mut out = LweCiphertext::new(0_u64, LweSize(2049), modulus);
        let (mut keyswitch, mut bootstrap) = (0.0, 0.0);
        for _ in 0..REFERENCE_ROWS {
            let start = Instant::now();
            keyswitch_lwe_ciphertext(&self.keyswitch, &self.input, &mut switched);
            keyswitch += start.elapsed().as_secs_f64();
            let start = Instant::now();
            programmable_bootstrap_lwe_ciphertext_mem_optimized(
                &switched,
                &mut out,
                &self.accumulator,
                &self.bootstrap,
                fft,
                buffers.stack(),
            );
            bootstrap += start.elapsed().as_secs_f64();
        }
        (keyswitch / REFERENCE_ROWS as f64, bootstrap / REFERENCE_ROWS as f64)
    }
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5_usize).max(1);
    let backend = CpuBackend::new(0).expect("threads");
    let threads = backend.threads();
    println!("{}; thread-milliseconds, medians of {rounds} interleaved rounds", backend.name());
    let reference = Reference::new();
    println!("{:24} {:>9} {:>9} {:>9} {:>7}", "set", "keyswitch", "bootstrap", "sum", "ratio");
    for (name, params) in sets() {
        let keys = keys(params);
        let keyswitch_key = backend.load_keyswitch_key(&keys).expect("loads");
        let bootstrap_key = backend.load_bootstrap_key(&keys).expect("loads");
        let size = params.polynomial_size;
        let rows = ROWS * threads;
        let tables = backend.load_tables(TableSet::shared(words(size), rows)).expect("loads");
        let input = words(rows * params.big_row_words());
        let mut small = words(rows * params.small_row_words());
        let mut out = words(rows * params.big_row_words());
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            theirs.push(reference.measure(threads));
            let start = Instant::now();
            backend.keyswitch(&keyswitch_key, rows, &input, &mut small).expect("runs");
            let keyswitch = start.elapsed().as_secs_f64();
            let start = Instant::now();
            backend.bootstrap(&bootstrap_key, &tables, 1, &small, &mut out).expect("runs");
            let bootstrap = start.elapsed().as_secs_f64();
            let per_row = threads as f64 / rows as f64;
            ours.push((keyswitch * per_row, bootstrap * per_row));
        }
        let ratio = median(theirs.iter().zip(&ours).map(|(t, o)| (o.0 + o.1) / (t.0 + t.1)).collect());
        let line = |name: &str, times: &[(f64, f64)], ratio: &str| {
            let (keyswitch, bootstrap) =
                (median(times.iter().map(|t| t.0).collect()), median(times.iter().map(|t| t.1).collect()));
            let (k, b) = (1e3 * keyswitch, 1e3 * bootstrap);
            println!("{name:24} {k:>9.3} {b:>9.3} {:>9.3} {ratio:>7}", k + b);
        };
        line("tfhe-rs 2_2 default", &theirs, "1");
        line(&name, &ours, &format!("{ratio:.3}"));
    }
}
