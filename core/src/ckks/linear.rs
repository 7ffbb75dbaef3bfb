//! A linear map between layouts as rotations, products with masks, and sums.
//!
//! The map's entry from slot s to slot t lies on diagonal `s - t`: the input rotated by that amount, times a mask that holds the
//! entry at t. Diagonals are sums of baby steps, taken of the input, and giant steps, taken of sums of masked inputs (Halevi and
//! Shoup, CRYPTO 2014 and 2018). A map to few values sums over many slots at once: value o collects at all slots
//! `o + m j`, and these are summed in the end ("hybrid" diagonals, Juvekar et al., USENIX Security 2018).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::context::CkksParams;
use super::cost::CkksCost;
use super::layout::Layout;
use super::shared_rows::SharedRows;
use super::steps::{Axis, Steps};

/// What a megabyte of key is worth, in seconds.
const KEY_SECONDS_PER_MEGABYTE: f64 = 2e-4;

/// Most baby steps, and giant steps, of a map that is read from outside.
const MOST_STEPS: usize = 1 << 20;

/// Values that exist: the input, or the results of a stage.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Index of its first value.
    pub first: usize,
    /// Where its values lie.
    pub layout: Layout,
    /// Limbs of its ciphertexts.
    pub limbs: usize,
}

/// One linear map, divided into steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearMap {
    /// The tensors that it reads.
    pub operands: Vec<Operand>,
    /// Where its results lie.
    pub output: Layout,
    /// How many sets of results there are, each in ciphertexts of its own: two where they are multiplied.
    pub sets: usize,
    /// Slots after which the sums of masked inputs repeat: more than the output's period where they are summed up to it.
    pub period: usize,
}

/// How one tensor is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operand {
    /// Which tensor.
    pub tensor: usize,
    /// Rotations that are summed before all else: the windows of a pooling, read at their first value.
    pub window: Option<Steps>,
    /// The diagonals.
    pub steps: Steps,
}

/// A diagonal's entries behind one baby step and before one giant step.
pub struct Mask {
    /// Ciphertext of the output.
    pub output: usize,
    /// Giant steps, one a place of an axis.
    pub giants: Vec<usize>,
    /// Ciphertext of the input.
    pub input: usize,
    /// Baby steps, one a place of an axis.
    pub babies: Vec<usize>,
    /// The entries, `ring` slots.
    pub slots: Vec<f64>,
}

/// What steps of a map cost where.
pub struct Pricing<'a> {
    /// Parameters.
    pub params: &'a CkksParams,
    /// Times of operations.
    pub cost: &'a CkksCost,
    /// Limbs of the ciphertexts.
    pub limbs: usize,
}

impl Pricing<'_> {
    fn key_seconds(&self, rotations: usize) -> f64 {
        let special = self.params.special_primes.len();
        let words = (self.limbs.div_ceil(special) * (self.limbs + special)) << self.params.log2_degree;
        rotations as f64 * 4e-6 * words as f64 * KEY_SECONDS_PER_MEGABYTE
    }

    fn rotate(&self) -> f64 {
        self.cost.rotate_seconds(self.params, self.limbs)
    }

    /// Seconds of all rotations of one operand.
    fn steps_seconds(&self, steps: &Steps, inputs: usize, outputs: usize) -> f64 {
        let (mut variants, mut decompositions, mut switches) = (1, 0, 0);
        for amounts in baby_amounts(steps) {
            let moved = amounts.iter().filter(|&&amount| amount != 0).count();
            decompositions += if moved > 0 { variants } else { 0 };
            switches += variants * moved;
            variants *= amounts.len();
        }
        let giants: usize = steps.axes.iter().map(Axis::giants).product();
        let babies = decompositions as f64 * self.cost.decompose_seconds(self.params, self.limbs)
            + switches as f64 * self.cost.switch_seconds(self.params, self.limbs);
        inputs as f64 * babies
            + (outputs * (giants - 1)) as f64 * self.rotate()
            + self.key_seconds(rotations_of(steps).len())
    }
}

