//! Runs a [`LatencyPlan`]: masks and constants encoded once, then rotations, products and sums for every batch of lanes.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use super::activation::{Activation, Form};
use super::context::Context;
use super::encode::{Complex, Encoder};
use super::evaluator::{Ciphertext, CkksError, Plaintext};
use super::files::EvaluationKey;
use super::keyswitch::GaloisKey;
use super::latency::{LatencyPlan, limbs_of_stages};
use super::layout::Layout;
use super::linear::{LinearMap, Mask, Tensor, baby_amounts, baby_order, giant_order};
use super::polynomials::PolynomialNetwork;
use super::shared_rows::SharedRows;
use super::steps::{Axis, Steps};
use super::throughput::output_scale;
use crate::progress::Progress;

/// A network with polynomials, encoded.
pub struct LatencySession<'a> {
    context: &'a Context,
    plan: &'a LatencyPlan,
    keys: &'a EvaluationKey,
    maps: Vec<PreparedMap>,
}

/// Sums of products that belong to one ciphertext of the output behind one giant step.
struct Sum {
    output: usize,
    giants: Vec<usize>,
    /// Number among all baby steps of all input ciphertexts, with the mask.
    terms: Vec<(usize, Plaintext)>,
}

struct PreparedMap {
    limbs: usize,
    /// For each operand.
    sums: Vec<Vec<Sum>>,
    /// Scale before rescaling.
    scale: f64,
    /// For each ciphertext of the output its constants, at the scale of the result.
    bias: Vec<Plaintext>,
    /// For each ciphertext of the output.
    activation: Vec<PreparedForm>,
}

enum PreparedForm {
    Square { shift: Plaintext, constant: Plaintext },
    Cubic([Plaintext; 4]),
    Quartic([Plaintext; 4]),
    Sextic([Plaintext; 6]),
}

/// Encodes numbers a slot of one ring for all lanes.
struct Writer<'a> {
    context: &'a Context,
    encoder: Encoder,
    lanes: usize,
}

impl Writer<'_> {
    fn plaintext(&self, slots: &[f64], scale: f64, limbs: usize) -> Plaintext {
        let all: Vec<Complex> =
            slots.iter().flat_map(|&x| std::iter::repeat_n(Complex::new(x, 0.0), self.lanes)).collect();
        self.context.plaintext(&self.encoder.coefficients(&all, scale), scale, limbs)
    }
}

/// Scale and limbs of a ciphertext that is still to come.
#[derive(Clone, Copy)]
struct State {
    scale: f64,
    limbs: usize,
}

impl State {
    fn rescaled(self, context: &Context) -> Self {
        Self { scale: self.scale / f64::from(context.modulus(self.limbs - 1).p), limbs: self.limbs - 1 }
    }
}

