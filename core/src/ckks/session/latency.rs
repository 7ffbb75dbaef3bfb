//! Runs a [`LatencyPlan`]: masks and constants encoded once, then rotations, products and sums for every batch of lanes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use crate::ckks::error::CkksError;
use crate::ckks::files::evaluation_key::EvaluationKey;
use crate::ckks::ops::{Constant, RnsOps, State};
use crate::ckks::params::layout::Layout;
use crate::ckks::plan::activation::Kind;
use crate::ckks::plan::latency::LatencyPlan;
use crate::ckks::plan::linear::{LinearMap, Mask};
use crate::ckks::plan::polynomials::PolynomialNetwork;
use crate::ckks::plan::polynomials::limbs_of_stages;
use crate::ckks::plan::shared_rows::SharedRows;
use crate::ckks::plan::steps::Steps;
use crate::ckks::plan::steps::{baby_amounts, baby_order, giant_order};
use crate::ckks::plan::wiring::Tensor;
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::context::Context;
use crate::ckks::ring::encode::{Complex, Encoder};
use crate::ckks::session::polynomial::{activate, uses};
use crate::progress::Progress;

/// A network with polynomials, encoded.
pub struct LatencySession<'a, B: RnsOps> {
    backend: &'a B,
    plan: &'a LatencyPlan,
    relinearise: Option<B::SwitchKey>,
    rotations: BTreeMap<usize, B::GaloisKey>,
    maps: Vec<PreparedMap<B>>,
}

/// Sums of products that belong to one ciphertext of the output behind one giant step.
struct Sum<P> {
    output: usize,
    giants: Vec<usize>,
    /// Number among all baby steps of all input ciphertexts, with the mask.
    terms: Vec<(usize, P)>,
}

struct PreparedMap<B: RnsOps> {
    limbs: usize,
    /// For each operand.
    sums: Vec<Vec<Sum<B::Plaintext>>>,
    /// Scale before rescaling.
    scale: f64,
    /// For each ciphertext of the results its constants, at the scale of the result.
    bias: Vec<B::Plaintext>,
    /// The polynomials' kind, and each of their constants for each ciphertext of the output.
    activation: Option<(Kind, Vec<Vec<B::Plaintext>>)>,
}

/// Encodes numbers a slot of one ring for all lanes.
struct Writer<'a, B> {
    backend: &'a B,
    context: &'a Context,
    encoder: Encoder,
    lanes: usize,
}

impl<B: RnsOps> Writer<'_, B> {
    fn plaintext(&self, slots: &[f64], at: State) -> Result<B::Plaintext, CkksError> {
        let all: Vec<Complex> =
            slots.iter().flat_map(|&x| std::iter::repeat_n(Complex::new(x, 0.0), self.lanes)).collect();
        let coefficients = self.encoder.coefficients(&all, at.scale);
        self.backend.load_plaintext(self.context.plaintext(&coefficients, at.scale, at.limbs))
    }

    /// One plaintext for each ciphertext of a layout.
    fn spread(&self, layout: &Layout, at: State, value: impl Fn(usize) -> f64) -> Result<Vec<B::Plaintext>, CkksError> {
        (0..layout.ciphertexts()).map(|ct| self.plaintext(&layout.spread(ct, &value), at)).collect()
    }

    fn masks(&self, steps: &Steps, masks: Vec<Mask>, at: State) -> Result<Vec<Sum<B::Plaintext>>, CkksError> {
        let mut sums: BTreeMap<(usize, Vec<usize>), Vec<Mask>> = BTreeMap::new();
        for mask in masks {
            sums.entry((mask.output, mask.giants.clone())).or_default().push(mask);
        }
        let babies: usize = steps.axes.iter().map(|axis| axis.babies).product();
        let encode =
            |mask: Mask| Ok((mask.input * babies + baby_number(steps, &mask.babies), self.plaintext(&mask.slots, at)?));
        let sum = |((output, giants), masks): ((usize, Vec<usize>), Vec<Mask>)| {
            let terms: Result<_, CkksError> = masks.into_par_iter().map(encode).collect();
            Ok(Sum { output, giants, terms: terms? })
        };
        sums.into_par_iter().map(sum).collect()
    }
}

