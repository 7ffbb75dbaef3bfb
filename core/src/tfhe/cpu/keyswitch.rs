//! Keyswitch as a matrix product of small digits and key words.
//!
//! All rows of a task share one reading of the key: it is many times larger than the caches. The key lies in tiles, of
//! all digits of [`CHUNK`] input words times [`COLUMNS`] output words, that stay in the second-level cache while all
//! rows meet them.
//!
//! **Bound.** A multiplication and an addition of 32-bit words for each digit and output word.

#![allow(clippy::needless_range_loop, reason = "registers of several arrays at a place")]

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::device::cpu::CpuBackend;
use crate::device::error::{BackendError, require};
use crate::tfhe::cpu::SharedMut;
use crate::tfhe::cpu::fourier::block::Line;
use crate::tfhe::files::evaluation_key::SeededEvaluationKey;
use crate::tfhe::ops::KeyswitchOps;
use crate::tfhe::params::set::ParameterSet;

/// Rows that share one reading of the key.
const ROWS: usize = 96;
/// Input words whose digits meet a tile; it divides every dimension of a ring key.
const CHUNK: usize = 64;
/// Output words of a tile.
const COLUMNS: usize = 64;
/// Rows whose sums are in registers at a time.
const TOGETHER: usize = 4;

/// Key words in tiles: `[chunk of input words][block of output words][level][input word][output word]`, the last block
/// filled up with zeros.
pub struct CpuKeyswitchKey {
    params: ParameterSet,
    words: Vec<Line>,
}

/// Blocks of output words.
fn blocks(params: &ParameterSet) -> usize {
    params.small_row_words().div_ceil(COLUMNS)
}

/// Words of a tile.
fn tile(params: &ParameterSet) -> usize {
    params.ks_level * CHUNK * COLUMNS
}

impl CpuKeyswitchKey {
    fn new(key: &SeededEvaluationKey, pool: &rayon::ThreadPool) -> Self {
        let params = key.params;
        let (small, level, tile) = (params.small_row_words(), params.ks_level, tile(&params));
        let mut words = vec![Line([0; 16]); params.big_dimension() / CHUNK * blocks(&params) * tile / 16];
        let chunks =
            bytemuck::cast_slice_mut::<Line, u32>(&mut words).par_chunks_exact_mut(blocks(&params) * tile).enumerate();
        let memory = || vec![0; CHUNK * level * small];
        let pack = |rows: &mut Vec<u32>, (chunk, tiles): (usize, &mut [u32])| {
            key.expand_keyswitch_rows(chunk * CHUNK * level, rows);
            for (at, row) in rows.chunks_exact(small).enumerate() {
                let (word, level) = (at / level, at % level);
                for (block, columns) in row.chunks(COLUMNS).enumerate() {
                    let to = block * tile + (level * CHUNK + word) * COLUMNS;
                    tiles[to..][..columns.len()].copy_from_slice(columns);
                }
            }
        };
        pool.install(|| chunks.for_each_init(memory, pack));
        Self { params, words }
    }
}

impl KeyswitchOps for CpuBackend {
    type KeyswitchKey = CpuKeyswitchKey;

    fn load_keyswitch_key(&self, key: &SeededEvaluationKey) -> Result<CpuKeyswitchKey, BackendError> {
        Ok(CpuKeyswitchKey::new(key, &self.pool))
    }

    fn keyswitch(
        &self,
        key: &CpuKeyswitchKey,
        rows: usize,
        input: &Vec<u32>,
        out: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        let (big, small) = (key.params.big_row_words(), key.params.small_row_words());
        require("keyswitch, input", rows * big, input.len())?;
        require("keyswitch, output", rows * small, out.len())?;
        if rows == 0 {
            return Ok(());
        }
        let shared = SharedMut(out.as_mut_ptr());
        // Equal shares. Fewer rows than fill the threads share the key's columns out instead.
        let row_tasks = rows.div_ceil(ROWS).next_multiple_of(self.threads());
        let row_tasks = if rows < self.threads() * TOGETHER { 1 } else { row_tasks.min(rows) };
        let blocks = blocks(&key.params);
        let column_tasks = self.threads().div_ceil(row_tasks).min(blocks);
        let share = |whole: usize, tasks: usize, at: usize| whole * at / tasks..whole * (at + 1) / tasks;
        self.pool.install(|| {
            (0..row_tasks * column_tasks).into_par_iter().with_max_len(1).for_each(|task| {
                let rows = share(rows, row_tasks, task / column_tasks);
                let columns = share(blocks, column_tasks, task % column_tasks);
                let input = &input[rows.start * big..rows.end * big];
                let mut sums = vec![0; rows.len() * columns.len() * COLUMNS];
                self.arch.dispatch(Sums { key, input, columns: columns.clone(), sums: &mut sums });
                let first = columns.start * COLUMNS;
                let width = small.min(columns.end * COLUMNS) - first;
                for ((row, input), sums) in
                    rows.zip(input.chunks_exact(big)).zip(sums.chunks_exact(columns.len() * COLUMNS))
                {
                    // SAFETY: tasks own disjoint rows or columns, and the buffer holds `rows * small` words.
                    let out = unsafe { shared.slice(row * small + first, width) };
                    for (out, sum) in out.iter_mut().zip(sums) {
                        *out = sum.wrapping_neg();
                    }
                    if first + width == small {
                        out[width - 1] = out[width - 1].wrapping_add(input[big - 1]);
                    }
                }
            });
        });
        Ok(())
    }
}

