//! Sums of ciphertexts and products with constants, word by word, and what is raised. A function fails as the step of
//! [`crate::ckks::ops::RnsOps`] of its name does.

use std::sync::Arc;

use crate::ckks::error::{CkksError, enough_limbs, same_limbs, same_scale};
use crate::ckks::gpu::{Address, GpuBlock, GpuPlaintext, GpuRing, Operation, WordItem};
use crate::ckks::ops::Constant;
use crate::ckks::ring::raise::MOST_RAISED_LIMBS;

/// Items of one operation at one number of limbs: run together.
type Alike<'a, G> = (Operation, usize, Vec<WordItem<'a, Address<G>>>);

/// Items that are still to be run, in any order.
struct Queue<'a, G: GpuRing>(Vec<Alike<'a, G>>);

impl<'a, G: GpuRing> Queue<'a, G> {
    fn push(&mut self, operation: Operation, limbs: usize, operands: &[Address<G>], numbers: &'a [u32]) {
        let item = WordItem::new(operands, numbers);
        match self.0.iter_mut().find(|(own, at, _)| (*own, *at) == (operation, limbs)) {
            Some((_, _, items)) => items.push(item),
            None => self.0.push((operation, limbs, vec![item])),
        }
    }

    /// With a constant as the last operand: an operation for a plaintext, or the one for a number.
    fn push_constant(
        &mut self,
        [of_slots, of_number]: [Operation; 2],
        limbs: usize,
        operands: &[Address<G>],
        constant: Constant<'a, G::Plaintext>,
    ) {
        match constant {
            Constant::Slots(plaintext) => {
                self.push(of_slots, limbs, &[operands, &[plaintext.address()]].concat(), &[]);
            }
            Constant::Number(number) => self.push(of_number, limbs, operands, &number.residues[..limbs]),
        }
    }

    fn run(self, ring: &G, step: &'static str) -> Result<(), CkksError> {
        self.0.into_iter().try_for_each(|(operation, limbs, items)| ring.run(step, operation, limbs, &items))
    }
}

/// Limbs and scale of a constant.
fn measures<B>(constant: &Constant<'_, GpuPlaintext<B>>) -> (usize, f64) {
    match constant {
        Constant::Number(number) => (number.residues.len(), number.scale),
        Constant::Slots(plaintext) => (plaintext.limbs, plaintext.scale),
    }
}

/// A ciphertext whose words may be written: itself if nobody else has it, else room for another.
fn own<G: GpuRing>(ring: &G, step: &'static str, old: &mut G::Ciphertext) -> Result<G::Ciphertext, CkksError> {
    if Arc::get_mut(&mut old.block).is_some() {
        return Ok(old.clone());
    }
    ring.ciphertext(step, old.limbs, old.scale)
}

/// Changes ciphertexts: `act` queues what makes one out of its old self, given where body and mask go and where they
/// come from, which may be the same place. Nothing is run if any is refused.
fn change<'a, G: GpuRing>(
    ring: &G,
    step: &'static str,
    batch: &mut [G::Ciphertext],
    mut act: impl FnMut(&mut Queue<'a, G>, usize, &G::Ciphertext, [[Address<G>; 2]; 2]) -> Result<(), CkksError>,
) -> Result<(), CkksError> {
    let (mut queue, degree) = (Queue(Vec::new()), ring.degree());
    let mut results = Vec::with_capacity(batch.len());
    for (at, old) in batch.iter_mut().enumerate() {
        let out = own(ring, step, old)?;
        act(&mut queue, at, old, [0, 1].map(|part| [&out, &*old].map(|ciphertext| ciphertext.part(part, degree))))?;
        results.push(out);
    }
    queue.run(ring, step)?;
    for (old, out) in batch.iter_mut().zip(results) {
        *old = out;
    }
    Ok(())
}

/// [`crate::ckks::ops::RnsOps::add_assign`].
pub fn add_assign<G: GpuRing>(ring: &G, sums: &mut [G::Ciphertext], terms: &[&G::Ciphertext]) -> Result<(), CkksError> {
    change(ring, "sum", sums, |queue, at, sum, places| {
        let term = terms[at];
        same_limbs(sum.limbs, term.limbs)?;
        same_scale(sum.scale, term.scale)?;
        for ([to, from], term) in places.into_iter().zip(term.parts(ring.degree())) {
            queue.push(Operation::Add, sum.limbs, &[to, from, term], &[]);
        }
        Ok(())
    })
}

