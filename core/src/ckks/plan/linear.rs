//! A linear map between layouts as rotations, products with masks, and sums.
//!
//! The map's entry from slot s to slot t lies on diagonal `s - t`: the input rotated by that amount, times a mask that
//! holds the entry at t. Diagonals are sums of baby steps, taken of the input, and giant steps, taken of sums of masked
//! inputs (Halevi and Shoup, CRYPTO 2014 and 2018). A map to few values sums over many slots at once: value o collects
//! at all slots `o + m j`, and these are summed in the end ("hybrid" diagonals, Juvekar et al., USENIX Security 2018).

use crate::ckks::cost::WorkSeconds;
use crate::ckks::plan::pricing::{Price, Pricing};
use crate::ckks::plan::steps::rotations_of;
use crate::ckks::plan::wiring::{Tensor, Wiring};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::decoding::list;

use crate::ckks::params::layout::Layout;
use crate::ckks::plan::shared_rows::SharedRows;
use crate::ckks::plan::steps::{Axis, Steps};

/// Most baby steps, and giant steps, of a map that is read from outside.
const MOST_STEPS: usize = 1 << 20;

/// One linear map, divided into steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearMap {
    /// The tensors that it reads.
    #[serde(deserialize_with = "list")]
    pub operands: Vec<Operand>,
    /// Where its results lie.
    pub output: Layout,
    /// How many sets of results there are, each in ciphertexts of its own: two where they are multiplied.
    pub sets: usize,
    /// Slots after which the sums of masked inputs repeat: more than the output's period where they are summed up to
    /// it.
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
    /// The entries of one period.
    pub slots: Vec<f64>,
}

/// One diagonal between two ciphertexts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Diagonal {
    output: usize,
    amount: usize,
    input: usize,
}

