//! What the client does to decrypted outputs.

use serde::{Deserialize, Serialize};

/// What the client does to the decrypted output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientOp {
    /// Softmax over the axis.
    Softmax {
        /// Axis of the output tensor, counted from 0.
        axis: usize,
    },
    /// Index of the largest entry over the axis.
    ArgMax {
        /// Axis of the output tensor, counted from 0.
        axis: usize,
        /// Whether the reduced axis stays as an axis of length 1.
        keep_dims: bool,
    },
}

/// Index of the largest entry along `axis`, for each position of the other axes.
#[must_use]
pub fn argmax(values: &[f64], shape: &[usize], axis: usize) -> Vec<usize> {
    let length = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let mut indices = Vec::with_capacity(outer * inner);
    for o in 0..outer {
        for i in 0..inner {
            let at = |j: usize| values[(o * length + j) * inner + i];
            indices.push((1..length).fold(0, |best, j| if at(j) > at(best) { j } else { best }));
        }
    }
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argmax_runs_along_the_axis() {
        let values = [1.0, 5.0, 2.0, 4.0, 3.0, 9.0];
        assert_eq!(argmax(&values, &[2, 3], 1), [1, 2]);
        assert_eq!(argmax(&values, &[2, 3], 0), [1, 0, 1]);
    }
}
