//! Sums of products with plaintexts, and matrices.

use heman_core::ckks::error::{CkksError, enough_limbs, same_limbs, same_scale};
use heman_core::ckks::gpu::GpuRing;
use heman_core::ckks::ops::Position;
use heman_kernels::RnsLaunchParams;

use crate::ckks::launches::{Given, Item, Over, paired};
use crate::ckks::ring::CudaRing;
use crate::ckks::{CudaCiphertext, CudaMap, CudaPlaintext};

impl CudaRing {
    pub(super) fn multiply_plaintexts(
        &self,
        inputs: &[CudaCiphertext],
        sums: &[Vec<(usize, &CudaPlaintext)>],
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
        const STEP: &str = "inner products";
        let first = inputs.first().ok_or(CkksError::Depth)?;
        let (limbs, degree) = (first.limbs(), self.degree());
        inputs.iter().try_for_each(|input| same_limbs(limbs, input.limbs()))?;
        let scale_of = |&(input, plaintext): &(usize, &CudaPlaintext)| inputs[input].scale() * plaintext.scale();
        let (mut results, mut list) = (Vec::with_capacity(sums.len()), Vec::new());
        for terms in sums {
            let scale = terms.first().map(scale_of).ok_or(CkksError::Depth)?;
            for term in terms {
                same_scale(scale, scale_of(term))?;
                enough_limbs(limbs, term.1.limbs())?;
                let [body, mask] = inputs[term.0].parts(degree);
                list.extend([body, mask, term.1.address()]);
            }
            results.push(self.ciphertext(STEP, limbs, scale)?);
        }
        let list = self.list(STEP, &list)?;
        let mut first_term = 0;
        let item = |(out, terms): (&CudaCiphertext, &Vec<(usize, &CudaPlaintext)>)| {
            let [body, mask] = out.parts(degree);
            let own = list.address + 24 * first_term;
            first_term += terms.len() as u64;
            vec![body, mask, own, terms.len() as u64]
        };
        let items: Vec<Item> = results.iter().zip(sums).map(item).collect();
        let params = RnsLaunchParams::default();
        self.over(&self.of_words(STEP, &self.kernels.inner_products, params, limbs), &items)?;
        Ok(results)
    }

    pub(super) fn multiply_matrix(
        &self,
        map: &CudaMap,
        positions: &[Position<'_, CudaCiphertext>],
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
        const STEP: &str = "linear map";
        let (degree, terms) = (self.degree(), map.shape.terms());
        let mut list = Vec::with_capacity(2 * terms * positions.len());
        for Position { terms, kernels } in positions {
            map.shape.check_position(terms.iter().map(|term| term.state()), kernels)?;
            for part in 0..2 {
                list.extend(terms.iter().map(|term| term.part(part, degree)));
            }
        }
        let list = self.list(STEP, &list)?;
        let mut results = Vec::new();
        // Items of 8 and of 16 rows.
        let mut items: [Vec<Item>; 2] = Default::default();
        for (at, position) in positions.iter().enumerate() {
            // Sixteen rows where most of them are taken: rows that are left take as long.
            let size = usize::from(position.kernels.len() > 8 && (position.kernels.len() - 1) % 16 >= 8);
            let rows = 8 << size;
            for kernels in position.kernels.chunks(rows) {
                let outs: Vec<CudaCiphertext> = kernels
                    .iter()
                    .map(|_| self.ciphertext(STEP, map.shape.limbs, map.shape.scale))
                    .collect::<Result<_, _>>()?;
                for part in 0..2 {
                    let mut item = vec![list.address + 8 * ((2 * at + part) * terms) as u64, kernels.len() as u64];
                    item.extend(paired(kernels));
                    item.resize(2 + rows / 2, 0);
                    item.extend(outs.iter().map(|out| out.part(part, degree)));
                    item.resize(2 + rows / 2 + rows, 0);
                    items[size].push(item);
                }
                results.extend(outs);
            }
        }
        for (size, items) in items.iter().enumerate() {
            let words_a_block = 1024 >> size;
            let over = Over {
                step: STEP,
                function: &self.kernels.matrix[size],
                params: RnsLaunchParams::default(),
                given: Given::Matrix(&map.block.slice, map.shape.kernels as u32, terms as u32),
                grid: [degree / words_a_block, map.shape.limbs],
                threads: 256,
                // Weights and addresses of 24 terms.
                shared_bytes: 24 * (4 * (8 << size) + 8),
            };
            self.over(&over, items)?;
        }
        Ok(results)
    }
}
