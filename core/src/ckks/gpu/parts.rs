//! Batches in parts that fit the device's memory. A function fails as the step of [`crate::ckks::ops::RnsOps`] of its
//! name does.

use crate::ckks::error::CkksError;
use crate::ckks::gpu::GpuRing;
use crate::ckks::ops::{Constant, Product, activate_in_steps, activate_open_in_steps};
use crate::ckks::plan::activation::FormKind;

/// [`crate::ckks::ops::RnsOps::rescale`] by `divide`, which divides ciphertexts of one number of limbs by their last
/// prime: a part of the batch at a time, whose memory later parts take.
pub fn rescale<G: GpuRing>(
    ring: &G,
    mut batch: Vec<G::Ciphertext>,
    divide: impl Fn(&[G::Ciphertext]) -> Result<Vec<G::Ciphertext>, CkksError>,
) -> Result<Vec<G::Ciphertext>, CkksError> {
    if batch.iter().any(|ciphertext| ciphertext.limbs == 1) {
        return Err(CkksError::Depth);
    }
    let limbs = batch.iter().map(|ciphertext| ciphertext.limbs).max().unwrap_or(1);
    let together = ring.shares().rescaled_together(ring.params(), limbs);
    let mut results = Vec::with_capacity(batch.len());
    while !batch.is_empty() {
        let part: Vec<G::Ciphertext> = batch.drain(..together.min(batch.len())).collect();
        for same in part.chunk_by(|a, b| a.limbs == b.limbs) {
            results.extend(divide(same)?);
        }
    }
    Ok(results)
}

/// A batch in runs of one number of limbs, which `limbs` tells of each member, cut evenly to what is switched together.
pub fn switched_together<'a, T>(
    ring: &impl GpuRing,
    batch: &'a [T],
    limbs: impl Fn(&T) -> usize + Copy,
) -> impl Iterator<Item = &'a [T]> {
    let together = move |same: &[T]| {
        let most = ring.shares().switched_together(ring.params(), limbs(&same[0]));
        same.len().div_ceil(same.len().div_ceil(most))
    };
    batch.chunk_by(move |a, b| limbs(a) == limbs(b)).flat_map(move |same| same.chunks(together(same)))
}

/// [`crate::ckks::ops::RnsOps::activate`] for as many elements at a time as the memory for it holds.
pub fn activate<G: GpuRing>(
    ring: &G,
    key: &G::SwitchKey,
    kind: FormKind,
    u: Vec<G::Ciphertext>,
    constants: &[Vec<Constant<'_, G::Plaintext>>],
) -> Result<Vec<G::Ciphertext>, CkksError> {
    in_parts(ring, kind, u, constants, |own, constants| activate_in_steps(ring, key, kind, own, constants))
}

/// [`crate::ckks::ops::RnsOps::activate_open`] in the same way.
pub fn activate_open<G: GpuRing>(
    ring: &G,
    key: &G::SwitchKey,
    kind: FormKind,
    u: Vec<G::Ciphertext>,
    constants: &[Vec<Constant<'_, G::Plaintext>>],
) -> Result<Vec<Product<G::Ciphertext>>, CkksError> {
    in_parts(ring, kind, u, constants, |own, constants| activate_open_in_steps(ring, key, kind, own, constants))
}

fn in_parts<'c, G: GpuRing, R>(
    ring: &G,
    kind: FormKind,
    mut u: Vec<G::Ciphertext>,
    constants: &[Vec<Constant<'c, G::Plaintext>>],
    activate: impl Fn(Vec<G::Ciphertext>, &[Vec<Constant<'c, G::Plaintext>>]) -> Result<Vec<R>, CkksError>,
) -> Result<Vec<R>, CkksError> {
    let limbs = u.first().map_or(1, |first| first.limbs);
    let together = ring.shares().polynomials_together(ring.params(), limbs);
    let mut factors = if kind == FormKind::Product { u.split_off(u.len() / 2) } else { Vec::new() };
    let mut values = Vec::with_capacity(u.len());
    let mut first = 0;
    while !u.is_empty() {
        let count = together.min(u.len());
        let mut own: Vec<G::Ciphertext> = u.drain(..count).collect();
        own.extend(factors.drain(..count.min(factors.len())));
        let constants: Vec<_> = constants.iter().map(|all| all[first..first + count].to_vec()).collect();
        values.extend(activate(own, &constants)?);
        first += count;
    }
    Ok(values)
}
