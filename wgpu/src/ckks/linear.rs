//! Sums, products with constants, and matrices.

use std::sync::Arc;

use heman_core::ckks::error::{CkksError, enough_limbs, same_limbs, same_scale};
use heman_core::ckks::ops::{Constant, Position};
use heman_kernels::wgsl::RNS_MATRIX_ROWS;
use heman_kernels::{RnsInnerProductParams, RnsMatrixParams, RnsWordsParams};

use crate::ckks::batch::{Item, Over};
use crate::ckks::ring::WgpuRing;
use crate::ckks::{WgpuCiphertext, WgpuMap, WgpuPlaintext};

/// Terms of a sum in one launch: their addresses are a part of a submission's arguments.
const MOST_TERMS: usize = 1 << 16;

/// What `rns_words.wgsl` computes.
#[derive(Clone, Copy, PartialEq)]
enum Operation {
    Copy = 0,
    Add = 1,
    AddNumber = 2,
    Multiply = 3,
    MultiplyNumber = 4,
    MultiplyAdd = 5,
    MultiplyAddNumber = 6,
}

/// Limbs and scale of a constant.
fn measures(constant: &Constant<'_, WgpuPlaintext>) -> (usize, f64) {
    match constant {
        Constant::Number(number) => (number.residues.len(), number.scale),
        Constant::Slots(plaintext) => (plaintext.limbs, plaintext.scale),
    }
}

/// Items of one operation at one number of limbs: launched together.
#[derive(Default)]
struct Queue(Vec<(Operation, usize, Vec<Item>)>);

impl Queue {
    fn push(&mut self, operation: Operation, limbs: usize, item: Item) {
        match self.0.iter_mut().find(|(own, at, _)| (*own, *at) == (operation, limbs)) {
            Some((_, _, items)) => items.push(item),
            None => self.0.push((operation, limbs, vec![item])),
        }
    }
}

/// A ciphertext and where its new words go, which may be the same place.
struct Change<'a> {
    from: &'a WgpuCiphertext,
    to: &'a WgpuCiphertext,
    degree: usize,
}

impl Change<'_> {
    /// Where a part goes, and where it comes from.
    fn part(&self, part: usize) -> [u32; 2] {
        [self.to, self.from].map(|ciphertext| ciphertext.part(part, self.degree))
    }
}

impl WgpuRing {
    fn run(&self, step: &'static str, queue: Queue) -> Result<(), CkksError> {
        for (operation, limbs, items) in queue.0 {
            let over = Over {
                step,
                kernel: &self.kernels.words,
                params: RnsWordsParams { items: 0, log2_degree: self.log2_degree(), operation: operation as u32 },
                groups: [self.limb_groups(), limbs],
                multiplications: (limbs * self.degree()) as f64,
            };
            self.over(&over, &items)?;
        }
        Ok(())
    }

    /// A ciphertext whose words may be written: itself if nobody else has it, else room for another.
    fn own(&self, step: &'static str, ciphertext: &mut WgpuCiphertext) -> Result<WgpuCiphertext, CkksError> {
        if Arc::get_mut(&mut ciphertext.block).is_some() {
            return Ok(ciphertext.clone());
        }
        self.ciphertext(step, ciphertext.limbs, ciphertext.scale)
    }

