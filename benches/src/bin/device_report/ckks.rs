//! CKKS's part of the report: the suite against the reference, then times of products and rotations.

use std::panic::{AssertUnwindSafe, catch_unwind};

use heman_core::ckks::ops::{RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::params::set::ParameterSet;
use heman_core::device::cpu::CpuBackend;
use heman_cuda::Rates;
use heman_testing::ckks::keys::{ciphertexts, switch_key};
use heman_testing::ckks::{degrees, suite, switches};
use serde_json::{Value, json};

use crate::bounds;
use crate::options::{Options, Part};
use crate::timing;

/// Rings that are timed: degree, levels, special primes.
const RINGS: [(u32, usize, usize); 3] = [(13, 4, 1), (14, 10, 3), (15, 18, 4)];
/// Ciphertexts of a batch.
const BATCHES: [usize; 2] = [1, 32];

/// What failed, and times.
pub fn report<D: RnsDevice>(device: &D, options: &Options, rates: Rates) -> (Vec<String>, Vec<Value>) {
    let failures = if options.does(Part::Correctness) { correctness(device) } else { vec![] };
    (failures, if options.does(Part::Times) { times(device, options, rates) } else { vec![] })
}

/// Runs the suite; returns what failed.
fn correctness<D: RnsDevice>(device: &D) -> Vec<String> {
    let mut failures = Vec::new();
    let mut check = |name: &str, run: &dyn Fn()| {
        let passed = catch_unwind(AssertUnwindSafe(run)).is_ok();
        println!("{} CKKS: {name}", if passed { "ok    " } else { "FAILED" });
        if !passed {
            failures.push(format!("CKKS: {name}"));
        }
    };
    check("uploads and masks equal the reference", &|| suite::uploads(device));
    check("sums equal the reference", &|| suite::sums(device));
    check("constants equal the reference", &|| suite::constants(device));
    check("matrices equal the reference", &|| suite::maps(device));
    check("inner products equal the reference", &|| suite::inner_products(device));
    check("rescaled ciphertexts equal the reference", &|| suite::rescales(device));
    check("products equal the reference", &|| switches::products(device));
    check("rotations equal the reference", &|| switches::rotations(device));
    check("activations equal the reference", &|| switches::activations(device));
    check("rings of 2^14 to 2^16 equal the host's", &|| {
        degrees::large(device, &CpuBackend::new(0).expect("threads"));
    });
    println!();
    failures
}

/// Times of products and rotations, beside the least that the key switch in each takes.
fn times<D: RnsDevice>(device: &D, options: &Options, rates: Rates) -> Vec<Value> {
    let quick = options.quick;
    let mut rows = Vec::new();
    println!("{:24} {:20} {:>7} {:>12} {:>14} {:>9}", "step", "ring", "batch", "ms", "ciphertexts/s", "of bound");
    let wait = || device.sync().expect("the device answers");
    let limit = if quick { 0.0 } else { options.seconds };
    for (log2_degree, levels, special) in RINGS.into_iter().take(if quick { 1 } else { RINGS.len() }) {
        let params = ParameterSet::new(log2_degree, levels, 28, special).expect("a secure set");
        let limbs = levels + 1;
        let name = format!("2^{log2_degree}, {limbs} + {special}");
        if !name.contains(&options.set) {
            continue;
        }
        let ring = device.ring(&params, Occupancy::Many).expect("a ring");
        let key = ring.load_switch_key(&switch_key(&params, limbs, 1)).expect("loads");
        let turn = ring.load_galois_key(&switch_key(&params, limbs, 2), 1).expect("loads");
        let scale = 28.0_f64.exp2();
        for &batch in &BATCHES[..if quick { 1 } else { BATCHES.len() }] {
            let own = ring.upload(ciphertexts(&params, batch, limbs, scale, 3)).expect("memory");
            let products = || {
                let pairs: Vec<_> = own.iter().map(|x| (x, x)).collect();
                ring.release(ring.multiply_rescale(&pairs, &key).expect("fits"));
            };
            let rotations = || {
                let pairs: Vec<_> = own.iter().map(|x| (x, &turn)).collect();
                ring.release(ring.rotate(&pairs).expect("fits"));
            };
            for (step, run) in [("product, rescaled", &products as &dyn Fn()), ("rotation", &rotations)] {
                let seconds = timing::seconds(limit, wait, run);
                let rate = batch as f64 / seconds;
                let bound = batch as f64 * bounds::key_switch(&params) / rates.words;
                let (bound, share) = bounds::share(bound, seconds);
                println!("{step:24} {name:20} {batch:>7} {:>12.3} {rate:>14.1} {share:>9}", 1e3 * seconds);
                rows.push(json!({
                    "step": step,
                    "ring": name,
                    "batch": batch,
                    "seconds": seconds,
                    "bound_seconds": bound,
                }));
            }
        }
        // As long as an inference of one input, whose steps wait for each other: drivers hold back who queues more than
        // about a thousand launches.
        let [rounds, turns] = if quick { [1, 2] } else { [levels.min(8), 10] };
        let first = ring.upload(ciphertexts(&params, 1, limbs, scale, 4)).expect("memory");
        let chain = || {
            let mut own = first.clone();
            for _ in 0..rounds {
                for _ in 0..turns {
                    own = ring.rotate(&[(&own[0], &turn)]).expect("fits");
                }
                own = ring.multiply_rescale(&[(&own[0], &own[0])], &key).expect("fits");
            }
            ring.release(own);
        };
        let [queued, done] = timing::queued_and_done(limit, wait, chain);
        println!(
            "a chain of {} rotations and {rounds} products: queued in {:.3} ms, done after {:.3} ms ({:.0} % of it)",
            rounds * turns,
            1e3 * queued,
            1e3 * done,
            100.0 * queued / done
        );
        rows.push(json!({
            "step": "chain",
            "ring": name,
            "rotations": rounds * turns,
            "products": rounds,
            "queued_seconds": queued,
            "seconds": done,
        }));
    }
    rows
}
