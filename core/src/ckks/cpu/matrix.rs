//! Linear maps that are applied at many positions, as modular matrix products.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::ckks::cpu::matrix_words::{self, BLOCK, TermWords};
use crate::ckks::error::CkksError;
use crate::ckks::ops::Position;
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::context::Ring;
use crate::ckks::ring::matrix::Matrix;
use crate::ckks::ring::number::State;

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
        let words = matrix.words.par_chunks_exact((matrix.kernels * terms).max(1)).map(limb_words).collect();
        Self { blocks, words }
    }
}

impl Ring {
    /// The wanted rows of the matrix times the terms, position by position, at the matrix's limbs and scale; rescale
    /// afterwards.
    ///
    /// Words are those of [`Ring::linear_combination`]. Terms may have more limbs, which are not read.
    /// Noise: that of the terms times their weights, and half a unit of each term's message from rounding its weight.
    ///
    /// # Errors
    /// [`CkksError::Level`] for a term of fewer limbs, [`CkksError::Scale`] for a term of another scale than the matrix
    /// was made for, [`CkksError::Plan`] for another number of terms, or a kernel that the matrix does not have.
    pub fn apply_matrix(
        &self,
        matrix: &Matrix,
        positions: &[Position<'_, Ciphertext>],
    ) -> Result<Vec<Ciphertext>, CkksError> {
        for Position { terms, kernels } in positions {
            let state = |term: &&Ciphertext| State { scale: term.scale, limbs: self.limbs_of(term) };
            matrix.check_position(terms.iter().map(state), kernels)?;
        }
        let (degree, limbs) = (self.degree(), matrix.limbs);
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
        // The parts of products under s^2 come alone.
        let terms = || positions.iter().flat_map(|position| &position.terms);
        let part_count = if terms().next().is_some() && terms().all(|term| term.parts[1].is_empty()) { 1 } else { 2 };
        let fresh = |_| {
            let part = |at: usize| if at < part_count { self.pool.take(limbs * degree) } else { Vec::new() };
            Ciphertext { parts: [0, 1].map(part), scale: matrix.scale }
        };
        let mut results: Vec<Ciphertext> = (0..count).into_par_iter().map(fresh).collect();
        // By part and limb, then by tile, then by position: neighbouring positions share terms.
        let mut planes: Vec<Vec<&mut [u32]>> = (0..part_count * limbs).map(|_| Vec::with_capacity(count)).collect();
        for result in &mut results {
            let [body, mask] = &mut result.parts;
            let words = body.chunks_exact_mut(degree).chain(mask.chunks_exact_mut(degree));
            planes.iter_mut().zip(words).for_each(|(plane, words)| plane.push(words));
        }
        let tasks = (TASKS_PER_THREAD * rayon::current_num_threads()).div_ceil(part_count * limbs.max(1));
        let task = (degree / tasks.next_power_of_two()).max(LEAST_TASK);
        planes.into_par_iter().enumerate().for_each(|(plane, rows)| {
            let (part, limb) = (plane / limbs, plane % limbs);
            let mut outs: Vec<Vec<&mut [u32]>> = (0..degree / task).map(|_| Vec::with_capacity(count)).collect();
            for row in rows {
                outs.iter_mut().zip(row.chunks_exact_mut(task)).for_each(|(out, words)| out.push(words));
            }
            outs.into_par_iter().enumerate().for_each_init(Vec::new, |packed, (at, mut outs)| {
                let selected = positions.iter().zip(selected.iter().map(|&at| &selections[at]));
                let first = limb * degree + at * task;
                self.apply_task(part, limb, first, selected, &mut outs, packed);
            });
        });
        Ok(results)
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
                words.extend(position.terms.iter().map(|term| &term.parts[part][range.clone()]));
                for (at, words) in words.chunks(TERMS).enumerate() {
                    let packed = &mut packed[..tile * words.len()];
                    let mut mine = &mut mine[..];
                    let mut weights = selection.words[limb].as_slice();
                    for (number, &rows) in selection.blocks.iter().enumerate() {
                        let (block, others) = std::mem::take(&mut mine).split_at_mut(rows);
                        let (own, rest) = weights.split_at(rows * terms);
                        (mine, weights) = (others, rest);
                        let own = &own[at * TERMS * rows..][..words.len() * rows];
                        let mut tiles: [&mut [u32]; BLOCK] = Default::default();
                        for (tile_of_row, row) in tiles.iter_mut().zip(block) {
                            *tile_of_row = &mut row[start..start + tile];
                        }
                        let source = match number {
                            0 => TermWords::Terms { terms: words, packed },
                            _ => TermWords::Packed(packed),
                        };
                        matrix_words::multiply(self.arch, modulus, &mut tiles[..rows], source, own, at > 0);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::params::set::ParameterSet;
    use crate::device::simd;
    use crate::residues::modulus::Modulus;

    const SCALE: f64 = 4_194_304.0;

    fn ring() -> Ring {
        Ring::new(ParameterSet::new(12, 2, 22, 1).expect("104 bits")).expect("a secure set")
    }

    /// Words that depend on the seed alone.
    fn random(seed: u64) -> impl Iterator<Item = u64> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let x = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32
        })
    }

    fn ciphertext(ring: &Ring, limbs: usize, seed: u64, scale: f64) -> Ciphertext {
        let mut random = random(seed);
        let mut word = |at: usize| (random.next().unwrap_or(0) % u64::from(ring.modulus(at / ring.degree()).p)) as u32;
        let parts = std::array::from_fn(|_| (0..limbs * ring.degree()).map(&mut word).collect());
        Ciphertext { parts, scale }
    }

    fn weights(kernels: usize, terms: usize) -> Vec<f64> {
        let weight = |x: u64| if x.is_multiple_of(5) { 0.0 } else { x as f64 / 1e9 - 2.0 };
        random(7).map(weight).take(kernels * terms).collect()
    }

    fn moduli(ring: &Ring, limbs: usize) -> Vec<Modulus> {
        (0..limbs).map(|limb| ring.modulus(limb)).collect()
    }

    /// Applies a random matrix at one position for each selection of kernels, and compares with one combination a row.
    fn compare(ring: &Ring, kernels: usize, terms: usize, selections: &[Vec<u32>]) {
        let limbs = 2;
        let values: Vec<Ciphertext> = (0..terms + selections.len())
            .map(|at| ciphertext(ring, limbs + at % 2, at as u64, SCALE + (at % terms) as f64))
            .collect();
        let weights = weights(kernels, terms);
        let scale = SCALE * 1e6;
        let term_scales: Vec<f64> = (0..terms).map(|at| SCALE + at as f64).collect();
        let matrix = Matrix::new(&weights, term_scales, scale, &moduli(ring, limbs)).expect("whole rows");
        let positions: Vec<Position<'_, Ciphertext>> = selections
            .iter()
            .enumerate()
            .map(|(at, kernels)| {
                // Every other value has more limbs; scales repeat after all terms.
                let term = |index: usize| if index < at { &values[terms + index] } else { &values[index] };
                Position { terms: (0..terms).map(term).collect(), kernels: kernels.clone() }
            })
            .collect();
        let results = ring.apply_matrix(&matrix, &positions).expect("all fits");
        let mut results = results.into_iter();
        for position in &positions {
            for &kernel in &position.kernels {
                let row = &weights[kernel as usize * terms..][..terms];
                let lowered: Vec<Ciphertext> =
                    position.terms.iter().map(|term| ring.view(term, limbs).expect("so many limbs")).collect();
                let pairs: Vec<(&Ciphertext, f64)> = lowered.iter().zip(row.iter().copied()).collect();
                let expected = ring.linear_combination(&pairs, scale).expect("terms");
                assert!(results.next().as_ref() == Some(&expected), "kernel {kernel} of {kernels} x {terms}");
            }
        }
        assert_eq!(results.next(), None);
    }

    #[test]
    fn results_are_those_of_linear_combinations_on_every_instruction_set() {
        for arch in simd::every() {
            let ring = Ring { arch, ..ring() };
            for (kernels, terms) in [(1, 1), (3, 5), (8, 12), (9, 13), (17, 25), (130, 40), (2, TERMS + 3)] {
                compare(&ring, kernels, terms, &[(0..kernels as u32).collect()]);
            }
        }
    }

    #[test]
    fn positions_select_kernels_in_any_order() {
        let selections = [vec![3, 0, 10], vec![], (0..11).rev().collect(), vec![5, 5], vec![3, 0, 10]];
        compare(&ring(), 11, 30, &selections);
    }

    #[test]
    fn a_matrix_without_kernels_gives_nothing() {
        let ring = ring();
        let matrix = Matrix::new(&[], vec![SCALE], SCALE, &moduli(&ring, 1)).expect("no row");
        let value = ciphertext(&ring, 1, 1, SCALE);
        let position = Position { terms: vec![&value], kernels: vec![] };
        assert_eq!(ring.apply_matrix(&matrix, &[position]), Ok(vec![]));
        assert_eq!(ring.apply_matrix(&matrix, &[]), Ok(vec![]));
    }

    #[test]
    fn the_largest_words_do_not_overflow() {
        const TERMS: usize = 1000;
        for arch in simd::every() {
            let ring = Ring { arch, ..ring() };
            let words = (0..3 * ring.degree()).map(|at| ring.modulus(at / ring.degree()).p - 1);
            let value = Ciphertext { parts: [words.clone().collect(), words.collect()], scale: SCALE };
            let largest = moduli(&ring, 3).into_iter().flat_map(|modulus| vec![modulus.p - 1; 3 * TERMS]);
            let matrix = Matrix {
                words: largest.collect(),
                kernels: 3,
                limbs: 3,
                scale: SCALE,
                term_scales: vec![SCALE; TERMS],
            };
            let position = Position { terms: vec![&value; TERMS], kernels: vec![0, 1, 2] };
            let results = ring.apply_matrix(&matrix, &[position]).expect("all fits");
            for (limb, modulus) in moduli(&ring, 3).into_iter().enumerate() {
                let p = u128::from(modulus.p);
                let inverse = u128::from(modulus.inverse(modulus.montgomery(1)));
                let expected = ((p - 1) * (p - 1) * TERMS as u128 % p * inverse % p) as u32;
                let range = limb * ring.degree()..(limb + 1) * ring.degree();
                let same = |part: &Vec<u32>| part[range.clone()].iter().all(|&word| word == expected);
                assert!(results.iter().all(|result| result.parts.iter().all(same)), "limb {limb}");
            }
        }
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let ring = ring();
        let matrix = Matrix::new(&[1.0, 2.0], vec![SCALE; 2], SCALE, &moduli(&ring, 2)).expect("one row");
        let apply = |terms: Vec<&Ciphertext>, kernels| {
            ring.apply_matrix(&matrix, &[Position { terms, kernels }]).map(|results| results.len())
        };
        let value = ciphertext(&ring, 2, 1, SCALE);
        assert_eq!(apply(vec![&value; 2], vec![0]), Ok(1));
        let low = ciphertext(&ring, 1, 1, SCALE);
        assert_eq!(apply(vec![&value, &low], vec![0]), Err(CkksError::Level { left: 1, right: 2 }));
        let other = Ciphertext { scale: 2.0 * SCALE, ..value.clone() };
        assert_eq!(apply(vec![&other, &value], vec![0]), Err(CkksError::Scale { left: 23.0, right: 22.0 }));
        assert!(matches!(apply(vec![&value], vec![0]), Err(CkksError::Plan(_))), "a term is missing");
        assert!(matches!(apply(vec![&value; 2], vec![1]), Err(CkksError::Plan(_))), "a kernel is missing");
        assert_eq!(Matrix::new(&[], vec![], SCALE, &moduli(&ring, 1)), Err(CkksError::Depth));
        assert!(matches!(Matrix::new(&[1.0; 3], vec![SCALE; 2], SCALE, &moduli(&ring, 1)), Err(CkksError::Plan(_))));
    }
}
