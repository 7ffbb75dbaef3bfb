//! How many ciphertexts a block rotates: measured on the device when a key is loaded, chosen for each batch.
//!
//! More ciphertexts a block read the key less often; fewer give each multiprocessor several blocks, whose transforms
//! and products then overlap, fill a small batch's multiprocessors better, and can share out warps to its four parts
//! more evenly. Which is faster depends on the device's cache, registers and shared memory. Words of the results do not
//! depend on it: every ciphertext's sums keep their order.

use crate::tfhe::waves::Waves;
use std::time::Instant;

use heman_core::device::Device;
use heman_core::device::error::BackendError;
use heman_core::tfhe::ops::BootstrapOps;
use heman_core::tfhe::table_set::TableSet;

use crate::device::CudaBackend;
use crate::tfhe::bootstrap::{CudaBootstrapKey, Rotation, STEP};

/// Key bits that a measured rotation takes: enough to hide the launch, few enough to be done in milliseconds. Every
/// grouping divides it.
const STEPS: usize = 48;
/// The fastest of so many runs counts.
const RUNS: usize = 3;
/// Blocks a multiprocessor that are told apart.
const MOST_BLOCKS: usize = 4;

impl CudaBackend {
    /// Measures every number of ciphertexts a block that the device has the shared memory for.
    pub(crate) fn measure_waves(&self, key: &CudaBootstrapKey) -> Result<Vec<Waves>, BackendError> {
        let params = key.params();
        let steps = params.lwe_dimension.min(STEPS);
        let fitting = (1..=key.most_ciphertexts()).filter(|&c| self.shared(key, c) <= self.shared_bytes());
        let mut all = Vec::new();
        for ciphertexts in fitting {
            let resident = self.resident_blocks(key, ciphertexts)?.clamp(1, MOST_BLOCKS);
            all.push(Waves { ciphertexts, seconds: vec![f64::INFINITY; resident] });
        }
        let rows = |ciphertexts: usize, blocks: usize| blocks * self.multiprocessors() * ciphertexts;
        let most = all.iter().map(|waves| rows(waves.ciphertexts, waves.seconds.len())).max().unwrap_or(0);
        // Degrees that differ, as those of real rows do.
        let words: Vec<u32> = (0..(most * (steps + 1)) as u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
        let input = self.load(STEP, &words)?;
        let mut out = self.reserve(STEP, most * params.big_row_words())?;
        let tables = self.load_tables(TableSet::shared(vec![0; params.polynomial_size], most))?;
        // Interleaved: clocks rise while the device works.
        for _ in 0..RUNS {
            for Waves { ciphertexts, seconds } in &mut all {
                for (blocks, best) in (1..).zip(seconds) {
                    let rotation =
                        Rotation { rows: rows(*ciphertexts, blocks), inputs: 1, steps, ciphertexts: *ciphertexts };
                    self.sync()?;
                    let start = Instant::now();
                    self.rotate(key, &tables, rotation, &input, &mut out)?;
                    self.sync()?;
                    *best = best.min(start.elapsed().as_secs_f64());
                }
            }
        }
        Ok(all)
    }
}
