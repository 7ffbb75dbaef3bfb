//! Gathered integer products over rows, tiled over words and terms so that the sources of a tile stay in the
//! second-level cache while all rows of a block read them.

use rayon::prelude::*;

use crate::device::cpu::CpuBackend;
use crate::device::error::{BackendError, require};
use crate::device::simd::for_each_arch;
use crate::tfhe::cpu::SharedMut;
use crate::tfhe::ops::LinearOps;
use crate::tfhe::plan::affine::AffineMap;

/// Words of a tile.
const TILE: usize = 256;
/// Terms whose sources are read by all rows of a block before the next ones are: a tile of them is half a megabyte.
const TERMS: usize = 512;

impl LinearOps for CpuBackend {
    type Affine = AffineMap;

    fn load_affine(&self, map: &AffineMap) -> Result<AffineMap, BackendError> {
        Ok(map.clone())
    }

    fn affine(
        &self,
        map: &AffineMap,
        inputs: usize,
        row_words: usize,
        values: &Vec<u32>,
        out: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        let length = inputs * row_words;
        let picks = map.blocks.iter().flat_map(|block| &block.picks);
        let highest = picks.max().map_or(0, |&pick| pick as usize + 1);
        require("linear map, values", highest * length, values.len())?;
        require("linear map, output", map.rows * length, out.len())?;
        let shared = SharedMut(out.as_mut_ptr());
        let tiles = length.div_ceil(TILE);
        self.pool.install(|| {
            (0..tiles).into_par_iter().for_each(|tile| {
                let start = tile * TILE;
                let width = TILE.min(length - start);
                let inputs = start / row_words..(start + width) / row_words;
                for block in &map.blocks {
                    for position in 0..block.positions {
                        let row = |kernel: usize| block.targets[kernel * block.positions + position] as usize;
                        // SAFETY: rows are distinct (checked when the map was made), tiles do not overlap, and the
                        // buffer holds `rows * length` words.
                        let target = |row: usize| unsafe { shared.slice(row * length + start, width) };
                        for kernel in 0..block.kernels {
                            let row = row(kernel);
                            let target = target(row);
                            target.fill(0);
                            for input in inputs.clone() {
                                target[(input + 1) * row_words - 1 - start] = map.bias[row];
                            }
                        }
                        let picks = &block.picks[position * block.terms..][..block.terms];
                        for (chunk, picks) in picks.chunks(TERMS).enumerate() {
                            for kernel in 0..block.kernels {
                                let first = kernel * block.terms + chunk * TERMS;
                                let weights = &block.weights[first..][..picks.len()];
                                accumulate(self.arch, target(row(kernel)), weights, picks, values, length, start);
                            }
                        }
                    }
                }
            });
        });
        Ok(())
    }
}

for_each_arch! {
    fn accumulate = accumulate_words,
    (target: &mut [u32], weights: &[i16], picks: &[u32], values: &[u32], length: usize, start: usize)
}

/// `target += sum weight * values[pick]`, in steps of words that stay in registers.
#[inline(always)]
fn accumulate_words(target: &mut [u32], weights: &[i16], picks: &[u32], values: &[u32], length: usize, start: usize) {
    const STEP: usize = 128;
    for (chunk, out) in target.chunks_mut(STEP).enumerate() {
        let at = start + chunk * STEP;
        if out.len() == STEP {
            let mut sum = [0_u32; STEP];
            sum.copy_from_slice(out);
            for (&weight, &pick) in weights.iter().zip(picks) {
                let weight = i32::from(weight).cast_unsigned();
                let source = &values[pick as usize * length + at..][..STEP];
                for (s, &x) in sum.iter_mut().zip(source) {
                    *s = s.wrapping_add(x.wrapping_mul(weight));
                }
            }
            out.copy_from_slice(&sum);
        } else {
            for (&weight, &pick) in weights.iter().zip(picks) {
                let weight = i32::from(weight).cast_unsigned();
                let source = &values[pick as usize * length + at..][..out.len()];
                for (s, &x) in out.iter_mut().zip(source) {
                    *s = s.wrapping_add(x.wrapping_mul(weight));
                }
            }
        }
    }
}
