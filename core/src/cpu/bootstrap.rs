//! Batched bootstrap: each slice of the key is read once for a batch of ciphertexts, and each batch belongs to one thread.
//!
//! **Bound.** Per key bit and ciphertext, with M = N/2 points: `(k+1) l` forward and `k+1` inverse FFTs of `M (3.07 log2 M + 4)`
//! real operations with fused multiply-adds, `4 (k+1)^2 l M` multiply-adds, and about `8 M` operations of conversion per transform.
//! At k = 4, N = 512, l = 1 that is 73 + 26 + 20 = 119 thousand, 15 thousand AVX-512 instructions. Bytes: the key slice of
//! `16 (k+1)^2 l M` = 102 KB comes from memory once a batch and from the second-level cache once for four ciphertexts.

use std::time::Duration;

use dyn_stack::{PodBuffer, PodStack};
use rayon::prelude::*;
use tfhe_fft::c64;
use tfhe_fft::unordered::{Method, Plan};

use super::product::{BLOCK, Product, Shape};
use super::{CpuBackend, SharedMut, rotation};
use crate::backend::{BackendError, BootstrapOps, EvaluationKeys};
use crate::table_set::TableSet;
use crate::tfhe_params::TfheParams;

/// Working memory of one batch, so that it stays in the second-level cache together with a key slice.
const BATCH_BYTES: usize = 768 << 10;
/// Most ciphertexts of a batch.
const MAX_BATCH: usize = 32;
/// How long each FFT algorithm is tried when a key is loaded.
const FFT_TRIAL: Duration = Duration::from_millis(5);

/// The bootstrapping key in the Fourier domain, blocked as the external product reads it, scaled to turns over N/2.
pub struct CpuBootstrapKey {
    params: TfheParams,
    plan: Plan,
    twists: Vec<c64>,
    shape: Shape,
    slices: Vec<f64>,
}

impl CpuBootstrapKey {
    fn new(keys: &EvaluationKeys, pool: &rayon::ThreadPool) -> Self {
        let params = keys.params;
        let size = params.polynomial_size;
        let half = size / 2;
        let plan = Plan::new(half, Method::Measure(FFT_TRIAL));
        let twists = rotation::twists(size);
        let columns = params.glwe_dimension + 1;
        let shape = Shape { rows: columns * params.pbs_level, columns, blocks: half / super::product::LANES };
        let words = keys.bootstrap.as_view().into_container();
        let slice_words = shape.rows * columns * size;
        let slice_floats = shape.rows * columns * half * 2;
        let mut slices = vec![0.0; params.lwe_dimension * slice_floats];
        pool.install(|| {
            slices.par_chunks_exact_mut(slice_floats).zip(words.par_chunks_exact(slice_words)).for_each(
                |(slice, ggsw)| {
                    let mut memory = PodBuffer::new(plan.fft_scratch());
                    let stack = PodStack::new(&mut memory);
                    let mut points = vec![c64::new(0.0, 0.0); half];
                    // The standard key runs over levels, rows, columns; the slice over blocks, columns, rows.
                    for (at, poly) in ggsw.chunks_exact(size).enumerate() {
                        let (row, column) = (at / columns, at % columns);
                        rotation::fold_torus(poly, &twists, 1.0 / half as f64, &mut points);
                        plan.fwd(&mut points, stack);
                        let first = (column * shape.rows + row) * BLOCK;
                        rotation::to_blocks(&points, &mut slice[first..], columns * shape.rows * BLOCK);
                    }
                },
            );
        });
        Self { params, plan, twists, shape, slices }
    }
}

/// Rows `first .. first + count` of a step.
#[derive(Clone, Copy)]
struct Places<'a> {
    tables: &'a TableSet,
    images: usize,
    first: usize,
    count: usize,
}

/// Memory of one thread's batch.
struct Batch {
    accumulators: Vec<u32>,
    exponents: Vec<u32>,
    rotated: Vec<u32>,
    digit: Vec<u32>,
    points: Vec<c64>,
    digits: Vec<f64>,
    scratch: Vec<f64>,
    active: Vec<usize>,
    stack: PodBuffer,
}

impl Batch {
    fn new(key: &CpuBootstrapKey, count: usize) -> Self {
        let p = &key.params;
        let (size, columns) = (p.polynomial_size, key.shape.columns);
        Self {
            accumulators: vec![0; count * columns * size],
            exponents: vec![0; count * p.small_row_words()],
            rotated: vec![0; size],
            digit: vec![0; size],
            points: vec![c64::new(0.0, 0.0); size / 2],
            digits: vec![0.0; count * key.shape.rows * size],
            scratch: vec![0.0; 4 * key.shape.rows * BLOCK],
            active: Vec::with_capacity(count),
            stack: PodBuffer::new(key.plan.fft_scratch()),
        }
    }
}

fn batch_size(key: &CpuBootstrapKey, rows: usize, threads: usize) -> usize {
    let (size, columns) = (key.params.polynomial_size, key.shape.columns);
    let bytes = columns * size * 4 + key.shape.rows * size * 8;
    let most = (BATCH_BYTES / bytes).clamp(1, MAX_BATCH);
    let most = if most >= 4 { most / 4 * 4 } else { most };
    // Equal shares for all threads: no long tail when there are few rows.
    let share = rows.div_ceil(threads);
    share.div_ceil(share.div_ceil(most)).max(1)
}