/// For each axis the amounts of its baby steps; the first that moves anything also moves by all axes' first amounts. Axes with
/// few baby steps come first: what they give is decomposed once for all steps of the next.
pub(super) fn baby_amounts(steps: &Steps) -> Vec<Vec<i64>> {
    let mut order = baby_order(steps);
    order.retain(|&axis| steps.axes[axis].babies > 1);
    let mut amounts: Vec<Vec<i64>> = order
        .iter()
        .map(|&axis| (0..steps.axes[axis].babies).map(|i| (i * steps.axes[axis].step) as i64).collect())
        .collect();
    match amounts.first_mut() {
        Some(first) => first.iter_mut().for_each(|amount| *amount += steps.start()),
        None => amounts.push(vec![steps.start()]),
    }
    amounts
}

/// Axes in the order in which their baby steps are taken.
pub(super) fn baby_order(steps: &Steps) -> Vec<usize> {
    let mut order: Vec<usize> = (0..steps.axes.len()).collect();
    order.sort_by_key(|&axis| steps.axes[axis].babies);
    order
}

/// Axes in the order in which their giant steps are nested, the outermost first: the fewest steps wait for all others.
pub(super) fn giant_order(steps: &Steps) -> Vec<usize> {
    let mut order: Vec<usize> = (0..steps.axes.len()).collect();
    order.sort_by_key(|&axis| steps.axes[axis].giants());
    order
}

/// All amounts by which something is rotated, 0 left out.
fn rotations_of(steps: &Steps) -> BTreeSet<i64> {
    let babies = baby_amounts(steps).into_iter().flatten();
    let giants = steps.axes.iter().filter(|axis| axis.giants() > 1).map(|axis| (axis.babies * axis.step) as i64);
    babies.chain(giants).filter(|&amount| amount != 0).collect()
}

/// The entries of a map between given layouts.
struct Wiring<'a> {
    rows: &'a SharedRows,
    tensors: &'a [Tensor],
    output: &'a Layout,
    period: usize,
    /// For each tensor its windows, if it is read through them.
    windows: Vec<Option<BTreeSet<usize>>>,
}

/// An entry: from a slot of a tensor's ciphertext to a slot of an output ciphertext.
struct Entry {
    tensor: usize,
    input: usize,
    output: usize,
    slot: usize,
    amount: usize,
}

impl<'a> Wiring<'a> {
    fn new(rows: &'a SharedRows, tensors: &'a [Tensor], output: &'a Layout, with_windows: bool) -> Self {
        let read: BTreeSet<usize> = tensors_read(rows, tensors);
        let period = read.iter().map(|&at| tensors[at].layout.period).chain([output.period]).max().unwrap_or(1);
        let windows = windows_of(rows, tensors, with_windows);
        Self { rows, tensors, output, period, windows }
    }

    /// Calls `act` for every entry with its row, the value read, and its weight.
    fn for_each(&self, mut act: impl FnMut(Entry, usize, usize, f64)) {
        for (row, (_, taps)) in self.rows.rows.iter().enumerate() {
            let (own, place) = self.output.place(row % self.output.len());
            let output = row / self.output.len() * self.output.ciphertexts() + own;
            let mut entry = |value: u32, weight: f64| {
                let tensor = tensor_of(self.tensors, value);
                let layout = &self.tensors[tensor].layout;
                let (input, from) = layout.place(value as usize - self.tensors[tensor].first);
                let (slot, amount) = if self.output.period < self.period {
                    let amount = (from + self.period - place) % self.output.period;
                    ((from + self.period - amount) % self.period, amount)
                } else {
                    (place, from + self.output.ring - place)
                };
                // Content that repeats may be rotated by whole periods more or less.
                let amount = amount % layout.period;
                act(Entry { tensor, input, output, slot, amount }, row, value as usize, weight);
            };
            for &(source, weight) in taps.iter().filter(|(_, weight)| *weight != 0.0) {
                match source.checked_sub(self.rows.first_group) {
                    None => entry(source, weight),
                    Some(group) => {
                        let members = &self.rows.groups[group as usize];
                        let whole = self.windows[tensor_of(self.tensors, members[0])].is_some();
                        members[..if whole { 1 } else { members.len() }].iter().for_each(|&value| entry(value, weight));
                    }
                }
            }
        }
    }
}

