//! How fast the adapter multiplies residues: what submissions are cut by.

use std::time::Instant;

use heman_core::device::error::BackendError;
use heman_core::residues::modulus::{Modulus, PRIME_BITS, primes_below};
use heman_core::residues::ntt;
use heman_kernels::RnsTransformParams;
use heman_kernels::wgsl::{RNS_LOG2_BLOCK, RNS_TRANSFORM, rns_constants};

use crate::device::WgpuBackend;
use crate::queue::Launch;
use crate::recorder::Arguments;

/// Seconds of a launch that tells the rate: so long that starting it does not count.
const MEASURED_SECONDS: f64 = 0.004;
/// Most polynomials of a launch.
const MOST_POLYNOMIALS: usize = 1 << 14;
/// Polynomials that are written: later ones write over earlier ones.
const TARGETS: usize = 32;

const STEP: &str = "measuring the device";

impl WgpuBackend {
    /// Measures the adapter once, with transforms of 2^12 words.
    pub(crate) fn measure(&self) -> Result<f64, BackendError> {
        let context = &self.context;
        if context.rate() > 0.0 {
            return Ok(context.rate());
        }
        let degree = 1_usize << RNS_LOG2_BLOCK;
        let prime = primes_below(1 << PRIME_BITS, RNS_LOG2_BLOCK).next();
        let modulus = Modulus::new(prime.expect("there are primes below 2^30 that are 1 mod 2^13"));
        let [down, _] = ntt::tree(modulus, RNS_LOG2_BLOCK);
        let mut constants = vec![[modulus.p, modulus.negative_inverse()]];
        constants.extend(down.iter().map(|factor| [factor.value, factor.quotient]));
        let table = context.table(STEP, &constants)?;
        let kernel = context.pipelines.kernel(STEP, &RNS_TRANSFORM, &rns_constants(), "rns_forward")?;
        let words = context.reserve(STEP, (TARGETS + 1) * degree)?;
        let seconds = |polynomials: usize| -> Result<f64, BackendError> {
            let mut arguments = Arguments::default();
            for at in 0..polynomials {
                let target = words.address + ((1 + at % TARGETS) * degree) as u32;
                arguments.extend([words.address, 0, 0, 0, target, target, u32::MAX, 0, u32::MAX]);
            }
            let start = Instant::now();
            context.launch(&Launch {
                step: STEP,
                kernel: &kernel,
                table: &table,
                params: RnsTransformParams { items: 0, log2_blocks: 0, roots: 1 },
                arguments: &arguments,
                first_item: 0,
                groups: [1, polynomials, 1],
                multiplications: 0.0,
            })?;
            context.finish(STEP)?;
            Ok(start.elapsed().as_secs_f64())
        };
        context.upload(STEP, &vec![1; degree], &words, 0)?;
        // The first launch also compiles.
        seconds(1)?;
        let mut polynomials = 4;
        let spent = loop {
            let spent = seconds(polynomials)?;
            if spent >= MEASURED_SECONDS || polynomials >= MOST_POLYNOMIALS {
                break spent;
            }
            polynomials *= 4;
        };
        let multiplications = polynomials * degree / 2 * RNS_LOG2_BLOCK as usize;
        let rate = multiplications as f64 / spent;
        context.set_rate(rate);
        Ok(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_multiplies_at_a_rate() {
        let Ok(backend) = WgpuBackend::open(0) else { return println!("skipped: no adapter") };
        let rate = backend.measure().expect("measures");
        println!("{rate:.3e} multiplications of residues a second");
        assert!(rate > 1e5 && rate.is_finite());
    }
}