impl<'a> LatencySession<'a> {
    /// Encodes all masks and constants for the parameters of the context.
    ///
    /// # Errors
    /// A sentence if plan, network and keys do not belong together.
    pub fn new(
        context: &'a Context,
        network: &PolynomialNetwork,
        plan: &'a LatencyPlan,
        keys: &'a EvaluationKey,
    ) -> Result<Self, CkksError> {
        if context.limbs() <= network.levels() {
            return Err(CkksError::Depth);
        }
        let limbs = limbs_of_stages(network, context.limbs());
        let needed = plan.rotations(network, context.limbs());
        let is_there =
            |(rotation, limbs): (&usize, &usize)| keys.rotations.get(rotation).is_some_and(|k| k.limbs() >= *limbs);
        if !needed.iter().all(is_there) {
            return Err(CkksError::Plan("the evaluation key lacks a rotation that the plan needs".into()));
        }
        let writer = Writer { context, encoder: Encoder::new(context.params.log2_degree), lanes: plan.lanes };
        let fresh = f64::from(context.params.scale_log2).exp2();
        let mut tensors = vec![Tensor { first: 0, layout: plan.input.clone(), limbs: limbs[0] }];
        let mut scales = vec![fresh];
        let mut gains = vec![1.0; network.input.len()];
        let mut first = network.input.len();
        let mut maps = Vec::with_capacity(plan.maps.len());
        for (at, (map, rows)) in plan.maps.iter().zip(SharedRows::of_network(network)).enumerate() {
            let stage = network.stages.get(at);
            let own = if stage.is_some() { limbs[at] } else { limbs[at].min(2) };
            let activation = |row: usize| stage.map(|stage| stage.activation(row));
            // u = (x - centre) / radius comes straight out of the linear map.
            let factor = |row: usize| activation(row).map_or(1.0, |a| 1.0 / a.radius);
            let constant = |row: usize| (rows.rows[row].0 - activation(row).map_or(0.0, |a| a.centre)) * factor(row);
            let masks = map
                .masks(&rows, &tensors, |row, value, weight| weight * gains[value] * factor(row))
                .map_err(CkksError::Plan)?;
            let scale = if stage.is_some() {
                context.before_rescale(fresh, own)
            } else {
                output_scale(&context.params, network.output_bound)
            };
            let sums = map
                .operands
                .iter()
                .zip(masks)
                .map(|(operand, masks)| {
                    encode_masks(&writer, &operand.steps, masks, scale / scales[operand.tensor], own)
                })
                .collect();
            let result = State { scale, limbs: own };
            let result = if stage.is_some() { result.rescaled(context) } else { result };
            let outputs = 0..map.output.ciphertexts();
            let bias = outputs
                .clone()
                .map(|ct| writer.plaintext(&map.output.spread(ct, constant), result.scale, result.limbs));
            let bias = bias.collect();
            let mut prepared = PreparedMap { limbs: own, sums, scale, bias, activation: Vec::new() };
            if let Some(stage) = stage {
                let of_row = |row: usize| stage.activation(row);
                let mut end = result;
                for ct in outputs {
                    let (form, state) = prepare_form(&writer, &map.output, ct, &of_row, result);
                    prepared.activation.push(form);
                    end = state;
                }
                scales.push(end.scale);
                tensors.push(Tensor { first, layout: map.output.clone(), limbs: end.limbs });
                gains.extend((0..stage.rows.len()).map(|row| stage.activation(row).form.gain()));
                first += stage.rows.len();
            }
            maps.push(prepared);
        }
        Ok(Self { context, plan, keys, maps })
    }