/// Digits of mask words, a level after the other, the least significant first: the order in which tfhe stores a key's.
///
/// Balanced digits in [-B/2, B/2]; at B/2 the carry follows the next digit, as in Joye (ePrint 2021/1161, section 4).
#[inline(always)]
fn digits(words: &[u32; CHUNK], base_log: usize, levels: &mut [[u32; CHUNK]]) {
    let kept = base_log * levels.len();
    let mut states = words.map(|word| {
        let rounded = word >> (32 - kept - 1);
        let mask = u32::MAX >> (32 - kept);
        let value = (rounded.wrapping_add(1) >> 1) & mask;
        let tie = (rounded & 1) << (kept - 1);
        let negative = ((value.wrapping_sub(1) | tie) & value) >> (kept - 1);
        value.wrapping_sub(negative << kept)
    });
    for digits in levels {
        for (digit, state) in digits.iter_mut().zip(&mut states) {
            let low = *state & ((1 << base_log) - 1);
            let rest = (state.cast_signed() >> base_log).cast_unsigned();
            let carry = ((low.wrapping_sub(1) | rest) & low) >> (base_log - 1);
            *state = rest.wrapping_add(carry);
            *digit = low.wrapping_sub(carry << base_log);
        }
    }
}

/// Sums of digits times key words for some rows and blocks of output words: `sums[row][output word]`.
struct Sums<'a> {
    key: &'a CpuKeyswitchKey,
    /// Rows of mask and body.
    input: &'a [u32],
    columns: Range<usize>,
    sums: &'a mut [u32],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Vectors whose sums, of four rows, fit the registers: 32 of the widest, 16 of others.
        if size_of::<S::u32s>() == 64 { self.run::<S, 4>(simd) } else { self.run::<S, 2>(simd) }
    }
}

impl Sums<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let Self { key, input, columns, sums } = self;
        let p = &key.params;
        let (big, tile, width, depth) = (p.big_row_words(), tile(p), columns.len() * COLUMNS, p.ks_level * CHUNK);
        let rows = input.len() / big;
        let mut digit_rows = vec![[0_u32; CHUNK]; rows * p.ks_level];
        for (chunk, tiles) in bytemuck::cast_slice(&key.words).chunks_exact(blocks(p) * tile).enumerate() {
            for (row, levels) in input.chunks_exact(big).zip(digit_rows.chunks_exact_mut(p.ks_level)) {
                let words = row[chunk * CHUNK..].first_chunk().expect("chunks divide the mask");
                digits(words, p.ks_base_log, levels);
            }
            let factors = digit_rows.as_flattened();
            for (at, tile) in columns.clone().map(|block| &tiles[block * tile..][..tile]).enumerate() {
                for row in (0..rows).step_by(TOGETHER) {
                    let factors = &factors[row * depth..];
                    let sums = &mut sums[row * width + at * COLUMNS..];
                    match rows - row {
                        1 => multiply::<S, V, 1>(simd, tile, factors, sums, width),
                        2 => multiply::<S, V, 2>(simd, tile, factors, sums, width),
                        3 => multiply::<S, V, 3>(simd, tile, factors, sums, width),
                        _ => multiply::<S, V, TOGETHER>(simd, tile, factors, sums, width),
                    }
                }
            }
        }
    }
}

/// Adds `sum_d tile[d] * factors[row][d]` to the sums of R rows, V vectors of columns at a time.
#[inline(always)]
fn multiply<S: Simd, const V: usize, const R: usize>(
    simd: S,
    tile: &[u32],
    factors: &[u32],
    sums: &mut [u32],
    width: usize,
) {
    let depth = tile.len() / COLUMNS;
    let factors: [&[u32]; R] = std::array::from_fn(|row| &factors[row * depth..][..depth]);
    let vectors = COLUMNS * size_of::<u32>() / size_of::<S::u32s>();
    let (tile, _) = S::as_simd_u32s(tile);
    for first in (0..vectors).step_by(V) {
        let mut own = [[simd.splat_u32s(0); V]; R];
        for (at, words) in tile.chunks_exact(vectors).enumerate() {
            let words: &[S::u32s; V] = words[first..].first_chunk().expect("parts divide the columns");
            for row in 0..R {
                let factor = simd.splat_u32s(factors[row][at]);
                for v in 0..V {
                    own[row][v] = simd.add_u32s(own[row][v], simd.mul_u32s(words[v], factor));
                }
            }
        }
        for (row, own) in own.iter().enumerate() {
            let (sums, _) = S::as_mut_simd_u32s(&mut sums[row * width..][..COLUMNS]);
            for (sum, own) in sums[first..].iter_mut().zip(own) {
                *sum = simd.add_u32s(*sum, *own);
            }
        }
    }
}
