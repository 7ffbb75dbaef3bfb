//! What steps take in integer instructions, and the least time that known GPUs need for them.
//!
//! **Counts.** With 64-bit products a lazy product with a constant is three multiplications (one high, two low) and a
//! subtraction; a butterfly of the transform adds five additions and minima. A product that is added to a sum is two
//! multiplications, an addition with carry (three) and a minimum (two); its reduction three and three. From half words
//! a high product is four multiplications and seven other instructions. Loads, addresses and digits are not counted:
//! bounds are bounds.

use heman_core::ckks::params::set::ParameterSet as CkksSet;
use heman_core::tfhe::params::set::ParameterSet;
use heman_kernels::wgsl::WideProducts;

/// 32-bit integer instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Operations {
    /// Multiplications, low or high half.
    pub multiplications: f64,
    /// Additions, minima, shifts.
    pub others: f64,
}

/// What a GPU does in a second at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gpu {
    /// As its driver names it, without the maker.
    pub name: &'static str,
    /// 32-bit multiplications a second.
    pub multiplications: f64,
    /// Other 32-bit integer instructions a second.
    pub others: f64,
}

/// GPUs whose bounds are printed: data sheets' units and boost clocks, and how many integer instructions a unit does a
/// clock.
///
/// Sources: NVIDIA, CUDA C++ programming guide, throughput of arithmetic instructions: at compute capability 8.9 a
/// multiprocessor does 64 of both a clock (128 multiprocessors, 2.52 GHz). AMD, RDNA 3 instruction set: 64 lanes a
/// compute unit, 32-bit multiplications at a quarter of the rate (96 units, 2.5 GHz). The makers of the other two give
/// no figures for integers: Arc is taken to do half as many as floating-point operations, and a quarter of those
/// multiplications (32 cores of 128 lanes, 2.1 GHz), M3 as many, and a quarter multiplications (10 cores of 128 lanes,
/// 1.4 GHz).
pub const GPUS: [Gpu; 4] = [
    gpu("GeForce RTX 4090", 128.0 * 2.52e9, 64.0, 64.0),
    gpu("Radeon RX 7900 XTX", 96.0 * 2.5e9, 16.0, 64.0),
    gpu("Arc A770", 32.0 * 2.1e9, 16.0, 64.0),
    gpu("Apple M3", 10.0 * 1.4e9, 32.0, 128.0),
];

const fn gpu(name: &'static str, unit_clocks: f64, multiplications: f64, others: f64) -> Gpu {
    Gpu { name, multiplications: unit_clocks * multiplications, others: unit_clocks * others }
}

impl Gpu {
    /// Least seconds for so many instructions: both kinds are issued to the same lanes.
    #[must_use]
    pub fn seconds(&self, operations: Operations) -> f64 {
        operations.multiplications / self.multiplications + operations.others / self.others
    }

    /// Least seconds of one bootstrap with 64-bit products.
    #[must_use]
    pub fn bootstrap_seconds(&self, params: &ParameterSet) -> f64 {
        self.seconds(Operations::bootstrap(params, WideProducts::Words64))
    }
}

impl Operations {
    fn times(self, count: f64) -> Self {
        Self { multiplications: count * self.multiplications, others: count * self.others }
    }

    fn and(self, other: Self) -> Self {
        Self { multiplications: self.multiplications + other.multiplications, others: self.others + other.others }
    }

    /// Of a high half, or of both halves, beyond the low one.
    fn high(wide: WideProducts) -> Self {
        match wide {
            WideProducts::Words64 => Self { multiplications: 1.0, others: 0.0 },
            WideProducts::HalfWords => Self { multiplications: 4.0, others: 7.0 },
        }
    }

    fn butterfly(wide: WideProducts) -> Self {
        Self { multiplications: 2.0, others: 6.0 }.and(Self::high(wide))
    }

    /// A product added to a sum. From half words the low half comes with the high one.
    fn product(wide: WideProducts) -> Self {
        let low = if wide == WideProducts::Words64 { 1.0 } else { 0.0 };
        Self { multiplications: low, others: 5.0 }.and(Self::high(wide))
    }

    fn reduction(wide: WideProducts) -> Self {
        Self { multiplications: 1.0, others: 4.0 }.and(Self::high(wide))
    }

    fn transform(wide: WideProducts, degree: f64) -> Self {
        Self::butterfly(wide).times(degree / 2.0 * degree.log2())
    }

    /// Of one bootstrap: for each step `(k + 1)(l + 1)` transforms modulo each prime, and the products with every set's
    /// rows.
    #[must_use]
    pub fn bootstrap(params: &ParameterSet, wide: WideProducts) -> Self {
        let (columns, level) = (params.glwe_dimension as f64 + 1.0, params.pbs_level as f64);
        let (size, sets) = (params.polynomial_size as f64, params.subsets() as f64);
        let transforms = Self::transform(wide, size).times(columns * (level + 1.0));
        let rows = columns * level;
        // Groups of bits: the key of each row as it is set, from those of all sets, before it meets the digit.
        let (each_product, each_reduction) = if params.grouping_factor > 1 { (sets + 1.0, 1.0) } else { (1.0, 0.0) };
        let products = Self::product(wide).times(each_product * columns * rows * size);
        let reductions = Self::reduction(wide).times((each_reduction * rows + 1.0) * columns * size);
        let shares = Self { multiplications: 2.0, others: 5.0 }.and(Self::high(wide).times(2.0)).times(columns * size);
        let step = transforms.and(products).and(reductions).and(shares);
        step.times(2.0 * (params.lwe_dimension / params.grouping_factor) as f64)
    }

    /// Of one key switch at all limbs: transforms of the mask's limbs up, of all digits down, of the special limbs up
    /// and of the results down; conversions, and products with the key.
    #[must_use]
    pub fn key_switch(params: &CkksSet, wide: WideProducts) -> Self {
        let (limbs, special) = (params.primes.len() as f64, params.special_primes.len() as f64);
        let degree = params.degree() as f64;
        let digits = (limbs / special).ceil();
        let extended = limbs + special;
        let converted = digits * extended - limbs;
        let transforms = limbs + converted + 2.0 * (special + limbs);
        let products = converted * special.min(limbs) + 2.0 * digits * extended + 2.0 * limbs * special;
        let reductions = converted + 2.0 * extended + 2.0 * limbs;
        let words = Self::product(wide).times(products).and(Self::reduction(wide).times(reductions));
        let butterflies = degree / 2.0 * f64::from(params.ring.log2_half_order(params.log2_degree));
        Self::butterfly(wide).times(butterflies * transforms).and(words.times(degree))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bootstrap_is_bounded_as_counted_by_hand() {
        let params = ParameterSet::with_least_noise(800, 4, 512, (23, 1), (2, 7));
        let operations = Operations::bootstrap(&params, WideProducts::Words64);
        // 800 steps, two primes, ten transforms of 2,304 butterflies with three multiplications, 12,800 products with two, 2,560
        // reductions with two, and 2,560 shares with four.
        let multiplications = 800.0 * 2.0 * (10.0 * 2304.0 * 3.0 + 12_800.0 * 2.0 + 2560.0 * (2.0 + 4.0));
        assert!((operations.multiplications / multiplications - 1.0).abs() < 1e-12);
        let rate = 1.0 / GPUS[0].seconds(operations);
        assert!((3e4..6e4).contains(&rate), "{rate} bootstraps a second");
        let portable = Operations::bootstrap(&params, WideProducts::HalfWords);
        assert!(GPUS.iter().all(|gpu| gpu.seconds(portable) > 1.5 * gpu.seconds(operations)));
    }
}