    /// Bytes of encoded masks and constants.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let sums = self.maps.iter().flat_map(|map| map.sums.iter().flatten());
        sums.flat_map(|sum| &sum.terms).map(|(_, mask)| 4 * mask.words.len() as u64).sum()
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
        let mut tensors = vec![input];
        for (map, prepared) in self.plan.maps.iter().zip(&self.maps) {
            let linear = self.linear(map, prepared, &tensors)?;
            let values: Result<Vec<Ciphertext>, CkksError> = linear
                .into_par_iter()
                .enumerate()
                .map(|(ct, mut value)| match prepared.activation.get(ct) {
                    None => {
                        self.context.add_plain(&mut value, &prepared.bias[ct])?;
                        Ok(value)
                    }
                    Some(form) => {
                        let mut value = self.context.rescale(value)?;
                        self.context.add_plain(&mut value, &prepared.bias[ct])?;
                        self.activate(value, form)
                    }
                })
                .collect();
            tensors.push(values?);
            progress.advance(1);
        }
        progress.finish();
        Ok(tensors.pop().unwrap_or_default())
    }

    fn rotate(&self, ciphertext: &Ciphertext, amount: i64) -> Ciphertext {
        self.context.automorphism(ciphertext, self.key(amount))
    }

    /// The key of a rotation by `amount` slots of one ring; `new` has seen that there is one.
    fn key(&self, amount: i64) -> &GaloisKey {
        let steps = amount.rem_euclid(self.plan.input.ring as i64) as usize * self.plan.lanes;
        &self.keys.rotations[&steps]
    }

    /// Sums of masked rotations, not yet rescaled.
    fn linear(
        &self,
        map: &LinearMap,
        prepared: &PreparedMap,
        tensors: &[Vec<Ciphertext>],
    ) -> Result<Vec<Ciphertext>, CkksError> {
        let context = self.context;
        let mut results: Vec<Option<Ciphertext>> = vec![None; map.output.ciphertexts()];
        for (operand, sums) in map.operands.iter().zip(&prepared.sums) {
            let inputs: Result<Vec<Vec<Ciphertext>>, CkksError> = tensors[operand.tensor]
                .iter()
                .map(|input| {
                    let mut input = context.drop_to(input.clone(), prepared.limbs)?;
                    if let Some(window) = &operand.window {
                        let shifted = self.babies(&input, window)?;
                        let terms: Vec<(&Ciphertext, f64)> = shifted.iter().map(|c| (c, 1.0)).collect();
                        input = context.linear_combination(&terms, input.scale)?;
                        shifted.into_iter().for_each(|c| context.recycle(c));
                    }
                    self.babies(&input, &operand.steps)
                })
                .collect();
            let inputs: Vec<Ciphertext> = inputs?.into_iter().flatten().collect();
            let terms: Vec<Vec<(usize, &Plaintext)>> =
                sums.iter().map(|sum| sum.terms.iter().map(|(input, mask)| (*input, mask)).collect()).collect();
            let totals = context.inner_products_plain(&inputs, &terms)?;
            inputs.into_iter().for_each(|c| context.recycle(c));
            let mut sums: HashMap<(usize, Vec<usize>), Ciphertext> =
                sums.iter().map(|sum| (sum.output, sum.giants.clone())).zip(totals).collect();
            let order = giant_order(&operand.steps);
            for (output, result) in results.iter_mut().enumerate() {
                let own: HashMap<Vec<usize>, Ciphertext> =
                    sums.extract_if(|(of, _), _| *of == output).map(|((_, giants), sum)| (giants, sum)).collect();
                let own = std::sync::Mutex::new(own);
                let mut place = vec![0; operand.steps.axes.len()];
                let total = self.giants(&operand.steps.axes, &order, &mut place, &own)?;
                match (result.as_mut(), total) {
                    (Some(result), Some(total)) => context.add_assign(result, &total)?,
                    (None, total) => *result = total,
                    (Some(_), None) => {}
                }
            }
        }
        let any = &tensors[map.operands[0].tensor][0];
        results
            .into_par_iter()
            .map(|result| {
                let mut sum = match result {
                    Some(sum) => sum,
                    // A map that reads nothing still needs a ciphertext to stand in.
                    None => {
                        context.drop_to(context.linear_combination(&[(any, 0.0)], prepared.scale)?, prepared.limbs)?
                    }
                };
                for fold in map.folds() {
                    let shifted = self.rotate(&sum, fold as i64);
                    context.add_assign(&mut sum, &shifted)?;
                    context.recycle(shifted);
                }
                Ok(sum)
            })
            .collect()
    }

    /// A ciphertext rotated by every baby step, in the order of [`baby_number`].
    fn babies(&self, input: &Ciphertext, steps: &Steps) -> Result<Vec<Ciphertext>, CkksError> {
        let mut variants = vec![input.clone()];
        for amounts in baby_amounts(steps) {
            let rotated: Vec<Vec<Ciphertext>> = variants
                .into_par_iter()
                .map(|variant| {
                    if amounts.iter().all(|&amount| amount == 0) {
                        return vec![variant];
                    }
                    let digits = self.context.decompose_mask(&variant);
                    let rotated = amounts
                        .par_iter()
                        .map(|&amount| match amount {
                            0 => variant.clone(),
                            _ => self.context.hoisted(&variant, &digits, self.key(amount)),
                        })
                        .collect();
                    self.context.recycle_decomposed(digits);
                    self.context.recycle(variant);
                    rotated
                })
                .collect();
            variants = rotated.into_iter().flatten().collect();
        }
        Ok(variants)
    }

    /// Sums over the giant steps of the axes in `order`, the last one first; `place` fixes the axes before.
    fn giants(
        &self,
        axes: &[Axis],
        order: &[usize],
        place: &mut Vec<usize>,
        sums: &std::sync::Mutex<HashMap<Vec<usize>, Ciphertext>>,
    ) -> Result<Option<Ciphertext>, CkksError> {
        let Some((&axis, inner)) = order.split_first() else {
            return Ok(sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(place));
        };
        let step = (axes[axis].babies * axes[axis].step) as i64;
        let part = |giant: usize| {
            let mut place = place.clone();
            place[axis] = giant;
            self.giants(axes, inner, &mut place, sums)
        };
        let parts: Result<Vec<Option<Ciphertext>>, CkksError> =
            (0..axes[axis].giants()).into_par_iter().map(part).collect();
        let mut total: Option<Ciphertext> = None;
        for part in parts?.into_iter().rev() {
            if let Some(before) = total.take() {
                total = Some(self.rotate(&before, step));
                self.context.recycle(before);
            }
            match (total.as_mut(), part) {
                (Some(total), Some(part)) => {
                    self.context.add_assign(total, &part)?;
                    self.context.recycle(part);
                }
                (None, part) => total = part,
                (Some(_), None) => {}
            }
        }
        Ok(total)
    }

    /// The polynomial without its gain; the form of [`Activation::form`] slot by slot.
    fn activate(&self, u: Ciphertext, form: &PreparedForm) -> Result<Ciphertext, CkksError> {
        let context = self.context;
        let key = self.keys.relinearise.as_ref().ok_or(CkksError::Depth)?;
        match form {
            PreparedForm::Square { shift, constant } => {
                let mut shifted = u;
                context.add_plain(&mut shifted, shift)?;
                let mut square = context.rescale(context.multiply(&shifted, &shifted, key)?)?;
                context.add_plain(&mut square, constant)?;
                Ok(square)
            }
            PreparedForm::Quartic([a, b, c, d]) => {
                // a u joins u^2 before it is rescaled: no level of its own.
                let mut product = context.multiply(&u, &u, key)?;
                context.add_assign(&mut product, &context.multiply_plain(&u, a)?)?;
                let mut inner = context.rescale(product)?;
                context.add_plain(&mut inner, b)?;
                let mut product = context.multiply(&inner, &inner, key)?;
                let limbs = context.limbs_of(&product);
                context.add_assign(&mut product, &context.multiply_plain(&context.drop_to(u, limbs)?, c)?)?;
                let mut value = context.rescale(product)?;
                context.add_plain(&mut value, d)?;
                Ok(value)
            }
            PreparedForm::Sextic([a, b, c, d, e, f]) => {
                let square = context.rescale(context.multiply(&u, &u, key)?)?;
                let mut shifted = square.clone();
                context.add_plain(&mut shifted, b)?;
                let u = context.drop_to(u, context.limbs_of(&square))?;
                let mut product = context.multiply(&shifted, &u, key)?;
                context.add_assign(&mut product, &context.multiply_plain(&square, a)?)?;
                let mut inner = context.rescale(product)?;
                context.add_plain(&mut inner, c)?;
                let mut product = context.multiply(&inner, &inner, key)?;
                let limbs = context.limbs_of(&product);
                context.add_assign(&mut product, &context.multiply_plain(&context.drop_to(square, limbs)?, d)?)?;
                context.add_assign(&mut product, &context.multiply_plain(&context.drop_to(u, limbs)?, e)?)?;
                let mut value = context.rescale(product)?;
                context.add_plain(&mut value, f)?;
                Ok(value)
            }
            PreparedForm::Cubic([c0, c1, c2, c3]) => {
                let square = context.rescale(context.multiply(&u, &u, key)?)?;
                let mut factor = context.rescale(context.multiply_plain(&u, c3)?)?;
                context.add_plain(&mut factor, c2)?;
                let mut product = context.multiply(&square, &factor, key)?;
                let limbs = context.limbs_of(&product);
                context.add_assign(&mut product, &context.multiply_plain(&context.drop_to(u, limbs)?, c1)?)?;
                let mut value = context.rescale(product)?;
                context.add_plain(&mut value, c0)?;
                Ok(value)
            }
        }
    }
}

