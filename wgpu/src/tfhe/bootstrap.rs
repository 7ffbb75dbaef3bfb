//! Bootstraps by exact transforms, in launches of as many steps of the blind rotation as a submission may take.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use heman_core::device::error::BackendError;
use heman_core::residues::modulus::Factor;
use heman_core::residues::ntt;
use heman_core::tfhe::exact;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::ops::BootstrapOps;
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::table_set::TableSet;
use heman_kernels::LweBootstrapParams;
use heman_kernels::wgsl::{LWE_BOOTSTRAP, RotationShape};

use crate::context::{Block, Table};
use crate::device::{WgpuBackend, WgpuBuffer};
use crate::pipelines::Kernel;
use crate::queue::{Launch, MOST_GROUPS};
use crate::recorder::Arguments;

/// Words of residues that are on the device at a time while the key is transformed.
const STAGED_WORDS: usize = 1 << 22;
/// Words of exponents and accumulators of the rows that are rotated together, at the most.
const SCRATCH_WORDS: usize = 1 << 25;

const STEP: &str = "bootstrap";

/// The bootstrapping key as values modulo both primes: steps, sets of bits, rows, columns, primes, leaves.
pub struct WgpuBootstrapKey {
    params: ParameterSet,
    shape: RotationShape,
    table: Table,
    steps_a_block: usize,
    blocks: Vec<Block>,
    switch: Arc<Kernel>,
    rotate: Arc<Kernel>,
    extract: Arc<Kernel>,
}

/// Tables and places on the device.
pub struct WgpuTables {
    set: TableSet,
    /// The tables themselves.
    _words: Block,
    /// The address of each value's table.
    addresses: Block,
    rows: Block,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct RotationLaunch {
    items: u32,
    block: LweBootstrapParams,
    first_step: u32,
    steps: u32,
    first_row: u32,
    exponents: u32,
    accumulators: u32,
    a: u32,
    b: u32,
}

/// Products of residues of one step for one ciphertext: transforms over both primes, products with the key, and the
/// reductions behind them.
#[must_use]
pub fn step_multiplications(params: &ParameterSet) -> f64 {
    let (columns, level) = (params.glwe_dimension as f64 + 1.0, params.pbs_level as f64);
    let (size, sets) = (params.polynomial_size as f64, params.subsets() as f64);
    let transforms = columns * (level + 1.0) * size / 2.0 * size.log2();
    let each = if params.grouping_factor > 1 { sets + 2.0 } else { 1.0 };
    let products = columns * (columns * level * each + 1.0) * size;
    2.0 * (transforms + products + 2.0 * columns * size)
}

/// Constants of `lwe_bootstrap.wgsl`.
fn constants(params: &ParameterSet) -> Vec<[u32; 2]> {
    let log2_size = params.polynomial_size.trailing_zeros();
    let moduli = exact::moduli();
    let pair = |factor: Factor| [factor.value, factor.quotient];
    let mut table: Vec<[u32; 2]> = moduli.iter().map(|modulus| [modulus.p, modulus.negative_inverse()]).collect();
    let recombinations = [0, 1].map(exact::recombination);
    for (modulus, recombination) in moduli.into_iter().zip(recombinations) {
        let scale = modulus.inverse(params.polynomial_size as u32);
        table.push(pair(Factor::new(modulus.mul(recombination.inverse, scale), modulus)));
    }
    table.extend(moduli.map(|modulus| pair(Factor::new(modulus.montgomery(1), modulus))));
    table.extend(recombinations.map(|recombination| [recombination.fraction, 0]));
    let trees = moduli.map(|modulus| ntt::tree(modulus, log2_size));
    for direction in 0..2 {
        table.extend(trees.iter().flat_map(|tree| tree[direction].iter().map(|&factor| pair(factor))));
    }
    if params.grouping_factor > 1 {
        for (modulus, tree) in moduli.into_iter().zip(&trees) {
            // Node i of the tree is psi to i with its bits reversed.
            let psi = tree[0][params.polynomial_size / 2].value;
            let powers = std::iter::successors(Some(1), |&power| Some(modulus.mul(power, psi)));
            table.extend(powers.take(2 * params.polynomial_size).map(|power| [modulus.montgomery(power), 0]));
        }
    }
    table
}

impl WgpuBackend {
    /// Whether there are kernels for a set.
    ///
    /// # Errors
    /// [`BackendError::Shape`] says what is missing.
    pub fn supports(&self, params: &ParameterSet) -> Result<(), BackendError> {
        exact::check(params).map_err(|message| BackendError::Device {
            step: STEP,
            device: self.context.name.clone(),
            message,
        })
    }

    fn rotation_block(&self, key: &WgpuBootstrapKey, rows: usize, inputs: usize) -> LweBootstrapParams {
        let params = &key.params;
        LweBootstrapParams {
            rows: rows as u32,
            inputs: inputs as u32,
            lwe_dimension: params.lwe_dimension as u32,
            base_log: params.pbs_base_log as u32,
            level: params.pbs_level as u32,
            ciphertexts: 1,
            digit_offset: 0,
            grouping: params.grouping_factor as u32,
        }
    }
}

impl BootstrapOps for WgpuBackend {
    type BootstrapKey = WgpuBootstrapKey;
    type Tables = WgpuTables;