fn tensor_of(tensors: &[Tensor], value: u32) -> usize {
    tensors.partition_point(|tensor| tensor.first <= value as usize) - 1
}

/// The tensors that rows read; the input, if they read nothing.
fn tensors_read(rows: &SharedRows, tensors: &[Tensor]) -> BTreeSet<usize> {
    let taps = rows.rows.iter().flat_map(|(_, taps)| taps);
    let single = taps.filter(|(source, _)| *source < rows.first_group).map(|&(source, _)| source);
    let mut read: BTreeSet<usize> =
        single.chain(rows.groups.iter().flatten().copied()).map(|value| tensor_of(tensors, value)).collect();
    if read.is_empty() {
        read.insert(0);
    }
    read
}

/// For each tensor the offsets of its windows' values, if all its values are read in windows of one form.
fn windows_of(rows: &SharedRows, tensors: &[Tensor], wanted: bool) -> Vec<Option<BTreeSet<usize>>> {
    let mut windows: Vec<Option<BTreeSet<usize>>> = vec![None; tensors.len()];
    if !wanted {
        return windows;
    }
    let mut broken = vec![false; tensors.len()];
    for members in &rows.groups {
        let tensor = tensor_of(tensors, members[0]);
        let Tensor { first, layout, .. } = &tensors[tensor];
        let places: Vec<(usize, usize)> =
            members.iter().map(|&m| layout.place((m as usize).saturating_sub(*first))).collect();
        let together =
            members.iter().all(|&m| tensor_of(tensors, m) == tensor) && places.iter().all(|p| p.0 == places[0].0);
        let offsets: BTreeSet<usize> =
            places.iter().map(|p| (p.1 + layout.period - places[0].1) % layout.period).collect();
        match &windows[tensor] {
            _ if !together => broken[tensor] = true,
            None => windows[tensor] = Some(offsets),
            Some(before) => broken[tensor] |= *before != offsets,
        }
    }
    for &(source, _) in rows.rows.iter().flat_map(|(_, taps)| taps) {
        if source < rows.first_group {
            broken[tensor_of(tensors, source)] = true;
        }
    }
    for (tensor, window) in windows.iter_mut().enumerate() {
        let layout = &tensors[tensor].layout;
        let full = |window: &BTreeSet<usize>| Steps::new(window, layout.period, &[layout.pitch]).is_full();
        if broken[tensor] || window.as_ref().is_some_and(|window| !full(window)) {
            *window = None;
        }
    }
    windows
}

