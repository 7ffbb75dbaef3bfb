//! The whole blind rotation of a batch in one launch.
//!
//! **Bound.** Per key bit and ciphertext, with M = N/2 points: a forward transform takes `3 M log2 M` fused
//! multiply-adds, an inverse `4 M log2 M`, the products `4 (k+1)^2 l M`; conversions between integers and doubles have
//! a unit of their own. Bytes from the second-level cache: `16 (k+1)^2 l M` a block, for all its ciphertexts. Groups of
//! g bits share the transforms and take `2^g - 1` times the products and bytes, and `4 (k+1) l M` instructions more for
//! each. [`crate::operations`] is what a benchmark divides by the device's rate.

use crate::roots_by_thread::roots_by_thread;
use crate::tfhe::exact::{self, ExactKey};
use crate::tfhe::roots::{roots, unit_root};
use crate::tfhe::transform::Transform;
use crate::tfhe::waves::{Waves, fastest, measured_steps};

use cudarc::driver::{CudaFunction, CudaSlice};
use heman_core::device::error::BackendError;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::ops::BootstrapOps;
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::table_set::TableSet;
use heman_kernels::{BOOTSTRAP_KEY, BootstrapKeyParams, BootstrapShape, LweBootstrapParams};

use crate::device::CudaBackend;
use crate::launch::{Block, config, launch};
pub(crate) use crate::tfhe::staged_key::STEP;
use crate::tfhe::staged_key::for_staged_rows;

/// A launch takes about so long at the most: where a display hangs on the device, its driver ends launches of some
/// seconds.
const LAUNCH_SECONDS: f64 = 0.3;
/// Threads that transform one polynomial of the key.
const KEY_THREADS: usize = 128;

/// Largest base where bits are taken one by one: products of N (k + 1) digits and key words stay below 2^31 turns,
/// fourteen standard deviations away. Sums over the sets of a group have 2.4 and 3.7 times the deviation.
const MOST_BASE_LOG: usize = 24;

/// The bootstrapping key as one transform's values.
pub struct CudaBootstrapKey {
    params: ParameterSet,
    form: Form,
    waves: Vec<Waves>,
    fixed: Option<Waves>,
}

enum Form {
    Doubles(DoublesKey),
    Exact(ExactKey),
}

/// The key in the Fourier domain, bits, rows, columns, points; and the roots that transforms need, in the order of
/// threads.
struct DoublesKey {
    shape: BootstrapShape,
    points: CudaSlice<f64>,
    roots: CudaSlice<f64>,
    /// All powers of a root of order 2N, for groups of bits.
    turns: CudaSlice<f64>,
}

impl CudaBootstrapKey {
    pub(crate) fn params(&self) -> &ParameterSet {
        &self.params
    }

    /// Ciphertexts and threads of all blocks that there are kernels for.
    pub(crate) fn blocks(&self) -> Vec<(usize, usize)> {
        let (level, grouping) = (self.params.pbs_level, self.params.grouping_factor);
        match &self.form {
            Form::Doubles(DoublesKey { shape, .. }) => {
                let splits = (1..=shape.most_ciphertexts(level, grouping)).flat_map(|c| [(c, false), (c, true)]);
                splits.filter_map(|(c, split)| Some((c, shape.threads(c, level, grouping, split)?))).collect()
            }
            Form::Exact(key) => (1..=key.shape.most_ciphertexts(level)).map(|c| (c, key.shape.threads)).collect(),
        }
    }

    /// The transform that the key is for.
    #[must_use]
    pub fn transform(&self) -> Transform {
        match self.form {
            Form::Doubles(_) => Transform::Doubles,
            Form::Exact(_) => Transform::Exact,
        }
    }

    /// What was measured when the key was loaded.
    #[must_use]
    pub fn waves(&self) -> &[Waves] {
        &self.waves
    }

    /// Takes these blocks, one of [`Self::waves`], for every batch, for measurements and tests. Their seconds say how
    /// many rows a launch has at most.
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

impl CudaBackend {
    /// Whether there is a kernel for a set, and the device has the shared memory for it.
    ///
    /// # Errors
    /// [`BackendError::Shape`] says what is missing.
    pub fn supports(&self, params: &ParameterSet) -> Result<(), BackendError> {
        match self.transform(params) {
            Transform::Doubles => self.shape(params).map(|_| ()),
            Transform::Exact => exact::shape(params, self.shared_bytes()).map(|_| ()),
        }
    }