/// [`crate::ckks::ops::RnsOps::sums`], by rounds: every group takes one more of its members.
pub fn sums<G: GpuRing>(ring: &G, groups: &[Vec<&G::Ciphertext>]) -> Result<Vec<G::Ciphertext>, CkksError> {
    const STEP: &str = "sums";
    let mut results = Vec::with_capacity(groups.len());
    for group in groups {
        let (first, rest) = group.split_first().ok_or(CkksError::Depth)?;
        for term in rest {
            same_limbs(first.limbs, term.limbs)?;
            same_scale(first.scale, term.scale)?;
        }
        let alone = rest.is_empty();
        results.push(if alone { (*first).clone() } else { ring.ciphertext(STEP, first.limbs, first.scale)? });
    }
    let most = groups.iter().map(Vec::len).max().unwrap_or(0);
    for round in 1..most {
        let mut queue = Queue(Vec::new());
        for (out, group) in results.iter().zip(groups).filter(|(_, group)| group.len() > round) {
            let before = if round == 1 { group[0] } else { out };
            for part in 0..2 {
                let operands = [out, before, group[round]].map(|operand| operand.part(part, ring.degree()));
                queue.push(Operation::Add, out.limbs, &operands, &[]);
            }
        }
        queue.run(ring, STEP)?;
    }
    Ok(results)
}

