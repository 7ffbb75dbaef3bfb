//! Which rings devices run, told without one.

use heman_kernels::{BootstrapShape, ExactBootstrapShape};

/// Bits of the small key that a row may have at the most: their exponents lie in shared memory.
const MOST_DIMENSION: usize = 1100;

/// Shared memory that a block may ask for on devices of a compute capability, in bytes.
///
/// Source: CUDA C++ programming guide, technical specifications a compute capability.
#[must_use]
pub fn shared_bytes(compute_capability: (i32, i32)) -> usize {
    let kibibytes = match compute_capability {
        (9 | 10, _) => 227,
        (8, 0 | 7) => 163,
        (8 | 12, _) => 99,
        (7, 5) => 64,
        _ => 48,
    };
    kibibytes << 10
}

/// Whether there is a bootstrap kernel for a ring (N, k) and so many levels, and devices of a compute capability have
/// the shared memory for it.
#[must_use]
pub fn has_ring(
    compute_capability: (i32, i32),
    polynomial_size: usize,
    glwe_dimension: usize,
    pbs_level: usize,
) -> bool {
    let most = shared_bytes(compute_capability);
    let doubles = BootstrapShape::find(polynomial_size, glwe_dimension)
        .is_some_and(|shape| shape.shared_bytes(1, MOST_DIMENSION, pbs_level, 1) <= most);
    let exact = ExactBootstrapShape::find(polynomial_size, glwe_dimension);
    doubles || exact.is_some_and(|shape| shape.shared_bytes(1) <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_those_that_have_kernels_and_fit() {
        assert!(has_ring((9, 0), 512, 4, 1) && has_ring((9, 0), 2048, 2, 3));
        assert!(!has_ring((9, 0), 8192, 1, 1), "there is no kernel");
        // Three columns of 2,048 words and of 3 x 1,024 points are 168 KiB, by exact transforms 73 KiB.
        assert!(has_ring((8, 9), 2048, 2, 3) && !has_ring((7, 0), 2048, 2, 3));
        assert!(has_ring((8, 9), 512, 4, 2));
    }
}