    /// The shape of a set, if doubles have a kernel for it.
    pub(crate) fn shape(&self, params: &ParameterSet) -> Result<BootstrapShape, BackendError> {
        let unsupported = |expected: String, found: String| BackendError::Shape { step: STEP, expected, found };
        let shape = BootstrapShape::find(params.polynomial_size, params.glwe_dimension).ok_or_else(|| {
            let found = format!("N = {}, k = {}", params.polynomial_size, params.glwe_dimension);
            unsupported("a ring that has a CUDA kernel (N up to 4096; the CPU takes every ring)".into(), found)
        })?;
        let most = MOST_BASE_LOG + 1 - params.grouping_factor;
        if params.pbs_base_log > most {
            return Err(unsupported(format!("a base of at most 2^{most}"), format!("2^{}", params.pbs_base_log)));
        }
        let needed = shape.shared_bytes(1, params.lwe_dimension, params.pbs_level, params.grouping_factor);
        if needed > self.shared_bytes() {
            let expected = format!("at most {} bytes of shared memory a ciphertext", self.shared_bytes());
            return Err(unsupported(expected, format!("{needed}")));
        }
        Ok(shape)
    }

    pub(crate) fn shared(&self, key: &CudaBootstrapKey, ciphertexts: usize) -> usize {
        match &key.form {
            Form::Doubles(own) => {
                let ParameterSet { lwe_dimension, pbs_level, grouping_factor, .. } = key.params;
                own.shape.shared_bytes(ciphertexts, lwe_dimension, pbs_level, grouping_factor)
            }
            Form::Exact(own) => own.shape.shared_bytes(ciphertexts),
        }
    }

    /// The kernel, allowed the shared memory of a block.
    fn kernel(&self, key: &CudaBootstrapKey, ciphertexts: usize) -> Result<CudaFunction, BackendError> {
        let params = &key.params;
        let shape = match &key.form {
            Form::Doubles(own) => own.shape,
            Form::Exact(own) => return self.exact_kernel(own, params, ciphertexts),
        };
        let name = shape.kernel(params.pbs_level, params.grouping_factor);
        self.function(STEP, &shape.image(), &name, self.shared(key, ciphertexts))
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
        let config = config((blocks, 1), threads, self.shared(key, ciphertexts));
        let (tables, places, targets) = (&tables.words, &tables.table_of_value, &tables.row_of_value);
        match &key.form {
            Form::Doubles(DoublesKey { points, roots, turns, .. }) => {
                launch!(
                    self, STEP, &function, config, &block, input, points, roots, turns, tables, places, targets,
                    &first_row, out
                )
            }
            Form::Exact(ExactKey { values, constants, turns, .. }) => {
                launch!(
                    self, STEP, &function, config, &block, input, values, constants, turns, tables, places, targets,
                    &first_row, out
                )
            }
        }
    }
}

impl CudaBackend {
    fn load_doubles_key(&self, key: &SeededEvaluationKey) -> Result<DoublesKey, BackendError> {
        let params = key.params;
        let size = params.polynomial_size;
        let shape = self.shape(&params)?;
        let tree = roots((size / 2).trailing_zeros());
        let by_node = self.load(STEP, &tree)?;
        let points_a_thread = shape.points_a_thread(params.pbs_level).trailing_zeros();
        let by_thread = roots_by_thread(bytemuck::cast_slice::<f64, [f64; 2]>(&tree), points_a_thread);
        let roots = self.load(STEP, by_thread.as_flattened())?;
        let turn = |t: usize| {
            let (cos, sin) = unit_root(t as f64 / (2 * size) as f64);
            [cos, sin]
        };
        let turns = self.load(STEP, &(0..2 * size).flat_map(turn).collect::<Vec<f64>>())?;
        let columns = params.glwe_dimension + 1;
        let mut points = self.reserve(STEP, columns * key.bootstrap_bodies.len())?;
        let shared = size / 2 * 32;
        let function = self.function(STEP, &BOOTSTRAP_KEY, "bootstrap_key_u64", shared)?;
        let block = Block(BootstrapKeyParams { log2_points: (size / 2).trailing_zeros() });
        for_staged_rows(self, key, |staged, words| {
            let mut target = points.slice_mut(words.clone());
            let config = config((words.len() / size, 1), KEY_THREADS, shared);
            launch!(self, STEP, &function, config, &block, staged, &by_node, &mut target)
        })?;
        Ok(DoublesKey { shape, points, roots, turns })
    }
}

impl BootstrapOps for CudaBackend {
    type BootstrapKey = CudaBootstrapKey;
    type Tables = CudaTables;

    fn load_bootstrap_key(&self, key: &SeededEvaluationKey) -> Result<CudaBootstrapKey, BackendError> {
        let form = match self.transform(&key.params) {
            Transform::Doubles => Form::Doubles(self.load_doubles_key(key)?),
            Transform::Exact => Form::Exact(self.load_exact_key(key)?),
        };
        let mut key = CudaBootstrapKey { params: key.params, form, waves: vec![], fixed: None };
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
                found: format!("none for {:?}", key.params),
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
