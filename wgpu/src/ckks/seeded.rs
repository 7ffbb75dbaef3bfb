//! What comes as seeds and bodies: fresh ciphertexts and keys, whose masks are made on the device.

use heman_core::ckks::error::CkksError;
use heman_core::ckks::files::seeded::{Seed, SeededCiphertext, SeededSwitchKey, mask_context};
use heman_core::ckks::gpu::GpuRing;
use heman_kernels::RnsMasksParams;

use crate::ckks::batch::{Item, Over};
use crate::ckks::ring::WgpuRing;
use crate::ckks::{WgpuCiphertext, WgpuSwitchKey};

/// A polynomial that is to become a mask.
struct Mask<'a> {
    seed: &'a Seed,
    address: u32,
    /// Its number under the seed.
    polynomial: usize,
    /// Limb of QP.
    limb: usize,
}

fn seed_words(seed: &Seed) -> impl Iterator<Item = u32> + '_ {
    seed.chunks_exact(4).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

impl WgpuRing {
    /// Fills polynomials with their masks.
    fn fill(&self, step: &'static str, masks: &[Mask<'_>]) -> Result<(), CkksError> {
        let context = mask_context();
        let item = |&Mask { seed, address, polynomial, limb }: &Mask<'_>| {
            let words = [address, limb as u32, polynomial as u32, 0];
            Item::with_list(words, 3, seed_words(seed).chain(context).collect())
        };
        let over = Over {
            step,
            kernel: &self.kernels.masks,
            params: RnsMasksParams { items: 0 },
            groups: [self.degree() / 8 / 256, 0],
            // A block of the stream takes about as long as 64 products.
            multiplications: (8 * self.degree()) as f64,
        };
        self.over(&over, &masks.iter().map(item).collect::<Vec<_>>())
    }

    /// Bodies first, then all masks: what is uploaded waits for what was recorded before it.
    pub(super) fn switch_key(&self, key: &SeededSwitchKey) -> Result<WgpuSwitchKey, CkksError> {
        const STEP: &str = "loading a key";
        let shape = self.ring.sound_key(key).ok_or(CkksError::Residues)?;
        let (limbs, words) = (key.limbs as usize, shape.limbs * self.degree());
        let (mut digits, mut masks) = (Vec::with_capacity(shape.digits), Vec::new());
        for (polynomial, body) in key.bodies.chunks_exact(words).enumerate() {
            let block = self.reserve(STEP, 2 * shape.limbs)?;
            self.context.upload(STEP, body, &block, 0)?;
            masks.extend((0..shape.limbs).map(|place| Mask {
                seed: &key.seed,
                address: block.address + (words + place * self.degree()) as u32,
                polynomial,
                limb: self.ring.extended_limb(limbs, place),
            }));
            digits.push(block);
        }
        self.fill(STEP, &masks)?;
        Ok(WgpuSwitchKey { limbs, digits })
    }

    pub(super) fn fresh(&self, batch: &[&SeededCiphertext], scale: f64) -> Result<Vec<WgpuCiphertext>, CkksError> {
        const STEP: &str = "fresh ciphertexts";
        let (mut all, mut masks) = (Vec::with_capacity(batch.len()), Vec::new());
        for seeded in batch {
            if !self.ring.is_fresh(seeded) {
                return Err(CkksError::Residues);
            }
            let fresh = self.ciphertext(STEP, seeded.body.len() / self.degree(), scale)?;
            self.context.upload(STEP, &seeded.body, fresh.block(), 0)?;
            masks.extend((0..fresh.limbs()).map(|limb| Mask {
                seed: &seeded.seed,
                address: fresh.part(1, self.degree()) + (limb * self.degree()) as u32,
                polynomial: 0,
                limb,
            }));
            all.push(fresh);
        }
        self.fill(STEP, &masks)?;
        Ok(all)
    }
}
