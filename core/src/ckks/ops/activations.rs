//! Polynomials by the other steps of a backend.

use crate::ckks::error::CkksError;
use crate::ckks::ops::{Constant, Product, RnsOps, joined, refs};
use crate::ckks::plan::activation::FormKind;
use crate::ckks::plan::chebyshev::{self, Addend};
use crate::ckks::ring::number::{Number, State};

/// [`RnsOps::activate`] by the other steps of a backend. Leading coefficients are left to whatever reads the values.
///
/// # Errors
/// [`CkksError`] of the steps.
pub fn activate_in_steps<B: RnsOps>(
    backend: &B,
    key: &B::SwitchKey,
    kind: FormKind,
    u: Vec<B::Ciphertext>,
    constants: &[Vec<Constant<'_, B::Plaintext>>],
) -> Result<Vec<B::Ciphertext>, CkksError> {
    match kind.chebyshev_constants() {
        Some(count) => activate_by_chebyshev(backend, key, count, u, constants),
        None => evaluate(backend, key, kind, u, constants, |last| last.closed(backend, key)),
    }
}

/// [`RnsOps::activate_open`] by the other steps of a backend.
///
/// # Errors
/// [`CkksError`] of the steps.
pub fn activate_open_in_steps<B: RnsOps>(
    backend: &B,
    key: &B::SwitchKey,
    kind: FormKind,
    u: Vec<B::Ciphertext>,
    constants: &[Vec<Constant<'_, B::Plaintext>>],
) -> Result<Vec<Product<B::Ciphertext>>, CkksError> {
    evaluate(backend, key, kind, u, constants, |last| last.open(backend))
}

/// A product and terms times constants, rescaled, and the constant behind them. What joins a product before it is
/// rescaled takes no level of its own.
struct Sum<'s, B: RnsOps> {
    pairs: Vec<(&'s B::Ciphertext, &'s B::Ciphertext)>,
    terms: Vec<&'s [B::Ciphertext]>,
    /// One for each of the terms.
    factors: &'s [Vec<Constant<'s, B::Plaintext>>],
    constant: Option<&'s Vec<Constant<'s, B::Plaintext>>>,
}

impl<B: RnsOps> Sum<'_, B> {
    fn closed(self, backend: &B, key: &B::SwitchKey) -> Result<Vec<B::Ciphertext>, CkksError> {
        let mut value = backend.multiply_add_rescale(&self.pairs, key, &self.terms, self.factors)?;
        if let Some(constant) = self.constant {
            backend.add_constants(&mut value, constant)?;
        }
        Ok(value)
    }

    /// All of it before the division, in three parts.
    fn open(self, backend: &B) -> Result<Vec<Product<B::Ciphertext>>, CkksError> {
        let products = backend.tensor(&self.pairs)?;
        let (mut lows, highs): (Vec<_>, Vec<_>) = products.into_iter().map(|own| (own.low, own.high)).unzip();
        for (terms, factors) in self.terms.iter().zip(self.factors) {
            backend.add_products(&mut lows, &refs(terms), factors)?;
        }
        if let Some(constant) = self.constant {
            backend.add_constants(&mut lows, constant)?;
        }
        Ok(joined(lows, highs))
    }
}

