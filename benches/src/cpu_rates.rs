//! What this host's processors can do at most, measured: clocks and instruction sets differ too much to be looked up.

use std::time::{Duration, Instant};

use heman_cuda::Rates;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Independent chains of each loop: enough to hide the latency of two units.
const CHAINS: usize = 16;
/// Rounds of one call.
const ROUNDS: usize = 1 << 16;
/// How long each loop runs.
const TIME: Duration = Duration::from_millis(200);

/// Fused multiply-adds of doubles.
struct Doubles;

impl WithSimd for Doubles {
    /// Multiply-adds of one call.
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let (factor, term) =
            (simd.splat_f64s(std::hint::black_box(0.999)), simd.splat_f64s(std::hint::black_box(0.001)));
        let mut sums = [term; CHAINS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = simd.mul_add_f64s(*sum, factor, term);
            }
        }
        std::hint::black_box(sums.map(|sum| simd.reduce_sum_f64s(sum)));
        (CHAINS * ROUNDS * size_of::<S::f64s>() / size_of::<f64>()) as f64
    }
}

/// Multiply-adds of 32-bit words. (A closure in the loop would not be compiled for the instruction set.)
struct Words;

/// Words of a chain: the widest vector's.
const WIDTH: usize = 16;

impl WithSimd for Words {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let (factor, term) = (std::hint::black_box(5_u32), std::hint::black_box(7_u32));
        let mut sums = [[term; WIDTH]; CHAINS];
        for _ in 0..ROUNDS {
            for word in sums.as_flattened_mut() {
                *word = word.wrapping_mul(factor).wrapping_add(term);
            }
        }
        std::hint::black_box(sums);
        (CHAINS * ROUNDS * WIDTH) as f64
    }
}

/// Operations a second on all threads of the current pool at once.
fn measure<T: WithSimd<Output = f64>>(work: impl Fn() -> T + Sync) -> f64 {
    let arch = Arch::new();
    let thread = |_: usize| {
        let start = Instant::now();
        let mut done = 0.0;
        while start.elapsed() < TIME {
            done += arch.dispatch(work());
        }
        done / start.elapsed().as_secs_f64()
    };
    (0..rayon::current_num_threads()).into_par_iter().with_max_len(1).map(thread).sum()
}

/// Rates of the widest instruction set that there is; word products stand in for the byte products of tensor cores,
/// four for one.
#[must_use]
pub fn cpu_rates() -> Rates {
    let words = measure(|| Words);
    Rates { doubles: measure(|| Doubles), words, bytes: 4.0 * words }
}
