//! Batched bootstrap: each slice of the key is read once for a batch of ciphertexts, and each batch belongs to one
//! thread.
//!
//! **Bound.** Per key bit and ciphertext, with M = N/2 points: `(k+1) l` forward and `k+1` inverse FFTs of
//! `M (3.07 log2 M + 4)` real operations with fused multiply-adds, `4 (k+1)^2 l M` multiply-adds, and about `8 M`
//! operations of conversion per transform. At k = 4, N = 512, l = 1 that is 73 + 26 + 20 = 119 thousand, 15 thousand
//! AVX-512 instructions. Bytes: the key slice of `16 (k+1)^2 l M` = 102 KB comes from memory once a batch and from the
//! second-level cache once for four ciphertexts. Groups of g bits share their transforms and take `2^g - 1` times the
//! products and bytes, and `6 (k+1) l M` operations more for each.

use std::time::Duration;

use dyn_stack::{PodBuffer, PodStack};
use rayon::prelude::*;
use tfhe_fft::c64;
use tfhe_fft::unordered::{Method, Plan};

use crate::device::cpu::CpuBackend;
use crate::device::error::BackendError;
use crate::tfhe::cpu::product::{BLOCK, LANES, Product, Shape};
use crate::tfhe::cpu::{SharedMut, rotation};
use crate::tfhe::files::evaluation_key::SeededEvaluationKey;
use crate::tfhe::ops::BootstrapOps;
use crate::tfhe::params::set::{MOST_GROUPING, ParameterSet};
use crate::tfhe::table_set::TableSet;

/// Working memory of one batch: more than that takes longer to come back from the caches than a key slice that fewer
/// batches share.
const BATCH_BYTES: usize = 1536 << 10;
/// Most ciphertexts of a batch.
const MAX_BATCH: usize = 32;
/// How long each FFT algorithm is tried when a key is loaded.
const FFT_TRIAL: Duration = Duration::from_millis(5);

/// The bootstrapping key in the Fourier domain, blocked as the external product reads it, scaled to turns over N/2.
pub struct CpuBootstrapKey {
    params: ParameterSet,
    plan: Plan,
    twists: Vec<c64>,
    shape: Shape,
    slices: Vec<f64>,
    groups: Option<Groups>,
}

/// What it takes to rotate by several bits of the key at a time.
struct Groups {
    /// The power of `exp(i pi / N)` that X is at the first place of each block of the transform.
    first: Vec<u32>,
    /// How much more it is at the block's other places.
    steps: [u32; LANES],
    /// `exp(i pi t / N)`, t below 2N.
    turns: Vec<c64>,
}

impl Groups {
    /// # Panics
    /// If the transform's places are not in steps; those of `tfhe-fft` are, as a test of all rings says.
    fn new(size: usize, plan: &Plan, twists: &[c64]) -> Self {
        let mut monomial = vec![0; size];
        monomial[1] = 1;
        let mut points = vec![c64::new(0.0, 0.0); size / 2];
        rotation::fold_integers(&monomial, twists, &mut points);
        plan.fwd(&mut points, PodStack::new(&mut PodBuffer::new(plan.fft_scratch())));
        let frequency = |point: &c64| {
            let steps = (point.im.atan2(point.re) / std::f64::consts::PI * size as f64).round() as i64;
            steps.rem_euclid(2 * size as i64) as u32
        };
        let turn = |t: usize| {
            let (sin, cos) = (std::f64::consts::PI * t as f64 / size as f64).sin_cos();
            c64::new(cos, sin)
        };
        let frequencies: Vec<u32> = points.iter().map(frequency).collect();
        let step = |of: &[u32], lane: usize| of[lane].wrapping_sub(of[0]) % (2 * size as u32);
        let steps = std::array::from_fn(|lane| step(&frequencies, lane));
        let in_steps = |block: &[u32]| (0..LANES).all(|lane| step(block, lane) == steps[lane]);
        assert!(frequencies.chunks_exact(LANES).all(in_steps), "the order of the FFT has changed");
        let first = frequencies.iter().step_by(LANES).copied().collect();
        Self { first, steps, turns: (0..2 * size).map(turn).collect() }
    }
}

