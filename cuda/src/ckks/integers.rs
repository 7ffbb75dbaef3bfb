//! Polynomials of integers taken modulo primes: plaintexts that are made of their coefficients, and ciphertexts that
//! are raised to more limbs.

use heman_core::ckks::error::{CkksError, enough_limbs};
use heman_core::ckks::gpu::{GpuRing, words};
use heman_core::ckks::ring::coefficients::{Coefficients, Pieces};

use crate::ckks::launches::Item;
use crate::ckks::lists::List;
use crate::ckks::ring::CudaRing;
use crate::ckks::{Block, CudaCiphertext, CudaCoefficients, CudaPlaintext};

impl CudaRing {
    pub(super) fn integers(&self, coefficients: &Coefficients) -> Result<CudaCoefficients, CkksError> {
        let Pieces { count, words } = coefficients.pieces(self.degree());
        let block = self.load("loading coefficients", &words)?;
        Ok(CudaCoefficients { block, pieces: count, scale: coefficients.scale })
    }

    pub(super) fn plaintexts_of(
        &self,
        batch: &[&CudaCoefficients],
        limbs: usize,
    ) -> Result<Vec<CudaPlaintext>, CkksError> {
        const STEP: &str = "plaintexts";
        enough_limbs(limbs, self.ring.limbs())?;
        let mut results = Vec::with_capacity(batch.len());
        for alike in batch.chunk_by(|a, b| a.pieces == b.pieces) {
            let mut items: Vec<Item> = Vec::with_capacity(alike.len());
            for own in alike {
                let out = self.reserve(STEP, limbs)?;
                items.push(vec![own.block.address, out.address]);
                results.push(CudaPlaintext::new(self, out, own.scale));
            }
            self.down(STEP, List::Plaintexts(alike[0].pieces), limbs, &items)?;
        }
        Ok(results)
    }

    pub(super) fn raise_all(&self, batch: Vec<CudaCiphertext>, limbs: usize) -> Result<Vec<CudaCiphertext>, CkksError> {
        const STEP: &str = "raise";
        let coefficients = |alike: &[CudaCiphertext]| {
            let own = alike[0].limbs();
            let blocks: Vec<Block> =
                alike.iter().map(|_| self.reserve(STEP, 2 * own)).collect::<Result<_, CkksError>>()?;
            let item = |(low, block): (&CudaCiphertext, &Block)| {
                let [body, mask] = low.parts(self.degree());
                vec![body, mask, block.address]
            };
            let items: Vec<Item> = alike.iter().zip(&blocks).map(item).collect();
            self.up(STEP, List::RaisedParts, own, &items)?;
            Ok(blocks)
        };
        let values = |own: usize, blocks: &[Block], raised: &[CudaCiphertext]| {
            let item = |(block, out): (&Block, &CudaCiphertext)| vec![block.address, out.block().address];
            let items: Vec<Item> = blocks.iter().zip(raised).map(item).collect();
            self.down(STEP, List::Raised(own), limbs, &items)
        };
        words::raise(self, batch, limbs, coefficients, values)
    }
}
