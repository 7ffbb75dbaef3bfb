//! The whole blind rotation of a batch in one launch.
//!
//! **Bound.** Per key bit and ciphertext, with M = N/2 points: a forward transform takes `3 M log2 M` fused
//! multiply-adds, an inverse `4 M log2 M`, the products `4 (k+1)^2 l M`; conversions between integers and doubles have
//! a unit of their own. Bytes from the second-level cache: `16 (k+1)^2 l M` a block, for all its ciphertexts. Groups of
//! g bits share the transforms and take `2^g - 1` times the products and bytes, and `4 (k+1) l M` instructions more for
//! each. [`operations`] is what a benchmark divides by the device's rate.

use crate::tfhe::roots::{roots, unit_root};
use crate::tfhe::tuning::measured_steps;
use crate::tfhe::waves::{Waves, fastest};

use cudarc::driver::{CudaFunction, CudaSlice};
use heman_core::device::error::BackendError;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::ops::BootstrapOps;
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::table_set::TableSet;
use heman_kernels::{BOOTSTRAP_KEY, BootstrapKeyParams, BootstrapShape, LweBootstrapParams};

use crate::device::CudaBackend;
use crate::launch::{Block, config, launch};
use crate::tfhe::seeded_rows::SeededRows;

/// A launch takes about so long at the most: where a display hangs on the device, its driver ends launches of some seconds.
const LAUNCH_SECONDS: f64 = 0.3;
/// Words of the standard key that are on the device at a time while the key is prepared.
const STAGED_WORDS: usize = 1 << 20;
/// Threads that transform one polynomial of the key.
const KEY_THREADS: usize = 128;

/// Largest base where bits are taken one by one: products of N (k + 1) digits and key words stay below 2^31 turns,
/// fourteen standard deviations away. Sums over the sets of a group have 2.4 and 3.7 times the deviation.
const MOST_BASE_LOG: usize = 24;

pub(crate) const STEP: &str = "bootstrap";

/// The bootstrapping key in the Fourier domain, bits, rows, columns, points; and the roots that transforms need.
pub struct CudaBootstrapKey {
    params: ParameterSet,
    shape: BootstrapShape,
    points: CudaSlice<f64>,
    roots: CudaSlice<f64>,
    /// All powers of a root of order 2N, for groups of bits.
    turns: CudaSlice<f64>,
    waves: Vec<Waves>,
    fixed: Option<Waves>,
}

impl CudaBootstrapKey {
    pub(crate) fn params(&self) -> &ParameterSet {
        &self.params
    }

    pub(crate) fn shape(&self) -> &BootstrapShape {
        &self.shape
    }

    /// What was measured when the key was loaded.
    #[must_use]
    pub fn waves(&self) -> &[Waves] {
        &self.waves
    }

    /// Takes these blocks, one of [`Self::waves`], for every batch, for measurements and tests. Their seconds say how many
    /// rows a launch has at most.
    pub fn fix_blocks(&mut self, waves: Waves) {
        self.fixed = Some(waves);
    }
}

/// One launch of the kernel.
#[derive(Clone)]
pub(crate) struct Rotation {
    pub rows: std::ops::Range<usize>,
    /// Inputs a value.
    pub inputs: usize,
    /// Key bits, from the first on; rows have one word more.
    pub steps: usize,
    /// Ciphertexts a block.
    pub ciphertexts: usize,
    /// Threads a block.
    pub threads: usize,
}

/// Tables and places on the device.
pub struct CudaTables {
    set: TableSet,
    words: CudaSlice<u32>,
    table_of_value: CudaSlice<u32>,
    row_of_value: CudaSlice<u32>,
}

/// Double-precision instructions of one bootstrap.
#[must_use]
pub fn operations(params: &ParameterSet) -> f64 {
    let (columns, level) = (params.glwe_dimension as f64 + 1.0, params.pbs_level as f64);
    let points = params.polynomial_size as f64 / 2.0;
    let (forward, inverse) = (3.0 * points * points.log2(), 4.0 * points * points.log2());
    let transforms = columns * (level * forward + inverse);
    let factors = if params.grouping_factor == 1 { 0.0 } else { 4.0 * columns * level * points };
    let products = params.subsets() as f64 * (4.0 * columns * columns * level * points + factors);
    (params.lwe_dimension / params.grouping_factor) as f64 * (transforms + products)
}