impl CpuBootstrapKey {
    fn new(key: &SeededEvaluationKey, pool: &rayon::ThreadPool) -> Self {
        let params = key.params;
        let size = params.polynomial_size;
        let half = size / 2;
        let plan = Plan::new(half, Method::Measure(FFT_TRIAL));
        let twists = rotation::twists(size);
        let columns = params.glwe_dimension + 1;
        let subsets = params.subsets();
        let shape = Shape { rows: columns * params.pbs_level, columns, blocks: half / LANES, subsets };
        let words = key.expand_bootstrap().into_container();
        let slice_words = subsets * shape.rows * columns * size;
        let mut slices = vec![0.0; params.bootstrap_key_length() / subsets * slice_words];
        pool.install(|| {
            slices.par_chunks_exact_mut(slice_words).zip(words.par_chunks_exact(slice_words)).for_each(
                |(slice, ggsws)| {
                    let mut memory = PodBuffer::new(plan.fft_scratch());
                    let stack = PodStack::new(&mut memory);
                    let mut points = vec![c64::new(0.0, 0.0); half];
                    // The standard key runs over sets, levels, rows, columns; the slice over blocks, columns, sets, rows.
                    for (at, poly) in ggsws.chunks_exact(size).enumerate() {
                        let (row, column) = (at / columns, at % columns);
                        rotation::fold_torus(poly, &twists, 1.0 / half as f64, &mut points);
                        plan.fwd(&mut points, stack);
                        let first = column * shape.wide() + row * BLOCK;
                        rotation::to_blocks(&points, &mut slice[first..], columns * shape.wide());
                    }
                },
            );
        });
        let groups = (params.grouping_factor > 1).then(|| Groups::new(size, &plan, &twists));
        Self { params, plan, twists, shape, slices, groups }
    }
}

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
    accumulators: Vec<u32>,
    exponents: Vec<u32>,
    rotated: Vec<u32>,
    digit: Vec<u32>,
    points: Vec<c64>,
    digits: Vec<f64>,
    factors: Vec<f64>,
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
            factors: vec![0.0; if key.groups.is_some() { count * key.shape.subsets * size } else { 0 }],
            scratch: vec![0.0; 4 * key.shape.wide()],
            active: Vec::with_capacity(count),
            stack: PodBuffer::new(key.plan.fft_scratch()),
        }
    }
}

fn batch_size(key: &CpuBootstrapKey, rows: usize, threads: usize) -> usize {
    let (size, columns) = (key.params.polynomial_size, key.shape.columns);
    let factors = if key.groups.is_some() { key.shape.subsets } else { 0 };
    let bytes = columns * size * 4 + (key.shape.rows + factors) * size * 8;
    let most = (BATCH_BYTES / bytes).clamp(1, MAX_BATCH);
    let most = if most >= 4 { most / 4 * 4 } else { most };
    // Equal shares for all threads: no long tail when there are few rows.
    let share = rows.div_ceil(threads);
    share.div_ceil(share.div_ceil(most)).max(1)
}

impl BootstrapOps for CpuBackend {
    type BootstrapKey = CpuBootstrapKey;
    type Tables = TableSet;

