//! tfhe-rs's GPU backend, called below its Rust wrappers: these allocate and free scratch and synchronise at every
//! call.

use heman_core::tfhe::params::set::ParameterSet;
use tfhe::core_crypto::commons::math::random::Seeder;
use tfhe::core_crypto::gpu::vec::{CudaVec, GpuIndex};
use tfhe::core_crypto::gpu::{CudaStreams, convert_lwe_programmable_bootstrap_key_async};
use tfhe::core_crypto::prelude::*;
use tfhe::core_crypto::seeders::UnixSeeder;
use tfhe_cuda_backend::bindings::{
    PBS_MS_REDUCTION_T_NO_REDUCTION, cleanup_cuda_programmable_bootstrap_64, cuda_keyswitch_gemm_64_64_async,
    cuda_keyswitch_lwe_ciphertext_vector_64_64_async, cuda_programmable_bootstrap_64_async,
    scratch_cuda_programmable_bootstrap_64_async,
};

/// Messages have two bits under one bit of padding.
const MESSAGES: u64 = 4;
const MESSAGE_LOG2: u32 = 61;
/// Rows that are encrypted; batches repeat them, and as many at both ends are decrypted.
const SAMPLES: usize = 32;

/// The function that the table holds.
fn function(message: u64) -> u64 {
    (3 * message + 1) % MESSAGES
}

/// Keys of one set on a device, words mod 2^64.
pub struct Theirs {
    streams: CudaStreams,
    params: ParameterSet,
    secret: LweSecretKeyOwned<u64>,
    /// Rows of messages 0, 1, 2, 3, 0, ... under the secret key.
    samples: Vec<u64>,
    keyswitch: CudaVec<u64>,
    bootstrap: CudaVec<f64>,
    table: CudaVec<u64>,
}

impl Theirs {
    /// Fresh keys of a set without groups of key bits, on the first device; one must be there.
    pub fn new(params: ParameterSet) -> Self {
        let streams = CudaStreams::new_single_gpu(GpuIndex::new(0));
        let mut seeder = UnixSeeder::new(0);
        let mut secrets = SecretRandomGenerator::<DefaultRandomGenerator>::new(seeder.seed());
        let mut noise = EncryptionRandomGenerator::<DefaultRandomGenerator>::new(seeder.seed(), &mut seeder);
        let modulus = CiphertextModulus::new_native();
        let (n, k) = (LweDimension(params.lwe_dimension), GlweDimension(params.glwe_dimension));
        let size = PolynomialSize(params.polynomial_size);
        // Our ciphertexts have words mod 2^32, our bootstrapping keys mod 2^64.
        let bound = DynamicDistribution::<u64>::new_t_uniform;
        let bootstrap_noise = bound(params.pbs_noise_bound_log2);
        let (keyswitch_noise, input_noise) =
            (bound(params.ks_noise_bound_log2 + 32), bound(params.input_noise_bound_log2 + 32));

        let small = allocate_and_generate_new_binary_lwe_secret_key::<u64, _>(n, &mut secrets);
        let glwe = allocate_and_generate_new_binary_glwe_secret_key::<u64, _>(k, size, &mut secrets);
        let level = DecompositionLevelCount(params.pbs_level);
        let standard = par_allocate_and_generate_new_lwe_bootstrap_key(
            &small,
            &glwe,
            DecompositionBaseLog(params.pbs_base_log),
            level,
            bootstrap_noise,
            modulus,
            &mut noise,
        );
        let mut bootstrap = CudaVec::<f64>::new(standard.as_ref().len(), &streams, 0);
        // SAFETY: the destination has a double for each word of the source, and both live until the stream is synchronised.
        unsafe {
            convert_lwe_programmable_bootstrap_key_async(
                &streams,
                &mut bootstrap,
                standard.as_ref(),
                n,
                k,
                level,
                size,
            );
        }
        streams.synchronize();

        let secret = glwe.into_lwe_secret_key();
        let keyswitch = allocate_and_generate_new_lwe_keyswitch_key(
            &secret,
            &small,
            DecompositionBaseLog(params.ks_base_log),
            DecompositionLevelCount(params.ks_level),
            keyswitch_noise,
            modulus,
            &mut noise,
        );
        let table = generate_programmable_bootstrap_glwe_lut(
            size,
            k.to_glwe_size(),
            MESSAGES as usize,
            modulus,
            1 << MESSAGE_LOG2,
            function,
        );
        let samples = (0..SAMPLES as u64)
            .flat_map(|i| {
                let plaintext = Plaintext((i % MESSAGES) << MESSAGE_LOG2);
                allocate_and_encrypt_new_lwe_ciphertext(&secret, plaintext, input_noise, modulus, &mut noise)
                    .into_container()
            })
            .collect();
        let (keyswitch, table) = (upload(&streams, keyswitch.as_ref()), upload(&streams, table.as_ref()));
        Self { streams, params, secret, samples, keyswitch, bootstrap, table }
    }