impl<'a, B: RnsOps> LatencySession<'a, B> {
    /// Loads the keys and encodes all masks and constants, with the parameters' constants in `context`.
    ///
    /// # Errors
    /// [`CkksError::Plan`] if plan, network and keys do not belong together.
    pub fn new(
        backend: &'a B,
        context: &Context,
        network: &PolynomialNetwork,
        plan: &'a LatencyPlan,
        keys: EvaluationKey,
    ) -> Result<Self, CkksError> {
        let params = backend.params();
        if params.primes.len() <= network.levels() {
            return Err(CkksError::Depth);
        }
        let limbs = limbs_of_stages(network, params.primes.len());
        let needed = plan.rotations(network, params.primes.len());
        let is_there =
            |(rotation, limbs): (&usize, &usize)| keys.rotations.get(rotation).is_some_and(|k| k.limbs() >= *limbs);
        if !needed.iter().all(is_there) {
            return Err(CkksError::Plan("the evaluation key lacks a rotation that the plan needs".into()));
        }
        let writer = Writer { backend, context, encoder: Encoder::new(params.log2_degree), lanes: plan.lanes };
        let fresh = f64::from(params.scale_log2).exp2();
        let mut tensors = vec![Tensor { first: 0, layout: plan.input.clone(), limbs: limbs[0] }];
        let mut scales = vec![fresh];
        let mut gains = vec![1.0; network.input.len()];
        let mut first = network.input.len();
        let mut maps = Vec::with_capacity(plan.maps.len());
        for (at, (map, rows)) in plan.maps.iter().zip(SharedRows::of_network(network)).enumerate() {
            let stage = network.stages.get(at);
            let own = if stage.is_some() { limbs[at] } else { limbs[at].min(2) };
            // u = (x - centre) / radius comes straight out of the linear map; second factors are scaled already.
            let activation = |row: usize| stage.filter(|s| row < s.rows.len()).map(|stage| stage.activation(row));
            let factor = |row: usize| activation(row).map_or(1.0, |a| 1.0 / a.radius);
            let constant = |row: usize| (rows.rows[row].0 - activation(row).map_or(0.0, |a| a.centre)) * factor(row);
            let masks = map
                .masks(&rows, &tensors, |row, value, weight| weight * gains[value] * factor(row))
                .map_err(CkksError::Plan)?;
            let scale = if stage.is_some() {
                fresh * f64::from(params.primes[own - 1])
            } else {
                params.output_scale(network.output_bound)
            };
            let sums: Result<_, CkksError> = map
                .operands
                .iter()
                .zip(masks)
                .map(|(operand, masks)| {
                    writer.masks(&operand.steps, masks, State { scale: scale / scales[operand.tensor], limbs: own })
                })
                .collect();
            let linear = State { scale, limbs: own };
            let u = if stage.is_some() { linear.rescaled(params) } else { linear };
            let values = map.output.len();
            let set = |set: usize| writer.spread(&map.output, u, |value| constant(set * values + value));
            let bias: Result<Vec<_>, CkksError> = (0..map.sets).map(set).collect();
            let bias = bias?.into_iter().flatten().collect();
            let mut prepared = PreparedMap { limbs: own, sums: sums?, scale, bias, activation: None };
            if let Some(stage) = stage {
                let kind = stage.activation(0).form.kind();
                let (uses, end) = uses(kind, params, u);
                let constants: Vec<Vec<f64>> =
                    (0..stage.rows.len()).map(|row| stage.activation(row).form.constants()).collect();
                let write = |(at, state): (usize, State)| writer.spread(&map.output, state, |row| constants[row][at]);
                let constants: Result<_, CkksError> = uses.into_iter().enumerate().map(write).collect();
                prepared.activation = Some((kind, constants?));
                scales.push(end.scale);
                tensors.push(Tensor { first, layout: map.output.clone(), limbs: end.limbs });
                gains.extend((0..stage.rows.len()).map(|row| stage.activation(row).form.gain()));
                first += stage.rows.len();
            }
            maps.push(prepared);
        }
        let relinearise = keys.relinearise.map(|key| backend.load_switch_key(key)).transpose()?;
        let load = |(steps, key)| Ok((steps, backend.load_galois_key(key)?));
        let rotations: Result<_, CkksError> = keys.rotations.into_iter().map(load).collect();
        Ok(Self { backend, plan, relinearise, rotations: rotations?, maps })
    }