    fn load_bootstrap_key(&self, key: &SeededEvaluationKey) -> Result<CpuBootstrapKey, BackendError> {
        Ok(CpuBootstrapKey::new(key, &self.pool))
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
        let Places { tables, inputs, first, count } = *places;
        let p = &key.params;
        let (size, columns, small) = (p.polynomial_size, key.shape.columns, p.small_row_words());
        let log2_steps = 2 * size as u32;
        for c in 0..count {
            let exponents = &mut batch.exponents[c * small..][..small];
            rotation::switch_modulus(&input[c * small..][..small], log2_steps.trailing_zeros(), exponents);
            let accumulator = &mut batch.accumulators[c * columns * size..][..columns * size];
            let (mask, body) = accumulator.split_at_mut((columns - 1) * size);
            mask.fill(0);
            let table = tables.table(tables.table_of_value()[(first + c) / inputs]);
            let back = (2 * size - exponents[small - 1] as usize) % (2 * size);
            rotation::rotate(table, back, body);
        }
        let slice_floats = key.shape.subsets * key.shape.rows * columns * size;
        let bits = p.grouping_factor;
        for (group, slice) in key.slices.chunks_exact(slice_floats).enumerate() {
            batch.active.clear();
            let own = |c: usize| c * small + group * bits;
            batch.active.extend((0..count).filter(|&c| batch.exponents[own(c)..][..bits].iter().any(|&e| e != 0)));
            for at in 0..batch.active.len() {
                let c = batch.active[at];
                self.decompose(key, c, own(c), at, batch);
            }
            let product = Product {
                shape: key.shape,
                count: batch.active.len(),
                key: slice,
                digits: &mut batch.digits,
                factors: &batch.factors,
                scratch: &mut batch.scratch,
            };
            self.arch.dispatch(product);
            for at in 0..batch.active.len() {
                self.accumulate(key, batch.active[at], at, batch);
            }
        }
    }

    /// Digits of `(X^degree - 1) * accumulator[c]` in the Fourier domain, to place `at`; with groups of several bits
    /// those of the accumulator itself, and factors for all sets of them. The group's exponents start at `first`.
    fn decompose(&self, key: &CpuBootstrapKey, c: usize, first: usize, at: usize, batch: &mut Batch) {
        let p = &key.params;
        let (size, columns, rows, subsets) = (p.polynomial_size, key.shape.columns, key.shape.rows, key.shape.subsets);
        let Batch { accumulators, exponents, rotated, digit, points, digits, factors, stack, .. } = batch;
        let stack = PodStack::new(stack);
        let exponents = &exponents[first..][..p.grouping_factor];
        if let Some(Groups { first, steps, turns }) = &key.groups {
            let mut degrees = [0; (1 << MOST_GROUPING) - 1];
            for (subset, degree) in (1..).zip(&mut degrees) {
                *degree = rotation::degree_of_set(subset, exponents);
            }
            let own = &mut factors[at * subsets * size..][..subsets * size];
            rotation::monomials(self.arch, &degrees[..subsets], (first, steps), turns, own);
        }
        let digits = &mut digits[at * rows * size..][..rows * size];
        for column in 0..columns {
            let poly = &accumulators[(c * columns + column) * size..][..size];
            let kept = p.pbs_base_log * p.pbs_level;
            if key.groups.is_some() {
                rotation::rounded(self.arch, poly, kept, rotated);
            } else {
                rotation::difference(self.arch, poly, exponents[0] as usize, kept, rotated);
            }
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
        let Places { tables, inputs, first, count } = *places;
        let (size, columns) = (key.params.polynomial_size, key.shape.columns);
        let big = key.params.big_row_words();
        for c in 0..count {
            let (value, input) = ((first + c) / inputs, (first + c) % inputs);
            let row = tables.row_of_value()[value] as usize * inputs + input;
            // SAFETY: rows of different values are distinct (`TableSet::new`) and inside the buffer (`check_batch`), tasks own
            // different values and inputs.
            let row = unsafe { out.slice(row * big, big) };
            rotation::extract_constant(&batch.accumulators[c * columns * size..][..columns * size], size, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_of_all_rings_have_their_places_in_steps() {
        for log2_size in 8..=14 {
            let size = 1 << log2_size;
            let plan = Plan::new(size / 2, Method::Measure(FFT_TRIAL));
            let groups = Groups::new(size, &plan, &rotation::twists(size));
            let mut all: Vec<u32> =
                groups.first.iter().flat_map(|f| groups.steps.map(|step| (f + step) % (2 * size as u32))).collect();
            all.sort_unstable();
            let odd: Vec<u32> = (0..size as u32 / 2).map(|f| 4 * f + 1).collect();
            assert_eq!(all, odd, "X^(N/2) = i at {size}");
        }
    }
}
