//! The bootstrapping key in the Fourier domain.

use rayon::prelude::*;
use tfhe_fft::c64;

use crate::tfhe::cpu::fourier::block::{BLOCK, Block};
use crate::tfhe::cpu::fourier::lanes;
use crate::tfhe::cpu::fourier::torus::Gadget;
use crate::tfhe::cpu::fourier::transform::{Forward, Transform};
use crate::tfhe::cpu::product::{Factors, Shape};
use crate::tfhe::files::evaluation_key::SeededEvaluationKey;
use crate::tfhe::params::set::ParameterSet;

/// log2 of how many standard deviations of a product must stay below 2^63, so that it is converted as it is.
const SAFE_DEVIATIONS_LOG2: f64 = 4.0;

/// The bootstrapping key in the Fourier domain, blocked as the external product reads it, scaled so that products with
/// digits in their places are words.
pub struct CpuBootstrapKey {
    pub(super) params: ParameterSet,
    pub(super) transform: Transform,
    pub(super) gadget: Gadget,
    pub(super) shape: Shape,
    /// Whether products stay below 2^63.
    pub(super) small: bool,
    slices: Vec<Block>,
    groups: Option<Groups>,
}

/// What it takes to rotate by several bits of the key at a time.
struct Groups {
    /// The power of `exp(i pi / N)` that X is at the first place of each block of the transform.
    first: Vec<u32>,
    /// How much more it is at the block's other places.
    steps: [u32; BLOCK],
    /// `exp(i pi t / N)`, t below 2N.
    turns: Vec<c64>,
}

impl Groups {
    fn new(transform: &Transform) -> Self {
        let frequencies = transform.frequencies();
        let turns = 4 * frequencies.len();
        let turn = |t: usize| {
            let (sin, cos) = (std::f64::consts::TAU * t as f64 / turns as f64).sin_cos();
            c64::new(cos, sin)
        };
        Self {
            first: frequencies.iter().step_by(BLOCK).copied().collect(),
            steps: std::array::from_fn(|place| frequencies[place].wrapping_sub(frequencies[0])),
            turns: (0..turns).map(turn).collect(),
        }
    }
}

impl CpuBootstrapKey {
    pub(super) fn new(key: &SeededEvaluationKey, arch: pulp::Arch, pool: &rayon::ThreadPool) -> Self {
        let params = key.params;
        let (size, columns, levels) = (params.polynomial_size, params.glwe_dimension + 1, params.pbs_level);
        let transform = Transform::new(size, lanes::count(arch));
        let shape = Shape::new(&params, lanes::sums(arch));
        let (slice_rows, row_words) = (shape.wide(), columns * size);
        let mut slices = vec![Block::ZERO; params.bootstrap_key_length() / shape.subsets * shape.slice()];
        let memory = || (vec![0; slice_rows * row_words], vec![Block::ZERO; transform.blocks()]);
        let slice_of = |(ggsws, points): &mut (Vec<u64>, Vec<Block>), (at, slice): (usize, &mut [Block])| {
            key.expand_bootstrap_rows(at * slice_rows, ggsws);
            transform_slice(arch, &params, &transform, shape, ggsws, points, slice);
        };
        pool.install(|| slices.par_chunks_exact_mut(shape.slice()).enumerate().for_each_init(memory, slice_of));
        let groups = (params.grouping_factor > 1).then(|| Groups::new(&transform));
        let gadget = Gadget::new(params.pbs_base_log, levels);
        // Digits and key words are uniform, up to B / 2 and 2^31: deviations of B / sqrt(12) and 2^32 / sqrt(12). Of
        // groups, each set's product counts twice.
        let terms = (2 * shape.wide() * size) as f64;
        let deviation_log2 = params.pbs_base_log as f64 + 32.0 - 12.0_f64.log2() + terms.log2() / 2.0;
        let small = deviation_log2 + SAFE_DEVIATIONS_LOG2 < 63.0;
        Self { params, transform, gadget, shape, small, slices, groups }
    }

    /// Slices of the key, one a group of bits.
    pub(super) fn slices(&self) -> impl Iterator<Item = &[Block]> {
        self.slices.chunks_exact(self.shape.slice())
    }

    /// The slice after slice `at`.
    pub(super) fn next_slice(&self, at: usize) -> &[Block] {
        let length = self.shape.slice();
        self.slices.get((at + 1) * length..(at + 2) * length).unwrap_or(&[])
    }

    /// Factors for these degrees; none where bits are taken one by one.
    pub(super) fn factors<'a>(&'a self, degrees: &'a [u32]) -> Option<Factors<'a>> {
        let Groups { first, steps, turns } = self.groups.as_ref()?;
        Some(Factors { degrees, first, steps, turns })
    }
}

/// Transforms the GGSW ciphertexts of a slice of the standard key, which runs over sets, levels, rows, columns.
pub(super) fn transform_slice(
    arch: pulp::Arch,
    params: &ParameterSet,
    transform: &Transform,
    shape: Shape,
    ggsws: &[u64],
    points: &mut [Block],
    slice: &mut [Block],
) {
    let (size, columns) = (params.polynomial_size, shape.columns);
    for (at, poly) in ggsws.chunks_exact(size).enumerate() {
        let (row, column) = (at / columns, at % columns);
        let (set, row) = (row / shape.rows, row % shape.rows);
        let unit = Gadget::unit_log2(params.pbs_base_log, params.pbs_level, row / columns);
        load(poly, (-32.0 - unit as f64).exp2() / (size / 2) as f64, points);
        let out = &mut slice[shape.key_place(set, row, column)..];
        lanes::run(arch, Forward { transform, points, out, stride: columns * shape.wide() });
    }
}

/// Torus words mod 2^64 times a scale, as coefficients.
fn load(poly: &[u64], scale: f64, points: &mut [Block]) {
    let (re, im) = poly.split_at(poly.len() / 2);
    let (re, im) = (re.as_chunks::<BLOCK>().0, im.as_chunks::<BLOCK>().0);
    let number = |word: u64| word.cast_signed() as f64 * scale;
    for ((point, re), im) in points.iter_mut().zip(re).zip(im) {
        *point = Block { re: re.map(number), im: im.map(number) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_all_rings_are_in_steps_and_are_the_roots() {
        for (log2_size, lanes) in (8..=16).flat_map(|log2_size| [(log2_size, 4), (log2_size, 8)]) {
            let size = 1_u32 << log2_size;
            let transform = Transform::new(size as usize, lanes);
            let groups = Groups::new(&transform);
            let stepped = groups.first.iter().flat_map(|f| groups.steps.map(|step| f.wrapping_add(step) % (2 * size)));
            let mut all: Vec<u32> = stepped.collect();
            assert_eq!(all, transform.frequencies());
            all.sort_unstable();
            let roots: Vec<u32> = (0..size / 2).map(|f| 4 * f + 1).collect();
            assert_eq!(all, roots, "X^(N/2) = i at {size}");
        }
    }
}