impl BootstrapOps for CpuBackend {
    type BootstrapKey = CpuBootstrapKey;
    type Tables = TableSet;

    fn load_bootstrap_key(&self, keys: &EvaluationKeys) -> Result<CpuBootstrapKey, BackendError> {
        Ok(CpuBootstrapKey::new(keys, &self.pool))
    }

    fn load_tables(&self, tables: TableSet) -> Result<TableSet, BackendError> {
        Ok(tables)
    }

    fn bootstrap(
        &self,
        key: &CpuBootstrapKey,
        tables: &TableSet,
        images: usize,
        input: &Vec<u32>,
        out: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        let rows = tables.check_batch(&key.params, images, input.len(), out.len())?;
        let shared = SharedMut(out.as_mut_ptr());
        let per_batch = batch_size(key, rows, self.threads());
        self.pool.install(|| {
            (0..rows.div_ceil(per_batch)).into_par_iter().with_max_len(1).for_each_init(
                || Batch::new(key, per_batch),
                |batch, task| {
                    let first = task * per_batch;
                    let count = per_batch.min(rows - first);
                    let batch_tables = Places { tables, images, first, count };
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
        let Places { tables, images, first, count } = *places;
        let p = &key.params;
        let (size, columns, small) = (p.polynomial_size, key.shape.columns, p.small_row_words());
        let log2_steps = 2 * size as u32;
        for c in 0..count {
            let exponents = &mut batch.exponents[c * small..][..small];
            rotation::switch_modulus(&input[c * small..][..small], log2_steps.trailing_zeros(), exponents);
            let accumulator = &mut batch.accumulators[c * columns * size..][..columns * size];
            let (mask, body) = accumulator.split_at_mut((columns - 1) * size);
            mask.fill(0);
            let table = tables.table(tables.table_of_value()[(first + c) / images]);
            let back = (2 * size - exponents[small - 1] as usize) % (2 * size);
            rotation::rotate(table, back, body);
        }
        let slice_floats = key.shape.rows * columns * size;
        for (bit, slice) in key.slices.chunks_exact(slice_floats).enumerate() {
            batch.active.clear();
            batch.active.extend((0..count).filter(|c| batch.exponents[c * small + bit] != 0));
            for at in 0..batch.active.len() {
                let c = batch.active[at];
                self.decompose(key, c, batch.exponents[c * small + bit] as usize, at, batch);
            }
            let product = Product {
                shape: key.shape,
                count: batch.active.len(),
                key: slice,
                digits: &mut batch.digits,
                scratch: &mut batch.scratch,
            };
            self.arch.dispatch(product);
            for at in 0..batch.active.len() {
                self.accumulate(key, batch.active[at], at, batch);
            }
        }
    }

    /// Digits of `(X^degree - 1) * accumulator[c]` in the Fourier domain, to place `at`.
    fn decompose(&self, key: &CpuBootstrapKey, c: usize, degree: usize, at: usize, batch: &mut Batch) {
        let p = &key.params;
        let (size, columns, rows) = (p.polynomial_size, key.shape.columns, key.shape.rows);
        let Batch { accumulators, rotated, digit, points, digits, stack, .. } = batch;
        let stack = PodStack::new(stack);
        let digits = &mut digits[at * rows * size..][..rows * size];
        for column in 0..columns {
            let poly = &accumulators[(c * columns + column) * size..][..size];
            rotation::difference(self.arch, poly, degree, p.pbs_base_log * p.pbs_level, rotated);
            for level in 0..p.pbs_level {
                let last = level + 1 == p.pbs_level;
                if !last {
                    rotation::split(self.arch, rotated, digit, p.pbs_base_log);
                }
                rotation::fold(self.arch, if last { rotated } else { digit }, &key.twists, points);
                key.plan.fwd(points, stack);
                let row = level * columns + column;
                rotation::scatter(self.arch, points, &mut digits[row * BLOCK..], rows * BLOCK);
            }
        }
    }

    /// Adds product `at` to accumulator `c`.
    fn accumulate(&self, key: &CpuBootstrapKey, c: usize, at: usize, batch: &mut Batch) {
        let (size, columns, rows) = (key.params.polynomial_size, key.shape.columns, key.shape.rows);
        let Batch { accumulators, points, digits, stack, .. } = batch;
        let stack = PodStack::new(stack);
        for column in 0..columns {
            let product = &digits[at * rows * size + column * BLOCK..(at + 1) * rows * size];
            rotation::gather(self.arch, product, rows * BLOCK, points);
            key.plan.inv(points, stack);
            let poly = &mut accumulators[(c * columns + column) * size..][..size];
            rotation::unfold(self.arch, points, &key.twists, poly);
        }
    }

    /// Writes the constant coefficients to their rows.
    fn extract(&self, key: &CpuBootstrapKey, places: &Places<'_>, batch: &Batch, out: SharedMut) {
        let Places { tables, images, first, count } = *places;
        let (size, columns) = (key.params.polynomial_size, key.shape.columns);
        let big = key.params.big_row_words();
        for c in 0..count {
            let (value, image) = ((first + c) / images, (first + c) % images);
            let row = tables.row_of_value()[value] as usize * images + image;
            // SAFETY: rows of different values are distinct (`TableSet::new`) and inside the buffer (`check_batch`), tasks own
            // different values and images.
            let row = unsafe { out.slice(row * big, big) };
            rotation::extract_constant(&batch.accumulators[c * columns * size..][..columns * size], size, row);
        }
    }
}