    /// Evaluates one batch of lanes: the ciphertexts of [`LatencyPlan::input`] to those of [`LatencyPlan::output`].
    ///
    /// # Errors
    /// [`CkksError::Level`] for another number of inputs.
    pub fn run(&self, input: Vec<Ciphertext>, progress: &dyn Progress) -> Result<Vec<Ciphertext>, CkksError> {
        let expected = self.plan.input.ciphertexts();
        if input.len() != expected {
            return Err(CkksError::Level { left: input.len(), right: expected });
        }
        progress.start("inference", self.maps.len() as u64);
        let mut tensors = vec![self.backend.upload(input)?];
        for (map, prepared) in self.plan.maps.iter().zip(&self.maps) {
            let mut values = self.linear(map, prepared, &tensors)?;
            if prepared.activation.is_some() {
                values = self.backend.rescale(values)?;
            }
            self.backend.add_constants(&mut values, &slots::<B>(&prepared.bias))?;
            if let Some((kind, constants)) = &prepared.activation {
                let key = self.relinearise.as_ref().ok_or(CkksError::Depth)?;
                let constants: Vec<_> = constants.iter().map(|constants| slots::<B>(constants)).collect();
                values = activate(self.backend, key, *kind, values, &constants)?;
            }
            tensors.push(values);
            progress.advance(1);
        }
        progress.finish();
        self.backend.download(tensors.pop().unwrap_or_default())
    }

    /// The key of a rotation by `amount` slots of one ring, none for 0; `new` has seen that there is one.
    fn key(&self, amount: i64) -> Option<&B::GaloisKey> {
        let steps = amount.rem_euclid(self.plan.input.ring as i64) as usize * self.plan.lanes;
        (steps > 0).then(|| &self.rotations[&steps])
    }

    /// Sums of masked rotations, not yet rescaled.
    fn linear(
        &self,
        map: &LinearMap,
        prepared: &PreparedMap<B>,
        tensors: &[Vec<B::Ciphertext>],
    ) -> Result<Vec<B::Ciphertext>, CkksError> {
        let backend = self.backend;
        let outputs = map.ciphertexts();
        let mut results: Vec<Option<B::Ciphertext>> = vec![None; outputs];
        for (operand, sums) in map.operands.iter().zip(&prepared.sums) {
            let mut inputs = backend.drop_to(tensors[operand.tensor].clone(), prepared.limbs)?;
            if let Some(window) = &operand.window {
                let scale = inputs.first().map_or(1.0, |input| backend.state(input).scale);
                let shifted = self.babies(inputs, window)?;
                let size = window.axes.iter().map(|axis| axis.babies).product();
                let windows = shifted.chunks(size).map(|window| window.iter().map(|c| (c, 1.0)).collect());
                inputs = backend.linear_combinations(&windows.collect::<Vec<_>>(), scale)?;
                backend.release(shifted);
            }
            let inputs = self.babies(inputs, &operand.steps)?;
            let terms: Vec<Vec<(usize, &B::Plaintext)>> =
                sums.iter().map(|sum| sum.terms.iter().map(|(input, mask)| (*input, mask)).collect()).collect();
            let totals = if terms.is_empty() { Vec::new() } else { backend.inner_products(&inputs, &terms)? };
            backend.release(inputs);
            let places = sums.iter().map(|sum| (sum.output, sum.giants.clone()));
            let totals = self.giants(&operand.steps, places.zip(totals).collect())?;
            for (output, total) in totals {
                match &mut results[output] {
                    Some(result) => backend.add_assign(std::slice::from_mut(result), &[&total])?,
                    empty => *empty = Some(total),
                }
            }
        }
        let mut sums = Vec::with_capacity(outputs);
        for result in results {
            sums.push(match result {
                Some(sum) => sum,
                // A map that reads nothing still needs a ciphertext to stand in.
                None => {
                    let any = &tensors[map.operands[0].tensor][0];
                    let zero = backend.linear_combinations(&[vec![(any, 0.0)]], prepared.scale)?;
                    backend.drop_to(zero, prepared.limbs)?.remove(0)
                }
            });
        }
        for fold in map.folds() {
            let Some(key) = self.key(fold as i64) else { continue };
            let shifted = backend.rotate(&sums.iter().collect::<Vec<_>>(), key)?;
            backend.add_assign(&mut sums, &shifted.iter().collect::<Vec<_>>())?;
            backend.release(shifted);
        }
        Ok(sums)
    }

