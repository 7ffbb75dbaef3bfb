//! Products of ciphertexts with relinearisation and rescaling, in one ring.

use std::time::Instant;

use heman_core::ckks::cost::CkksCost;
use heman_core::ckks::error::CkksError;
use heman_core::ckks::files::seeded::SeededSwitchKey;
use heman_core::ckks::ops::{RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::params::set::ParameterSet;
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::device::cpu::CpuBackend;

use super::words::words;
use super::{Part, speed, step_seconds};
use crate::error::EngineError;
use crate::predict::LOG2_COUNTED_RING;

/// Ciphertexts of the largest batch.
const MOST_CIPHERTEXTS: usize = 256;
/// Levels: as many as are secure in the ring, with one special prime.
const LEVELS: usize = 5;
/// log2 of the scale.
const SCALE_LOG2: u32 = 29;

pub(super) fn residues(params: &ParameterSet, primes: &[u32], seed: u64) -> Vec<u32> {
    let limb = |(at, &p): (usize, &u32)| {
        let words = words(seed + ((at as u64) << 32)).take(params.degree());
        words.map(move |word| (word % u64::from(p)) as u32)
    };
    primes.iter().enumerate().flat_map(limb).collect()
}

pub(super) fn uniform_key(params: &ParameterSet) -> SeededSwitchKey {
    let limbs = params.primes.len();
    let primes = [&params.primes[..], &params.special_primes].concat();
    let digits = limbs.div_ceil(params.special_primes.len()) as u64;
    let bodies = (0..digits).flat_map(|digit| residues(params, &primes, 100 + digit)).collect();
    SeededSwitchKey { seed: [3; 32], limbs: limbs as u32, bodies }
}

pub(super) fn ciphertext(params: &ParameterSet, seed: u64) -> Ciphertext {
    let part = |part| residues(params, &params.primes, 200 + 2 * seed + part);
    Ciphertext { parts: [part(0), part(1)], scale: f64::from(SCALE_LOG2).exp2() }
}

/// A square, rescaled.
fn square<R: RnsOps>(ring: &R, key: &SeededSwitchKey, ciphertext: &Ciphertext) -> Result<Ciphertext, CkksError> {
    let key = ring.load_switch_key(key)?;
    let own = ring.upload(vec![ciphertext.clone()])?;
    let product = ring.multiply_rescale(&[(&own[0], &own[0])], &key)?;
    Ok(ring.download(product)?.remove(0))
}

/// Measures a device, and compares a product of it with the host's.
pub(super) fn measure<D: RnsDevice>(device: &D) -> Result<Part, EngineError> {
    let params = ParameterSet::new(LOG2_COUNTED_RING, LEVELS, SCALE_LOG2, 1).map_err(CkksError::Plan)?;
    let key = uniform_key(&params);
    // Plans with few ciphertexts at a time ask for one kind of ring, and plans with many for the other.
    let (few, many) = (device.ring(&params, Occupancy::Few)?, device.ring(&params, Occupancy::Many)?);
    let one = ciphertext(&params, 0);
    let host = CpuBackend::new(1)?.ring(&params, Occupancy::Few)?;
    if square(&many, &key, &one)?.parts != square(&host, &key, &one)?.parts {
        return Err(EngineError::Wrong(device.name()));
    }
    let keys = [few.load_switch_key(&key)?, many.load_switch_key(&key)?];
    let batch: Vec<Ciphertext> = (0..MOST_CIPHERTEXTS.min(16) as u64).map(|at| ciphertext(&params, at)).collect();
    let time = |count: usize| {
        let (ring, key) = if count == 1 { (&few, &keys[0]) } else { (&many, &keys[1]) };
        let own = ring.upload(batch.iter().cycle().take(count).cloned().collect())?;
        device.sync()?;
        let start = Instant::now();
        let pairs: Vec<_> = own.iter().map(|own| (own, own)).collect();
        let products = ring.multiply_rescale(&pairs, key)?;
        device.sync()?;
        let spent = start.elapsed();
        ring.release(products);
        ring.release(own);
        Ok::<_, CkksError>(spent)
    };
    let row_seconds = CkksCost::default().multiply_seconds(&params, params.primes.len());
    let speed = speed(row_seconds, MOST_CIPHERTEXTS, time)?;
    let (mut sums, terms) = (many.upload(vec![one.clone()])?, many.upload(vec![one])?);
    let step = || many.add_assign(&mut sums, &[&terms[0]]);
    let step_seconds = step_seconds(step, || device.sync().map_err(CkksError::from))?;
    Ok(Part { speed, step_seconds, rings: Vec::new() })
}
