//! Batched bootstrap: each slice of the key comes from memory once for a batch of ciphertexts, and each batch belongs
//! to one thread.
//!
//! Within a step, few ciphertexts at a time go all the way: digits and transforms, the external product, transforms
//! back and sums. Their Fourier values stay in the caches next to the core, the slice of the key in the next one, where
//! the batch's accumulators are as well; and the next slice is asked for meanwhile. Where a slice is larger than that
//! cache, it comes from memory for each batch, and batches are larger, so that it comes less often.
//!
//! **Bound.** [`crate::tfhe::cost::blind_rotation_operations`] counts operations of doubles.

use rayon::prelude::*;

use crate::device::cpu::CpuBackend;
use crate::device::error::BackendError;
use crate::tfhe::cpu::bootstrap_key::CpuBootstrapKey;
use crate::tfhe::cpu::fourier::block::{Block, Line};
use crate::tfhe::cpu::fourier::lanes::{self, Lanes, Task};
use crate::tfhe::cpu::fourier::torus::{Accumulate, Decompose};
use crate::tfhe::cpu::product::{MOST_SHARED, Product};
use crate::tfhe::cpu::{SharedMut, rotation};
use crate::tfhe::files::evaluation_key::SeededEvaluationKey;
use crate::tfhe::ops::BootstrapOps;
use crate::tfhe::params::set::ParameterSet;
use crate::tfhe::table_set::TableSet;

/// Accumulators of one batch: they stay in the second-level cache beside a slice of the key and the next.
const BATCH_BYTES: usize = 480 << 10;
/// Most ciphertexts of a batch.
const MAX_BATCH: usize = 32;

/// Rows `first .. first + count` of a step.
#[derive(Clone, Copy)]
struct Places<'a> {
    tables: &'a TableSet,
    inputs: usize,
    first: usize,
    count: usize,
}

/// Memory of one thread's batch.
struct Batch {
    accumulators: Vec<Line>,
    exponents: Vec<u32>,
    points: Vec<Block>,
    digits: Vec<Block>,
    degrees: Vec<u32>,
    scratch: Vec<Block>,
    active: Vec<usize>,
}

impl Batch {
    fn new(key: &CpuBootstrapKey, count: usize) -> Self {
        let (p, shape) = (&key.params, key.shape);
        let together = MOST_SHARED.min(count);
        Self {
            accumulators: vec![Line([0; 16]); count * shape.columns * p.polynomial_size / 16],
            exponents: vec![0; count * p.small_row_words()],
            points: vec![Block::ZERO; p.pbs_level * shape.blocks],
            digits: vec![Block::ZERO; together * shape.rows * shape.blocks],
            degrees: vec![0; together * shape.subsets],
            scratch: vec![Block::ZERO; shape.scratch(MOST_SHARED)],
            active: Vec::with_capacity(count),
        }
    }
}

/// Bytes that a thread works with beside the key, at the most: the piece of the key that it transforms, or its batch.
#[must_use]
pub fn bytes_of_a_thread(params: &ParameterSet) -> u64 {
    let columns = params.glwe_dimension + 1;
    let rows = columns * params.pbs_level;
    let word_bytes = size_of::<u64>() * params.polynomial_size;
    let slice = params.subsets() * rows * columns * word_bytes;
    let accumulators = BATCH_BYTES.max(slice / 2);
    let digits = MOST_SHARED * rows * word_bytes;
    slice.max(accumulators + digits) as u64
}

fn batch_size(key: &CpuBootstrapKey, rows: usize, threads: usize) -> usize {
    let bytes = key.shape.columns * key.params.polynomial_size * 4;
    // As many as a slice has rows take half of its bytes: written and read, they move as many as the slice does.
    let most = (BATCH_BYTES / bytes).max(key.shape.wide()).clamp(1, MAX_BATCH);
    let most = if most >= 4 { most / 4 * 4 } else { most };
    // Equal shares for all threads: no long tail when there are few rows.
    let share = rows.div_ceil(threads);
    share.div_ceil(share.div_ceil(most)).max(1)
}

impl BootstrapOps for CpuBackend {
    type BootstrapKey = CpuBootstrapKey;
    type Tables = TableSet;

    fn load_bootstrap_key(&self, key: &SeededEvaluationKey) -> Result<CpuBootstrapKey, BackendError> {
        Ok(CpuBootstrapKey::new(key, self.arch, &self.pool))
    }

    fn load_tables(&self, tables: TableSet) -> Result<TableSet, BackendError> {
        Ok(tables)
    }

    fn bootstrap(
        &self,
        key: &CpuBootstrapKey,
        tables: &TableSet,
        inputs: usize,
        input: &Vec<u32>,
        out: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        let rows = tables.check_batch(&key.params, inputs, input.len(), out.len())?;
        if rows == 0 {
            return Ok(());
        }
        let shared = SharedMut(out.as_mut_ptr());
        let per_batch = batch_size(key, rows, self.threads());
        self.pool.install(|| {
            (0..rows.div_ceil(per_batch)).into_par_iter().with_max_len(1).for_each_init(
                || Batch::new(key, per_batch),
                |batch, task| {
                    let first = task * per_batch;
                    let count = per_batch.min(rows - first);
                    let batch_tables = Places { tables, inputs, first, count };
                    self.rotate_batch(key, &batch_tables, &input[first * key.params.small_row_words()..], batch);
                    self.extract(key, &batch_tables, batch, shared);
                },
            );
        });
        Ok(())
    }
}

