//! Sums, products with constants, and matrices.

use std::sync::Arc;

use heman_core::ckks::error::{CkksError, enough_limbs, same_limbs, same_scale};
use heman_core::ckks::ops::{Constant, Position};
use heman_kernels::RnsLaunchParams;

use crate::ckks::launches::{Given, Item, Over};
use crate::ckks::ring::CudaRing;
use crate::ckks::{CudaCiphertext, CudaMap, CudaPlaintext};

/// What `rns_words.cu` computes.
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
fn measures(constant: &Constant<'_, CudaPlaintext>) -> (usize, f64) {
    match constant {
        Constant::Number(number) => (number.residues.len(), number.scale),
        Constant::Slots(plaintext) => (plaintext.limbs, plaintext.scale),
    }
}

/// Words, two an argument.
fn paired(words: &[u32]) -> impl Iterator<Item = u64> + '_ {
    words.chunks(2).map(|pair| u64::from(pair[0]) | u64::from(pair.get(1).copied().unwrap_or(0)) << 32)
}

/// Four operands, and behind them one number for each limb.
fn with_numbers(operands: [u64; 4], residues: &[u32]) -> Item {
    operands.into_iter().chain(paired(residues)).collect()
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
    from: &'a CudaCiphertext,
    to: &'a CudaCiphertext,
    degree: usize,
}

impl Change<'_> {
    /// Where a part goes, and where it comes from.
    fn part(&self, part: usize) -> [u64; 2] {
        [self.to, self.from].map(|ciphertext| ciphertext.part(part, self.degree))
    }
}

impl CudaRing {
    fn run(&self, step: &'static str, queue: Queue) -> Result<(), CkksError> {
        for (operation, limbs, items) in queue.0 {
            let over = Over {
                step,
                function: &self.kernels.words,
                params: RnsLaunchParams { operation: operation as u32, ..RnsLaunchParams::default() },
                given: Given::Nothing,
                grid: [self.limb_blocks(), limbs],
                threads: 256,
                shared_bytes: 0,
            };
            self.over(&over, &items)?;
        }
        Ok(())
    }

    /// A ciphertext whose words may be written: itself if nobody else has it, else room for another.
    fn own(&self, step: &'static str, ciphertext: &mut CudaCiphertext) -> Result<CudaCiphertext, CkksError> {
        if Arc::get_mut(&mut ciphertext.block).is_some() {
            return Ok(ciphertext.clone());
        }
        self.ciphertext(step, ciphertext.limbs, ciphertext.scale)
    }

