//! Rings that have a bootstrap kernel, and how each is launched.

use crate::images::{Image, LWE_BOOTSTRAP};

/// Of all shapes, as in `lwe_bootstrap.cu`.
const MOST_CIPHERTEXTS: usize = 5;

/// Sets of the bits of a group, as in `lwe_bootstrap.cu`.
const SETS: usize = 8;

/// Shapes (N, k) that have a bootstrap kernel, with the most ciphertexts a block as in `lwe_bootstrap.cu`, for digits
/// of one level and of several: registers are enough for them.
pub const BOOTSTRAP_SHAPES: [BootstrapShape; 16] = [
    shape(256, 5, 3, 3),
    shape(256, 6, 3, 2),
    shape(256, 7, 2, 2),
    shape(256, 8, 2, 2),
    shape(512, 3, 4, 3),
    shape(512, 4, 3, 2),
    shape(512, 5, 4, 2),
    shape(512, 6, 2, 2),
    shape(512, 7, 2, 1),
    shape(512, 8, 2, 1),
    shape(1024, 2, 5, 3),
    shape(1024, 3, 4, 2),
    shape(1024, 4, 3, 2),
    shape(2048, 1, 4, 2),
    shape(2048, 2, 2, 1),
    shape(4096, 1, 2, 1),
];

/// Kernels whose registers are for one block of a multiprocessor, where other kernels of such rings have several: N, k,
/// whether digits have several levels and whether key bits come in groups, and the most ciphertexts a block, as in
/// `lwe_bootstrap.cu`.
const WIDE: [(usize, usize, bool, bool, usize); 12] = [
    (256, 5, true, true, 5),
    (256, 6, false, true, 4),
    (256, 6, true, true, 4),
    (256, 7, false, true, 4),
    (256, 7, true, true, 4),
    (512, 3, true, true, 4),
    (512, 4, true, true, 4),
    (512, 7, false, true, 3),
    (512, 7, true, false, 2),
    (512, 7, true, true, 2),
    (512, 8, true, false, 2),
    (512, 8, true, true, 2),
];

/// How the bootstrap kernels of one (N, k) are launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootstrapShape {
    /// N.
    pub polynomial_size: usize,
    /// k.
    pub glwe_dimension: usize,
    ciphertexts: usize,
    ciphertexts_of_levels: usize,
}

const fn shape(
    polynomial_size: usize,
    glwe_dimension: usize,
    ciphertexts: usize,
    ciphertexts_of_levels: usize,
) -> BootstrapShape {
    BootstrapShape { polynomial_size, glwe_dimension, ciphertexts, ciphertexts_of_levels }
}

impl BootstrapShape {
    /// The shape's entry, if it has a kernel.
    #[must_use]
    pub fn find(polynomial_size: usize, glwe_dimension: usize) -> Option<Self> {
        let fits = |s: &&Self| s.polynomial_size == polynomial_size && s.glwe_dimension == glwe_dimension;
        BOOTSTRAP_SHAPES.iter().find(fits).copied()
    }

    /// The image with the kernels.
    #[must_use]
    pub fn image(&self) -> Image {
        LWE_BOOTSTRAP[self.polynomial_size.trailing_zeros() as usize - 8]
    }

    /// The kernel's name, for digits of so many levels and key bits in groups of so many.
    #[must_use]
    pub fn kernel(&self, level: usize, grouping: usize) -> String {
        let groups = if grouping > 1 { "_groups" } else { "" };
        let levels = if level > 1 { "_levels" } else { "" };
        format!("lwe_bootstrap{groups}{levels}_u32_{}_{}", self.polynomial_size, self.glwe_dimension)
    }

    /// Most ciphertexts of a wide block, if the kernel has such.
    fn wide(&self, level: usize, grouping: usize) -> Option<usize> {
        let of_kernel = (self.polynomial_size, self.glwe_dimension, level > 1, grouping > 1);
        let found = WIDE.iter().find(|&&(n, k, levels, groups, _)| (n, k, levels, groups) == of_kernel);
        found.map(|&(.., ciphertexts)| ciphertexts)
    }

    /// Most threads of a block that the kernel is compiled for.
    fn most_threads(&self, level: usize, grouping: usize) -> usize {
        match self.wide(level, grouping) {
            Some(most) => (most * (self.glwe_dimension + 1) * self.threads_a_polynomial(level)).next_multiple_of(32),
            None if self.is_lean(level) => 512,
            None => 256,
        }
    }

