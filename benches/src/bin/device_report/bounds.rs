//! Counts of integer instructions, and what known GPUs do at most.

use heman_benches::sets;
use heman_core::ckks::params::set::ParameterSet;
use heman_core::tfhe::params::set::ParameterSet as TfheSet;
use heman_cuda::{ExactOperations, Rates, Transform, operations};
use heman_kernels::wgsl::WideProducts;
use heman_wgpu::bounds::{GPUS, Gpu, Operations};

/// The GPU that a device's name names.
pub fn gpu(name: &str) -> Option<Gpu> {
    GPUS.into_iter().find(|gpu| name.contains(gpu.name))
}

/// Its rates as other devices' are given.
pub fn rates(gpu: Gpu) -> Rates {
    Rates { doubles: 0.0, words: gpu.multiplications, bytes: 4.0 * gpu.multiplications }
}

/// A bound that is one, and how much of a time it is. A device whose rates are not known, or whose driver does not tell
/// its clock, has none.
pub fn share(bound_seconds: f64, seconds: f64) -> (Option<f64>, String) {
    let bound = Some(bound_seconds).filter(|bound| bound.is_finite() && *bound > 0.0);
    (bound, bound.map_or("-".into(), |bound| format!("{:.1} %", 100.0 * bound / seconds)))
}

/// Operations of doubles that a blind rotation takes at the least on a host, at the rate of fused multiply-adds: three
/// a point and layer of each transform, four a product of complex numbers; for each coefficient a conversion and two
/// additions that round it, three operations more for each further digit, and on the way back a conversion and a sum.
/// With groups of bits also, for each set, its factor (five a point) and the products with it.
///
/// Where additions have units of their own, time could be shorter still.
pub fn host_rotation(params: &TfheSet) -> f64 {
    let (k, l) = (params.glwe_dimension as f64, params.pbs_level as f64);
    let size = params.polynomial_size as f64;
    let points = size / 2.0;
    let transform = 3.0 * points * points.log2();
    let there = (k + 1.0) * (l * transform + 3.0 * l * size);
    let back = (k + 1.0) * (transform + 2.0 * size);
    let subsets = params.subsets() as f64;
    let products = subsets * 4.0 * (k + 1.0) * (k + 1.0) * l * points;
    let factors = if params.grouping_factor == 1 { 0.0 } else { subsets * points * (5.0 + 4.0 * (k + 1.0)) };
    (params.lwe_dimension / params.grouping_factor) as f64 * (there + back + products + factors)
}

/// Instructions of a key switch that one of a device's units executes: additions, minima and shifts have units of their
/// own beside those of multiplications.
pub fn key_switch(params: &ParameterSet) -> f64 {
    let Operations { multiplications, others } = Operations::key_switch(params, WideProducts::Words64);
    multiplications.max(others)
}

/// NVIDIA's cards whose bounds are printed: multiprocessors, boost clock in GHz, compute capability.
///
/// Source: NVIDIA's data sheets and architecture papers; B200 and B300 by their double-precision rates.
const CARDS: [(&str, usize, f64, (i32, i32)); 8] = [
    ("RTX 4090", 128, 2.52, (8, 9)),
    ("RTX 5090", 170, 2.41, (12, 0)),
    ("L4", 58, 2.04, (8, 9)),
    ("L40S", 142, 2.52, (8, 9)),
    ("A100", 108, 1.41, (8, 0)),
    ("H100", 132, 1.98, (9, 0)),
    ("B200", 148, 1.965, (10, 0)),
    ("B300", 148, 1.965, (10, 3)),
];

