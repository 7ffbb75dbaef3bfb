//! The rows of a linear map as matrices at positions: the kernels of a convolution at every pixel, a dense layer at one
//! place.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::ckks::plan::shared_rows::SharedRows;
use crate::ckks::ring::number::State;

/// Least share of a matrix that rows of one position must fill, to be taken as one where their terms differ.
const LEAST_FILL: f64 = 0.5;

/// Rows of numbers, to be made into residues.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// `f64[kernel][term]`.
    pub numbers: Vec<f64>,
    /// Scale of each term.
    pub term_scales: Vec<f64>,
    /// Scale and limbs of the results, before they are rescaled.
    pub at: State,
}

/// Where a matrix is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Which of the map's matrices.
    pub matrix: usize,
    /// Node of each of its terms.
    pub terms: Vec<u32>,
}

/// A linear map as matrices at positions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Blocks {
    /// The matrices.
    pub matrices: Vec<Weights>,
    /// The positions.
    pub blocks: Vec<Block>,
    /// For each row its block, and its row of the block's matrix.
    pub place_of_row: Vec<(usize, u32)>,
}

impl Blocks {
    /// Rows of one position share a matrix; `position` numbers them, rows whose results differ in level never share
    /// one.
    ///
    /// `at` gives the state of a row's results, `weight` a row's number for a term from the number in the network,
    /// `scale` a node's scale.
    pub fn new(
        rows: &SharedRows,
        position: impl Fn(usize) -> usize,
        at: impl Fn(usize) -> State,
        weight: impl Fn(usize, u32, f64) -> f64,
        scale: impl Fn(u32) -> f64,
    ) -> Self {
        let mut positions: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for row in 0..rows.rows.len() {
            positions.entry((position(row), at(row).limbs)).or_default().push(row);
        }
        let mut own = Self { place_of_row: vec![(0, 0); rows.rows.len()], ..Self::default() };
        let mut known: HashMap<blake3::Hash, usize> = HashMap::new();
        for members in positions.into_values() {
            for (terms, members) in together(rows, members) {
                let mut numbers = Vec::with_capacity(members.len() * terms.len());
                for &row in &members {
                    let start = numbers.len();
                    numbers.resize(start + terms.len(), 0.0);
                    for &(source, w) in &rows.rows[row].1 {
                        let term = terms.binary_search(&source).expect("the terms are those of all members");
                        numbers[start + term] = weight(row, source, w);
                    }
                }
                let term_scales = terms.iter().map(|&term| scale(term)).collect();
                let weights = Weights { numbers, term_scales, at: at(members[0]) };
                let matrix = *known.entry(weights.digest()).or_insert_with(|| {
                    own.matrices.push(weights);
                    own.matrices.len() - 1
                });
                for (kernel, &row) in (0..).zip(&members) {
                    own.place_of_row[row] = (own.blocks.len(), kernel);
                }
                own.blocks.push(Block { matrix, terms });
            }
        }
        own
    }
}

impl Weights {
    fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.at.limbs as u64).to_le_bytes()).update(&self.at.scale.to_bits().to_le_bytes());
        hasher.update(&(self.term_scales.len() as u64).to_le_bytes());
        hasher.update(bytemuck::cast_slice(&self.term_scales)).update(bytemuck::cast_slice(&self.numbers));
        hasher.finalize()
    }
}

/// Sorted terms with the rows that read them: all rows together if their common matrix is well filled, else those that
/// read the same.
fn together(rows: &SharedRows, members: Vec<usize>) -> Vec<(Vec<u32>, Vec<usize>)> {
    let of_row = |row: usize| rows.rows[row].1.iter().map(|&(source, _)| source);
    let all: BTreeSet<u32> = members.iter().flat_map(|&row| of_row(row)).collect();
    let read: usize = members.iter().map(|&row| rows.rows[row].1.len()).sum();
    if read as f64 >= LEAST_FILL * (all.len() * members.len()) as f64 {
        return vec![(all.into_iter().collect(), members)];
    }
    let mut alike: BTreeMap<Vec<u32>, Vec<usize>> = BTreeMap::new();
    for row in members {
        let mut terms: Vec<u32> = of_row(row).collect();
        terms.sort_unstable();
        terms.dedup();
        alike.entry(terms).or_default().push(row);
    }
    alike.into_iter().collect()
}
