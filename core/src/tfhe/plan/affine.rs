//! Integer affine maps over LWE rows, with equal weight vectors and equal index lists stored once.

use serde::{Deserialize, Serialize};

use crate::device::simd::for_each_arch;
use crate::model::decoding::list;

/// `out[r] = bias[r] + sum_j weight[r][j] * value[pick[r][j]]` for a batch of rows, as a list of gathered products.
///
/// A convolution without padding is one block (kernels x positions), a dense layer is one block with one position;
/// padding adds a block for each kind of border.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AffineMap {
    /// Number of output rows; every output row is named by exactly one block.
    pub rows: usize,
    /// The gathered products.
    #[serde(deserialize_with = "list")]
    pub blocks: Vec<AffineBlock>,
    /// Constant term of each row mod 2^32, added to the body.
    pub bias: Vec<u32>,
}

/// A gathered product: `out[target[m][p]] = sum_t weights[m][t] * value[picks[p][t]]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AffineBlock {
    /// Terms of a row (may be 0: a constant row).
    pub terms: usize,
    /// Row-major `kernels x terms`.
    #[serde(with = "crate::word_bytes")]
    pub weights: Vec<i16>,
    /// Row-major `positions x terms`, indices in the flat value space.
    #[serde(with = "crate::word_bytes")]
    pub picks: Vec<u32>,
    /// Row-major `kernels x positions`: which output row each product is.
    #[serde(with = "crate::word_bytes")]
    pub targets: Vec<u32>,
    /// Number of weight vectors.
    pub kernels: usize,
    /// Number of index lists.
    pub positions: usize,
}

impl AffineMap {
    /// Number of multiply-accumulates on rows.
    #[must_use]
    pub fn term_count(&self) -> usize {
        self.blocks.iter().map(|block| block.kernels * block.positions * block.terms).sum()
    }

    /// Checks every length and index against `values` existing values; needed once after reading from outside.
    ///
    /// # Errors
    /// A sentence that names the first violation.
    pub fn validate(&self, values: usize) -> Result<(), String> {
        if self.bias.len() != self.rows {
            return Err(format!("affine map of {} rows has {} constants", self.rows, self.bias.len()));
        }
        let mut seen = vec![false; self.rows];
        for block in &self.blocks {
            let lengths = [
                (block.weights.len(), block.kernels.checked_mul(block.terms)),
                (block.picks.len(), block.positions.checked_mul(block.terms)),
                (block.targets.len(), block.kernels.checked_mul(block.positions)),
            ];
            // Without targets any number of positions would fit.
            if block.targets.is_empty() {
                return Err("an affine block gives no row".into());
            }
            if lengths.iter().any(|&(length, want)| want != Some(length)) {
                return Err("an affine block's lengths disagree with its shape".into());
            }
            if block.picks.iter().any(|&pick| pick as usize >= values) {
                return Err(format!("an affine block reads past the {values} values before it"));
            }
            for &target in &block.targets {
                match seen.get_mut(target as usize) {
                    Some(slot) if !*slot => *slot = true,
                    _ => return Err(format!("row {target} of an affine map is out of range or given twice")),
                }
            }
        }
        if seen.contains(&false) {
            return Err("a row of an affine map is not given".into());
        }
        Ok(())
    }
}

impl AffineBlock {
    /// The values that a position reads, in the order of its terms.
    fn gather<T: Copy>(&self, position: usize, values: &[T], gathered: &mut Vec<T>) {
        gathered.clear();
        let picks = &self.picks[position * self.terms..][..self.terms];
        gathered.extend(picks.iter().map(|&pick| values[pick as usize]));
    }
}

/// Inputs that [`evaluate_lanes`] takes side by side.
pub const LANES: usize = 16;

/// As [`evaluate`], on inputs side by side, one lane each.
#[must_use]
pub fn evaluate_lanes(map: &AffineMap, values: &[[u32; LANES]]) -> Vec<[u32; LANES]> {
    let mut out: Vec<[u32; LANES]> = map.bias.iter().map(|&bias| [bias; LANES]).collect();
    let mut gathered = Vec::new();
    for block in &map.blocks {
        for position in 0..block.positions {
            block.gather(position, values, &mut gathered);
            products(pulp::Arch::new(), block, position, &gathered, &mut out);
        }
    }
    out
}