impl CpuBackend {
    /// Blind rotation of the rows of one batch.
    fn rotate_batch(&self, key: &CpuBootstrapKey, places: &Places<'_>, input: &[u32], batch: &mut Batch) {
        let count = places.count;
        self.start(key, places, input, batch);
        let bits = key.params.grouping_factor;
        let small = key.params.small_row_words();
        for (group, slice) in key.slices().enumerate() {
            let own = |c: usize| c * small + group * bits;
            batch.active.clear();
            batch.active.extend((0..count).filter(|&c| batch.exponents[own(c)..][..bits].iter().any(|&e| e != 0)));
            // Little by little: a processor has room for few requests.
            let mut next = key.next_slice(group).chunks(key.shape.slice().div_ceil(2 * count));
            for begin in (0..batch.active.len()).step_by(MOST_SHARED) {
                let end = (begin + MOST_SHARED).min(batch.active.len());
                for at in begin..end {
                    let c = batch.active[at];
                    lanes::run(self.arch, Prefetch(next.next().unwrap_or(&[])));
                    self.decompose(key, c, own(c), at - begin, batch);
                }
                let product = Product {
                    shape: key.shape,
                    count: end - begin,
                    key: slice,
                    digits: &mut batch.digits,
                    factors: key.factors(&batch.degrees),
                    scratch: &mut batch.scratch,
                };
                lanes::run(self.arch, product);
                for at in begin..end {
                    lanes::run(self.arch, Prefetch(next.next().unwrap_or(&[])));
                    self.accumulate(key, batch.active[at], at - begin, batch);
                }
            }
        }
    }

    /// Exponents of the rows of one batch, and tables rotated by their bodies.
    fn start(&self, key: &CpuBootstrapKey, places: &Places<'_>, input: &[u32], batch: &mut Batch) {
        let Places { tables, inputs, first, count } = *places;
        let (size, columns, small) = (key.params.polynomial_size, key.shape.columns, key.params.small_row_words());
        let accumulators: &mut [u32] = bytemuck::cast_slice_mut(&mut batch.accumulators);
        for (c, accumulator) in accumulators.chunks_exact_mut(columns * size).take(count).enumerate() {
            let exponents = &mut batch.exponents[c * small..][..small];
            rotation::switch_modulus(&input[c * small..][..small], (2 * size).trailing_zeros(), exponents);
            let (mask, body) = accumulator.split_at_mut((columns - 1) * size);
            mask.fill(0);
            let table = tables.table(tables.table_of_value()[(first + c) / inputs]);
            let back = (2 * size - exponents[small - 1] as usize) % (2 * size);
            rotation::rotate(table, back, body);
        }
    }

    /// Digits of `(X^degree - 1) * accumulator[c]` in the Fourier domain, to place `at`; with groups of several bits
    /// those of the accumulator itself, and the degrees of all sets of them. The group's exponents start at `first`.
    fn decompose(&self, key: &CpuBootstrapKey, c: usize, first: usize, at: usize, batch: &mut Batch) {
        let p = &key.params;
        let (size, columns, rows, subsets) = (p.polynomial_size, key.shape.columns, key.shape.rows, key.shape.subsets);
        let exponents = &batch.exponents[first..][..p.grouping_factor];
        for (set, degree) in (1..).zip(&mut batch.degrees[at * subsets..][..subsets]) {
            *degree = rotation::degree_of_set(set, exponents);
        }
        let accumulators: &[u32] = bytemuck::cast_slice(&batch.accumulators);
        let decompose = Decompose {
            transform: &key.transform,
            gadget: &key.gadget,
            polys: &accumulators[c * columns * size..][..columns * size],
            degree: (p.grouping_factor == 1).then_some(exponents[0] as usize),
            points: &mut batch.points,
            out: &mut batch.digits[at * rows * key.shape.blocks..][..rows * key.shape.blocks],
        };
        lanes::run(self.arch, decompose);
    }

    /// Adds product `at` to accumulator `c`.
    fn accumulate(&self, key: &CpuBootstrapKey, c: usize, at: usize, batch: &mut Batch) {
        let (size, columns, rows, blocks) =
            (key.params.polynomial_size, key.shape.columns, key.shape.rows, key.shape.blocks);
        let accumulators: &mut [u32] = bytemuck::cast_slice_mut(&mut batch.accumulators);
        let accumulate = Accumulate {
            transform: &key.transform,
            small: key.small,
            from: &batch.digits[at * rows * blocks..][..rows * blocks],
            stride: rows,
            points: &mut batch.points[..blocks],
            polys: &mut accumulators[c * columns * size..][..columns * size],
        };
        lanes::run(self.arch, accumulate);
    }

    /// Writes the constant coefficients to their rows.
    fn extract(&self, key: &CpuBootstrapKey, places: &Places<'_>, batch: &Batch, out: SharedMut) {
        let Places { tables, inputs, first, count } = *places;
        let (size, columns) = (key.params.polynomial_size, key.shape.columns);
        let big = key.params.big_row_words();
        let accumulators: &[u32] = bytemuck::cast_slice(&batch.accumulators);
        for (c, accumulator) in accumulators.chunks_exact(columns * size).take(count).enumerate() {
            let (value, input) = ((first + c) / inputs, (first + c) % inputs);
            let row = tables.row_of_value()[value] as usize * inputs + input;
            // SAFETY: rows of different values are distinct (`TableSet::new`) and inside the buffer (`check_batch`),
            // tasks own different values and inputs.
            let row = unsafe { out.slice(row * big, big) };
            rotation::extract_constant(accumulator, size, row);
        }
    }
}

/// Asks for blocks that will be needed soon.
struct Prefetch<'a>(&'a [Block]);

impl Task for Prefetch<'_> {
    #[inline(always)]
    fn run<S: Lanes>(self, simd: S) {
        for block in self.0 {
            simd.prefetch(block);
        }
    }
}