    /// Every ciphertext rotated by every baby step, in the order of [`baby_number`].
    fn babies(&self, mut batch: Vec<B::Ciphertext>, steps: &Steps) -> Result<Vec<B::Ciphertext>, CkksError> {
        for amounts in baby_amounts(steps) {
            let keys: Vec<Option<&B::GaloisKey>> = amounts.iter().map(|&amount| self.key(amount)).collect();
            batch = self.backend.rotate_hoisted(batch, &keys)?.into_iter().flatten().collect();
        }
        Ok(batch)
    }

    /// Sums over the giant steps of all axes, the innermost first; every sum of an axis advances at the same time (Horner's rule).
    fn giants(
        &self,
        steps: &Steps,
        mut sums: HashMap<(usize, Vec<usize>), B::Ciphertext>,
    ) -> Result<Vec<(usize, B::Ciphertext)>, CkksError> {
        for axis in giant_order(steps).into_iter().rev() {
            let step = (steps.axes[axis].babies * steps.axes[axis].step) as i64;
            let mut totals: HashMap<(usize, Vec<usize>), B::Ciphertext> = HashMap::new();
            for giant in (0..steps.axes[axis].giants()).rev() {
                if !totals.is_empty()
                    && let Some(key) = self.key(step)
                {
                    let (places, before): (Vec<_>, Vec<_>) = totals.into_iter().unzip();
                    let rotated = self.backend.rotate(&before.iter().collect::<Vec<_>>(), key)?;
                    self.backend.release(before);
                    totals = places.into_iter().zip(rotated).collect();
                }
                for ((output, mut place), part) in sums.extract_if(|(_, place), _| place[axis] == giant) {
                    place[axis] = 0;
                    match totals.entry((output, place)) {
                        Entry::Occupied(mut total) => {
                            self.backend.add_assign(std::slice::from_mut(total.get_mut()), &[&part])?;
                            self.backend.release(vec![part]);
                        }
                        Entry::Vacant(empty) => _ = empty.insert(part),
                    }
                }
            }
            sums = totals;
        }
        Ok(sums.into_iter().map(|((output, _), sum)| (output, sum)).collect())
    }
}

fn slots<B: RnsOps>(plaintexts: &[B::Plaintext]) -> Vec<Constant<'_, B::Plaintext>> {
    plaintexts.iter().map(Constant::Slots).collect()
}

/// Number of a combination of baby steps in what [`LatencySession::babies`] gives.
fn baby_number(steps: &Steps, babies: &[usize]) -> usize {
    baby_order(steps).into_iter().fold(0, |number, axis| number * steps.axes[axis].babies + babies[axis])
}
