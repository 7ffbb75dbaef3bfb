//! What comes as seeds and bodies: fresh ciphertexts and keys, whose masks are made on the device.

use heman_core::ckks::error::CkksError;
use heman_core::ckks::files::seeded::{Seed, SeededCiphertext, SeededSwitchKey, mask_context};
use heman_core::ckks::gpu::GpuRing;
use heman_kernels::{RnsContextKey, RnsLaunchParams};
use rayon::prelude::*;

use crate::ckks::launches::{Given, Item, Over};
use crate::ckks::ring::CudaRing;
use crate::ckks::{CudaCiphertext, CudaSwitchKey};

/// Words of a block of masks.
const MASK_WORDS: usize = 2048;

/// Target, number of the polynomial under its seed, and the seed.
fn item(address: u64, polynomial: usize, seed: &Seed) -> Item {
    let words = seed.chunks_exact(8).map(|bytes| bytes.iter().rfold(0, |word, &byte| word << 8 | u64::from(byte)));
    [address, polynomial as u64].into_iter().chain(words).collect()
}

impl CudaRing {
    /// Fills polynomials with their masks, of the first `limbs` primes of Q and `special` of P each.
    fn fill(&self, step: &'static str, limbs: usize, special: usize, items: &[Item]) -> Result<(), CkksError> {
        let over = Over {
            step,
            function: &self.kernels.masks,
            params: RnsLaunchParams { limbs: limbs as u32, ..RnsLaunchParams::default() },
            given: Given::Context(RnsContextKey { words: mask_context() }),
            grid: [self.degree() / MASK_WORDS, limbs + special],
            threads: 256,
            shared_bytes: 0,
        };
        self.over(&over, items)
    }

    pub(super) fn switch_key(&self, key: &SeededSwitchKey) -> Result<CudaSwitchKey, CkksError> {
        const STEP: &str = "loading a key";
        let shape = self.ring.sound_key(key).ok_or(CkksError::Residues)?;
        let limbs = key.limbs as usize;
        let mut block = self.reserve(STEP, 2 * shape.digits * shape.limbs)?;
        let mut items = Vec::with_capacity(shape.digits);
        for (digit, body) in key.bodies.chunks_exact(shape.limbs * self.degree()).enumerate() {
            self.copy(STEP, body, &mut block, 2 * digit * shape.limbs)?;
            let mask = (2 * digit + 1) * shape.limbs * self.degree();
            items.push(item(block.address + 4 * mask as u64, digit, &key.seed));
        }
        self.fill(STEP, limbs, self.special(), &items)?;
        Ok(CudaSwitchKey { limbs, block })
    }

    pub(super) fn fresh(&self, batch: &[&SeededCiphertext], scale: f64) -> Result<Vec<CudaCiphertext>, CkksError> {
        const STEP: &str = "fresh ciphertexts";
        if !batch.par_iter().all(|seeded| self.ring.is_fresh(seeded)) {
            return Err(CkksError::Residues);
        }
        let limbs = |seeded: &SeededCiphertext| seeded.body.len() / self.degree();
        let mut all = Vec::with_capacity(batch.len());
        let has_room = batch.iter().try_for_each(|seeded| {
            let block = self.room(STEP, 2 * limbs(seeded) * self.degree())?;
            all.push(CudaCiphertext::new(self, block, scale));
            Ok::<_, CkksError>(())
        });
        if has_room.is_err() {
            // What has room is freed behind the stream that it was taken from.
            self.send_all(STEP, &[])?;
        }
        has_room?;
        let bodies: Vec<(&[u32], u64)> =
            all.iter().zip(batch).map(|(fresh, seeded)| (&*seeded.body, fresh.part(0, self.degree()))).collect();
        self.send_all(STEP, &bodies)?;
        let masks: Vec<(usize, Item)> = all
            .iter()
            .zip(batch)
            .map(|(fresh, seeded)| (fresh.limbs(), item(fresh.part(1, self.degree()), 0, &seeded.seed)))
            .collect();
        for same in masks.chunk_by(|a, b| a.0 == b.0) {
            let items: Vec<Item> = same.iter().map(|(_, item)| item.clone()).collect();
            self.fill(STEP, same[0].0, 0, &items)?;
        }
        Ok(all)
    }
}
