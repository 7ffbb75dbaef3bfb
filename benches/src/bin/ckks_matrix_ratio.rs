//! CKKS linear maps as matrix products beside one linear combination a row, in one run.
//!
//! `ckks_matrix_ratio [ROUNDS]`: rounds of both alternate. Words are random residues: the loops do not depend on them.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use heman_core::ckks::ops::Position;
use heman_core::ckks::params::set::ParameterSet;
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::ckks::ring::context::Ring;
use heman_core::ckks::ring::matrix::Matrix;
use rayon::prelude::*;

/// log2 of the terms' scale.
const SCALE_LOG2: u32 = 28;
/// Independent sums of the bound's loop: enough to hide the latency of all units, few enough for 16 registers.
const CHAINS: usize = 6;
/// Multiply-adds a chain of one call of the bound's loop.
const ROUNDS: usize = 1 << 16;

/// A map and where it is applied.
struct Shape {
    name: &'static str,
    log2_degree: u32,
    limbs: usize,
    terms: usize,
    kernels: usize,
    positions: usize,
    /// Terms by which a position lies behind the last one.
    step: usize,
}

const SHAPES: [Shape; 4] = [
    Shape { name: "dense 784 x 128", log2_degree: 14, limbs: 7, terms: 784, kernels: 128, positions: 1, step: 0 },
    Shape { name: "conv 25 x 5", log2_degree: 14, limbs: 9, terms: 25, kernels: 5, positions: 64, step: 10 },
    Shape { name: "conv 150 x 16", log2_degree: 15, limbs: 10, terms: 150, kernels: 16, positions: 25, step: 30 },
    Shape { name: "output 100 x 10", log2_degree: 14, limbs: 2, terms: 100, kernels: 10, positions: 1, step: 0 },
];

/// Multiply-adds of 32-bit words in 64-bit sums, in registers.
struct Words;

impl pulp::WithSimd for Words {
    /// Multiply-adds of one call.
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> f64 {
        const LANES: usize = 8;
        let factor = u64::from(std::hint::black_box(0x9e37_79b9_u32));
        let mut sums = [[std::hint::black_box(1_u64); LANES]; CHAINS];
        for _ in 0..ROUNDS {
            for sum in sums.as_flattened_mut() {
                *sum = sum.wrapping_add((*sum & 0xffff_ffff) * factor);
            }
        }
        std::hint::black_box(sums);
        (CHAINS * ROUNDS * LANES) as f64
    }
}

/// Multiply-adds a second on all threads of the current pool at once.
fn bound() -> f64 {
    let arch = pulp::Arch::new();
    let thread = |_: usize| {
        let start = Instant::now();
        let mut done = 0.0;
        while start.elapsed() < Duration::from_millis(300) {
            done += arch.dispatch(Words);
        }
        done / start.elapsed().as_secs_f64()
    };
    (0..rayon::current_num_threads()).into_par_iter().with_max_len(1).map(thread).sum()
}

fn seconds(run: impl FnOnce() -> Vec<Ciphertext>, ring: &Ring) -> (f64, Ciphertext) {
    let start = Instant::now();
    let mut results = run();
    let seconds = start.elapsed().as_secs_f64();
    let last = results.swap_remove(results.len() - 1);
    results.into_iter().for_each(|result| ring.recycle(result));
    (seconds, last)
}

fn measure(shape: &Shape, rounds: usize) -> Result<(), String> {
    let &Shape { terms, kernels, limbs, .. } = shape;
    let ring = Ring::new(ParameterSet::new(shape.log2_degree, limbs - 1, SCALE_LOG2, 2)?)?;
    let scale = f64::from(SCALE_LOG2).exp2();
    let value = |seed: usize| {
        let mut state = seed as u64;
        let mut word = |at: usize| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            ((state >> 32) % u64::from(ring.modulus(at / ring.degree()).p)) as u32
        };
        let parts = std::array::from_fn(|_| (0..limbs * ring.degree()).map(&mut word).collect());
        Ciphertext { parts, scale }
    };
    let values: Vec<Ciphertext> = (0..terms + (shape.positions - 1) * shape.step).into_par_iter().map(value).collect();
    let weights: Vec<f64> = (0..kernels * terms).map(|at| (at as f64).sin()).collect();
    let moduli = ring.params.moduli();
    let higher = ring.before_rescale(scale, limbs);
    let matrix = Matrix::new(&weights, vec![scale; terms], higher, &moduli).map_err(|error| error.to_string())?;
    let terms_at = |position: usize| values[position * shape.step..][..terms].iter();
    let positions: Vec<Position<'_, Ciphertext>> = (0..shape.positions)
        .map(|at| Position { terms: terms_at(at).collect(), kernels: (0..kernels as u32).collect() })
        .collect();
    let row = |row: usize| {
        let weights = &weights[row % kernels * terms..][..terms];
        let terms: Vec<(&Ciphertext, f64)> = terms_at(row / kernels).zip(weights.iter().copied()).collect();
        ring.linear_combination(&terms, higher).expect("terms")
    };
    let products = (2 * limbs * ring.degree() * terms * kernels * shape.positions) as f64;
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| error.to_string())?;
        let (mut old, mut new, mut most) = (f64::INFINITY, f64::INFINITY, 0_f64);
        for _ in 0..rounds {
            let rows = 0..kernels * shape.positions;
            let rows = || seconds(|| rows.into_par_iter().with_max_len(1).map(row).collect(), &ring);
            let (time, expected) = pool.install(rows);
            old = old.min(time);
            let apply = || seconds(|| ring.apply_matrix(&matrix, &positions).expect("all fits"), &ring);
            let (time, result) = pool.install(apply);
            new = new.min(time);
            if result != expected {
                return Err("the results differ".into());
            }
            most = most.max(pool.install(bound));
        }
        let rate = |seconds: f64| 1e-9 * products / seconds;
        println!(
            "{:20} {threads:>7} {:>12.2} {:>12.2} {:>7.1}x {:>12.1} {:>6.0} %",
            shape.name,
            rate(old),
            rate(new),
            old / new,
            1e-9 * most,
            1e11 * rate(new) / most,
        );
    }
    Ok(())
}

fn run() -> Result<(), String> {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3_usize).max(1);
    println!("10^9 multiply-adds a second, best of {rounds} alternating rounds");
    println!(
        "{:20} {:>7} {:>12} {:>12} {:>8} {:>12} {:>8}",
        "map", "threads", "by row", "as matrix", "ratio", "registers", "share"
    );
    SHAPES.iter().try_for_each(|shape| measure(shape, rounds))
}

fn main() -> ExitCode {
    heman_benches::exit_code(run())
}