/// [`crate::ckks::ops::RnsOps::add_constants`].
pub fn add_constants<G: GpuRing>(
    ring: &G,
    batch: &mut [G::Ciphertext],
    constants: &[Constant<'_, G::Plaintext>],
) -> Result<(), CkksError> {
    change(ring, "adding constants", batch, |queue, at, old, [body, [to, from]]| {
        let (limbs, (right, scale)) = (old.limbs, measures(&constants[at]));
        enough_limbs(limbs, right)?;
        same_scale(old.scale, scale)?;
        queue.push_constant([Operation::Add, Operation::AddNumber], limbs, &body, constants[at]);
        if to != from {
            queue.push(Operation::Copy, limbs, &[to, from], &[]);
        }
        Ok(())
    })
}

/// [`crate::ckks::ops::RnsOps::products`].
pub fn products<G: GpuRing>(
    ring: &G,
    terms: &[&G::Ciphertext],
    factors: &[Constant<'_, G::Plaintext>],
) -> Result<Vec<G::Ciphertext>, CkksError> {
    const STEP: &str = "products with constants";
    let (mut queue, degree) = (Queue(Vec::new()), ring.degree());
    let mut results = Vec::with_capacity(terms.len());
    for (term, factor) in terms.iter().zip(factors) {
        let (limbs, (right, scale)) = (term.limbs, measures(factor));
        enough_limbs(limbs, right)?;
        let out = ring.ciphertext(STEP, limbs, term.scale * scale)?;
        for part in 0..2 {
            let operands = [&out, term].map(|operand| operand.part(part, degree));
            queue.push_constant([Operation::Multiply, Operation::MultiplyNumber], limbs, &operands, *factor);
        }
        results.push(out);
    }
    queue.run(ring, STEP)?;
    Ok(results)
}

/// [`crate::ckks::ops::RnsOps::add_products`].
pub fn add_products<G: GpuRing>(
    ring: &G,
    sums: &mut [G::Ciphertext],
    terms: &[&G::Ciphertext],
    factors: &[Constant<'_, G::Plaintext>],
) -> Result<(), CkksError> {
    change(ring, "adding products", sums, |queue, at, sum, places| {
        let (limbs, term, (right, scale)) = (sum.limbs, terms[at], measures(&factors[at]));
        enough_limbs(limbs, right.min(term.limbs))?;
        same_scale(sum.scale, term.scale * scale)?;
        let operations = [Operation::MultiplyAdd, Operation::MultiplyAddNumber];
        for ([to, from], term) in places.into_iter().zip(term.parts(ring.degree())) {
            queue.push_constant(operations, limbs, &[to, from, term], factors[at]);
        }
        Ok(())
    })
}

/// Copies the bodies of ciphertexts to their masks: where a part comes alone, no word is left undefined.
///
/// # Errors
/// [`CkksError::Device`] if the device fails.
pub fn repeat_bodies<G: GpuRing>(ring: &G, step: &'static str, batch: &[G::Ciphertext]) -> Result<(), CkksError> {
    for alike in batch.chunk_by(|a, b| a.limbs == b.limbs) {
        let item = |own: &G::Ciphertext| WordItem::new(&[own.part(1, ring.degree()), own.part(0, ring.degree())], &[]);
        ring.run(step, Operation::Copy, alike[0].limbs, &alike.iter().map(item).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// [`crate::ckks::ops::RnsOps::shrink`]. Where there is no room for a smaller copy, the larger one stays.
pub fn shrink<G: GpuRing>(ring: &G, batch: Vec<G::Ciphertext>) -> Vec<G::Ciphertext> {
    const STEP: &str = "copy";
    let copied = |own: &G::Ciphertext| -> Result<G::Ciphertext, CkksError> {
        let (out, degree) = (ring.ciphertext(STEP, own.limbs, own.scale)?, ring.degree());
        let items = [0, 1].map(|part| WordItem::new(&[out.part(part, degree), own.part(part, degree)], &[]));
        ring.run(STEP, Operation::Copy, own.limbs, &items)?;
        Ok(out)
    };
    let shrunk = |own: G::Ciphertext| if own.stored == own.limbs { own } else { copied(&own).unwrap_or(own) };
    batch.into_iter().map(shrunk).collect()
}

/// Of polynomials of two limbs, their coefficients at `[word]` and N words behind, the second digits in the place of
/// their residues modulo the second prime: see [`Places::raised`](crate::ckks::ring::constants::Places::raised).
fn second_digits<G: GpuRing>(ring: &G, step: &'static str, blocks: &[G::Block]) -> Result<(), CkksError> {
    let degree = ring.degree();
    let [first, second] = [0, 1].map(|limb| ring.host().modulus(limb));
    let inverse = [second.montgomery(second.inverse(first.p % second.p))];
    let of_block = |block: &G::Block| {
        [0, 2].map(|at| {
            let [a, b] = [0, 1].map(|limb| block.address_of((at + limb) * degree));
            WordItem::new(&[b, a, b], &inverse)
        })
    };
    ring.run(step, Operation::SecondDigit, 1, &blocks.iter().flat_map(of_block).collect::<Vec<_>>())
}

/// [`crate::ckks::ops::RnsOps::raise`]. `coefficients` gives those of ciphertexts of one number of limbs, out of
/// Montgomery form: `u32[part][limbs][N]`, with half the prime added where there is one limb. `values` makes of digits
/// in their place what the results have behind the limbs that are there.
///
/// # Errors
/// [`CkksError::Level`], [`CkksError::Depth`] for numbers of limbs that do not fit, and those of the device.
pub fn raise<G: GpuRing>(
    ring: &G,
    batch: Vec<G::Ciphertext>,
    limbs: usize,
    coefficients: impl Fn(&[G::Ciphertext]) -> Result<Vec<G::Block>, CkksError>,
    values: impl Fn(usize, &[G::Block], &[G::Ciphertext]) -> Result<(), CkksError>,
) -> Result<Vec<G::Ciphertext>, CkksError> {
    const STEP: &str = "raise";
    let most = MOST_RAISED_LIMBS.min(limbs);
    if let Some(high) = batch.iter().find(|own| own.limbs > most) {
        return Err(CkksError::Level { left: high.limbs, right: most });
    }
    if limbs > ring.params().primes.len() && !batch.is_empty() {
        return Err(CkksError::Depth);
    }
    let degree = ring.degree();
    let mut results = Vec::with_capacity(batch.len());
    for alike in batch.chunk_by(|a, b| a.limbs == b.limbs) {
        let own = alike[0].limbs;
        if own == limbs {
            results.extend(alike.iter().cloned());
            continue;
        }
        let raised: Vec<G::Ciphertext> =
            alike.iter().map(|low| ring.ciphertext(STEP, limbs, low.scale)).collect::<Result<_, _>>()?;
        let copy = |(low, out): (&G::Ciphertext, &G::Ciphertext)| {
            [0, 1].map(|part| WordItem::new(&[out.part(part, degree), low.part(part, degree)], &[]))
        };
        ring.run(STEP, Operation::Copy, own, &alike.iter().zip(&raised).flat_map(copy).collect::<Vec<_>>())?;
        let blocks = coefficients(alike)?;
        if own > 1 {
            second_digits(ring, STEP, &blocks)?;
        }
        values(own, &blocks, &raised)?;
        results.extend(raised);
    }
    Ok(results)
}