for_each_arch! {
    fn products = products_body,
    (block: &AffineBlock, position: usize, gathered: &[[u32; LANES]], out: &mut [[u32; LANES]])
}

/// Adds the products of one position with all kernels, four at a time.
#[inline(always)]
fn products_body(block: &AffineBlock, position: usize, gathered: &[[u32; LANES]], out: &mut [[u32; LANES]]) {
    let weights = |kernel: usize| &block.weights[kernel * block.terms..][..block.terms];
    let mut add = |kernel: usize, sum: &[u32; LANES]| {
        let target = &mut out[block.targets[kernel * block.positions + position] as usize];
        for lane in 0..LANES {
            target[lane] = target[lane].wrapping_add(sum[lane]);
        }
    };
    let word = |weight: i16| i32::from(weight).cast_unsigned();
    let fours = block.kernels / 4 * 4;
    for kernel in (0..fours).step_by(4) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|more| weights(kernel + more));
        let mut sums = [[0_u32; LANES]; 4];
        for ((((x, &a), &b), &c), &d) in gathered.iter().zip(a).zip(b).zip(c).zip(d) {
            for (sum, weight) in sums.iter_mut().zip([a, b, c, d]) {
                for lane in 0..LANES {
                    sum[lane] = sum[lane].wrapping_add(x[lane].wrapping_mul(word(weight)));
                }
            }
        }
        sums.iter().enumerate().for_each(|(more, sum)| add(kernel + more, sum));
    }
    for kernel in fours..block.kernels {
        let mut sum = [0_u32; LANES];
        for (x, &weight) in gathered.iter().zip(weights(kernel)) {
            for lane in 0..LANES {
                sum[lane] = sum[lane].wrapping_add(x[lane].wrapping_mul(word(weight)));
            }
        }
        add(kernel, &sum);
    }
}

/// The map on plain words: the model that every backend's linear map must equal.
#[must_use]
pub fn evaluate(map: &AffineMap, values: &[u32]) -> Vec<u32> {
    let mut out = map.bias.clone();
    let mut gathered = Vec::new();
    for block in &map.blocks {
        for position in 0..block.positions {
            block.gather(position, values, &mut gathered);
            for kernel in 0..block.kernels {
                let weights = &block.weights[kernel * block.terms..][..block.terms];
                let sum = weights
                    .iter()
                    .zip(&gathered)
                    .fold(0_u32, |sum, (&w, &x)| sum.wrapping_add(x.wrapping_mul(i32::from(w).cast_unsigned())));
                let target = block.targets[kernel * block.positions + position] as usize;
                out[target] = out[target].wrapping_add(sum);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_side_by_side_give_what_each_gives_alone() {
        let kernels = 7;
        let block = AffineBlock {
            terms: 3,
            weights: (0..3 * kernels).map(|at| (977 * at as i32 - 9000) as i16).collect(),
            picks: vec![0, 2, 3, 1, 2, 4],
            targets: (0..2 * kernels as u32).rev().collect(),
            kernels,
            positions: 2,
        };
        let map = AffineMap { rows: 2 * kernels, blocks: vec![block], bias: (0..2 * kernels as u32).collect() };
        let word = |value: usize, lane: usize| ((value * LANES + lane) as u32).wrapping_mul(0x9e37_79b9);
        let lanes: Vec<[u32; LANES]> = (0..5).map(|value| std::array::from_fn(|lane| word(value, lane))).collect();
        let together = evaluate_lanes(&map, &lanes);
        for lane in 0..LANES {
            let alone = evaluate(&map, &(0..5).map(|value| word(value, lane)).collect::<Vec<u32>>());
            assert!(together.iter().zip(&alone).all(|(row, word)| row[lane] == *word));
        }
    }
}
