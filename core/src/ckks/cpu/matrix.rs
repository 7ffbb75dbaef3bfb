//! Linear maps that are applied at many positions, as modular matrix products.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::ckks::cpu::evaluator::same_scale;
use crate::ckks::cpu::matrix_words;
use crate::ckks::cpu::matrix_words::BLOCK;
use crate::ckks::error::CkksError;
use crate::ckks::ops::Position;
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::context::Context;
use crate::ckks::ring::matrix::Matrix;

/// Terms that are summed in one go: their part of a tile fits the second-level cache.
const TERMS: usize = 512;
/// Words of all terms of a tile: half of a second-level cache of 512 KiB.
const TILE_WORDS: usize = 1 << 16;
/// Most words of a tile: neighbouring positions read the same terms from the cache.
const MOST_TILE: usize = 512;
/// Fewest words of a task.
const LEAST_TASK: usize = 64;
/// Tasks for each thread: the end leaves a thread idle for half of one.
const TASKS_PER_THREAD: usize = 32;

/// Blocks of rows for one selection of kernels.
struct Selection {
    /// Rows of each block.
    blocks: Vec<usize>,
    /// `limb: u32[block][term][row]`.
    words: Vec<Vec<u32>>,
}

impl Selection {
    fn new(matrix: &Matrix, kernels: &[u32]) -> Self {
        // Blocks of nearly one size: small ones read more than they multiply.
        let count = kernels.len().div_ceil(BLOCK);
        let blocks: Vec<usize> =
            (0..count).map(|at| kernels.len() * (at + 1) / count - kernels.len() * at / count).collect();
        let terms = matrix.terms();
        let limb_words = |limb: &[u32]| {
            let mut words = Vec::with_capacity(kernels.len() * terms);
            let mut first = 0;
            for &rows in &blocks {
                let rows_of_block = &kernels[first..first + rows];
                let row = |&kernel: &u32| &limb[kernel as usize * terms..][..terms];
                let rows_of_block: Vec<&[u32]> = rows_of_block.iter().map(row).collect();
                words.extend((0..terms).flat_map(|term| rows_of_block.iter().map(move |row| row[term])));
                first += rows;
            }
            words
        };
        let words = matrix.words.par_chunks_exact(matrix.kernels * terms).map(limb_words).collect();
        Self { blocks, words }
    }
}