/// Number of a combination of baby steps in what [`LatencySession::babies`] gives.
fn baby_number(steps: &Steps, babies: &[usize]) -> usize {
    baby_order(steps).into_iter().fold(0, |number, axis| number * steps.axes[axis].babies + babies[axis])
}

fn encode_masks(writer: &Writer<'_>, steps: &Steps, masks: Vec<Mask>, scale: f64, limbs: usize) -> Vec<Sum> {
    let mut sums: BTreeMap<(usize, Vec<usize>), Vec<Mask>> = BTreeMap::new();
    for mask in masks {
        sums.entry((mask.output, mask.giants.clone())).or_default().push(mask);
    }
    let babies: usize = steps.axes.iter().map(|axis| axis.babies).product();
    let encode = |mask: Mask| {
        let number = mask.input * babies + baby_number(steps, &mask.babies);
        (number, writer.plaintext(&mask.slots, scale, limbs))
    };
    let sum = |((output, giants), masks): ((usize, Vec<usize>), Vec<Mask>)| Sum {
        output,
        giants,
        terms: masks.into_par_iter().map(encode).collect(),
    };
    sums.into_par_iter().map(sum).collect()
}

/// Constants of the activation of one ciphertext, and what comes out of it.
fn prepare_form<'f>(
    writer: &Writer<'_>,
    layout: &Layout,
    ciphertext: usize,
    of_row: &dyn Fn(usize) -> &'f Activation,
    u: State,
) -> (PreparedForm, State) {
    let context = writer.context;
    let write = |pick: &dyn Fn(&Form) -> f64, scale: f64, limbs: usize| {
        writer.plaintext(&layout.spread(ciphertext, |row| pick(&of_row(row).form)), scale, limbs)
    };
    let square = State { scale: u.scale * u.scale, limbs: u.limbs };
    let inner = square.rescaled(context);
    match of_row(0).form {
        Form::Square { .. } => {
            let field = |pick: fn(f64, f64) -> f64| {
                move |form: &Form| match *form {
                    Form::Square { shift, constant, .. } => pick(shift, constant),
                    _ => unreachable!("a stage has one form"),
                }
            };
            let shift = write(&field(|shift, _| shift), u.scale, u.limbs);
            let constant = write(&field(|_, constant| constant), inner.scale, inner.limbs);
            (PreparedForm::Square { shift, constant }, inner)
        }
        Form::Quartic { .. } => {
            let field = |at: usize| {
                move |form: &Form| match *form {
                    Form::Quartic { a, b, c, d, .. } => [a, b, c, d][at],
                    _ => unreachable!("a stage has one form"),
                }
            };
            let product = State { scale: inner.scale * inner.scale, limbs: inner.limbs };
            let value = product.rescaled(context);
            let form = PreparedForm::Quartic([
                write(&field(0), square.scale / u.scale, u.limbs),
                write(&field(1), inner.scale, inner.limbs),
                write(&field(2), product.scale / u.scale, inner.limbs),
                write(&field(3), value.scale, value.limbs),
            ]);
            (form, value)
        }
        Form::Sextic { .. } => {
            let field = |at: usize| {
                move |form: &Form| match *form {
                    Form::Sextic { rest, .. } => rest[at],
                    _ => unreachable!("a stage has one form"),
                }
            };
            let cube = State { scale: inner.scale * u.scale, limbs: inner.limbs };
            let factor = cube.rescaled(context);
            let product = State { scale: factor.scale * factor.scale, limbs: factor.limbs };
            let value = product.rescaled(context);
            let form = PreparedForm::Sextic([
                write(&field(0), cube.scale / inner.scale, inner.limbs),
                write(&field(1), inner.scale, inner.limbs),
                write(&field(2), factor.scale, factor.limbs),
                write(&field(3), product.scale / inner.scale, factor.limbs),
                write(&field(4), product.scale / u.scale, factor.limbs),
                write(&field(5), value.scale, value.limbs),
            ]);
            (form, value)
        }
        Form::Cubic(_) => {
            let field = |at: usize| {
                move |form: &Form| match *form {
                    Form::Cubic(c) => c[at],
                    _ => unreachable!("a stage has one form"),
                }
            };
            // The other factor comes out at the square's own scale.
            let lead = square.scale / u.scale;
            let product = State { scale: inner.scale * inner.scale, limbs: inner.limbs };
            let value = product.rescaled(context);
            let form = PreparedForm::Cubic([
                write(&field(0), value.scale, value.limbs),
                write(&field(1), product.scale / u.scale, inner.limbs),
                write(&field(2), inner.scale, inner.limbs),
                write(&field(3), lead, u.limbs),
            ]);
            (form, value)
        }
    }
}