impl LinearMap {
    /// Divides the map to `output` into steps, and says what they cost in seconds.
    #[must_use]
    pub(super) fn plan(
        rows: &SharedRows,
        tensors: &[Tensor],
        output: Layout,
        with_windows: bool,
        pricing: &Pricing<'_>,
    ) -> (Self, f64) {
        let wiring = Wiring::new(rows, tensors, &output, with_windows);
        let mut amounts: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let mut masks: BTreeMap<(usize, usize, usize), Vec<bool>> = BTreeMap::new();
        wiring.for_each(|entry, _, _, _| {
            let seen = masks
                .entry((entry.tensor, entry.input, entry.output))
                .or_insert_with(|| vec![false; tensors[entry.tensor].layout.period]);
            seen[entry.amount] = true;
        });
        let mut products = 0;
        for ((tensor, _, _), seen) in &masks {
            let own = amounts.entry(*tensor).or_default();
            own.extend((0..seen.len()).filter(|&amount| seen[amount]));
            products += seen.iter().filter(|&&is_seen| is_seen).count();
        }
        if amounts.is_empty() {
            amounts.insert(0, BTreeSet::from([0]));
        }
        let sets = rows.rows.len() / output.len();
        let outputs = sets * output.ciphertexts();
        let mut seconds = products as f64 * pricing.cost.product_seconds(pricing.params, pricing.limbs)
            + outputs as f64 * pricing.cost.rescale_seconds(pricing.params, pricing.limbs);
        let mut operands = Vec::new();
        for (tensor, amounts) in amounts {
            let layout = &tensors[tensor].layout;
            let window = wiring.windows[tensor].as_ref().map(|offsets| {
                let mut steps = Steps::new(offsets, layout.period, &[layout.pitch]);
                steps.axes.iter_mut().for_each(|axis| axis.babies = axis.count);
                steps
            });
            let inputs = layout.ciphertexts();
            if let Some(window) = &window {
                seconds += pricing.steps_seconds(window, inputs, inputs);
            }
            let blocks = [layout.block, output.block].map(|block| block.max(layout.pitch));
            let choices = [
                vec![],
                vec![layout.pitch],
                vec![blocks[0], layout.pitch],
                vec![blocks[1], layout.pitch],
                vec![blocks[0].max(blocks[1]), blocks[0].min(blocks[1]), layout.pitch],
            ];
            let mut best: Option<(Steps, f64)> = None;
            for radices in choices {
                let whole = Steps::new(&amounts, layout.period, &radices);
                for division in whole.divisions() {
                    let mut steps = whole.clone();
                    steps.axes.iter_mut().zip(division).for_each(|(axis, babies)| axis.babies = babies);
                    let seconds = pricing.steps_seconds(&steps, inputs, outputs);
                    if best.as_ref().is_none_or(|(_, least)| seconds < *least) {
                        best = Some((steps, seconds));
                    }
                }
            }
            let (steps, own) = best.expect("there are choices");
            seconds += own;
            operands.push(Operand { tensor, window, steps });
        }
        let map = Self { operands, period: wiring.period, output, sets };
        seconds += (outputs * map.folds().len()) as f64 * pricing.rotate();
        (map, seconds)
    }