    /// Most ciphertexts a block, for digits of so many levels and key bits in groups of so many.
    #[must_use]
    pub fn most_ciphertexts(&self, level: usize, grouping: usize) -> usize {
        let of_ring = if level > 1 { self.ciphertexts_of_levels } else { self.ciphertexts };
        self.wide(level, grouping).unwrap_or(of_ring)
    }

    /// Whether transforms have 16 points a thread in place of 32; blocks then have up to 512 threads in place of 256.
    fn is_lean(&self, level: usize) -> bool {
        self.polynomial_size <= 512 || (self.polynomial_size == 1024 && level > 1)
    }

    /// Threads that transform one polynomial.
    fn threads_a_polynomial(&self, level: usize) -> usize {
        self.polynomial_size / 2 / self.points_a_thread(level)
    }

    /// Points of a transform that a thread has in registers.
    #[must_use]
    pub fn points_a_thread(&self, level: usize) -> usize {
        if self.is_lean(level) { 16 } else { 32 }
    }

    /// Threads of a block for so many ciphertexts; `side_by_side` has threads of its own for every level. Nothing where
    /// no block has so many, or where levels take turns in any case.
    #[must_use]
    pub fn threads(&self, ciphertexts: usize, level: usize, grouping: usize, side_by_side: bool) -> Option<usize> {
        let threads_a_polynomial = self.threads_a_polynomial(level);
        if side_by_side && (level == 1 || threads_a_polynomial > 32) {
            return None;
        }
        let ways = if side_by_side { level } else { 1 };
        let threads = ciphertexts * (self.glwe_dimension + 1) * threads_a_polynomial * ways;
        Some(threads.next_multiple_of(32)).filter(|&threads| threads <= self.most_threads(level, grouping))
    }