    fn load_bootstrap_key(&self, key: &SeededEvaluationKey) -> Result<WgpuBootstrapKey, BackendError> {
        let params = key.params;
        self.supports(&params)?;
        self.measure()?;
        let shape = RotationShape::new(params.polynomial_size, params.glwe_dimension);
        let table = self.context.table(STEP, &constants(&params))?;
        let kernels =
            self.context.pipelines.kernels(STEP, &LWE_BOOTSTRAP, &shape.constants(), LWE_BOOTSTRAP.entries)?;
        let [switch, rotate, extract, transform] =
            kernels.try_into().map_err(|_| self.context.device_error(STEP, "four kernels".into()))?;
        let size = params.polynomial_size;
        let columns = params.glwe_dimension + 1;
        let of_step = params.subsets() * params.pbs_level * columns * columns;
        let steps = params.lwe_dimension / params.grouping_factor;
        let steps_a_block = (self.context.most_words() / (2 * of_step * size)).min(steps);
        if steps_a_block == 0 {
            return Err(self.context.out_of_memory(STEP, 2 * of_step * size));
        }
        let words = key.expand_bootstrap();
        let staged_polynomials = (STAGED_WORDS.min(self.context.most_words()) / size).max(1);
        let staged = self.context.reserve(STEP, staged_polynomials * size)?;
        let mut blocks = Vec::new();
        for words in words.chunks(steps_a_block * of_step * size) {
            let block = self.context.reserve(STEP, 2 * words.len())?;
            for (chunk, words) in words.chunks(staged_polynomials * size).enumerate() {
                for prime in 0..2 {
                    self.context.upload(STEP, &exact::residues(words, prime), &staged, 0)?;
                    let polynomials = words.len() / size;
                    let first = 2 * chunk * staged_polynomials + prime;
                    self.context.launch(&Launch {
                        step: STEP,
                        kernel: &transform,
                        table: &table,
                        params: RotationLaunch {
                            first_step: prime as u32,
                            steps: polynomials as u32,
                            a: staged.address,
                            b: block.address + (first * size) as u32,
                            ..RotationLaunch::zeroed()
                        },
                        arguments: &Arguments::default(),
                        first_item: 0,
                        groups: [polynomials.div_ceil(shape.polynomials), 1, 1],
                        multiplications: polynomials as f64 * size as f64 / 2.0 * f64::from(shape.log2_size),
                    })?;
                }
            }
            blocks.push(block);
        }
        Ok(WgpuBootstrapKey { params, shape, table, steps_a_block, blocks, switch, rotate, extract })
    }

    fn load_tables(&self, tables: TableSet) -> Result<WgpuTables, BackendError> {
        let words = self.context.load(STEP, tables.words())?;
        let size = tables.polynomial_size();
        let address = |&table: &u32| words.address + table * size as u32;
        let addresses: Vec<u32> = tables.table_of_value().iter().map(address).collect();
        Ok(WgpuTables {
            addresses: self.context.load(STEP, &addresses)?,
            rows: self.context.load(STEP, tables.row_of_value())?,
            _words: words,
            set: tables,
        })
    }

    fn bootstrap(
        &self,
        key: &WgpuBootstrapKey,
        tables: &WgpuTables,
        inputs: usize,
        input: &WgpuBuffer,
        out: &mut WgpuBuffer,
    ) -> Result<(), BackendError> {
        let p = &key.params;
        let rows = tables.set.check_batch(p, inputs, input.0.words, out.0.words)?;
        let of_row = 2 * key.shape.columns * p.polynomial_size;
        let words = SCRATCH_WORDS.min(self.context.most_words());
        let step = step_multiplications(p);
        let by_time = (self.context.most_multiplications() / step) as usize;
        let together = (words / of_row).min(MOST_GROUPS).min(by_time).clamp(1, rows.max(1));
        let accumulators = self.context.reserve(STEP, together * of_row)?;
        let exponents = self.context.reserve(STEP, together * p.small_row_words())?;
        let steps = p.lwe_dimension / p.grouping_factor;
        let step_words = 2 * p.subsets() * p.pbs_level * key.shape.columns * key.shape.columns * p.polynomial_size;
        for first_row in (0..rows).step_by(together) {
            let count = together.min(rows - first_row);
            let params = RotationLaunch {
                block: self.rotation_block(key, count, inputs),
                first_row: first_row as u32,
                exponents: exponents.address,
                accumulators: accumulators.address,
                ..RotationLaunch::zeroed()
            };
            let launch = |kernel: &Arc<Kernel>, params: RotationLaunch, multiplications: f64| {
                self.context.launch(&Launch {
                    step: STEP,
                    kernel,
                    table: &key.table,
                    params,
                    arguments: &Arguments::default(),
                    first_item: 0,
                    groups: [count, 1, 1],
                    multiplications,
                })
            };
            let moved = (count * of_row) as f64;
            launch(&key.switch, RotationLaunch { a: input.0.address, b: tables.addresses.address, ..params }, moved)?;
            let most_steps = ((self.context.most_multiplications() / (step * count as f64)) as usize).max(1);
            for (at, block) in key.blocks.iter().enumerate() {
                let first_of_block = at * key.steps_a_block;
                let of_block = key.steps_a_block.min(steps - first_of_block);
                for first in (0..of_block).step_by(most_steps) {
                    let taken = most_steps.min(of_block - first);
                    let params = RotationLaunch {
                        first_step: (first_of_block + first) as u32,
                        steps: taken as u32,
                        a: block.address + (first * step_words) as u32,
                        ..params
                    };
                    launch(&key.rotate, params, step * (count * taken) as f64)?;
                }
            }
            let last = RotationLaunch { first_step: steps as u32, a: tables.rows.address, b: out.0.address, ..params };
            launch(&key.extract, last, moved)?;
        }
        Ok(())
    }
}