    /// Checks that the map gives `sets` sets of `values` values on rings of `ring` slots, reads one of the first `tensors` + 1 tensors with each operand,
    /// and that its steps are within the ring.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self, tensors: usize, (sets, values): (usize, usize), ring: usize) -> Result<(), String> {
        self.output.check()?;
        let axis = |axis: &Axis| {
            let within = |x: usize| (1..=ring).contains(&x);
            within(axis.step) && within(axis.count) && within(axis.babies) && axis.start.unsigned_abs() as usize <= ring
        };
        let few = |steps: &Steps, count: fn(&Axis) -> usize| {
            steps.axes.iter().map(count).try_fold(1_usize, usize::checked_mul).is_some_and(|all| all <= MOST_STEPS)
        };
        let steps = |steps: &Steps| {
            let sound = steps.axes.len() <= 4 && steps.axes.iter().all(axis);
            sound && few(steps, |axis| axis.babies) && few(steps, Axis::giants)
        };
        let operand =
            |operand: &Operand| operand.tensor <= tensors && operand.window.iter().chain([&operand.steps]).all(steps);
        let period = self.period.is_power_of_two() && self.period <= ring && self.period >= self.output.period;
        let same = self.output.len() == values && self.sets == sets && self.output.ring == ring;
        if !same || !period || self.operands.is_empty() {
            return Err("a map of the plan does not fit its network".into());
        }
        if !self.operands.iter().all(operand) {
            return Err("a map of the plan has steps that are out of range".into());
        }
        Ok(())
    }

    /// Ciphertexts of all results.
    #[must_use]
    pub fn ciphertexts(&self) -> usize {
        self.sets * self.output.ciphertexts()
    }

    /// Amounts by which the sums are rotated and added to themselves, in order.
    #[must_use]
    pub fn folds(&self) -> Vec<usize> {
        std::iter::successors(Some(self.output.period), |fold| Some(2 * fold))
            .take_while(|&fold| fold < self.period)
            .collect()
    }

    /// All rotations of the map, in slots of one ring to the left.
    #[must_use]
    pub fn rotations(&self) -> BTreeSet<usize> {
        let ring = self.output.ring as i64;
        let of_operand = |operand: &Operand| -> Vec<i64> {
            operand.window.iter().chain([&operand.steps]).flat_map(rotations_of).collect()
        };
        let steps = self.operands.iter().flat_map(of_operand).map(|amount| amount.rem_euclid(ring) as usize);
        steps.chain(self.folds()).filter(|&amount| amount != 0).collect()
    }

    /// The masks of each operand. `weight` gives an entry from its row, the value read, and its weight in the network.
    ///
    /// # Errors
    /// A sentence if this is no division of the map that `rows` describe.
    pub(super) fn masks(
        &self,
        rows: &SharedRows,
        tensors: &[Tensor],
        weight: impl Fn(usize, usize, f64) -> f64,
    ) -> Result<Vec<Vec<Mask>>, String> {
        let with_windows = self.operands.iter().any(|operand| operand.window.is_some());
        let wiring = Wiring::new(rows, tensors, &self.output, with_windows);
        let ring = self.output.ring;
        let operand_of = |tensor: usize| self.operands.iter().position(|operand| operand.tensor == tensor);
        let same_windows = self
            .operands
            .iter()
            .all(|operand| wiring.windows.get(operand.tensor).is_some_and(|w| w.is_some() == operand.window.is_some()));
        if wiring.period != self.period || !same_windows {
            return Err("the plan's steps are those of another map".into());
        }
        let mut masks: Vec<BTreeMap<(usize, usize, usize), Vec<f64>>> = vec![BTreeMap::new(); self.operands.len()];
        let mut sound = true;
        wiring.for_each(|entry, row, value, w| {
            let Some(operand) = operand_of(entry.tensor) else {
                sound = false;
                return;
            };
            let key = (entry.output, entry.amount, entry.input);
            let slots = masks[operand].entry(key).or_insert_with(|| vec![0.0; self.period]);
            slots[entry.slot] += weight(row, value, w);
        });
        let split = |operand: &Operand, ((output, amount, input), slots): ((usize, usize, usize), Vec<f64>)| {
            let axes = &operand.steps.axes;
            let places = operand.steps.places.get(&amount)?;
            let fits = places.len() == axes.len() && places.iter().zip(axes).all(|(&p, axis)| p < axis.count);
            let babies: Vec<usize> = places.iter().zip(axes).map(|(place, axis)| place % axis.babies).collect();
            let giants: Vec<usize> = places.iter().zip(axes).map(|(place, axis)| place / axis.babies).collect();
            // The giant step comes after the mask: what it brings to slot t stands that much further on before it.
            let giant: usize = giants.iter().zip(axes).map(|(&g, axis)| g * axis.babies * axis.step).sum();
            let mut moved = vec![0.0; ring];
            for (slot, weight) in slots.into_iter().enumerate() {
                if weight != 0.0 {
                    (0..ring / self.period).for_each(|copy| moved[(slot + copy * self.period + giant) % ring] = weight);
                }
            }
            fits.then_some(Mask { output, giants, input, babies, slots: moved })
        };
        let split: Option<Vec<Vec<Mask>>> = self
            .operands
            .iter()
            .zip(masks)
            .map(|(operand, masks)| masks.into_iter().map(|mask| split(operand, mask)).collect())
            .collect();
        split.filter(|_| sound).ok_or_else(|| "the plan's steps miss a diagonal of its map".into())
    }
}

impl fmt::Display for LinearMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for operand in &self.operands {
            let steps = &operand.steps;
            let babies: usize = steps.axes.iter().map(|axis| axis.babies).product();
            let giants: usize = steps.axes.iter().map(Axis::giants).product();
            write!(f, "tensor {}", operand.tensor)?;
            if let Some(window) = &operand.window {
                write!(f, " in windows of {}", window.places.len())?;
            }
            write!(f, ", {} diagonals as {babies} baby and {giants} giant steps; ", steps.places.len())?;
        }
        let Layout { shape, gap, period, .. } = &self.output;
        write!(f, "{} folds to {shape:?}, pixels {gap} apart, repeated after {period} slots", self.folds().len())
    }
}