impl Context {
    /// The wanted rows of the matrix times the terms, position by position, at the matrix's limbs and scale; rescale afterwards.
    ///
    /// Words are those of [`Context::linear_combination`]. Terms may have more limbs, which are not read.
    /// Noise: that of the terms times their weights, and half a unit of each term's message from rounding its weight.
    ///
    /// # Errors
    /// [`CkksError::Level`] for a term of fewer limbs, [`CkksError::Scale`] for a term of another scale than the matrix was made for,
    /// [`CkksError::Plan`] for another number of terms, or a kernel that the matrix does not have.
    pub fn apply_matrix(
        &self,
        matrix: &Matrix,
        positions: &[Position<'_, Ciphertext>],
    ) -> Result<Vec<Ciphertext>, CkksError> {
        positions.iter().try_for_each(|position| self.check_position(matrix, position))?;
        let (degree, limbs) = (self.degree(), matrix.limbs());
        let mut selections: Vec<Selection> = Vec::new();
        let mut known: HashMap<&[u32], usize> = HashMap::new();
        let mut selected = Vec::with_capacity(positions.len());
        for position in positions {
            let at = *known.entry(&position.kernels).or_insert_with(|| {
                selections.push(Selection::new(matrix, &position.kernels));
                selections.len() - 1
            });
            selected.push(at);
        }
        let count: usize = positions.iter().map(|position| position.kernels.len()).sum();
        let fresh = |_| {
            let parts = std::array::from_fn(|_| self.pool.take(limbs * degree));
            Ciphertext { parts, scale: matrix.scale }
        };
        let mut results: Vec<Ciphertext> = (0..count).into_par_iter().map(fresh).collect();
        // By part and limb, then by tile, then by position: neighbouring positions share terms.
        let mut planes: Vec<Vec<&mut [u32]>> = (0..2 * limbs).map(|_| Vec::with_capacity(count)).collect();
        for result in &mut results {
            let [body, mask] = &mut result.parts;
            let words = body.chunks_exact_mut(degree).chain(mask.chunks_exact_mut(degree));
            planes.iter_mut().zip(words).for_each(|(plane, words)| plane.push(words));
        }
        let tasks = (TASKS_PER_THREAD * rayon::current_num_threads()).div_ceil(2 * limbs.max(1));
        let task = (degree / tasks.next_power_of_two()).max(LEAST_TASK);
        planes.into_par_iter().enumerate().for_each(|(plane, rows)| {
            let (part, limb) = (plane / limbs, plane % limbs);
            let mut outs: Vec<Vec<&mut [u32]>> = (0..degree / task).map(|_| Vec::with_capacity(count)).collect();
            for row in rows {
                outs.iter_mut().zip(row.chunks_exact_mut(task)).for_each(|(out, words)| out.push(words));
            }
            outs.into_par_iter().with_max_len(1).enumerate().for_each_init(Vec::new, |packed, (at, mut outs)| {
                let selected = positions.iter().zip(selected.iter().map(|&at| &selections[at]));
                let first = limb * degree + at * task;
                self.apply_task(part, limb, first, selected, &mut outs, packed);
            });
        });
        Ok(results)
    }

    fn check_position(&self, matrix: &Matrix, position: &Position<'_, Ciphertext>) -> Result<(), CkksError> {
        if position.terms.len() != matrix.terms() {
            return Err(CkksError::Plan(format!(
                "a matrix of {} terms was applied to {}",
                matrix.terms(),
                position.terms.len()
            )));
        }
        if let Some(kernel) = position.kernels.iter().find(|&&kernel| kernel as usize >= matrix.kernels) {
            return Err(CkksError::Plan(format!("a matrix of {} kernels has none of number {kernel}", matrix.kernels)));
        }
        for (term, &scale) in position.terms.iter().zip(&matrix.term_scales) {
            let (left, right) = (self.limbs_of(term), matrix.limbs());
            if left < right {
                return Err(CkksError::Level { left, right });
            }
            same_scale(term.scale, scale)?;
        }
        Ok(())
    }

    /// Words of one limb of all results, from word `first` of each polynomial.
    fn apply_task<'p>(
        &self,
        part: usize,
        limb: usize,
        first: usize,
        positions: impl Iterator<Item = (&'p Position<'p, Ciphertext>, &'p Selection)> + Clone,
        outs: &mut [&mut [u32]],
        packed: &mut Vec<u32>,
    ) {
        let Some(task) = outs.first().map(|out| out.len()) else { return };
        let Some(terms) = positions.clone().next().map(|(position, _)| position.terms.len()) else { return };
        let modulus = self.modulus(limb);
        let tile = (TILE_WORDS / terms.min(TERMS)).max(1).next_power_of_two().clamp(LEAST_TASK, MOST_TILE).min(task);
        packed.resize(tile * terms.min(TERMS), 0);
        let mut words: Vec<&[u32]> = Vec::with_capacity(terms);
        for start in (0..task).step_by(tile) {
            let range = first + start..first + start + tile;
            let mut outs = &mut outs[..];
            for (position, selection) in positions.clone() {
                let (mine, others) = std::mem::take(&mut outs).split_at_mut(position.kernels.len());
                outs = others;
                words.clear();
                words.extend(position.terms.iter().map(|term| term.parts[part].as_slice()));
                for (at, words) in words.chunks(TERMS).enumerate() {
                    let packed = &mut packed[..tile * words.len()];
                    matrix_words::pack(self.arch, packed, words, range.clone());
                    let mut mine = &mut mine[..];
                    let mut weights = selection.words[limb].as_slice();
                    for &rows in &selection.blocks {
                        let (block, others) = std::mem::take(&mut mine).split_at_mut(rows);
                        let (own, rest) = weights.split_at(rows * terms);
                        (mine, weights) = (others, rest);
                        let own = &own[at * TERMS * rows..][..words.len() * rows];
                        let mut tiles: [&mut [u32]; BLOCK] = Default::default();
                        for (tile_of_row, row) in tiles.iter_mut().zip(block) {
                            *tile_of_row = &mut row[start..start + tile];
                        }
                        matrix_words::multiply(self.arch, modulus, &mut tiles[..rows], packed, own, at > 0);
                    }
                }
            }
        }
    }
}
