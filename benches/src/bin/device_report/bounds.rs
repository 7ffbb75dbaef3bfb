//! Counts of integer instructions, and what known GPUs do at most.

use heman_benches::sets;
use heman_core::ckks::params::set::ParameterSet;
use heman_cuda::Rates;
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

/// Rings whose key switches are counted: degree, levels, special primes.
const RINGS: [(u32, usize, usize); 4] = [(13, 4, 1), (14, 9, 2), (15, 18, 4), (16, 36, 6)];

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
