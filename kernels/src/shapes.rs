//! Rings that have a bootstrap kernel, and how each is launched.

use crate::images::{Image, LWE_BOOTSTRAP};

/// Of all shapes, as in `lwe_bootstrap.cu`.
const MOST_CIPHERTEXTS: usize = 5;

/// Shapes (N, k) that have a bootstrap kernel, with the most ciphertexts a block as in `lwe_bootstrap.cu`: warps are
/// shared out evenly to a multiprocessor's four parts, or nearly so, and registers are enough.
pub const BOOTSTRAP_SHAPES: [BootstrapShape; 16] = [
    shape(256, 5, 5),
    shape(256, 6, 4),
    shape(256, 7, 4),
    shape(256, 8, 2),
    shape(512, 3, 4),
    shape(512, 4, 4),
    shape(512, 5, 4),
    shape(512, 6, 2),
    shape(512, 7, 3),
    shape(512, 8, 2),
    shape(1024, 2, 5),
    shape(1024, 3, 4),
    shape(1024, 4, 3),
    shape(2048, 1, 4),
    shape(2048, 2, 2),
    shape(4096, 1, 2),
];

/// How the bootstrap kernel of one (N, k) is launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootstrapShape {
    /// N.
    pub polynomial_size: usize,
    /// k.
    pub glwe_dimension: usize,
    /// Threads that transform one polynomial.
    pub threads_a_polynomial: usize,
    /// Most ciphertexts a block.
    pub ciphertexts: usize,
}

const fn shape(polynomial_size: usize, glwe_dimension: usize, ciphertexts: usize) -> BootstrapShape {
    let points_a_thread = if polynomial_size <= 512 { 16 } else { 32 };
    let threads_a_polynomial = polynomial_size / 2 / points_a_thread;
    BootstrapShape { polynomial_size, glwe_dimension, threads_a_polynomial, ciphertexts }
}

impl BootstrapShape {
    /// The shape's entry, if it has a kernel.
    #[must_use]
    pub fn find(polynomial_size: usize, glwe_dimension: usize) -> Option<Self> {
        let fits = |s: &&Self| s.polynomial_size == polynomial_size && s.glwe_dimension == glwe_dimension;
        BOOTSTRAP_SHAPES.iter().find(fits).copied()
    }

    /// The image with the kernel.
    #[must_use]
    pub fn image(&self) -> Image {
        LWE_BOOTSTRAP[self.polynomial_size.trailing_zeros() as usize - 8]
    }

    /// Threads of a block for so many ciphertexts.
    #[must_use]
    pub fn threads(&self, ciphertexts: usize) -> usize {
        (ciphertexts * (self.glwe_dimension + 1) * self.threads_a_polynomial).next_multiple_of(32)
    }

    /// Dynamic shared memory of a block: points, sums of rounding errors, accumulators, exponents.
    #[must_use]
    pub fn shared_bytes(&self, ciphertexts: usize, lwe_dimension: usize, level: usize) -> usize {
        let columns = self.glwe_dimension + 1;
        let points = ciphertexts * columns * level * self.polynomial_size / 2 * 16;
        let padding = if self.threads_a_polynomial < 32 { self.threads_a_polynomial } else { 0 };
        let accumulators = ciphertexts * columns * (self.polynomial_size + padding) * 4;
        points + 8 * MOST_CIPHERTEXTS + accumulators + ciphertexts * (lwe_dimension + 1).next_multiple_of(2) * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact_shapes::{EXACT_BOOTSTRAP_SHAPES, ExactBootstrapShape};

    /// Spilled bytes that are allowed: a few loop-invariant words, where transforms or sums take all the registers
    /// there are; and words of the 32 sums that wait in each of 512 threads where N = 4096 has several levels.
    fn spill_budget(kernel: &str) -> u32 {
        match kernel {
            "lwe_bootstrap_exact_levels_u32_4096_1" => 320,
            _ if kernel.starts_with("lwe_bootstrap") => 64,
            _ if ["rns_forward", "rns_inverse", "rns_switch"].iter().any(|stem| kernel.starts_with(stem)) => 64,
            _ => 0,
        }
    }

    #[test]
    fn every_kernel_stays_in_its_budget_of_registers() {
        let report = include_str!("../images/resources.txt");
        let (mut bootstraps, mut exact) = (0, 0);
        for line in report.lines() {
            let mut fields = line.split(' ');
            let (_, kernel) = (fields.next(), fields.next().expect("image and kernel"));
            let value = |field: Option<&str>, name: &str| -> u32 {
                let text = field.and_then(|f| f.strip_prefix(name)).expect("the report's fields stand in order");
                text.parse().expect("a number")
            };
            let registers = value(fields.next(), "registers=");
            let _stack = value(fields.next(), "stack=");
            let (stores, loads) = (value(fields.next(), "spill_stores="), value(fields.next(), "spill_loads="));
            assert!(stores <= spill_budget(kernel) && loads <= spill_budget(kernel), "{kernel} spills: {line}");
            let of_ring = ["lwe_bootstrap_u32_", "lwe_bootstrap_groups_u32_"];
            let of_exact = ["lwe_bootstrap_exact_u32_", "lwe_bootstrap_exact_levels_u32_"];
            let threads = if let Some(place) = of_exact.iter().find_map(|stem| kernel.strip_prefix(stem)) {
                exact += 1;
                let (n, k) = place.split_once('_').expect("N and k");
                let shape = ExactBootstrapShape::find(n.parse().expect("N"), k.parse().expect("k"));
                shape.expect("a listed shape").threads
            } else if let Some(place) = of_ring.iter().find_map(|stem| kernel.strip_prefix(stem)) {
                bootstraps += 1;
                let (n, k) = place.split_once('_').expect("N and k");
                let shape = BootstrapShape::find(n.parse().expect("N"), k.parse().expect("k")).expect("a listed shape");
                shape.threads(shape.ciphertexts)
            } else {
                let of_block = ["rns_forward_", "rns_inverse_", "rns_switch_"];
                let block = of_block.iter().find_map(|stem| kernel.strip_prefix(stem)?.parse::<usize>().ok());
                match kernel {
                    _ if block.is_some() => block.map_or(0, |words| words / 32),
                    "lwe_keyswitch_u32" => 512,
                    "bootstrap_key_u64" => 128,
                    _ => 256,
                }
            };
            // A multiprocessor has 65,536 registers, given out to its four parts by warps, eight a thread at a time.
            let warps_a_part = threads.div_ceil(32).div_ceil(4) as u32;
            assert!(warps_a_part * 32 * registers.next_multiple_of(8) <= 65_536 / 4, "{kernel} does not start: {line}");
        }
        assert_eq!(bootstraps, 2 * BOOTSTRAP_SHAPES.len(), "every shape has two kernels");
        assert_eq!(exact, 2 * EXACT_BOOTSTRAP_SHAPES.len(), "every shape has two exact kernels");
    }

    #[test]
    fn one_ciphertext_of_every_shape_fits_the_shared_memory_of_sm_90() {
        for shape in BOOTSTRAP_SHAPES {
            for level in 1..=3 {
                let bytes = shape.shared_bytes(1, 1100, level);
                assert!(bytes <= 227 << 10, "{shape:?}, {level} levels: {bytes} bytes");
            }
        }
    }
}
