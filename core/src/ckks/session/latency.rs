//! Runs a [`LatencyPlan`]: masks and constants encoded once, then rotations, products and sums for every batch of
//! lanes.

use crate::batch::Stopwatch;
use crate::ckks::files::seeded::SeededCiphertext;
use crate::ckks::params::key_request::KeyRequest;
use crate::ckks::plan::keys::key_request;
use crate::ckks::ring::number::Number;
use crate::ckks::schedule::latency::{BootstrapStep, LatencySchedule};
use crate::ckks::session::bootstrap::PreparedBootstrap;
use crate::ckks::session::keys::Keys;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use tracing::{debug_span, info_span, trace_span};

use crate::ckks::error::CkksError;
use crate::ckks::files::evaluation_key::SeededEvaluationKey;
use crate::ckks::ops::{Constant, RnsOps};
use crate::ckks::params::layout::Layout;
use crate::ckks::plan::activation::FormKind;
use crate::ckks::plan::latency::LatencyPlan;
use crate::ckks::plan::linear::{LinearMap, Mask};
use crate::ckks::plan::polynomials::PolynomialNetwork;
use crate::ckks::plan::shared_rows::SharedRows;
use crate::ckks::plan::steps::Steps;
use crate::ckks::plan::steps::{baby_amounts, baby_order, giant_order};
use crate::ckks::plan::uses::uses;
use crate::ckks::plan::wiring::Tensor;
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::number::State;
use crate::ckks::ring::slots::SlotEncoder;
use crate::model::network::Row;
use crate::progress::Progress;

/// A network with polynomials, encoded.
pub struct LatencySession<'a, B: RnsOps> {
    ring: &'a B,
    plan: &'a LatencyPlan,
    keys: Keys<B>,
    prepared: Arc<Prepared<B>>,
    is_timed: bool,
}

/// What sessions of all keys have in common.
struct Prepared<B: RnsOps> {
    schedule: LatencySchedule,
    /// Keys that a run needs.
    request: KeyRequest,
    maps: Vec<PreparedMap<B>>,
    /// For each tensor the last map that reads it.
    last_uses: Vec<Option<usize>>,
    bootstrap: Option<PreparedBootstrap<B>>,
}

/// Masks of a sum.
enum Masks<B: RnsOps> {
    /// Transformed.
    Loaded(Vec<B::Plaintext>),
    /// To be transformed when they are used.
    Kept(Vec<B::Coefficients>),
}

/// Sums of products that belong to one ciphertext of the output behind one giant step.
struct Sum<B: RnsOps> {
    output: usize,
    giants: Vec<usize>,
    /// Numbers among all baby steps of all input ciphertexts, one for each mask.
    inputs: Vec<usize>,
    masks: Masks<B>,
}

impl<B: RnsOps> Sum<B> {
    /// Inputs with their masks.
    fn terms<'m>(&self, masks: &'m [B::Plaintext]) -> Vec<(usize, &'m B::Plaintext)> {
        self.inputs.iter().copied().zip(masks).collect()
    }
}

struct PreparedMap<B: RnsOps> {
    /// Scale and limbs of the sums.
    linear: State,
    /// For each operand.
    sums: Vec<Vec<Sum<B>>>,
    /// For each ciphertext of the results its constants, at the scale of the result.
    bias: Vec<B::Plaintext>,
    /// The polynomials' kind, and each of their constants for each ciphertext of the output.
    activation: Option<(FormKind, Vec<Vec<B::Plaintext>>)>,
}

/// Encodes numbers a slot of one ring for all lanes.
struct Writer<'a, B> {
    ring: &'a B,
    /// Whether masks are transformed when they are used.
    keeps_masks: bool,
    /// By log2 of the slots after which content repeats.
    encoders: [OnceLock<SlotEncoder>; u32::BITS as usize],
    lanes: usize,
}