    /// Changes ciphertexts: `act` queues what makes one out of its old self. Nothing is launched if any is refused.
    fn change(
        &self,
        step: &'static str,
        batch: &mut [WgpuCiphertext],
        mut act: impl FnMut(&mut Queue, usize, &Change<'_>) -> Result<(), CkksError>,
    ) -> Result<(), CkksError> {
        let mut queue = Queue::default();
        let mut results = Vec::with_capacity(batch.len());
        for (at, ciphertext) in batch.iter_mut().enumerate() {
            let out = self.own(step, ciphertext)?;
            act(&mut queue, at, &Change { from: ciphertext, to: &out, degree: self.degree() })?;
            results.push(out);
        }
        self.run(step, queue)?;
        for (ciphertext, out) in batch.iter_mut().zip(results) {
            *ciphertext = out;
        }
        Ok(())
    }

    pub(super) fn add_all(&self, sums: &mut [WgpuCiphertext], terms: &[&WgpuCiphertext]) -> Result<(), CkksError> {
        self.change("sum", sums, |queue, at, change| {
            let (sum, term) = (change.from, terms[at]);
            same_limbs(sum.limbs, term.limbs)?;
            same_scale(sum.scale, term.scale)?;
            for part in 0..2 {
                let [to, from] = change.part(part);
                queue.push(Operation::Add, sum.limbs, Item::new([to, from, term.part(part, change.degree), 0]));
            }
            Ok(())
        })
    }

    /// By rounds: every group takes one more of its members.
    pub(super) fn sum_groups(&self, groups: &[Vec<&WgpuCiphertext>]) -> Result<Vec<WgpuCiphertext>, CkksError> {
        const STEP: &str = "sums";
        let degree = self.degree();
        let mut results = Vec::with_capacity(groups.len());
        for group in groups {
            let (first, rest) = group.split_first().ok_or(CkksError::Depth)?;
            for term in rest {
                same_limbs(first.limbs, term.limbs)?;
                same_scale(first.scale, term.scale)?;
            }
            let alone = rest.is_empty();
            results.push(if alone { (*first).clone() } else { self.ciphertext(STEP, first.limbs, first.scale)? });
        }
        let most = groups.iter().map(Vec::len).max().unwrap_or(0);
        for round in 1..most {
            let mut queue = Queue::default();
            for (out, group) in results.iter().zip(groups).filter(|(_, group)| group.len() > round) {
                let before = if round == 1 { group[0] } else { out };
                for part in 0..2 {
                    let words = [out.part(part, degree), before.part(part, degree), group[round].part(part, degree), 0];
                    queue.push(Operation::Add, out.limbs, Item::new(words));
                }
            }
            self.run(STEP, queue)?;
        }
        Ok(results)
    }

    pub(super) fn add_all_constants(
        &self,
        batch: &mut [WgpuCiphertext],
        constants: &[Constant<'_, WgpuPlaintext>],
    ) -> Result<(), CkksError> {
        self.change("adding constants", batch, |queue, at, change| {
            let (limbs, (right, scale)) = (change.from.limbs, measures(&constants[at]));
            enough_limbs(limbs, right)?;
            same_scale(change.from.scale, scale)?;
            let [to, from] = change.part(0);
            match constants[at] {
                Constant::Number(number) => {
                    let residues = number.residues[..limbs].to_vec();
                    queue.push(Operation::AddNumber, limbs, Item::with_list([to, from, 0, 0], 3, residues));
                }
                Constant::Slots(plaintext) => {
                    queue.push(Operation::Add, limbs, Item::new([to, from, plaintext.block.address, 0]));
                }
            }
            let [to, from] = change.part(1);
            if to != from {
                queue.push(Operation::Copy, limbs, Item::new([to, from, 0, 0]));
            }
            Ok(())
        })
    }

    pub(super) fn multiply_constants(
        &self,
        terms: &[&WgpuCiphertext],
        factors: &[Constant<'_, WgpuPlaintext>],
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        const STEP: &str = "products with constants";
        let (mut queue, degree) = (Queue::default(), self.degree());
        let mut results = Vec::with_capacity(terms.len());
        for (term, factor) in terms.iter().zip(factors) {
            let (limbs, (right, scale)) = (term.limbs, measures(factor));
            enough_limbs(limbs, right)?;
            let out = self.ciphertext(STEP, limbs, term.scale * scale)?;
            for part in 0..2 {
                let (to, from) = (out.part(part, degree), term.part(part, degree));
                match factor {
                    Constant::Number(number) => {
                        let residues = number.residues[..limbs].to_vec();
                        queue.push(Operation::MultiplyNumber, limbs, Item::with_list([to, from, 0, 0], 3, residues));
                    }
                    Constant::Slots(plaintext) => {
                        queue.push(Operation::Multiply, limbs, Item::new([to, from, plaintext.block.address, 0]));
                    }
                }
            }
            results.push(out);
        }
        self.run(STEP, queue)?;
        Ok(results)
    }

    pub(super) fn add_all_products(
        &self,
        sums: &mut [WgpuCiphertext],
        terms: &[&WgpuCiphertext],
        factors: &[Constant<'_, WgpuPlaintext>],
    ) -> Result<(), CkksError> {
        self.change("adding products", sums, |queue, at, change| {
            let (limbs, term, (right, scale)) = (change.from.limbs, terms[at], measures(&factors[at]));
            enough_limbs(limbs, right.min(term.limbs))?;
            same_scale(change.from.scale, term.scale * scale)?;
            for part in 0..2 {
                let ([to, from], term) = (change.part(part), term.part(part, change.degree));
                match factors[at] {
                    Constant::Number(number) => {
                        let residues = number.residues[..limbs].to_vec();
                        let item = Item::with_list([to, from, term, 0], 3, residues);
                        queue.push(Operation::MultiplyAddNumber, limbs, item);
                    }
                    Constant::Slots(plaintext) => {
                        let item = Item::new([to, from, term, plaintext.block.address]);
                        queue.push(Operation::MultiplyAdd, limbs, item);
                    }
                }
            }
            Ok(())
        })
    }

    pub(super) fn multiply_plaintexts(
        &self,
        inputs: &[WgpuCiphertext],
        sums: &[Vec<(usize, &WgpuPlaintext)>],
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        const STEP: &str = "inner products";
        let first = inputs.first().ok_or(CkksError::Depth)?;
        let (limbs, degree) = (first.limbs, self.degree());
        inputs.iter().try_for_each(|input| same_limbs(limbs, input.limbs))?;
        let scale_of = |&(input, plaintext): &(usize, &WgpuPlaintext)| inputs[input].scale * plaintext.scale;
        let mut results = Vec::with_capacity(sums.len());
        for terms in sums {
            let scale = terms.first().map(scale_of).ok_or(CkksError::Depth)?;
            for term in terms {
                same_scale(scale, scale_of(term))?;
                enough_limbs(limbs, term.1.limbs)?;
            }
            let out = self.ciphertext(STEP, limbs, scale)?;
            let of_part = |part: usize| {
                let pair = |&(input, plaintext): &(usize, &WgpuPlaintext)| {
                    [inputs[input].part(part, degree), plaintext.block.address]
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

    /// The first `limbs` limbs, in the same memory.
    pub(super) fn low(&self, ciphertext: &WgpuCiphertext, limbs: usize) -> Result<WgpuCiphertext, CkksError> {
        if limbs == 0 || limbs > ciphertext.limbs {
            return Err(CkksError::Depth);
        }
        Ok(WgpuCiphertext { limbs, ..ciphertext.clone() })
    }

    /// In memory of just its size, if it is not already.
    pub(super) fn shrunk(&self, ciphertext: &WgpuCiphertext) -> Option<WgpuCiphertext> {
        const STEP: &str = "copy";
        if ciphertext.stored == ciphertext.limbs {
            return None;
        }
        let degree = self.degree();
        let out = self.ciphertext(STEP, ciphertext.limbs, ciphertext.scale).ok()?;
        let mut queue = Queue::default();
        for part in 0..2 {
            let words = [out.part(part, degree), ciphertext.part(part, degree), 0, 0];
            queue.push(Operation::Copy, ciphertext.limbs, Item::new(words));
        }
        self.run(STEP, queue).ok().map(|()| out)
    }

    /// Copies whole polynomials of so many limbs.
    pub(super) fn copy_limbs(
        &self,
        step: &'static str,
        limbs: usize,
        pairs: impl IntoIterator<Item = (u32, u32)>,
    ) -> Result<(), CkksError> {
        let mut queue = Queue::default();
        for (to, from) in pairs {
            queue.push(Operation::Copy, limbs, Item::new([to, from, 0, 0]));
        }
        self.run(step, queue)
    }
}
