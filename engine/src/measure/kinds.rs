//! How fast a device is at each kind of CKKS's work: with keys, and with masks or matrices, for few ciphertexts and
//! for many.
//!
//! The ring is one that networks of two or three activations get, and the keys and masks are too many for caches, as
//! theirs are.

use heman_core::ckks::cost::{CkksCost, MapSize};
use heman_core::ckks::error::CkksError;
use heman_core::ckks::ops::{Position, RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::params::set::ParameterSet;
use heman_core::ckks::ring::plaintext::Plaintext;

use super::primitives::sample;
use super::uniform::{ciphertext, matrix, residues, uniform_key};
use crate::profile::{CkksRates, KindRates};

/// log2 of the ring's degree, levels, log2 of the scale, special primes.
const RING: (u32, usize, u32, usize) = (14, 8, 28, 3);
/// Rotations of one ciphertext at a time.
const ROTATIONS: usize = 8;
/// Rotations of their own.
const SINGLE: usize = 2;
/// Sums over all rotations, each with masks of its own.
const SUMS: usize = 8;
/// As many sets of keys and masks are used in turn: no cache holds them all.
const SETS: usize = 4;
/// A ring as [`RING`] of networks whose keys and masks are few: one set of them stays in caches.
const CACHED_RING: (u32, usize, u32, usize) = (12, 2, 22, 1);
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

fn set((log2_degree, levels, scale_log2, special): (u32, usize, u32, usize)) -> Result<ParameterSet, CkksError> {
    ParameterSet::new(log2_degree, levels, scale_log2, special).map_err(CkksError::Plan)
}

/// Measures a device; a host, which has threads, also for few ciphertexts.
pub(super) fn measure<D: RnsDevice>(device: &D, host_threads: Option<u32>) -> Result<CkksRates, CkksError> {
    let params = set(RING)?;
    // As a pass of a network runs, from one of the device's threads.
    let many = |common| {
        let ring = device.ring(&params, Occupancy::Many)?;
        ring.on_threads(|| many(&ring, common, host_threads.unwrap_or(0)))
    };
    let few = |params: &ParameterSet, sets, common| {
        let ring = device.ring(params, Occupancy::Few)?;
        ring.on_threads(|| few(&ring, sets, common))
    };
    if host_threads.is_none() {
        return Ok(CkksRates { many: many(0.0)?, few: None, cached: None });
    }
    let common = common_seconds(device, Occupancy::Few, small_turn_seconds)?;
    let cached = few(&set(CACHED_RING)?, 1, common)?;
    let few = few(&params, SETS, common)?;
    let many = many(common_seconds(device, Occupancy::Many, small_map_seconds)?)?;
    Ok(CkksRates { many, few: Some(few), cached: Some(cached) })
}

/// The median time of some runs, as a pass of a network will have it: the least is that of a lucky one.
fn median(run: impl FnMut(()) -> Result<(), CkksError>) -> Result<f64, CkksError> {
    let mut spent = sample(SECONDS, || Ok(()), run)?;
    let middle = spent.len() / 2;
    Ok(spent.select_nth_unstable_by(middle, f64::total_cmp).1.max(1e-9))
}

/// Threads of the cost model that the device equals: the work takes one of them so many seconds, beside what steps take
/// in common.
fn threads(thread_seconds: f64, common: f64, run: impl FnMut(()) -> Result<(), CkksError>) -> Result<f64, CkksError> {
    let spent = median(run)?;
    // Where steps are nearly all of it, they tell nothing of the work.
    Ok(thread_seconds / (spent - common).max(LEAST_WORK * spent))
}

/// What a small step takes in any ring: the work in N words takes in proportion to N log N, and this is the rest.
fn common_seconds<D: RnsDevice>(
    device: &D,
    occupancy: Occupancy,
    step_seconds: fn(&D::Ring) -> Result<f64, CkksError>,
) -> Result<f64, CkksError> {
    let mut points = Vec::new();
    for ring in SMALL_RINGS {
        let params = set(ring)?;
        let work = f64::from(params.log2_degree) * params.degree() as f64;
        let ring = device.ring(&params, occupancy)?;
        points.push((work, ring.on_threads(|| step_seconds(&ring))?));
    }
    let [(work, seconds), (more_work, more_seconds)] = points[..] else { return Ok(0.0) };
    Ok((seconds - work * (more_seconds - seconds) / (more_work - work)).clamp(0.0, seconds))
}

/// A rotation that is added to a sum, as giant steps are.
fn small_turn_seconds<R: RnsOps>(ring: &R) -> Result<f64, CkksError> {
    let params = ring.params();
    let turn = ring.load_galois_key(&uniform_key(params), 1)?;
    let own = ring.upload(vec![ciphertext(params, 0)])?;
    median(|()| {
        let mut rotated = ring.rotate(&[(&own[0], &turn)])?;
        ring.add_assign(&mut rotated, &[&own[0]])?;
        ring.sync()?;
        ring.release(rotated);
        Ok(())
    })
}

/// A row of a matrix over two ciphertexts.
fn small_map_seconds<R: RnsOps>(ring: &R) -> Result<f64, CkksError> {
    let (params, shape) = (ring.params(), (1, 2));
    let map = ring.load_map(matrix(params, shape)?)?;
    let own = ring.upload((0..2).map(|seed| ciphertext(params, seed)).collect())?;
    median(|()| {
        let position = Position { terms: own.iter().collect(), kernels: vec![0] };
        let sums = ring.apply_map(&map, &[position])?;
        ring.sync()?;
        ring.release(sums);
        Ok(())
    })
}

/// One ciphertext, its rotations, a square of it, and sums of the rotations under masks, with so many sets of keys and
/// masks in turn. A step takes `step_seconds` beside its work.
fn few<R: RnsOps>(ring: &R, sets: usize, step_seconds: f64) -> Result<KindRates, CkksError> {
    let (params, cost) = (ring.params(), CkksCost::default());
    let limbs = params.primes.len();
    let key = uniform_key(params);
    let turns = (1..=sets * ROTATIONS).map(|steps| ring.load_galois_key(&key, steps)).collect::<Result<Vec<_>, _>>()?;
    let relinearise = ring.load_switch_key(&key)?;
    let own = ring.upload(vec![ciphertext(params, 0)])?;
    let turns: Vec<Option<&R::GaloisKey>> = turns.iter().map(Some).collect();
    let switching = cost.decompose_seconds(params, limbs)
        + ROTATIONS as f64 * cost.switch_seconds(params, limbs)
        + SINGLE as f64 * cost.rotate_seconds(params, limbs)
        + cost.multiply_seconds(params, limbs);
    let mut set = 0;
    let switching = threads(switching, (2 + SINGLE) as f64 * step_seconds, |()| {
        set = (set + 1) % sets;
        let mut rotated = ring.rotate_hoisted(&[&own[0]], limbs, &turns[set * ROTATIONS..][..ROTATIONS])?;
        for turn in turns[(set + 1) % sets * ROTATIONS..].iter().take(SINGLE).flatten() {
            rotated.push(ring.rotate(&[(&own[0], turn)])?);
        }
        let squared = ring.multiply_rescale(&[(&own[0], &own[0])], &relinearise)?;
        ring.sync()?;
        ring.release(rotated.into_iter().flatten().chain(squared).collect());
        Ok(())
    })?;
    let rotated: Vec<R::Ciphertext> =
        ring.rotate_hoisted(&[&own[0]], limbs, &turns[..ROTATIONS])?.into_iter().flatten().collect();
    let scale = ciphertext(params, 0).scale;
    let mask = |at: u64| ring.load_plaintext(Plaintext::new(residues(params, &params.primes, 1000 + at), scale));
    let masks = (0..(sets * SUMS * ROTATIONS) as u64).map(mask).collect::<Result<Vec<_>, _>>()?;
    let terms: Vec<Vec<(usize, &R::Plaintext)>> =
        masks.chunks(ROTATIONS).map(|masks| masks.iter().enumerate().collect()).collect();
    let products = (SUMS * ROTATIONS) as f64 * cost.product_seconds(params, limbs);
    let products = threads(products, step_seconds, |()| {
        set = (set + 1) % sets;
        let sums = ring.inner_products(&rotated, &terms[set * SUMS..][..SUMS])?;
        ring.sync()?;
        ring.release(sums);
        Ok(())
    })?;
    Ok(KindRates { switching, products, step_seconds, threads: 0 })
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
    let switching = threads(MANY as f64 * cost.multiply_seconds(params, limbs), step_seconds, |()| {
        let squared = ring.multiply_rescale(&pairs, &relinearise)?;
        ring.sync()?;
        ring.release(squared);
        Ok(())
    })?;
    let map = ring.load_map(matrix(params, MAP)?)?;
    let work = cost.map_seconds(params, limbs, MapSize { products: rows * terms, reads: terms, results: rows });
    let products = threads(work, step_seconds, |()| {
        let position = Position { terms: own.iter().collect(), kernels: (0..rows as u32).collect() };
        let sums = ring.apply_map(&map, &[position])?;
        ring.sync()?;
        ring.release(sums);
        Ok(())
    })?;
    Ok(KindRates { switching, products, step_seconds, threads: host_threads })
}

#[cfg(test)]
mod tests {
    use super::*;
    use heman_core::device::cpu::CpuBackend;

    #[test]
    fn the_host_has_a_rate_for_every_kind() {
        let rates = measure(&CpuBackend::new(1).expect("a thread"), Some(1)).expect("the host");
        let all = [Some(rates.many), rates.few, rates.cached].into_iter().flatten();
        let all: Vec<f64> = all.flat_map(|rates| [rates.switching, rates.products]).collect();
        assert!(all.len() == 6 && all.iter().all(|threads| (1e-3..1e3).contains(threads)), "{rates:?}");
    }
}
