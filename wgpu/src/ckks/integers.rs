//! Polynomials of integers taken modulo primes: plaintexts that are made of their coefficients, and ciphertexts that
//! are raised to more limbs.

use heman_core::ckks::error::{CkksError, enough_limbs};
use heman_core::ckks::gpu::{GpuRing, words};
use heman_core::ckks::ring::coefficients::{Coefficients, Pieces};

use crate::ckks::batch::Item;
use crate::ckks::ring::WgpuRing;
use crate::ckks::switches::Down;
use crate::ckks::{WgpuCiphertext, WgpuCoefficients, WgpuPlaintext};
use crate::context::Block;

impl WgpuRing {
    pub(super) fn integers(&self, coefficients: &Coefficients) -> Result<WgpuCoefficients, CkksError> {
        let Pieces { count, words } = coefficients.pieces(self.degree());
        let block = self.context.load("loading coefficients", &words)?;
        Ok(WgpuCoefficients { block, pieces: count, scale: coefficients.scale })
    }

    pub(super) fn plaintexts_of(
        &self,
        batch: &[&WgpuCoefficients],
        limbs: usize,
    ) -> Result<Vec<WgpuPlaintext>, CkksError> {
        const STEP: &str = "plaintexts";
        enough_limbs(limbs, self.ring.limbs())?;
        let (mut results, mut down) = (Vec::with_capacity(batch.len()), Vec::new());
        for own in batch {
            let out = self.reserve(STEP, limbs)?;
            let conversions = &self.places.plaintexts[own.pieces - 1];
            for (limb, &conversion) in conversions[..limbs].iter().enumerate() {
                let target = out.address + self.words(limb);
                down.push(Down::values(own.block.address, own.pieces, conversion, limb, target).item());
            }
            results.push(WgpuPlaintext::new(self, out, own.scale));
        }
        self.down(STEP, &down)?;
        Ok(results)
    }

    pub(super) fn raise_all(&self, batch: Vec<WgpuCiphertext>, limbs: usize) -> Result<Vec<WgpuCiphertext>, CkksError> {
        const STEP: &str = "raise";
        let degree = self.degree();
        let coefficients = |alike: &[WgpuCiphertext]| {
            let (mut blocks, mut up) = (Vec::with_capacity(alike.len()), Vec::new());
            for low in alike {
                let block = self.reserve(STEP, 2 * low.limbs())?;
                for (part, from) in low.parts(degree).into_iter().enumerate() {
                    for limb in 0..low.limbs() {
                        let offset = if low.limbs() == 1 { self.ring.modulus(limb).p / 2 } else { 0 };
                        let (source, target) = (self.words(limb), self.words(part * low.limbs() + limb));
                        let leave = self.places.rescale[limb].leave;
                        up.push(Item::new([from + source, limb as u32, block.address + target, leave, offset]));
                    }
                }
                blocks.push(block);
            }
            self.up(STEP, &up)?;
            Ok(blocks)
        };
        let values = |own: usize, blocks: &[Block], raised: &[WgpuCiphertext]| {
            let conversions = &self.places.raised[own - 1];
            let mut down = Vec::new();
            for (block, out) in blocks.iter().zip(raised) {
                for (part, to) in out.parts(degree).into_iter().enumerate() {
                    let source = block.address + self.words(part * own);
                    for (limb, &conversion) in conversions.iter().enumerate().take(limbs).skip(own) {
                        let target = to + self.words(limb);
                        down.push(Down::values(source, own, conversion, limb, target).item());
                    }
                }
            }
            self.down(STEP, &down)
        };
        words::raise(self, batch, limbs, coefficients, values)
    }
}
