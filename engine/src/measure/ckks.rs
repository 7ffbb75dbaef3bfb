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

use super::uniform::{SCALE_LOG2, ciphertext, uniform_key};
use super::{Part, kinds, speed, step_seconds};
use crate::error::EngineError;
use crate::predict::LOG2_COUNTED_RING;

/// Ciphertexts of the largest batch.
const MOST_CIPHERTEXTS: usize = 256;
/// Levels: as many as are secure in the ring, with one special prime.
const LEVELS: usize = 5;

/// A square, rescaled.
fn square<R: RnsOps>(ring: &R, key: &SeededSwitchKey, ciphertext: &Ciphertext) -> Result<Ciphertext, CkksError> {
    let key = ring.load_switch_key(key)?;
    let own = ring.upload(vec![ciphertext.clone()])?;
    let product = ring.multiply_rescale(&[(&own[0], &own[0])], &key)?;
    Ok(ring.download(product)?.remove(0))
}

/// Measures a device, and compares a product of it with the host's; of a host, which has threads, few ciphertexts are
/// measured on their own.
pub(super) fn measure<D: RnsDevice>(device: &D, host_threads: Option<u32>) -> Result<Part, EngineError> {
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
    // A GPU that is too small for the ring of kinds still has its rate in this one.
    let rates = match host_threads {
        Some(_) => Some(kinds::measure(device, host_threads)?),
        None => kinds::measure(device, None).ok(),
    };
    Ok(Part { speed, step_seconds, rings: Vec::new(), rates })
}