impl CudaBackend {
    /// Whether there is a kernel for a set, and the device has the shared memory for it.
    ///
    /// # Errors
    /// [`BackendError::Shape`] says what is missing.
    pub fn supports(&self, params: &ParameterSet) -> Result<(), BackendError> {
        self.shape(params).map(|_| ())
    }

    fn shape(&self, params: &ParameterSet) -> Result<BootstrapShape, BackendError> {
        let unsupported = |expected: String, found: String| BackendError::Shape { step: STEP, expected, found };
        let shape = BootstrapShape::find(params.polynomial_size, params.glwe_dimension).ok_or_else(|| {
            let found = format!("N = {}, k = {}", params.polynomial_size, params.glwe_dimension);
            unsupported("a ring that has a CUDA kernel (N up to 4096; the CPU takes every ring)".into(), found)
        })?;
        let most = MOST_BASE_LOG + 1 - params.grouping_factor;
        if params.pbs_base_log > most {
            return Err(unsupported(format!("a base of at most 2^{most}"), format!("2^{}", params.pbs_base_log)));
        }
        let needed = shape.shared_bytes(1, params.lwe_dimension, params.pbs_level);
        if needed > self.shared_bytes() {
            let expected = format!("at most {} bytes of shared memory a ciphertext", self.shared_bytes());
            return Err(unsupported(expected, format!("{needed}")));
        }
        Ok(shape)
    }

    pub(crate) fn shared(&self, key: &CudaBootstrapKey, ciphertexts: usize) -> usize {
        key.shape.shared_bytes(ciphertexts, key.params.lwe_dimension, key.params.pbs_level)
    }

    /// The kernel, allowed the shared memory of a block.
    fn kernel(&self, key: &CudaBootstrapKey, ciphertexts: usize) -> Result<CudaFunction, BackendError> {
        let params = &key.params;
        let name = key.shape.kernel(params.pbs_level, params.grouping_factor);
        self.function(STEP, &key.shape.image(), &name, self.shared(key, ciphertexts))
    }

    /// Blocks of so many ciphertexts that a multiprocessor holds at a time.
    pub(crate) fn resident_blocks(
        &self,
        key: &CudaBootstrapKey,
        ciphertexts: usize,
        threads: usize,
    ) -> Result<usize, BackendError> {
        let blocks = self.kernel(key, ciphertexts)?.occupancy_max_active_blocks_per_multiprocessor(
            threads as u32,
            self.shared(key, ciphertexts),
            None,
        );
        blocks.map(|blocks| blocks as usize).map_err(|error| self.error(STEP, error, 0))
    }

    /// Queues a rotation; buffers are as long as it says.
    pub(crate) fn rotate(
        &self,
        key: &CudaBootstrapKey,
        tables: &CudaTables,
        rotation: Rotation,
        input: &CudaSlice<u32>,
        out: &mut CudaSlice<u32>,
    ) -> Result<(), BackendError> {
        let Rotation { rows, inputs, steps, ciphertexts, threads } = rotation;
        let params = &key.params;
        let function = self.kernel(key, ciphertexts)?;
        let block = Block(LweBootstrapParams {
            rows: rows.end as u32,
            inputs: inputs as u32,
            lwe_dimension: steps as u32,
            base_log: params.pbs_base_log as u32,
            level: params.pbs_level as u32,
            ciphertexts: ciphertexts as u32,
            digit_offset: (0..params.pbs_level as u32 - 1)
                .map(|at| 1 << ((at + 1) * params.pbs_base_log as u32 - 1))
                .sum(),
            grouping: params.grouping_factor as u32,
        });
        let (blocks, first_row) = (rows.len().div_ceil(ciphertexts), rows.start as u32);
        launch!(
            self,
            STEP,
            &function,
            config((blocks, 1), threads, self.shared(key, ciphertexts)),
            &block,
            input,
            &key.points,
            &key.roots,
            &key.turns,
            &tables.words,
            &tables.table_of_value,
            &tables.row_of_value,
            &first_row,
            out,
        )
    }
}