impl LinearMap {
    /// Divides the map to `output` into steps, and says what they cost; `None` where what it reads does not lie so that
    /// it can be.
    #[must_use]
    pub(in crate::ckks) fn plan(
        rows: &SharedRows,
        tensors: &[Tensor],
        output: Layout,
        with_windows: bool,
        pricing: &Pricing<'_>,
    ) -> Option<(Self, Price)> {
        let wiring = Wiring::new(rows, tensors, &output, with_windows);
        let is_skewed =
            |(window, tensor): (&Option<BTreeSet<usize>>, &Tensor)| window.is_some() && tensor.layout.skew > 0;
        if !wiring.fits_skews() || wiring.windows.iter().zip(tensors).any(is_skewed) {
            return None;
        }
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
        let work = WorkSeconds {
            switching: outputs as f64 * pricing.cost.rescale_seconds(pricing.params, pricing.limbs),
            products: products as f64 * pricing.cost.product_seconds(pricing.params, pricing.limbs),
        };
        let mut price = Price { work, keys: 0.0 };
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
                price += pricing.steps(window, inputs, inputs);
            }
            let blocks = [layout.block, output.block].map(|block| block.max(layout.pitch));
            let choices = [
                vec![],
                vec![layout.pitch],
                vec![blocks[0], layout.pitch],
                vec![blocks[1], layout.pitch],
                vec![blocks[0].max(blocks[1]), blocks[0].min(blocks[1]), layout.pitch],
            ];
            let mut best: Option<(Steps, Price)> = None;
            for radices in choices {
                let whole = Steps::new(&amounts, layout.period, &radices);
                for division in whole.divisions() {
                    let mut steps = whole.clone();
                    steps.axes.iter_mut().zip(division).for_each(|(axis, babies)| axis.babies = babies);
                    let own = pricing.steps(&steps, inputs, outputs);
                    if best.as_ref().is_none_or(|(_, least)| own.weight() < least.weight()) {
                        best = Some((steps, own));
                    }
                }
            }
            let (steps, own) = best.expect("there are choices");
            price += own;
            operands.push(Operand { tensor, window, steps });
        }
        let map = Self { operands, period: wiring.period, output, sets };
        price.work.switching += (outputs * map.folds().len()) as f64 * pricing.rotate();
        Some((map, price))
    }

    /// What the map costs at other limbs, where tensor i lies in `ciphertexts(i)` ciphertexts, and its products with
    /// masks.
    #[must_use]
    pub(in crate::ckks) fn price(&self, ciphertexts: impl Fn(usize) -> usize, pricing: &Pricing<'_>) -> (Price, usize) {
        let outputs = self.ciphertexts();
        let mut price = Price::default();
        let mut masks = 0;
        for operand in &self.operands {
            let inputs = ciphertexts(operand.tensor);
            if let Some(window) = &operand.window {
                price += pricing.steps(window, inputs, inputs);
            }
            price += pricing.steps(&operand.steps, inputs, outputs);
            masks += operand.steps.places.len() * inputs * outputs;
        }
        let rescale = pricing.cost.rescale_seconds(pricing.params, pricing.limbs);
        price.work.switching += (outputs * self.folds().len()) as f64 * pricing.rotate() + outputs as f64 * rescale;
        price.work.products += masks as f64 * pricing.cost.product_seconds(pricing.params, pricing.limbs);
        (price, masks)
    }

    /// The part of [`LinearMap::price`]'s switching that shares digits.
    pub(in crate::ckks) fn hoisted_seconds(&self, ciphertexts: impl Fn(usize) -> usize, pricing: &Pricing<'_>) -> f64 {
        let of_operand = |operand: &Operand| {
            let of_steps = |steps| pricing.babies(steps, ciphertexts(operand.tensor)).hoisted;
            operand.window.iter().chain([&operand.steps]).map(of_steps).sum::<f64>()
        };
        self.operands.iter().map(of_operand).sum()
    }

    /// Checks that the map gives `sets` sets of `values` values on rings of `ring` slots, reads one of the first
    /// `tensors` + 1 tensors with each operand, and that its steps are within the ring.
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
            let fits = |places: &Vec<usize>| places.len() == steps.axes.len();
            let sound = (1..=4).contains(&steps.axes.len()) && steps.axes.iter().all(axis);
            let sound = sound && steps.places.values().all(fits);
            sound && few(steps, |axis| axis.babies) && few(steps, Axis::giants)
        };
        let operand =
            |operand: &Operand| operand.tensor <= tensors && operand.window.iter().chain([&operand.steps]).all(steps);
        let period = self.period.is_power_of_two() && self.period <= ring && self.period >= self.output.period;
        let same =
            self.output.len() == values && self.sets == sets && self.output.ring == ring && self.output.skew == 0;
        let few_operands = (1..=tensors + 1).contains(&self.operands.len());
        if !same || !period || !few_operands {
            return Err("a map of the plan does not fit its network".into());
        }
        if !self.operands.iter().all(operand) {
            return Err("a map of the plan has steps that are out of range".into());
        }
        Ok(())
    }

    /// Rotations that the steps may take, each counted as often as it is named.
    #[must_use]
    pub fn rotation_count(&self) -> usize {
        let steps = self.operands.iter().flat_map(|operand| operand.window.iter().chain([&operand.steps]));
        steps.flat_map(|steps| &steps.axes).map(|axis| axis.babies + 1).sum()
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
    pub(in crate::ckks) fn masks(
        &self,
        rows: &SharedRows,
        tensors: &[Tensor],
        weight: impl Fn(usize, usize, f64) -> f64,
    ) -> Result<Vec<Vec<Mask>>, String> {
        let with_windows = self.operands.iter().any(|operand| operand.window.is_some());
        let wiring = Wiring::new(rows, tensors, &self.output, with_windows);
        let operand_of = |tensor: usize| self.operands.iter().position(|operand| operand.tensor == tensor);
        let same_windows = self
            .operands
            .iter()
            .all(|operand| wiring.windows.get(operand.tensor).is_some_and(|w| w.is_some() == operand.window.is_some()));
        if wiring.period != self.period || !same_windows || !wiring.fits_skews() {
            return Err("the plan's steps are those of another map".into());
        }
        let own_operand: Vec<Option<usize>> = (0..tensors.len()).map(operand_of).collect();
        let mut masks: Vec<Vec<(Diagonal, Vec<f64>)>> = vec![Vec::new(); self.operands.len()];
        // For each pair of ciphertexts where each diagonal's mask stands, and which pair was the last.
        let mut found: BTreeMap<(usize, usize, usize), Vec<u32>> = BTreeMap::new();
        let mut last: Option<((usize, usize, usize), Vec<u32>)> = None;
        let mut sound = true;
        wiring.for_each(|entry, row, value, w| {
            let Some(operand) = own_operand[entry.tensor].filter(|_| sound) else {
                sound = false;
                return;
            };
            let pair = (operand, entry.output, entry.input);
            if last.as_ref().is_none_or(|(before, _)| *before != pair) {
                if let Some((before, places)) = last.take() {
                    found.insert(before, places);
                }
                let fresh = || vec![u32::MAX; tensors[entry.tensor].layout.period];
                last = Some((pair, found.remove(&pair).unwrap_or_else(fresh)));
            }
            let Some((_, places)) = &mut last else { return };
            let place = &mut places[entry.amount];
            if *place == u32::MAX {
                // Only masks that the plan's memory counts are made.
                sound = self.operands[operand].steps.places.contains_key(&entry.amount);
                if !sound {
                    return;
                }
                *place = masks[operand].len() as u32;
                let diagonal = Diagonal { output: entry.output, amount: entry.amount, input: entry.input };
                masks[operand].push((diagonal, vec![0.0; self.period]));
            }
            masks[operand][*place as usize].1[entry.slot] += weight(row, value, w);
        });
        masks.iter_mut().for_each(|masks| masks.sort_unstable_by_key(|(diagonal, _)| *diagonal));
        let split = |operand: &Operand, (Diagonal { output, amount, input }, slots): (Diagonal, Vec<f64>)| {
            let axes = &operand.steps.axes;
            let places = operand.steps.places.get(&amount)?;
            let fits = places.len() == axes.len() && places.iter().zip(axes).all(|(&p, axis)| p < axis.count);
            let babies: Vec<usize> = places.iter().zip(axes).map(|(place, axis)| place % axis.babies).collect();
            let giants: Vec<usize> = places.iter().zip(axes).map(|(place, axis)| place / axis.babies).collect();
            // The giant step comes after the mask: what it brings to slot t stands that much further on before it.
            let giant: usize = giants.iter().zip(axes).map(|(&g, axis)| g * axis.babies * axis.step).sum();
            let mut moved = slots;
            moved.rotate_right(giant % self.period);
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
