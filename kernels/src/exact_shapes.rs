//! How the bootstrap kernels by exact transforms are launched.

use crate::images::{Image, LWE_BOOTSTRAP_EXACT};

/// Bytes of shared memory in front of the values: sums of rounding errors and degrees, as in
/// `lwe_bootstrap_exact.cu`.
const HEAD_BYTES: usize = 160;

/// Shapes (N, k) that have an exact bootstrap kernel: all that have one by doubles. With the most ciphertexts a block
/// and the threads of a block as in `lwe_bootstrap_exact.cu`: so many ciphertexts fit 99 KB of shared memory, and
/// threads share out their polynomials and places evenly, or nearly so.
pub const EXACT_BOOTSTRAP_SHAPES: [ExactBootstrapShape; 16] = [
    shape(256, 5, 4, 192),
    shape(256, 6, 4, 256),
    shape(256, 7, 3, 256),
    shape(256, 8, 2, 288),
    shape(512, 3, 3, 256),
    shape(512, 4, 3, 320),
    shape(512, 5, 2, 384),
    shape(512, 6, 2, 448),
    shape(512, 7, 1, 256),
    shape(512, 8, 1, 576),
    shape(1024, 2, 2, 192),
    shape(1024, 3, 2, 256),
    shape(1024, 4, 1, 320),
    shape(2048, 1, 2, 256),
    shape(2048, 2, 1, 384),
    shape(4096, 1, 1, 512),
];

/// How the exact bootstrap kernels of one (N, k) are launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactBootstrapShape {
    /// N.
    pub polynomial_size: usize,
    /// k.
    pub glwe_dimension: usize,
    /// Threads of a block, however many ciphertexts it has.
    pub threads: usize,
    /// Most ciphertexts a block, with one level.
    ciphertexts: usize,
}

const fn shape(
    polynomial_size: usize,
    glwe_dimension: usize,
    ciphertexts: usize,
    threads: usize,
) -> ExactBootstrapShape {
    ExactBootstrapShape { polynomial_size, glwe_dimension, threads, ciphertexts }
}

impl ExactBootstrapShape {
    /// The shape's entry, if it has kernels.
    #[must_use]
    pub fn find(polynomial_size: usize, glwe_dimension: usize) -> Option<Self> {
        let fits = |s: &&Self| s.polynomial_size == polynomial_size && s.glwe_dimension == glwe_dimension;
        EXACT_BOOTSTRAP_SHAPES.iter().find(fits).copied()
    }

    /// The image with the kernels.
    #[must_use]
    pub fn image(&self) -> Image {
        LWE_BOOTSTRAP_EXACT[self.polynomial_size.trailing_zeros() as usize - 8]
    }

    /// The bootstrap kernel's name.
    #[must_use]
    pub fn kernel(&self, level: usize) -> String {
        let form = if level == 1 { "" } else { "_levels" };
        format!("lwe_bootstrap_exact{form}_u32_{}_{}", self.polynomial_size, self.glwe_dimension)
    }

    /// The name of the kernel that transforms the key.
    #[must_use]
    pub fn key_kernel(&self) -> String {
        format!("bootstrap_key_exact_u32_{}", self.polynomial_size)
    }

    /// Most ciphertexts a block. With several levels sums wait in registers: they are enough for one.
    #[must_use]
    pub fn most_ciphertexts(&self, level: usize) -> usize {
        if level == 1 { self.ciphertexts } else { 1 }
    }

    /// Threads that transform one polynomial.
    #[must_use]
    pub fn threads_a_polynomial(&self) -> usize {
        self.polynomial_size / if self.polynomial_size == 1024 { 32 } else { 16 }
    }

    /// Words from one accumulator in shared memory to the next.
    fn stride(&self) -> usize {
        let threads = self.threads_a_polynomial();
        self.polynomial_size + if threads < 32 { threads } else { 0 }
    }

    /// Dynamic shared memory of a block: the head, values modulo both primes, accumulators.
    #[must_use]
    pub fn shared_bytes(&self, ciphertexts: usize) -> usize {
        HEAD_BYTES + ciphertexts * (self.glwe_dimension + 1) * (2 * self.polynomial_size + self.stride()) * 4
    }

    /// Dynamic shared memory of a block that transforms the key.
    #[must_use]
    pub fn key_shared_bytes(&self) -> usize {
        2 * self.polynomial_size * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::BOOTSTRAP_SHAPES;

    #[test]
    fn every_shape_by_doubles_has_an_exact_one() {
        let ring = |shape: &ExactBootstrapShape| (shape.polynomial_size, shape.glwe_dimension);
        let doubles = BOOTSTRAP_SHAPES.map(|shape| (shape.polynomial_size, shape.glwe_dimension));
        assert_eq!(EXACT_BOOTSTRAP_SHAPES.each_ref().map(ring), doubles);
    }

    #[test]
    fn every_block_fits_the_shared_memory_of_sm_89() {
        for shape in EXACT_BOOTSTRAP_SHAPES {
            for level in 1..=3 {
                let bytes = shape.shared_bytes(shape.most_ciphertexts(level));
                assert!(bytes <= 99 << 10, "{shape:?}, {level} levels: {bytes} bytes");
            }
            assert!(shape.key_shared_bytes() <= 48 << 10);
        }
    }

    #[test]
    fn sources_list_the_same_shapes() {
        let source = include_str!("../cuda/lwe_bootstrap_exact.cu");
        for ExactBootstrapShape { polynomial_size, glwe_dimension, threads, ciphertexts } in EXACT_BOOTSTRAP_SHAPES {
            let log2 = polynomial_size.trailing_zeros();
            let line =
                format!("\nHEMAN_BOOTSTRAP({log2}, {polynomial_size}, {glwe_dimension}, {ciphertexts}, {threads})\n");
            assert!(source.contains(&line), "{line}");
        }
    }
}
