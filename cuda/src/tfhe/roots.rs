//! Roots of unity for the transforms.

use std::f64::consts::TAU;

/// `exp(2 pi i (1/4 + rev_d(p)) / 2^(d+1))` at index `2^d + p`, for `log2_points` depths; real and imaginary parts
/// alternate.
pub(crate) fn roots(log2_points: u32) -> Vec<f64> {
    let mut table = vec![0.0, 0.0];
    for depth in 0..log2_points {
        for node in 0..1_u32 << depth {
            let reversed = if depth == 0 { 0 } else { node.reverse_bits() >> (32 - depth) };
            let (cos, sin) = unit_root((0.25 + f64::from(reversed)) / f64::from(2_u32 << depth));
            table.extend([cos, sin]);
        }
    }
    table
}

/// Cosine and sine of a fraction of a turn, `0 <= turns < 1`, reduced to the first octant before it is rounded to
/// radians: errors of the roots are errors of every bootstrap.
pub(crate) fn unit_root(turns: f64) -> (f64, f64) {
    if turns >= 0.5 {
        let (cos, sin) = unit_root(turns - 0.5);
        (-cos, -sin)
    } else if turns >= 0.25 {
        let (cos, sin) = unit_root(turns - 0.25);
        (-sin, cos)
    } else if turns > 0.125 {
        let (cos, sin) = unit_root(0.25 - turns);
        (sin, cos)
    } else {
        let (sin, cos) = (TAU * turns).sin_cos();
        (cos, sin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_root_squares_to_its_parent() {
        let table = roots(8);
        let root = |index: usize| (table[2 * index], table[2 * index + 1]);
        for index in 1..256 {
            // The parent's subtree is X^2m - r^2, with r or -r as the child's square.
            let (re, im) = root(index);
            let square = (re * re - im * im, 2.0 * re * im);
            let want = if index == 1 { (0.0, 1.0) } else { root(index / 2) };
            let sign = if index == 1 || index % 2 == 0 { 1.0 } else { -1.0 };
            assert!((square.0 - sign * want.0).abs() < 1e-15 && (square.1 - sign * want.1).abs() < 1e-15, "{index}");
        }
    }
}