    /// Changes ciphertexts: `act` queues what makes one out of its old self. Nothing is launched if any is refused.
    fn change(
        &self,
        step: &'static str,
        batch: &mut [CudaCiphertext],
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

    pub(super) fn add_all(&self, sums: &mut [CudaCiphertext], terms: &[&CudaCiphertext]) -> Result<(), CkksError> {
        self.change("sum", sums, |queue, at, change| {
            let (sum, term) = (change.from, terms[at]);
            same_limbs(sum.limbs, term.limbs)?;
            same_scale(sum.scale, term.scale)?;
            for part in 0..2 {
                let [to, from] = change.part(part);
                queue.push(Operation::Add, sum.limbs, vec![to, from, term.part(part, change.degree), 0]);
            }
            Ok(())
        })
    }

    /// By rounds: every group takes one more of its members.
    pub(super) fn sum_groups(&self, groups: &[Vec<&CudaCiphertext>]) -> Result<Vec<CudaCiphertext>, CkksError> {
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
                    let operands = [out, before, group[round]].map(|operand| operand.part(part, degree));
                    queue.push(Operation::Add, out.limbs, [&operands[..], &[0]].concat());
                }
            }
            self.run(STEP, queue)?;
        }
        Ok(results)
    }

    pub(super) fn add_all_constants(
        &self,
        batch: &mut [CudaCiphertext],
        constants: &[Constant<'_, CudaPlaintext>],
    ) -> Result<(), CkksError> {
        self.change("adding constants", batch, |queue, at, change| {
            let (limbs, (right, scale)) = (change.from.limbs, measures(&constants[at]));
            enough_limbs(limbs, right)?;
            same_scale(change.from.scale, scale)?;
            let [to, from] = change.part(0);
            match constants[at] {
                Constant::Number(number) => {
                    let item = with_numbers([to, from, 0, 0], &number.residues[..limbs]);
                    queue.push(Operation::AddNumber, limbs, item);
                }
                Constant::Slots(plaintext) => {
                    queue.push(Operation::Add, limbs, vec![to, from, plaintext.block.address, 0]);
                }
            }
            let [to, from] = change.part(1);
            if to != from {
                queue.push(Operation::Copy, limbs, vec![to, from, 0, 0]);
            }
            Ok(())
        })
    }

    pub(super) fn multiply_constants(
        &self,
        terms: &[&CudaCiphertext],
        factors: &[Constant<'_, CudaPlaintext>],
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
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
                        let item = with_numbers([to, from, 0, 0], &number.residues[..limbs]);
                        queue.push(Operation::MultiplyNumber, limbs, item);
                    }
                    Constant::Slots(plaintext) => {
                        queue.push(Operation::Multiply, limbs, vec![to, from, plaintext.block.address, 0]);
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
        sums: &mut [CudaCiphertext],
        terms: &[&CudaCiphertext],
        factors: &[Constant<'_, CudaPlaintext>],
    ) -> Result<(), CkksError> {
        self.change("adding products", sums, |queue, at, change| {
            let (limbs, term, (right, scale)) = (change.from.limbs, terms[at], measures(&factors[at]));
            enough_limbs(limbs, right.min(term.limbs))?;
            same_scale(change.from.scale, term.scale * scale)?;
            for part in 0..2 {
                let ([to, from], term) = (change.part(part), term.part(part, change.degree));
                match factors[at] {
                    Constant::Number(number) => {
                        let item = with_numbers([to, from, term, 0], &number.residues[..limbs]);
                        queue.push(Operation::MultiplyAddNumber, limbs, item);
                    }
                    Constant::Slots(plaintext) => {
                        queue.push(Operation::MultiplyAdd, limbs, vec![to, from, term, plaintext.block.address]);
                    }
                }
            }
            Ok(())
        })
    }

    pub(super) fn multiply_plaintexts(
        &self,
        inputs: &[CudaCiphertext],
        sums: &[Vec<(usize, &CudaPlaintext)>],
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
        const STEP: &str = "inner products";
        let first = inputs.first().ok_or(CkksError::Depth)?;
        let (limbs, degree) = (first.limbs, self.degree());
        inputs.iter().try_for_each(|input| same_limbs(limbs, input.limbs))?;
        let scale_of = |&(input, plaintext): &(usize, &CudaPlaintext)| inputs[input].scale * plaintext.scale;
        let (mut results, mut list) = (Vec::with_capacity(sums.len()), Vec::new());
        for terms in sums {
            let scale = terms.first().map(scale_of).ok_or(CkksError::Depth)?;
            for term in terms {
                same_scale(scale, scale_of(term))?;
                enough_limbs(limbs, term.1.limbs)?;
                let [body, mask] = inputs[term.0].parts(degree);
                list.extend([body, mask, term.1.block.address]);
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
        let over = Over {
            step: STEP,
            function: &self.kernels.inner_products,
            params: RnsLaunchParams::default(),
            given: Given::Nothing,
            grid: [self.limb_blocks(), limbs],
            threads: 256,
            shared_bytes: 0,
        };
        self.over(&over, &items)?;
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

    /// The first `limbs` limbs, in the same memory.
    pub(super) fn low(&self, ciphertext: &CudaCiphertext, limbs: usize) -> Result<CudaCiphertext, CkksError> {
        if limbs == 0 || limbs > ciphertext.limbs {
            return Err(CkksError::Depth);
        }
        Ok(CudaCiphertext { limbs, ..ciphertext.clone() })
    }

    /// In memory of just its size, if it is not already.
    pub(super) fn shrunk(&self, ciphertext: &CudaCiphertext) -> Option<CudaCiphertext> {
        const STEP: &str = "copy";
        if ciphertext.stored == ciphertext.limbs {
            return None;
        }
        let degree = self.degree();
        let out = self.ciphertext(STEP, ciphertext.limbs, ciphertext.scale).ok()?;
        let mut queue = Queue::default();
        for part in 0..2 {
            let words = vec![out.part(part, degree), ciphertext.part(part, degree), 0, 0];
            queue.push(Operation::Copy, ciphertext.limbs, words);
        }
        self.run(STEP, queue).ok().map(|()| out)
    }
}
