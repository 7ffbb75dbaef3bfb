//! Sums of products with plaintexts, and matrices.

use heman_core::ckks::error::{CkksError, enough_limbs, same_limbs, same_scale};
use heman_core::ckks::gpu::GpuRing;
use heman_core::ckks::ops::Position;
use heman_kernels::wgsl::RNS_MATRIX_ROWS;
use heman_kernels::{RnsInnerProductParams, RnsMatrixParams};

use crate::ckks::batch::{Item, Over};
use crate::ckks::ring::WgpuRing;
use crate::ckks::{WgpuCiphertext, WgpuMap, WgpuPlaintext};

/// Terms of a sum in one launch: their addresses are a part of a submission's arguments.
const MOST_TERMS: usize = 1 << 16;

impl WgpuRing {
    pub(super) fn multiply_plaintexts(
        &self,
        inputs: &[WgpuCiphertext],
        sums: &[Vec<(usize, &WgpuPlaintext)>],
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        const STEP: &str = "inner products";
        let first = inputs.first().ok_or(CkksError::Depth)?;
        let (limbs, degree) = (first.limbs(), self.degree());
        inputs.iter().try_for_each(|input| same_limbs(limbs, input.limbs()))?;
        let scale_of = |&(input, plaintext): &(usize, &WgpuPlaintext)| inputs[input].scale() * plaintext.scale();
        let mut results = Vec::with_capacity(sums.len());
        for terms in sums {
            let scale = terms.first().map(scale_of).ok_or(CkksError::Depth)?;
            for term in terms {
                same_scale(scale, scale_of(term))?;
                enough_limbs(limbs, term.1.limbs())?;
            }
            let out = self.ciphertext(STEP, limbs, scale)?;
            let of_part = |part: usize| {
                let pair = |&(input, plaintext): &(usize, &WgpuPlaintext)| {
                    [inputs[input].part(part, degree), plaintext.address()]
                };
                (out.part(part, degree), terms.iter().map(pair).collect())
            };
            self.inner_products_of(STEP, (0, limbs), &[of_part(0), of_part(1)])?;
            results.push(out);
        }
        Ok(results)
    }

    /// Terms of a sum over so many words that one launch may take.
    fn most_terms(&self, words: usize) -> usize {
        ((self.context.most_multiplications() / words as f64) as usize).clamp(1, MOST_TERMS)
    }

    /// Sums of products over `limbs` limbs, whose primes begin with number `first_prime`: targets, and the pairs of
    /// addresses of each; all sums have as many.
    pub(super) fn inner_products_of(
        &self,
        step: &'static str,
        (first_prime, limbs): (usize, usize),
        sums: &[(u32, Vec<[u32; 2]>)],
    ) -> Result<(), CkksError> {
        let words = limbs * self.degree();
        let most = self.most_terms(words);
        let terms = sums.iter().map(|(_, pairs)| pairs.len()).max().unwrap_or(0);
        for first in (0..terms).step_by(most) {
            let item = |(target, pairs): &(u32, Vec<[u32; 2]>)| {
                let own = &pairs[first.min(pairs.len())..(first + most).min(pairs.len())];
                Item::with_list([*target, own.len() as u32, 0], 2, own.as_flattened().to_vec())
            };
            let over = Over {
                step,
                kernel: &self.kernels.inner_product,
                params: RnsInnerProductParams {
                    items: 0,
                    log2_degree: self.log2_degree(),
                    first_prime: first_prime as u32,
                    adds: u32::from(first > 0),
                },
                groups: [self.limb_groups(), limbs],
                multiplications: (most.min(terms - first) * words) as f64,
            };
            self.over(&over, &sums.iter().map(item).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    pub(super) fn multiply_matrix(
        &self,
        map: &WgpuMap,
        positions: &[Position<'_, WgpuCiphertext>],
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        const STEP: &str = "linear map";
        let (degree, expected) = (self.degree(), map.shape.terms());
        let (mut rows, mut results) = (Vec::new(), Vec::new());
        for Position { terms, kernels } in positions {
            map.shape.check_position(terms.iter().map(|term| term.state()), kernels)?;
            for kernels in kernels.chunks(RNS_MATRIX_ROWS) {
                let outs: Vec<WgpuCiphertext> = kernels
                    .iter()
                    .map(|_| self.ciphertext(STEP, map.shape.limbs, map.shape.scale))
                    .collect::<Result<_, _>>()?;
                for part in 0..2 {
                    let mut words = vec![0, kernels.len() as u32];
                    let padded = |words: &mut Vec<u32>, own: &mut dyn Iterator<Item = u32>| {
                        let end = words.len() + RNS_MATRIX_ROWS;
                        words.extend(own);
                        words.resize(end, 0);
                    };
                    padded(&mut words, &mut kernels.iter().copied());
                    padded(&mut words, &mut outs.iter().map(|out| out.part(part, degree)));
                    rows.push((words, part, terms));
                }
                results.extend(outs);
            }
        }
        let words = RNS_MATRIX_ROWS * map.shape.limbs * degree;
        let most = self.most_terms(words);
        for first in (0..expected).step_by(most) {
            let end = (first + most).min(expected);
            let item = |(words, part, terms): &(Vec<u32>, usize, &Vec<&WgpuCiphertext>)| {
                let list = terms[first..end].iter().map(|term| term.part(*part, degree)).collect();
                Item::with_list(words.clone(), 0, list)
            };
            let over = Over {
                step: STEP,
                kernel: &self.kernels.matrix,
                params: RnsMatrixParams {
                    items: 0,
                    log2_degree: self.log2_degree(),
                    matrix: map.block.address,
                    kernels: map.shape.kernels as u32,
                    terms: expected as u32,
                    first: first as u32,
                    end: end as u32,
                },
                groups: [self.limb_groups(), map.shape.limbs],
                multiplications: ((end - first) * words) as f64,
            };
            self.over(&over, &rows.iter().map(item).collect::<Vec<_>>())?;
        }
        Ok(results)
    }
}
