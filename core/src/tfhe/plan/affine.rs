//! Integer affine maps over LWE rows, with equal weight vectors and equal index lists stored once.

use serde::{Deserialize, Serialize};

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

/// The map on plain words: the model that every backend's linear map must equal.
#[must_use]
pub fn evaluate(map: &AffineMap, values: &[u32]) -> Vec<u32> {
    let mut out = map.bias.clone();
    let mut gathered = Vec::new();
    for block in &map.blocks {
        for position in 0..block.positions {
            gathered.clear();
            let picks = &block.picks[position * block.terms..][..block.terms];
            gathered.extend(picks.iter().map(|&pick| values[pick as usize]));
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
