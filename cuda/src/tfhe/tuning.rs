//! How many ciphertexts a block rotates, and with how many threads: measured on the device when a key is loaded, chosen
//! for each batch.
//!
//! More ciphertexts a block read the key less often; fewer give each multiprocessor several blocks, whose transforms
//! and products then overlap, fill a small batch's multiprocessors better, and can share out warps to its four parts
//! more evenly. Which is faster depends on the device's cache, registers and shared memory. Words of the results do not
//! depend on it: every ciphertext's sums keep their order.
//!
//! A device is measured once for a shape in a process, by one queue at a time: two that measured side by side would
//! time each other.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use heman_core::device::Device;
use heman_core::device::error::BackendError;
use heman_core::tfhe::ops::BootstrapOps;
use heman_core::tfhe::table_set::TableSet;

use crate::device::CudaBackend;
use crate::tfhe::bootstrap::{CudaBootstrapKey, CudaTables, Rotation, STEP};
use crate::tfhe::transform::Transform;
use crate::tfhe::waves::{Waves, measured_steps};
use cudarc::driver::CudaSlice;

/// The fastest of so many runs counts.
const RUNS: usize = 3;
/// Blocks a multiprocessor that are told apart.
const MOST_BLOCKS: usize = 4;
/// How long a device works before it is measured: clocks rise from idle in tens of milliseconds.
const WARM_UP: Duration = Duration::from_millis(100);
/// Launches of the warm-up at the most, for devices so slow that their clocks are not what matters.
const MOST_WARM_UP_LAUNCHES: usize = 200;

/// What the speed of a rotation depends on: device, transform, N, k, n, levels, bits of a group.
type Measured = [usize; 7];

/// What was measured in this process.
static MEASURED: Mutex<BTreeMap<Measured, Vec<Waves>>> = Mutex::new(BTreeMap::new());

/// Words that look random to every step: what a multiplication by an odd number leaves in the low bits is no longer
/// regular once the high bits are added to them.
fn scattered(count: usize) -> Vec<u32> {
    let word = |i: u32| {
        let mixed = (i ^ i >> 16).wrapping_mul(0x85eb_ca6b);
        let mixed = (mixed ^ mixed >> 13).wrapping_mul(0xc2b2_ae35);
        mixed ^ mixed >> 16
    };
    (1..=count as u32).map(word).collect()
}

impl CudaBackend {
    /// Every number of ciphertexts a block that the device has the shared memory for, measured now or before.
    pub(crate) fn measure_waves(&self, key: &CudaBootstrapKey) -> Result<Vec<Waves>, BackendError> {
        let p = key.params();
        let shape = [p.polynomial_size, p.glwe_dimension, p.lwe_dimension, p.pbs_level, p.grouping_factor];
        let [size, k, n, level, grouping] = shape;
        let transform = usize::from(key.transform() == Transform::Exact);
        let what = [self.ordinal(), transform, size, k, n, level, grouping];
        // Held while the device is measured: another queue waits, and finds the result.
        let mut measured = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waves) = measured.get(&what) {
            return Ok(waves.clone());
        }
        let waves = self.measure_waves_now(key)?;
        measured.insert(what, waves.clone());
        Ok(waves)
    }

    fn measure_waves_now(&self, key: &CudaBootstrapKey) -> Result<Vec<Waves>, BackendError> {
        let (params, steps) = (key.params(), measured_steps(key.params()));
        let mut all = Vec::new();
        for (ciphertexts, threads) in key.blocks() {
            if self.shared(key, ciphertexts) <= self.shared_bytes() {
                let resident = self.resident_blocks(key, ciphertexts, threads)?.clamp(1, MOST_BLOCKS);
                all.push(Waves { ciphertexts, threads, seconds: vec![f64::INFINITY; resident] });
            }
        }
        let rows = |ciphertexts: usize, blocks: usize| blocks * self.multiprocessors() * ciphertexts;
        let most = all.iter().map(|waves| rows(waves.ciphertexts, waves.seconds.len())).max().unwrap_or(0);
        let input = self.load(STEP, &scattered(most * (steps + 1)))?;
        let mut out = self.reserve(STEP, most * params.big_row_words())?;
        // Numbers of all sizes: a device that adds zeros takes less power, and its clock is higher.
        let tables = self.load_tables(TableSet::shared(scattered(params.polynomial_size), most))?;
        let rotation = |waves: &Waves, blocks: usize| Rotation {
            rows: 0..rows(waves.ciphertexts, blocks),
            inputs: 1,
            steps,
            ciphertexts: waves.ciphertexts,
            threads: waves.threads,
        };
        let start = Instant::now();
        for waves in all.iter().cycle().take(MOST_WARM_UP_LAUNCHES) {
            self.seconds(key, &tables, rotation(waves, waves.seconds.len()), &input, &mut out)?;
            if start.elapsed() >= WARM_UP {
                break;
            }
        }
        // Interleaved: whatever else changes with time changes for all of them.
        for _ in 0..RUNS {
            for waves in &mut all {
                for blocks in 1..=waves.seconds.len() {
                    let seconds = self.seconds(key, &tables, rotation(waves, blocks), &input, &mut out)?;
                    waves.seconds[blocks - 1] = waves.seconds[blocks - 1].min(seconds);
                }
            }
        }
        Ok(all)
    }

    /// Seconds of one launch.
    fn seconds(
        &self,
        key: &CudaBootstrapKey,
        tables: &CudaTables,
        rotation: Rotation,
        input: &CudaSlice<u32>,
        out: &mut CudaSlice<u32>,
    ) -> Result<f64, BackendError> {
        self.sync()?;
        let start = Instant::now();
        self.rotate(key, tables, rotation, input, out)?;
        self.sync()?;
        Ok(start.elapsed().as_secs_f64())
    }
}