/// Values of polynomials; `finish` makes them of their last sums.
fn evaluate<B: RnsOps, R>(
    backend: &B,
    key: &B::SwitchKey,
    kind: FormKind,
    mut u: Vec<B::Ciphertext>,
    constants: &[Vec<Constant<'_, B::Plaintext>>],
    finish: impl FnOnce(Sum<'_, B>) -> Result<Vec<R>, CkksError>,
) -> Result<Vec<R>, CkksError> {
    // The inner square and the quartic.
    let inner = |u: &[B::Ciphertext]| {
        Sum { pairs: pairs(u, u), terms: vec![u], factors: &constants[..1], constant: Some(&constants[1]) }
            .closed(backend, key)
    };
    let done = |all: Vec<Vec<B::Ciphertext>>| all.into_iter().for_each(|own| backend.release(own));
    match kind {
        FormKind::Product => {
            let v = u.split_off(u.len() / 2);
            let value = finish(Sum { pairs: pairs(&u, &v), terms: vec![], factors: &[], constant: None })?;
            done(vec![u, v]);
            Ok(value)
        }
        FormKind::Square => {
            backend.add_constants(&mut u, &constants[0])?;
            let last = Sum { pairs: pairs(&u, &u), terms: vec![], factors: &[], constant: Some(&constants[1]) };
            let value = finish(last)?;
            done(vec![u]);
            Ok(value)
        }
        FormKind::Quartic => {
            let inner = inner(&u)?;
            let (pairs, terms) = (pairs(&inner, &inner), vec![&u[..]]);
            let value = finish(Sum { pairs, terms, factors: &constants[2..3], constant: Some(&constants[3]) })?;
            done(vec![inner, u]);
            Ok(value)
        }
        FormKind::Sextic => {
            let square = backend.multiply_rescale(&pairs(&u, &u), key)?;
            let mut shifted = square.clone();
            backend.add_constants(&mut shifted, &constants[1])?;
            let u = backend.drop_to(u, limbs_of(backend, &square))?;
            let mut inner = backend.multiply_add_rescale(&pairs(&shifted, &u), key, &[&square], &constants[..1])?;
            backend.add_constants(&mut inner, &constants[2])?;
            let (pairs, terms) = (pairs(&inner, &inner), vec![&square[..], &u[..]]);
            let value = finish(Sum { pairs, terms, factors: &constants[3..5], constant: Some(&constants[5]) })?;
            done(vec![square, shifted, inner, u]);
            Ok(value)
        }
        FormKind::Octic => {
            let inner = inner(&u)?;
            let quartic = Sum {
                pairs: pairs(&inner, &inner),
                terms: vec![&u],
                factors: &constants[2..3],
                constant: Some(&constants[3]),
            }
            .closed(backend, key)?;
            let u = backend.drop_to(u, limbs_of(backend, &inner))?;
            let cube = backend.multiply_rescale(&pairs(&inner, &u), key)?;
            let (pairs, terms) = (pairs(&quartic, &quartic), vec![&cube[..], &inner[..], &u[..]]);
            let value = finish(Sum { pairs, terms, factors: &constants[4..7], constant: Some(&constants[7]) })?;
            done(vec![quartic, cube, inner, u]);
            Ok(value)
        }
        FormKind::Seventh | FormKind::Fifteenth => {
            Err(CkksError::Plan("polynomials of degree 7 and 15 end in ciphertexts of two parts".into()))
        }
        FormKind::Cubic => {
            let square = backend.multiply_rescale(&pairs(&u, &u), key)?;
            let lead = backend.products(&refs(&u), &constants[3])?;
            let mut factor = backend.rescale(lead)?;
            backend.add_constants(&mut factor, &constants[2])?;
            let (pairs, terms) = (pairs(&square, &factor), vec![&u[..]]);
            let value = finish(Sum { pairs, terms, factors: &constants[1..2], constant: Some(&constants[0]) })?;
            done(vec![square, factor, u]);
            Ok(value)
        }
    }
}

/// Values of polynomials with so many constants in the basis of [`chebyshev`].
fn activate_by_chebyshev<B: RnsOps>(
    backend: &B,
    key: &B::SwitchKey,
    count: usize,
    u: Vec<B::Ciphertext>,
    constants: &[Vec<Constant<'_, B::Plaintext>>],
) -> Result<Vec<B::Ciphertext>, CkksError> {
    let Some(argument) = u.first().map(|first| backend.state(first)) else { return Ok(u) };
    let (params, elements, steps) = (backend.params(), u.len(), chebyshev::steps(count));
    if argument.limbs <= steps[steps.len() - 1].depth + 1 {
        return Err(CkksError::Depth);
    }
    let mut values = vec![u];
    for (at, (step, (sum, value))) in steps.iter().zip(chebyshev::states(count, params, argument)).enumerate() {
        // No step reads more limbs than the one before it.
        for own in &mut values {
            if limbs_of(backend, own) > sum.limbs {
                *own = backend.drop_to(std::mem::take(own), sum.limbs)?;
            }
        }
        let numbers: Vec<Option<Number>> = step
            .terms
            .iter()
            .map(|&(read, addend)| match (addend, backend.state(&values[read][0]).scale) {
                (Addend::Number(number), scale) => {
                    Some(Number::new(params, number, State { scale: sum.scale / scale, ..sum }))
                }
                (Addend::Own(_), _) => None,
            })
            .collect();
        let factors: Vec<Vec<Constant<'_, B::Plaintext>>> = step
            .terms
            .iter()
            .zip(&numbers)
            .map(|(&(_, addend), number)| match (addend, number) {
                (Addend::Own(own), _) => constants[own].clone(),
                (Addend::Number(_), number) => number.iter().cycle().take(elements).map(Constant::Number).collect(),
            })
            .collect();
        let terms: Vec<&[B::Ciphertext]> = step.terms.iter().map(|&(read, _)| &values[read][..]).collect();
        let pairs_of = |&(a, b): &(usize, usize)| pairs(&values[a], &values[b]);
        let mut own = match step.products {
            [] => {
                let mut sums = backend.products(&refs(terms[0]), &factors[0])?;
                for (terms, factors) in terms.iter().zip(&factors).skip(1) {
                    backend.add_products(&mut sums, &refs(terms), factors)?;
                }
                backend.rescale(sums)?
            }
            [one] => backend.multiply_add_rescale(&pairs_of(one), key, &terms, &factors)?,
            several => {
                let open: Vec<_> =
                    several.iter().map(|own| backend.tensor(&pairs_of(own))).collect::<Result<_, CkksError>>()?;
                let groups: Vec<_> = (0..elements).map(|at| open.iter().map(|own| &own[at]).collect()).collect();
                let sums = backend.sums_of_products(&groups)?;
                open.into_iter().flatten().for_each(|own| backend.release(vec![own.low, own.high]));
                let (mut lows, highs): (Vec<_>, Vec<_>) = sums.into_iter().map(|own| (own.low, own.high)).unzip();
                for (terms, factors) in terms.iter().zip(&factors) {
                    backend.add_products(&mut lows, &refs(terms), factors)?;
                }
                backend.relinearise_rescale(joined(lows, highs), key)?
            }
        };
        match step.constant {
            Some(Addend::Own(constant)) => backend.add_constants(&mut own, &constants[constant])?,
            Some(Addend::Number(number)) => {
                let number = Number::new(params, number, value);
                backend.add_constants(&mut own, &vec![Constant::Number(&number); elements])?;
            }
            None => {}
        }
        values.push(own);
        for (value, own) in values.iter_mut().enumerate() {
            if chebyshev::last_use(steps, value) == at {
                backend.release(std::mem::take(own));
            }
        }
    }
    Ok(values.pop().unwrap_or_default())
}

/// Limbs of all, which are alike.
fn limbs_of<B: RnsOps>(backend: &B, batch: &[B::Ciphertext]) -> usize {
    batch.first().map_or(0, |first| backend.state(first).limbs)
}

fn pairs<'a, C>(a: &'a [C], b: &'a [C]) -> Vec<(&'a C, &'a C)> {
    a.iter().zip(b).collect()
}