/// Prints what a bootstrap takes by both transforms of the CUDA kernels, and how many a second NVIDIA's cards do at
/// most, with a star at the transform that a card is given; and the same of CKKS's key switches.
pub fn print_cuda() {
    let names = CARDS.map(|(name, ..)| format!("{:>12}", format!("{name}/s"))).concat();
    println!("{:28} {:>8} {:>12}{names}", "bootstraps at most", "", "instructions");
    for (name, params) in sets() {
        let exact = ExactOperations::bootstrap(&params);
        for (transform, label, instructions) in [
            (Transform::Doubles, "doubles", operations(&params)),
            (Transform::Exact, "exact", exact.multiplications + exact.others),
        ] {
            let rates = CARDS.map(|(_, multiprocessors, gigahertz, capability)| {
                let rates = Rates::new(multiprocessors, 1e9 * gigahertz, capability);
                let star = if Transform::fastest(&params, &rates) == transform { "*" } else { "" };
                format!("{:>12}", format!("{star}{:.0}", 1.0 / transform.seconds(&params, &rates)))
            });
            println!("{name:28} {label:>8} {instructions:>12.3e}{}", rates.concat());
        }
    }
    for (log2_degree, levels, special) in RINGS {
        let params = ParameterSet::new(log2_degree, levels, 28, special).expect("a secure set");
        let name = format!("key switch 2^{log2_degree}, {} + {special}", levels + 1);
        let Operations { multiplications, others } = Operations::key_switch(&params, WideProducts::Words64);
        let instructions = key_switch(&params);
        let rates = CARDS.map(|(_, multiprocessors, gigahertz, capability)| {
            let words = Rates::new(multiprocessors, 1e9 * gigahertz, capability).words;
            format!("{:>12}", format!("{:.0}", words / instructions))
        });
        println!("{name:28} {:>8} {:>12.3e}{}", "", multiplications + others, rates.concat());
    }
    println!();
}

/// Rings whose key switches are counted: degree, levels, special primes.
const RINGS: [(u32, usize, usize); 4] = [(13, 4, 1), (14, 10, 3), (15, 18, 4), (16, 36, 6)];

/// Prints what one bootstrap and one key switch take, and how many a second each GPU does at most.
pub fn print() {
    let names = GPUS.map(|gpu| format!("{:>20}", format!("{}/s", gpu.name))).concat();
    println!("{:28} {:>6} {:>14} {:>14}{names}", "at most", "", "multiplications", "others");
    let line = |name: &str, variant: &str, operations: Operations| {
        let rates = GPUS.map(|gpu| format!("{:>20.0}", 1.0 / gpu.seconds(operations))).concat();
        println!("{name:28} {variant:>6} {:>14.3e} {:>14.3e}{rates}", operations.multiplications, operations.others);
    };
    for wide in [WideProducts::Words64, WideProducts::HalfWords] {
        let variant = if wide == WideProducts::Words64 { "u64" } else { "u32" };
        for (name, params) in sets() {
            line(&format!("bootstrap {name}"), variant, Operations::bootstrap(&params, wide));
        }
        for (log2_degree, levels, special) in RINGS {
            let params = ParameterSet::new(log2_degree, levels, 28, special).expect("a secure set");
            let name = format!("key switch 2^{log2_degree}, {} + {special}", levels + 1);
            line(&name, variant, Operations::key_switch(&params, wide));
        }
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_of_a_host_are_those_of_its_transforms_and_products() {
        let set = TfheSet::with_least_noise(800, 4, 512, (23, 1), (2, 7));
        let (there, back, products) = (5.0 * (6144.0 + 1536.0), 5.0 * (6144.0 + 1024.0), 25_600.0);
        assert_eq!(host_rotation(&set), 800.0 * (there + back + products));
        let of_pairs = host_rotation(&TfheSet { grouping_factor: 2, ..set });
        assert_eq!(of_pairs, 400.0 * (there + back + 3.0 * (products + 256.0 * 25.0)));
    }

    #[test]
    fn a_share_is_that_of_a_bound_that_is_one() {
        assert_eq!(share(0.5, 2.0), (Some(0.5), "25.0 %".into()));
        for none in [0.0, f64::INFINITY, f64::NAN] {
            assert_eq!(share(none, 2.0), (None, "-".into()));
        }
    }
}