impl<B: RnsOps> Writer<'_, B> {
    /// Of the slots of one period.
    fn plaintext(&self, slots: &[f64], at: State) -> Result<B::Plaintext, CkksError> {
        let coefficients = self.coefficients(slots, at.scale);
        self.ring.load_plaintext(self.ring.host().plaintext(&coefficients, at.scale, at.limbs))
    }

    fn kept(&self, slots: &[f64], at: State) -> Result<B::Coefficients, CkksError> {
        // Bootstraps are in the ring of complex slots.
        let coefficients = self.ring.host().coefficients(&self.coefficients(slots, at.scale), at.scale);
        self.ring.load_coefficients(coefficients.of_real_slots())
    }

    fn coefficients(&self, slots: &[f64], scale: f64) -> Vec<f64> {
        let all: Vec<f64> = slots.iter().flat_map(|&x| std::iter::repeat_n(x, self.lanes)).collect();
        let kind = self.ring.params().ring;
        let all = if all.len() < SlotEncoder::LEAST { all.repeat(SlotEncoder::LEAST / all.len()) } else { all };
        let log2 = all.len().trailing_zeros();
        let encoder = self.encoders[log2 as usize].get_or_init(|| SlotEncoder::of_slots(kind, log2));
        encoder.coefficients(&all, scale)
    }

    /// One plaintext for each ciphertext of a layout.
    fn spread(
        &self,
        layout: &Layout,
        at: State,
        value: impl Fn(usize) -> f64 + Sync,
    ) -> Result<Vec<B::Plaintext>, CkksError> {
        let write = |ciphertext| self.plaintext(&layout.spread_once(ciphertext, &value), at);
        (0..layout.ciphertexts()).into_par_iter().map(write).collect()
    }

    fn masks(&self, steps: &Steps, masks: Vec<Mask>, at: State) -> Result<Vec<Sum<B>>, CkksError> {
        let mut sums: BTreeMap<(usize, Vec<usize>), Vec<Mask>> = BTreeMap::new();
        for mask in masks {
            sums.entry((mask.output, mask.giants.clone())).or_default().push(mask);
        }
        let babies: usize = steps.axes.iter().map(|axis| axis.babies).product();
        let input = |mask: &Mask| mask.input * babies + baby_number(steps, &mask.babies);
        let sum = |((output, giants), masks): ((usize, Vec<usize>), Vec<Mask>)| {
            let inputs = masks.iter().map(input).collect();
            let of = masks.into_par_iter();
            let masks = if self.keeps_masks {
                Masks::Kept(of.map(|mask| self.kept(&mask.slots, at)).collect::<Result<_, _>>()?)
            } else {
                Masks::Loaded(of.map(|mask| self.plaintext(&mask.slots, at)).collect::<Result<_, _>>()?)
            };
            Ok(Sum { output, giants, inputs, masks })
        };
        sums.into_par_iter().map(sum).collect()
    }
}

impl<'a, B: RnsOps> LatencySession<'a, B> {
    /// Loads the keys and encodes all masks and constants.
    ///
    /// # Errors
    /// [`CkksError::Plan`] if plan, network and keys do not belong together; [`CkksError::Memory`] if masks and
    /// ciphertexts hold more than `memory_bytes`; whatever the device fails with.
    pub fn new(
        ring: &'a B,
        network: &PolynomialNetwork,
        plan: &'a LatencyPlan,
        keys: &SeededEvaluationKey,
        memory_bytes: u64,
    ) -> Result<Self, CkksError> {
        let mut schedule = LatencySchedule::new(network, plan, ring.params())?;
        schedule.peak_bytes = plan.memory_bytes(network, ring.params(), |count| ring.coefficient_bytes(count));
        if schedule.peak_bytes > memory_bytes {
            return Err(CkksError::Memory { needed: schedule.peak_bytes, budget: memory_bytes });
        }
        // Keys that lack something are found before masks are encoded.
        let request = key_request(network, Some(plan), ring.params()).map_err(CkksError::Plan)?;
        let loaded = Keys::load(ring, &request, keys)?;
        let recipe = network.refresh.as_ref().map(|refresh| &refresh.recipe);
        let bootstrap = recipe.map(|recipe| PreparedBootstrap::new(ring, recipe)).transpose()?;
        let loading = debug_span!("load maps", maps = plan.maps.len()).entered();
        let maps = ring.on_threads(|| prepare(ring, network, plan, &schedule))?;
        if !loading.is_disabled() {
            ring.sync()?;
        }
        let last_uses = last_uses(plan);
        let prepared = Arc::new(Prepared { schedule, request, maps, last_uses, bootstrap });
        Ok(Self { ring, plan, keys: loaded, prepared, is_timed: false })
    }

