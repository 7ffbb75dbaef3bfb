//! Keyswitch as a matrix product of small digits and key words, the key read once for a block of rows.

use rayon::prelude::*;

use crate::device::cpu::CpuBackend;
use crate::device::error::{BackendError, require};
use crate::device::simd::for_each_arch;
use crate::tfhe::cpu::SharedMut;
use crate::tfhe::files::evaluation_key::SeededEvaluationKey;
use crate::tfhe::ops::KeyswitchOps;
use crate::tfhe::params::set::ParameterSet;

/// Rows that share one reading of the key.
const ROWS: usize = 16;
/// Output words whose sums stay in registers for four rows.
const COLUMNS: usize = 64;

/// Key words in the order of their use: input index, then level, then output word.
pub struct CpuKeyswitchKey {
    params: ParameterSet,
    words: Vec<u32>,
}

impl KeyswitchOps for CpuBackend {
    type KeyswitchKey = CpuKeyswitchKey;

    fn load_keyswitch_key(&self, key: &SeededEvaluationKey) -> Result<CpuKeyswitchKey, BackendError> {
        Ok(CpuKeyswitchKey { params: key.params, words: key.expand_keyswitch().into_container() })
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
        let shared = SharedMut(out.as_mut_ptr());
        let per_task = rows.div_ceil(self.threads()).clamp(1, ROWS);
        self.pool.install(|| {
            (0..rows.div_ceil(per_task)).into_par_iter().for_each(|task| {
                let first = task * per_task;
                let count = per_task.min(rows - first);
                // SAFETY: tasks own disjoint ranges of rows, and the buffer holds `rows * small` words.
                let out = unsafe { shared.slice(first * small, count * small) };
                switch(self.arch, key, &input[first * big..][..count * big], out);
            });
        });
        Ok(())
    }
}

/// Digits of one mask word, least significant level first: the order in which tfhe stores a key's levels.
///
/// Balanced digits in [-B/2, B/2]; at B/2 the carry follows the next digit, as in Joye (ePrint 2021/1161, section 4).
#[inline(always)]
fn digits(word: u32, base_log: usize, level: usize, mut put: impl FnMut(usize, u32)) {
    let kept = base_log * level;
    let rounded = word >> (32 - kept - 1);
    let mask = u32::MAX >> (32 - kept);
    let value = (rounded.wrapping_add(1) >> 1) & mask;
    let tie = (rounded & 1) << (kept - 1);
    let negative = ((value.wrapping_sub(1) | tie) & value) >> (kept - 1);
    let mut state = value.wrapping_sub(negative << kept);
    for at in 0..level {
        let digit = state & ((1 << base_log) - 1);
        state = (state.cast_signed() >> base_log).cast_unsigned();
        let carry = ((digit.wrapping_sub(1) | state) & digit) >> (base_log - 1);
        state = state.wrapping_add(carry);
        put(at, digit.wrapping_sub(carry << base_log));
    }
}

for_each_arch! {
    fn switch = switch_rows,
    (key: &CpuKeyswitchKey, input: &[u32], out: &mut [u32])
}

#[inline(always)]
fn switch_rows(key: &CpuKeyswitchKey, input: &[u32], out: &mut [u32]) {
    let p = &key.params;
    let (big, small, level) = (p.big_row_words(), p.small_row_words(), p.ks_level);
    let depth = p.big_dimension() * level;
    let count = input.len() / big;
    // Digit-major, rows side by side, so that a key word meets the digits of all rows.
    let padded = count.next_multiple_of(4);
    let mut digit_rows = vec![0_u32; depth * padded];
    for (r, row) in input.chunks_exact(big).enumerate() {
        for (i, &word) in row[..big - 1].iter().enumerate() {
            digits(word, p.ks_base_log, level, |at, digit| digit_rows[(i * level + at) * padded + r] = digit);
        }
    }
    for (row, out) in input.chunks_exact(big).zip(out.chunks_exact_mut(small)) {
        out.fill(0);
        out[small - 1] = row[big - 1];
    }
    // Blocks of the key that stay in the second-level cache while all rows use them.
    let step = (1 << 19) / (4 * small).max(1);
    for start in (0..depth).step_by(step) {
        let end = (start + step).min(depth);
        for column in (0..small).step_by(COLUMNS) {
            let width = COLUMNS.min(small - column);
            for four in (0..count).step_by(4) {
                let words = &key.words[start * small..end * small];
                let factors = &digit_rows[start * padded..end * padded];
                let sums = if width == COLUMNS {
                    multiply(words, small, column, factors, padded, four)
                } else {
                    multiply_edge(words, small, column, width, factors, padded, four)
                };
                for (r, sum) in sums.iter().enumerate().take(count - four) {
                    let row = &mut out[(four + r) * small + column..][..width];
                    for (o, s) in row.iter_mut().zip(sum) {
                        *o = o.wrapping_sub(*s);
                    }
                }
            }
        }
    }
}

/// `sum_d words[d][column ..] * factors[d][row ..]` for four rows and [`COLUMNS`] columns, all sums in registers.
#[inline(always)]
fn multiply(
    words: &[u32],
    small: usize,
    column: usize,
    factors: &[u32],
    padded: usize,
    row: usize,
) -> [[u32; COLUMNS]; 4] {
    let mut a = [0_u32; COLUMNS];
    let mut b = [0_u32; COLUMNS];
    let mut c = [0_u32; COLUMNS];
    let mut d = [0_u32; COLUMNS];
    for (words, factors) in words.chunks_exact(small).zip(factors.chunks_exact(padded)) {
        let words: &[u32; COLUMNS] = words[column..][..COLUMNS].try_into().expect("exactly as long");
        let factors: &[u32; 4] = factors[row..][..4].try_into().expect("rows are padded to fours");
        for j in 0..COLUMNS {
            a[j] = a[j].wrapping_add(words[j].wrapping_mul(factors[0]));
            b[j] = b[j].wrapping_add(words[j].wrapping_mul(factors[1]));
            c[j] = c[j].wrapping_add(words[j].wrapping_mul(factors[2]));
            d[j] = d[j].wrapping_add(words[j].wrapping_mul(factors[3]));
        }
    }
    [a, b, c, d]
}

/// As [`multiply`] for the last, narrower columns.
#[inline(always)]
fn multiply_edge(
    words: &[u32],
    small: usize,
    column: usize,
    width: usize,
    factors: &[u32],
    padded: usize,
    row: usize,
) -> [[u32; COLUMNS]; 4] {
    let mut sums = [[0_u32; COLUMNS]; 4];
    for (words, factors) in words.chunks_exact(small).zip(factors.chunks_exact(padded)) {
        for (sum, &factor) in sums.iter_mut().zip(&factors[row..][..4]) {
            for (s, &w) in sum.iter_mut().zip(&words[column..][..width]) {
                *s = s.wrapping_add(w.wrapping_mul(factor));
            }
        }
    }
    sums
}