    /// Dynamic shared memory of a block: points, with groups of bits roots for the exponents of their sets, sums of
    /// rounding errors, exponents of the sets of a group, accumulators, exponents.
    #[must_use]
    pub fn shared_bytes(&self, ciphertexts: usize, lwe_dimension: usize, level: usize, grouping: usize) -> usize {
        let columns = self.glwe_dimension + 1;
        let points = ciphertexts * columns * level * self.polynomial_size / 2 * 16;
        let threads_a_polynomial = self.threads_a_polynomial(level);
        let padding = if threads_a_polynomial < 32 { threads_a_polynomial } else { 0 };
        let accumulators = ciphertexts * columns * (self.polynomial_size + padding) * 4;
        let sums = (8 + 2 * SETS) * MOST_CIPHERTEXTS;
        let subsets = if grouping > 1 && self.polynomial_size < 4096 { (1 << grouping) - 1 } else { 0 };
        let roots = ciphertexts * subsets * (32 + self.polynomial_size / 64) * 16;
        points + roots + sums + accumulators + ciphertexts * (lwe_dimension + 1).next_multiple_of(2) * 2
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
            "lwe_bootstrap_groups_levels_u32_2048_2" => 80,
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
            let of_exact = ["lwe_bootstrap_exact_u32_", "lwe_bootstrap_exact_levels_u32_"];
            let of_kernel = |shape: &BootstrapShape| {
                let variants = [(1, 1), (1, 2), (2, 1), (2, 2)];
                let (level, grouping) = variants.into_iter().find(|&(l, g)| shape.kernel(l, g) == kernel)?;
                let blocks = (1..=shape.most_ciphertexts(level, grouping)).flat_map(|c| [(c, false), (c, true)]);
                blocks.filter_map(|(c, side_by_side)| shape.threads(c, level, grouping, side_by_side)).max()
            };
            let threads = if let Some(place) = of_exact.iter().find_map(|stem| kernel.strip_prefix(stem)) {
                exact += 1;
                let (n, k) = place.split_once('_').expect("N and k");
                let shape = ExactBootstrapShape::find(n.parse().expect("N"), k.parse().expect("k"));
                shape.expect("a listed shape").threads
            } else if let Some(threads) = BOOTSTRAP_SHAPES.iter().find_map(of_kernel) {
                bootstraps += 1;
                threads
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
        assert_eq!(bootstraps, 4 * BOOTSTRAP_SHAPES.len(), "every shape has four kernels");
        assert_eq!(exact, 2 * EXACT_BOOTSTRAP_SHAPES.len(), "every shape has two exact kernels");
    }

    #[test]
    fn every_bootstrap_and_every_kernel_of_ckks_has_a_line_of_cycles() {
        let (resources, cycles) = (include_str!("../images/resources.txt"), include_str!("../images/cycles.txt"));
        let counted = |kernel: &&str| kernel.starts_with("lwe_bootstrap") || kernel.starts_with("rns_");
        let compiled = resources.lines().filter_map(|line| line.split(' ').nth(1)).filter(counted);
        let mut of_resources: Vec<&str> = compiled.collect();
        let mut of_cycles: Vec<&str> =
            cycles.lines().filter_map(|line| line.split(' ').next()).filter(counted).collect();
        of_resources.sort_unstable();
        of_cycles.sort_unstable();
        assert_eq!(of_cycles, of_resources);
    }

    #[test]
    fn cycles_are_those_of_blocks_that_a_shape_has() {
        let report = include_str!("../images/cycles.txt");
        for (shape, level, grouping) in
            BOOTSTRAP_SHAPES.iter().flat_map(|shape| [(1, 1), (1, 2), (2, 1), (2, 2)].map(|(l, g)| (shape, l, g)))
        {
            let kernel = shape.kernel(level, grouping);
            let line = report.lines().find(|line| line.split(' ').next() == Some(&kernel)).expect("a line a kernel");
            let value = |name: &str| line.split(' ').find_map(|f| f.strip_prefix(name)?.strip_prefix('=')).expect(name);
            let (blocks, ciphertexts) = value("blocks").split_once('x').expect("blocks and ciphertexts of each");
            let ciphertexts = ciphertexts.parse().expect("a number");
            let threads: Option<usize> = value("threads").parse().ok();
            assert!((1..=4).contains(&blocks.parse::<u32>().expect("a number")), "{line}");
            assert!((1..=shape.most_ciphertexts(level, grouping)).contains(&ciphertexts), "{line}");
            let ways = [false, true].map(|side_by_side| shape.threads(ciphertexts, level, grouping, side_by_side));
            assert!(ways.contains(&threads), "{line}");
            assert!(value("cycles").parse::<u32>().is_ok_and(|cycles| cycles > 0), "{line}");
        }
    }

    #[test]
    fn levels_side_by_side_have_threads_of_their_own_where_a_block_has_so_many() {
        let of = |n, k| BootstrapShape::find(n, k).expect("listed");
        assert_eq!(of(1024, 2).threads(2, 2, 1, true), Some(2 * 3 * 2 * 32));
        assert_eq!(of(1024, 2).threads(3, 2, 1, true), None, "576 threads");
        assert_eq!(of(1024, 2).threads(3, 2, 1, false), Some(3 * 3 * 32));
        assert_eq!(of(1024, 2).threads(5, 1, 1, false), Some(256), "240 threads are seven and a half warps");
        assert_eq!(of(1024, 2).threads(1, 1, 1, true), None, "one level");
        assert_eq!(of(4096, 1).threads(1, 2, 1, true), None, "64 threads a polynomial wait for the whole block");
    }

    #[test]
    fn some_kernels_of_small_rings_have_wide_blocks() {
        let of = |k| BootstrapShape::find(256, k).expect("listed");
        assert_eq!((of(7).most_ciphertexts(2, 2), of(7).most_ciphertexts(2, 1)), (4, 2));
        assert_eq!((of(5).most_ciphertexts(2, 2), of(5).most_ciphertexts(1, 2)), (5, 3));
        assert_eq!(of(7).threads(4, 2, 2, false), Some(256));
        assert_eq!(of(7).threads(4, 2, 2, true), None, "512 threads");
    }

    #[test]
    fn one_ciphertext_of_every_shape_fits_the_shared_memory_of_sm_90() {
        for shape in BOOTSTRAP_SHAPES {
            for (level, grouping) in (1..=3).flat_map(|level| (1..=3).map(move |grouping| (level, grouping))) {
                let bytes = shape.shared_bytes(1, 1100, level, grouping);
                assert!(bytes <= 227 << 10, "{shape:?}, {level} levels, groups of {grouping}: {bytes} bytes");
            }
        }
    }
}
