//! How fast a device is at each kind of CKKS's work: with keys, and with masks or matrices, for few ciphertexts and
//! for many.
//!
//! Many ciphertexts are those of a ring that networks of two or three activations get. Few are measured in several
//! rings, with keys and masks that caches hold, and with more of them than caches hold, as networks have either. At the
//! most 300 MiB are held.

use std::time::Instant;

use heman_core::ckks::cost::{CkksCost, MapSize};
use heman_core::ckks::error::CkksError;
use heman_core::ckks::ops::{Position, RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::params::set::{ParameterSet, PrimeBits, RingKind};
use heman_core::ckks::ring::plaintext::Plaintext;

use super::primitives::sample;
use super::uniform::{ciphertext, matrix, residues, uniform_key};
use crate::profile::{CkksRates, KindRates, Shape, ShapeRates};

/// log2 of the ring's degree, levels, log2 of the scale, special primes.
const RING: (u32, usize, u32, usize) = (14, 8, 28, 3);
/// Rotations of one ciphertext at a time.
const ROTATIONS: usize = 8;
/// Rotations of their own.
const SINGLE: usize = 2;
/// Sums over all rotations, each with masks of its own.
const SUMS: usize = 8;
/// Bytes of the keys that are used in turn at the least: few caches hold them all beside the masks.
const KEY_BYTES: usize = 32 << 20;
/// Sets of keys and masks at the most.
const MOST_SETS: usize = 24;
/// Shapes that few ciphertexts are measured in, with one set of keys and masks that caches hold: log2 N, limbs, special
/// primes and bits of a prime.
const CACHED_SHAPES: [(u32, u32, u32, u32); 3] = [(12, 2, 1, 29), (12, 2, 2, 26), (12, 3, 1, 26)];
/// The same, with as many sets in turn as [`KEY_BYTES`] ask for: shapes divide over threads and caches differently.
const SHAPES: [(u32, u32, u32, u32); 8] = [
    (12, 2, 1, 29),
    (13, 2, 1, 29),
    (13, 6, 1, 29),
    (13, 5, 3, 26),
    (14, 4, 4, 29),
    (14, 9, 3, 29),
    (14, 10, 5, 28),
    (14, 14, 1, 28),
];
/// Two small rings as [`RING`], one twice as large as the other: what steps in both have in common is not work.
const SMALL_RINGS: [(u32, usize, u32, usize); 2] = [(12, 1, 28, 1), (13, 1, 28, 1)];
/// Ciphertexts of throughput packing.
const MANY: usize = 16;
/// Rows and terms of the matrix.
const MAP: (usize, usize) = (32, 64);
/// Share of a measurement's time that is taken for its work at the least.
const LEAST_WORK: f64 = 0.25;
/// Seconds of each kind.
const SECONDS: f64 = 0.3;
/// Seconds of both kinds of rotations in a shape, and of its products.
const SHAPE_SECONDS: f64 = 0.2;
/// log2 of the scale of ciphertexts.
const FRESH_LOG2: u32 = 28;

fn set((log2_degree, levels, scale_log2, special): (u32, usize, u32, usize)) -> Result<ParameterSet, CkksError> {
    ParameterSet::new(log2_degree, levels, scale_log2, special).map_err(CkksError::Plan)
}

/// Parameters of a shape, of primes of so many bits.
fn set_of(shape: &Shape, bits: u32) -> Result<ParameterSet, CkksError> {
    let key_limbs = shape.limbs as usize;
    let special_count = shape.special_primes as usize;
    let primes = PrimeBits { chain: vec![bits; key_limbs], special: bits, special_count, key_limbs };
    ParameterSet::of_bits(RingKind::Complex, shape.log2_degree, bits.min(FRESH_LOG2), &primes).map_err(CkksError::Plan)
}

/// As many sets of keys and masks are used in turn.
fn sets_of(shape: &Shape) -> usize {
    let [limbs, special] = [shape.limbs, shape.special_primes].map(|count| count as usize);
    let words = (2 * limbs.div_ceil(special) * (limbs + special)) << shape.log2_degree;
    KEY_BYTES.div_ceil(ROTATIONS * words * size_of::<u32>()).clamp(1, MOST_SETS)
}

/// Measures a device; a host, which has threads, also for few ciphertexts.
pub(super) fn measure<D: RnsDevice>(device: &D, host_threads: Option<u32>) -> Result<CkksRates, CkksError> {
    let params = set(RING)?;
    // As a pass of a network runs, from one of the device's threads.
    let many = |common| {
        let ring = device.ring(&params, Occupancy::Many)?;
        ring.on_threads(|| many(&ring, common, host_threads.unwrap_or(0)))
    };
    if host_threads.is_none() {
        return Ok(CkksRates { many: many(0.0)?, few: Vec::new() });
    }
    let few = |((log2_degree, limbs, special_primes, bits), is_cached)| {
        let shape = Shape { log2_degree, limbs, special_primes, is_cached };
        let ring = device.ring(&set_of(&shape, bits)?, Occupancy::Few)?;
        let sets = if is_cached { 1 } else { sets_of(&shape) };
        Ok(ShapeRates { shape, rates: ring.on_threads(|| few(&ring, sets))? })
    };
    let shapes = CACHED_SHAPES.map(|shape| (shape, true)).into_iter().chain(SHAPES.map(|shape| (shape, false)));
    let few = shapes.map(few).collect::<Result<_, CkksError>>()?;
    let many = many(common_seconds(device)?)?;
    Ok(CkksRates { many, few })
}

/// The median time of some runs, as a pass of a network will have it: the least is that of a lucky one.
fn median(seconds: f64, run: impl FnMut(()) -> Result<(), CkksError>) -> Result<f64, CkksError> {
    Ok(middle(sample(seconds, || Ok(()), run)?))
}

fn middle(mut spent: Vec<f64>) -> f64 {
    let middle = spent.len() / 2;
    spent.select_nth_unstable_by(middle, f64::total_cmp).1.max(1e-9)
}

/// Threads of the cost model that the device equals: the work takes one of them so many seconds, beside what steps take
/// in common.
fn threads(
    seconds: f64,
    thread_seconds: f64,
    common: f64,
    run: impl FnMut(()) -> Result<(), CkksError>,
) -> Result<f64, CkksError> {
    let spent = median(seconds, run)?;
    // Where steps are nearly all of it, they tell nothing of the work.
    Ok(thread_seconds / (spent - common).max(LEAST_WORK * spent))
}

/// What a small step of throughput packing takes in any ring: the work in N words takes in proportion to N log N, and
/// this is the rest.
fn common_seconds<D: RnsDevice>(device: &D) -> Result<f64, CkksError> {
    let mut points = Vec::new();
    for ring in SMALL_RINGS {
        let params = set(ring)?;
        let work = f64::from(params.log2_degree) * params.degree() as f64;
        let ring = device.ring(&params, Occupancy::Many)?;
        points.push((work, ring.on_threads(|| small_map_seconds(&ring))?));
    }
    let [(work, seconds), (more_work, more_seconds)] = points[..] else { return Ok(0.0) };
    Ok((seconds - work * (more_seconds - seconds) / (more_work - work)).clamp(0.0, seconds))
}

/// A row of a matrix over two ciphertexts.
fn small_map_seconds<R: RnsOps>(ring: &R) -> Result<f64, CkksError> {
    let (params, shape) = (ring.params(), (1, 2));
    let map = ring.load_map(matrix(params, shape)?)?;
    let own = ring.upload((0..2).map(|seed| ciphertext(params, seed)).collect())?;
    median(SECONDS, |()| {
        let position = Position { terms: own.iter().collect(), kernels: vec![0] };
        let sums = ring.apply_map(&map, &[position])?;
        ring.sync()?;
        ring.release(sums);
        Ok(())
    })
}

/// One ciphertext, its rotations, a square of it, and sums of the rotations under masks, with so many sets of keys and
/// masks in turn.
fn few<R: RnsOps>(ring: &R, sets: usize) -> Result<KindRates, CkksError> {
    let (params, cost) = (ring.params(), CkksCost::default());
    let limbs = params.primes.len();
    let key = uniform_key(params);
    let turns = (1..=sets * ROTATIONS).map(|steps| ring.load_galois_key(&key, steps)).collect::<Result<Vec<_>, _>>()?;
    let relinearise = ring.load_switch_key(&key)?;
    let own = ring.upload(vec![ciphertext(params, 0)])?;
    let turns: Vec<Option<&R::GaloisKey>> = turns.iter().map(Some).collect();
    let rotate = cost.rotate_seconds(params, limbs);
    let work = [
        cost.decompose_seconds(params, limbs) + ROTATIONS as f64 * cost.switch_seconds(params, limbs),
        SINGLE as f64 * rotate + cost.multiply_seconds(params, limbs),
    ];
    let mut set = 0;
    // In turn: what else the machine does slows both down.
    let mut spent = [Vec::new(), Vec::new()];
    sample(
        SHAPE_SECONDS,
        || Ok::<_, CkksError>(()),
        |()| {
            set = (set + 1) % sets;
            let start = Instant::now();
            let mut rotated = ring.rotate_hoisted(&[&own[0]], limbs, &turns[set * ROTATIONS..][..ROTATIONS])?;
            ring.sync()?;
            spent[0].push(start.elapsed().as_secs_f64());
            let start = Instant::now();
            for turn in turns[(set + 1) % sets * ROTATIONS..].iter().take(SINGLE).flatten() {
                rotated.push(ring.rotate(&[(&own[0], turn)])?);
            }
            let squared = ring.multiply_rescale(&[(&own[0], &own[0])], &relinearise)?;
            ring.sync()?;
            spent[1].push(start.elapsed().as_secs_f64());
            ring.release(rotated.into_iter().flatten().chain(squared).collect());
            Ok(())
        },
    )?;
    // The first of each warmed up, if there are more.
    let [of_hoisted, of_single] = spent.map(|spent| middle(spent[usize::from(spent.len() > 1)..].to_vec()));
    let (hoisted, switching) = (work[0] / of_hoisted, work[1] / of_single);
    let rotated: Vec<R::Ciphertext> =
        ring.rotate_hoisted(&[&own[0]], limbs, &turns[..ROTATIONS])?.into_iter().flatten().collect();
    let scale = ciphertext(params, 0).scale;
    let mask = |at: u64| ring.load_plaintext(Plaintext::new(residues(params, &params.primes, 1000 + at), scale));
    let masks = (0..(sets * SUMS * ROTATIONS) as u64).map(mask).collect::<Result<Vec<_>, _>>()?;
    let terms: Vec<Vec<(usize, &R::Plaintext)>> =
        masks.chunks(ROTATIONS).map(|masks| masks.iter().enumerate().collect()).collect();
    let products = (SUMS * ROTATIONS) as f64 * cost.product_seconds(params, limbs);
    let products = threads(SHAPE_SECONDS, products, 0.0, |()| {
        set = (set + 1) % sets;
        let sums = ring.inner_products(&rotated, &terms[set * SUMS..][..SUMS])?;
        ring.sync()?;
        ring.release(sums);
        Ok(())
    })?;
    // What threads take to begin and end is in the rates: the work of a step is what it is in a network.
    Ok(KindRates { switching, hoisted, products, step_seconds: 0.0, threads: 0 })
}

/// Many squares, and a matrix times many ciphertexts. A step takes `step_seconds` beside its work; a GPU has no host's
/// threads.
fn many<R: RnsOps>(ring: &R, step_seconds: f64, host_threads: u32) -> Result<KindRates, CkksError> {
    let (params, cost) = (ring.params(), CkksCost::default());
    let limbs = params.primes.len();
    let relinearise = ring.load_switch_key(&uniform_key(params))?;
    let (rows, terms) = MAP;
    let own = ring.upload((0..terms as u64).map(|seed| ciphertext(params, seed)).collect())?;
    let pairs: Vec<_> = own.iter().take(MANY).map(|own| (own, own)).collect();
    let switching = threads(SECONDS, MANY as f64 * cost.multiply_seconds(params, limbs), step_seconds, |()| {
        let squared = ring.multiply_rescale(&pairs, &relinearise)?;
        ring.sync()?;
        ring.release(squared);
        Ok(())
    })?;
    let map = ring.load_map(matrix(params, MAP)?)?;
    let work = cost.map_seconds(params, limbs, MapSize { products: rows * terms, reads: terms, results: rows });
    let products = threads(SECONDS, work, step_seconds, |()| {
        let position = Position { terms: own.iter().collect(), kernels: (0..rows as u32).collect() };
        let sums = ring.apply_map(&map, &[position])?;
        ring.sync()?;
        ring.release(sums);
        Ok(())
    })?;
    Ok(KindRates { switching, hoisted: switching, products, step_seconds, threads: host_threads })
}

#[cfg(test)]
mod tests {
    use super::*;
    use heman_core::device::cpu::CpuBackend;

    #[test]
    fn the_host_has_a_rate_for_every_kind() {
        let rates = measure(&CpuBackend::new(1).expect("a thread"), Some(1)).expect("the host");
        let all = rates.few.iter().map(|few| few.rates).chain([rates.many]);
        let all: Vec<f64> = all.flat_map(|rates| [rates.switching, rates.hoisted, rates.products]).collect();
        assert!(all.len() == 3 * (1 + CACHED_SHAPES.len() + SHAPES.len()));
        assert!(all.iter().all(|threads| (1e-3..1e3).contains(threads)), "{rates:?}");
    }
}