    /// A batch of rows, with scratch for it and the faster of the two keyswitches.
    pub fn batch(&self, rows: usize) -> Batch<'_> {
        let p = &self.params;
        let input: Vec<u64> = self.samples.iter().copied().cycle().take(rows * p.big_row_words()).collect();
        let numbers: Vec<u64> = (0..rows as u64).collect();
        let mut scratch = std::ptr::null_mut();
        // SAFETY: the stream is alive and belongs to this device; `scratch` is written once, and freed by `Batch::drop`.
        unsafe {
            scratch_cuda_programmable_bootstrap_64_async(
                self.streams.ptr[0],
                self.streams.gpu_indexes[0].get(),
                &raw mut scratch,
                p.lwe_dimension as u32,
                p.glwe_dimension as u32,
                p.polynomial_size as u32,
                p.pbs_level as u32,
                rows as u32,
                true,
                PBS_MS_REDUCTION_T_NO_REDUCTION,
            );
        }
        let words = |count| CudaVec::<u64>::new(count, &self.streams, 0);
        let mut batch = Batch {
            theirs: self,
            rows,
            input: upload(&self.streams, &input),
            small: words(rows * p.small_row_words()),
            out: words(rows * p.big_row_words()),
            rows_of_values: upload(&self.streams, &numbers),
            tables_of_values: words(rows),
            scratch,
            product: false,
        };
        let [rowwise, product] = [false, true].map(|product| {
            batch.product = product;
            crate::seconds_of_call(0.02, || {
                batch.keyswitch();
                batch.sync();
            })
        });
        batch.product = product < rowwise;
        batch
    }
}

fn upload(streams: &CudaStreams, words: &[u64]) -> CudaVec<u64> {
    // SAFETY: the source outlives the copy, which is awaited here.
    let vector = unsafe { CudaVec::from_cpu_async(words, streams, 0) };
    streams.synchronize();
    vector
}

/// Rows on the device.
pub struct Batch<'a> {
    theirs: &'a Theirs,
    rows: usize,
    input: CudaVec<u64>,
    small: CudaVec<u64>,
    out: CudaVec<u64>,
    rows_of_values: CudaVec<u64>,
    tables_of_values: CudaVec<u64>,
    scratch: *mut i8,
    /// Whether the keyswitch is the one written as a product of matrices.
    product: bool,
}

impl Batch<'_> {
    /// Queues the keyswitch and the bootstrap of every row.
    pub fn run(&mut self) {
        self.keyswitch();
        self.bootstrap();
    }

    /// Waits for what was queued.
    pub fn sync(&self) {
        self.theirs.streams.synchronize();
    }

    fn keyswitch(&mut self) {
        let Theirs { streams, params: p, keyswitch, .. } = self.theirs;
        let (stream, device) = (streams.ptr[0], streams.gpu_indexes[0].get());
        let (out, rows_of_values, input) = (self.small.ptr[0], self.rows_of_values.ptr[0], self.input.ptr[0]);
        let (big, small) = (p.big_dimension() as u32, p.lwe_dimension as u32);
        let (base, level, rows) = (p.ks_base_log as u32, p.ks_level as u32, self.rows as u32);
        let key = keyswitch.ptr[0];
        // SAFETY: `Theirs::batch` allocated `rows` rows of these dimensions and as many numbers, all below `rows`; the key was made
        // for the same parameters. Everything outlives the stream's work: `drop` waits for it.
        unsafe {
            if self.product {
                cuda_keyswitch_gemm_64_64_async(
                    stream,
                    device,
                    out,
                    rows_of_values,
                    input,
                    rows_of_values,
                    key,
                    big,
                    small,
                    base,
                    level,
                    rows,
                    true,
                );
            } else {
                cuda_keyswitch_lwe_ciphertext_vector_64_64_async(
                    stream,
                    device,
                    out,
                    rows_of_values,
                    input,
                    rows_of_values,
                    key,
                    big,
                    small,
                    base,
                    level,
                    rows,
                );
            }
        }
    }

    fn bootstrap(&mut self) {
        let Theirs { streams, params: p, bootstrap, table, .. } = self.theirs;
        // SAFETY: as in `keyswitch`; every value's table is number 0, which is there; the scratch was made for these parameters and
        // this many rows.
        unsafe {
            cuda_programmable_bootstrap_64_async(
                streams.ptr[0],
                streams.gpu_indexes[0].get(),
                self.out.ptr[0],
                self.rows_of_values.ptr[0],
                table.ptr[0],
                self.tables_of_values.ptr[0],
                self.small.ptr[0],
                self.rows_of_values.ptr[0],
                bootstrap.ptr[0],
                self.scratch,
                p.lwe_dimension as u32,
                p.glwe_dimension as u32,
                p.polynomial_size as u32,
                p.pbs_base_log as u32,
                p.pbs_level as u32,
                self.rows as u32,
                1,
                0,
            );
        }
    }

    /// Decrypts rows from both ends of the results.
    pub fn check(&mut self) -> Result<(), String> {
        self.run();
        let words = self.theirs.params.big_row_words();
        let mut out = vec![0_u64; self.rows * words];
        // SAFETY: the destination has the vector's length and outlives the copy, which is awaited here.
        unsafe { self.out.copy_to_cpu_async(&mut out, &self.theirs.streams, 0) };
        self.sync();
        let ends = (0..self.rows.min(SAMPLES)).chain(self.rows.saturating_sub(SAMPLES)..self.rows);
        for row in ends {
            let ciphertext = LweCiphertext::from_container(
                &out[row * words..(row + 1) * words],
                CiphertextModulus::<u64>::new_native(),
            );
            let Plaintext(phase) = decrypt_lwe_ciphertext(&self.theirs.secret, &ciphertext);
            let found = phase.wrapping_add(1 << (MESSAGE_LOG2 - 1)) >> MESSAGE_LOG2;
            let expected = function((row % SAMPLES) as u64 % MESSAGES);
            if found != expected {
                return Err(format!("tfhe-rs's row {row} of {} decrypts to {found}, not {expected}", self.rows));
            }
        }
        Ok(())
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let streams = &self.theirs.streams;
        streams.synchronize();
        // SAFETY: nothing is queued that uses the scratch, and nobody else has it.
        unsafe {
            cleanup_cuda_programmable_bootstrap_64(streams.ptr[0], streams.gpu_indexes[0].get(), &raw mut self.scratch);
        }
        streams.synchronize();
    }
}