    /// A session of the same plan on the same ring for another client's keys; masks and constants are shared.
    ///
    /// # Errors
    /// As [`LatencySession::new`].
    pub fn with_key(&self, keys: &SeededEvaluationKey) -> Result<Self, CkksError> {
        let keys = Keys::load(self.ring, &self.prepared.request, keys)?;
        let (prepared, is_timed) = (Arc::clone(&self.prepared), self.is_timed);
        Ok(Self { ring: self.ring, plan: self.plan, keys, prepared, is_timed })
    }

    /// Waits for each step, so that the spans of [`tracing`] say how long it took on the device.
    #[must_use]
    pub fn timed(mut self, is_timed: bool) -> Self {
        self.is_timed = is_timed;
        self
    }

    /// Waits for what was asked of the device, where steps are told apart.
    fn settle(&self) -> Result<(), CkksError> {
        if self.is_timed { self.ring.sync() } else { Ok(()) }
    }

    /// Where it runs.
    pub(super) fn ring(&self) -> &'a B {
        self.ring
    }

    /// What a run does.
    #[must_use]
    pub fn schedule(&self) -> &LatencySchedule {
        &self.prepared.schedule
    }

    /// Evaluates one batch of lanes: the ciphertexts of [`LatencyPlan::input`] to those of [`LatencyPlan::output`].
    ///
    /// # Errors
    /// [`CkksError::Level`] for another number of inputs.
    pub fn run(&self, inputs: &[SeededCiphertext], progress: &dyn Progress) -> Result<Vec<Ciphertext>, CkksError> {
        self.run_timed(inputs, &mut Stopwatch::default(), progress)
    }

    /// As [`LatencySession::run`], with a stopwatch for its steps.
    ///
    /// # Errors
    /// As [`LatencySession::run`].
    pub fn run_timed(
        &self,
        inputs: &[SeededCiphertext],
        watch: &mut Stopwatch,
        progress: &dyn Progress,
    ) -> Result<Vec<Ciphertext>, CkksError> {
        let (left, right) = (inputs.len(), self.plan.input.ciphertexts());
        if left != right {
            return Err(CkksError::Level { left, right });
        }
        progress.start("inference", self.prepared.maps.len() as u64);
        let fresh = self.prepared.schedule.input.scale;
        let ring = self.ring;
        let wait = || self.settle();
        let upload = || {
            let _step = info_span!("upload", ciphertexts = inputs.len()).entered();
            let uploaded = ring.upload_seeded(&inputs.iter().collect::<Vec<_>>(), fresh)?;
            let uploaded = ring.drop_to(uploaded, self.prepared.schedule.input.limbs)?;
            self.settle()?;
            Ok(uploaded)
        };
        let mut tensors = vec![watch.time(None, "transfer", wait, upload)?];
        for (at, (map, prepared)) in self.plan.maps.iter().zip(&self.prepared.maps).enumerate() {
            let _map = debug_span!("map", map = at, limbs = prepared.linear.limbs).entered();
            let mut values = watch.time(Some(at), "linear", wait, || self.linear(map, prepared, &tensors))?;
            let step = &self.prepared.schedule.steps[at];
            if step.linear.limbs > step.argument.limbs {
                let _step = trace_span!("rescale", ciphertexts = values.len()).entered();
                values = watch.time(Some(at), "rescale", wait, || ring.rescale(values))?;
            }
            let bias = slots::<B>(&prepared.bias);
            watch.time(Some(at), "linear", wait, || ring.add_constants(&mut values, &bias))?;
            if let Some((kind, constants)) = &prepared.activation {
                let key = self.keys.relinearise.as_ref().ok_or(CkksError::Depth)?;
                let constants: Vec<_> = constants.iter().map(|constants| slots::<B>(constants)).collect();
                let _step = trace_span!("polynomial", ciphertexts = values.len()).entered();
                let activate = || ring.activate(key, *kind, values, &constants);
                values = watch.time(Some(at), "polynomial", wait, activate)?;
            }
            tensors.push(values);
            if let Some(BootstrapStep { tensors: live, limbs }) = &step.bootstrap {
                let refresh = || live.iter().try_for_each(|&own| self.refresh(&mut tensors[own], *limbs));
                watch.time(Some(at), "bootstrap", wait, refresh)?;
            }
            for (tensor, _) in self.prepared.last_uses.iter().enumerate().filter(|(_, last)| **last == Some(at)) {
                ring.release(std::mem::take(&mut tensors[tensor]));
            }
            progress.advance(1);
        }
        progress.finish();
        let outputs = tensors.pop().unwrap_or_default();
        let _downloading = info_span!("download", ciphertexts = outputs.len()).entered();
        watch.time(None, "transfer", || Ok(()), || ring.download(outputs))
    }

    /// Bootstraps a tensor, down to so many limbs.
    fn refresh(&self, tensor: &mut Vec<B::Ciphertext>, limbs: usize) -> Result<(), CkksError> {
        let missing = || CkksError::Plan("the evaluation key lacks what bootstraps need".into());
        let (keys, prepared) = self.keys.of_bootstraps().zip(self.prepared.bootstrap.as_ref()).ok_or_else(missing)?;
        let _step = debug_span!("bootstrap", ciphertexts = tensor.len(), limbs).entered();
        // One after the other: what a bootstrap holds meanwhile is many times a ciphertext.
        for ciphertext in tensor {
            let fresh = prepared.run(self.ring, &keys, vec![ciphertext.clone()])?;
            *ciphertext = self.ring.drop_to(fresh, limbs)?.pop().ok_or(CkksError::Depth)?;
        }
        self.settle()
    }

    /// The key of a rotation by `amount` slots of one ring, none for 0; `new` has seen that there is one.
    fn key(&self, amount: i64) -> Option<&B::GaloisKey> {
        let steps = amount.rem_euclid(self.plan.input.ring as i64) as usize * self.plan.lanes;
        (steps > 0).then(|| &self.keys.rotations[&steps])
    }

    /// Sums of masked rotations, not yet rescaled.
    fn linear(
        &self,
        map: &LinearMap,
        prepared: &PreparedMap<B>,
        tensors: &[Vec<B::Ciphertext>],
    ) -> Result<Vec<B::Ciphertext>, CkksError> {
        let ring = self.ring;
        let outputs = map.ciphertexts();
        let mut results: Vec<Option<B::Ciphertext>> = vec![None; outputs];
        for (operand, sums) in map.operands.iter().zip(&prepared.sums) {
            let mut own = Vec::new();
            if let Some(window) = &operand.window {
                let shifted = self.babies(&tensors[operand.tensor], prepared.linear.limbs, window)?;
                let size = window.axes.iter().map(|axis| axis.babies).product();
                own = ring.sums(&shifted.chunks(size).map(|window| window.iter().collect()).collect::<Vec<_>>())?;
                ring.release(shifted);
            }
            let inputs = if own.is_empty() { &tensors[operand.tensor] } else { &own };
            let rotated = self.babies(inputs, prepared.linear.limbs, &operand.steps)?;
            ring.release(own);
            let step = trace_span!("products", terms = rotated.len(), sums = sums.len()).entered();
            let totals = self.products(&rotated, sums, prepared.linear.limbs)?;
            self.settle()?;
            drop(step);
            ring.release(rotated);
            let places = sums.iter().map(|sum| (sum.output, sum.giants.clone()));
            let totals = self.giants(&operand.steps, places.zip(totals).collect())?;
            for (output, total) in totals {
                match &mut results[output] {
                    Some(result) => ring.add_assign(std::slice::from_mut(result), &[&total])?,
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
                    let State { scale, limbs } = prepared.linear;
                    let held = ring.state(any);
                    let at = State { scale: scale / held.scale, limbs: held.limbs };
                    let zero = Number::new(ring.params(), 0.0, at);
                    ring.drop_to(ring.products(&[any], &[Constant::Number(&zero)])?, limbs)?.remove(0)
                }
            });
        }
        for fold in map.folds() {
            let Some(key) = self.key(fold as i64) else { continue };
            let _step = trace_span!("rotations", ciphertexts = sums.len(), amounts = 1).entered();
            ring.rotate_add(&mut sums, key)?;
            self.settle()?;
        }
        Ok(sums)
    }

    /// Sums of masked ciphertexts; masks that are kept as coefficients are transformed for one sum at a time.
    fn products(
        &self,
        rotated: &[B::Ciphertext],
        sums: &[Sum<B>],
        limbs: usize,
    ) -> Result<Vec<B::Ciphertext>, CkksError> {
        let (mut totals, mut loaded) = (Vec::with_capacity(sums.len()), Vec::new());
        for sum in sums {
            match &sum.masks {
                Masks::Loaded(masks) => loaded.push(sum.terms(masks)),
                Masks::Kept(masks) => {
                    let masks = self.ring.plaintexts(&masks.iter().collect::<Vec<_>>(), limbs)?;
                    totals.extend(self.ring.inner_products(rotated, &[sum.terms(&masks)])?);
                    self.ring.release_plaintexts(masks);
                }
            }
        }
        // A session has masks of one kind.
        if !loaded.is_empty() {
            totals = self.ring.inner_products(rotated, &loaded)?;
        }
        Ok(totals)
    }

    /// Every ciphertext, at so many limbs, rotated by every baby step, in the order of [`baby_number`].
    fn babies(&self, batch: &[B::Ciphertext], limbs: usize, steps: &Steps) -> Result<Vec<B::Ciphertext>, CkksError> {
        let mut before: Option<Vec<B::Ciphertext>> = None;
        for amounts in baby_amounts(steps) {
            let keys: Vec<Option<&B::GaloisKey>> = amounts.iter().map(|&amount| self.key(amount)).collect();
            let inputs: Vec<&B::Ciphertext> = before.as_deref().unwrap_or(batch).iter().collect();
            let _step = trace_span!("rotations", ciphertexts = inputs.len(), amounts = amounts.len(), limbs).entered();
            let rotated = self.ring.rotate_hoisted(&inputs, limbs, &keys)?.into_iter().flatten().collect();
            self.settle()?;
            self.ring.release(before.replace(rotated).unwrap_or_default());
        }
        Ok(before.unwrap_or_default())
    }

    /// Sums over the giant steps of all axes, the innermost first; every sum of an axis advances at the same time
    /// (Horner's rule).
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
                    let pairs: Vec<_> = before.iter().map(|sum| (sum, key)).collect();
                    let step = trace_span!("rotations", ciphertexts = pairs.len(), amounts = 1).entered();
                    let rotated = self.ring.rotate(&pairs)?;
                    self.settle()?;
                    drop(step);
                    self.ring.release(before);
                    totals = places.into_iter().zip(rotated).collect();
                }
                for ((output, mut place), part) in sums.extract_if(|(_, place), _| place[axis] == giant) {
                    place[axis] = 0;
                    match totals.entry((output, place)) {
                        Entry::Occupied(mut total) => {
                            self.ring.add_assign(std::slice::from_mut(total.get_mut()), &[&part])?;
                            self.ring.release(vec![part]);
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

/// Encodes all masks and constants.
fn prepare<B: RnsOps>(
    ring: &B,
    network: &PolynomialNetwork,
    plan: &LatencyPlan,
    schedule: &LatencySchedule,
) -> Result<Vec<PreparedMap<B>>, CkksError> {
    let keeps_masks = network.refresh.is_some();
    let writer = Writer { ring, keeps_masks, encoders: [const { OnceLock::new() }; _], lanes: plan.lanes };
    let mut tensors = vec![Tensor { first: 0, layout: plan.input.clone(), limbs: schedule.input.limbs }];
    let mut gains = vec![1.0; network.input.len()];
    for ((stage, map), step) in network.stages.iter().zip(&plan.maps).zip(&schedule.steps) {
        tensors.push(Tensor { first: gains.len(), layout: map.output.clone(), limbs: step.result.limbs });
        gains.extend((0..stage.rows.len()).map(|row| stage.activation(row).form.gain()));
    }
    let scales: Vec<f64> = schedule.tensors().map(|state| state.scale).collect();
    let values = Values { tensors, gains, scales };
    // Masks are wide numbers until they are encoded: where they hold much memory, those of few maps are made at a time.
    let side_by_side = if keeps_masks { 2 } else { plan.maps.len() };
    let channels = network.channels();
    let all: Vec<(usize, Vec<&Row>)> = network.maps().enumerate().collect();
    let mut prepared = Vec::with_capacity(plan.maps.len());
    for some in all.chunks(side_by_side) {
        let one = |(at, rows): &(usize, Vec<&Row>)| {
            let rows = SharedRows::of_map(rows, &channels);
            prepare_map(&writer, network, &values, (&plan.maps[*at], &rows), *at, schedule)
        };
        prepared.extend(some.par_iter().map(one).collect::<Result<Vec<_>, CkksError>>()?);
    }
    Ok(prepared)
}

/// For each tensor the last map that reads it: 0 is the input, i + 1 what map i gives.
fn last_uses(plan: &LatencyPlan) -> Vec<Option<usize>> {
    let mut last = vec![None; plan.maps.len() + 1];
    for (at, map) in plan.maps.iter().enumerate() {
        map.operands.iter().for_each(|operand| last[operand.tensor] = Some(at));
    }
    last
}

/// What maps read.
struct Values {
    /// The input, and the results of the stages.
    tensors: Vec<Tensor>,
    /// What each value's ciphertext is to be multiplied by.
    gains: Vec<f64>,
    /// Scales of the tensors.
    scales: Vec<f64>,
}

/// Encodes masks and constants of map `at`.
fn prepare_map<B: RnsOps>(
    writer: &Writer<'_, B>,
    network: &PolynomialNetwork,
    Values { tensors, gains, scales }: &Values,
    (map, rows): (&LinearMap, &SharedRows),
    at: usize,
    schedule: &LatencySchedule,
) -> Result<PreparedMap<B>, CkksError> {
    let (stage, step) = (network.stages.get(at), &schedule.steps[at]);
    // u = (x - centre) / radius comes straight out of the linear map; second factors are scaled already.
    let activation = |row: usize| stage.filter(|s| row < s.rows.len()).map(|stage| stage.activation(row));
    let factor = |row: usize| activation(row).map_or(1.0, |a| 1.0 / a.radius);
    let constant = |row: usize| (rows.rows[row].0 - activation(row).map_or(0.0, |a| a.centre)) * factor(row);
    let masks = map
        .masks(rows, &tensors[..=at.min(network.stages.len())], |row, value, weight| {
            weight * gains[value] * factor(row)
        })
        .map_err(CkksError::Plan)?;
    let State { scale, limbs } = step.linear;
    let sums: Result<_, CkksError> = map
        .operands
        .iter()
        .zip(masks)
        .map(|(operand, masks)| {
            writer.masks(&operand.steps, masks, State { scale: scale / scales[operand.tensor], limbs })
        })
        .collect();
    let values = map.output.len();
    let set = |set: usize| writer.spread(&map.output, step.argument, |value| constant(set * values + value));
    let bias: Result<Vec<_>, CkksError> = (0..map.sets).map(set).collect();
    let bias = bias?.into_iter().flatten().collect();
    let mut prepared = PreparedMap { linear: step.linear, sums: sums?, bias, activation: None };
    if let (Some(stage), Some(kind)) = (stage, step.kind) {
        let uses = uses(kind, writer.ring.params(), step.argument, false).constants;
        let constants: Vec<Vec<f64>> =
            (0..stage.rows.len()).map(|row| stage.activation(row).form.constants()).collect();
        let write = |(at, state): (usize, State)| writer.spread(&map.output, state, |row| constants[row][at]);
        let constants: Result<_, CkksError> = uses.into_iter().enumerate().map(write).collect();
        prepared.activation = Some((kind, constants?));
    }
    Ok(prepared)
}

fn slots<B: RnsOps>(plaintexts: &[B::Plaintext]) -> Vec<Constant<'_, B::Plaintext>> {
    plaintexts.iter().map(Constant::Slots).collect()
}

/// Number of a combination of baby steps in what [`LatencySession::babies`] gives.
fn baby_number(steps: &Steps, babies: &[usize]) -> usize {
    baby_order(steps).into_iter().fold(0, |number, axis| number * steps.axes[axis].babies + babies[axis])
}