impl BootstrapOps for CudaBackend {
    type BootstrapKey = CudaBootstrapKey;
    type Tables = CudaTables;

    fn load_bootstrap_key(&self, key: &SeededEvaluationKey) -> Result<CudaBootstrapKey, BackendError> {
        let params = key.params;
        let size = params.polynomial_size;
        let shape = self.shape(&params)?;
        let roots = self.load(STEP, &roots((size / 2).trailing_zeros()))?;
        let turn = |t: usize| {
            let (cos, sin) = unit_root(t as f64 / (2 * size) as f64);
            [cos, sin]
        };
        let turns = self.load(STEP, &(0..2 * size).flat_map(turn).collect::<Vec<f64>>())?;
        let columns = params.glwe_dimension + 1;
        let row_words = columns * size;
        let mut points = self.reserve(STEP, columns * key.bootstrap_bodies.len())?;
        let (mask_words, body_words, stride) = (2 * params.big_dimension(), 2 * size, 2 * row_words);
        let rows = SeededRows { seed: &key.bootstrap_seed, mask_words, body_words, stride };
        let shared = size / 2 * 32;
        let function = self.function(STEP, &BOOTSTRAP_KEY, "bootstrap_key_u64", shared)?;
        let block = Block(BootstrapKeyParams { log2_points: (size / 2).trailing_zeros() });
        let staged_rows = (STAGED_WORDS / row_words).max(1);
        let mut staged = self.reserve::<u64>(STEP, staged_rows * row_words)?;
        for (chunk, bodies) in key.bootstrap_bodies.chunks(staged_rows * size).enumerate() {
            let (first, count) = (chunk * staged_rows, bodies.len() / size);
            let bodies = self.load(STEP, bodies)?;
            rows.expand(self, STEP, first..first + count, &bodies.as_view(), &mut staged.as_view_mut())?;
            let mut target = points.slice_mut(first * row_words..(first + count) * row_words);
            let config = config((count * columns, 1), KEY_THREADS, shared);
            launch!(self, STEP, &function, config, &block, &staged, &roots, &mut target)?;
        }
        let mut key = CudaBootstrapKey { params, shape, points, roots, turns, waves: vec![], fixed: None };
        key.waves = self.measure_waves(&key)?;
        Ok(key)
    }

    fn load_tables(&self, tables: TableSet) -> Result<CudaTables, BackendError> {
        Ok(CudaTables {
            words: self.load(STEP, tables.words())?,
            table_of_value: self.load(STEP, tables.table_of_value())?,
            row_of_value: self.load(STEP, tables.row_of_value())?,
            set: tables,
        })
    }

    fn bootstrap(
        &self,
        key: &CudaBootstrapKey,
        tables: &CudaTables,
        inputs: usize,
        input: &CudaSlice<u32>,
        out: &mut CudaSlice<u32>,
    ) -> Result<(), BackendError> {
        let rows = tables.set.check_batch(&key.params, inputs, input.len(), out.len())?;
        if rows == 0 {
            return Ok(());
        }
        let multiprocessors = self.multiprocessors();
        let Some(waves) = key.fixed.as_ref().or_else(|| fastest(&key.waves, rows, multiprocessors)) else {
            return Err(BackendError::Shape {
                step: STEP,
                expected: "blocks that the device can hold".into(),
                found: format!("none for {:?}", key.shape),
            });
        };
        let (steps, ciphertexts) = (key.params.lwe_dimension, waves.ciphertexts);
        let a_launch =
            waves.rows_within(LAUNCH_SECONDS * measured_steps(&key.params) as f64 / steps as f64, multiprocessors);
        for first in (0..rows).step_by(a_launch) {
            let rows = first..rows.min(first + a_launch);
            let rotation = Rotation { rows, inputs, steps, ciphertexts, threads: waves.threads };
            self.rotate(key, tables, rotation, input, out)?;
        }
        Ok(())
    }
}
