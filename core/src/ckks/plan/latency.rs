//! Latency packing: one input over the slots of few ciphertexts. Which layouts the values take, and what is rotated by
//! how much.

use crate::ckks::plan::limbs::limbs_of_stages;
use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::ckks::cost::{CkksCost, WorkSeconds};
use crate::ckks::params::layout::{Layout, image_shape};
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::linear::{LinearMap, Operand};
use crate::ckks::plan::polynomials::{Closing, PolynomialNetwork, PolynomialStage};
use crate::ckks::plan::pricing::{Price, Pricing};
use crate::ckks::plan::scales::OUTPUT_LIMBS;
use crate::ckks::plan::shared_rows::SharedRows;
use crate::ckks::plan::steps::Axis;
use crate::ckks::plan::wiring::Tensor;
use crate::ckks::ring::plaintext::MOST_REPEATS;
use crate::model::decoding::list;

/// Largest distance between pixels that is tried, in multiples of the input's.
const MOST_GAP: usize = 4;

/// Most rotations of a plan that is read from outside, each counted as often as it is named.
const MOST_ROTATIONS: usize = 1 << 22;

/// What a bootstrap holds at one time, in ciphertexts of all limbs.
const BOOTSTRAP_CIPHERTEXTS: u64 = 40;

/// How a network runs on inputs spread over slots: plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyPlan {
    /// Inputs that share a ciphertext, interleaved.
    pub lanes: usize,
    /// Where the input's values lie.
    pub input: Layout,
    /// The linear maps of the stages, then the output's.
    #[serde(deserialize_with = "list")]
    pub maps: Vec<LinearMap>,
    /// For each map, with the polynomials behind it, the predicted thread-seconds of one run.
    pub seconds: Vec<WorkSeconds>,
}

impl LatencyPlan {
    /// Chooses layouts and steps, stage by stage, each the cheapest behind those before it. Also says what the keys are
    /// worth, in seconds of a run.
    ///
    /// # Errors
    /// A sentence if the input does not fit.
    pub fn new(
        network: &PolynomialNetwork,
        params: &ParameterSet,
        cost: &CkksCost,
        lanes: usize,
    ) -> Result<(Self, f64), String> {
        let ring = params.slots() / lanes;
        if lanes == 0 || ring < 2 || !lanes.is_power_of_two() {
            return Err(format!("{lanes} inputs cannot share {} slots", params.slots()));
        }
        let input = Layout::row_major(&network.input.shape, ring);
        let plain = Self::with_input(network, params, cost, lanes, input.clone());
        // As many diagonals of the first map meet one rotation as there are repetitions.
        let results = network.stages.first().map_or(network.output_rows.len(), |stage| stage.rows.len());
        let period = Layout::vector(results, ring).period;
        if input.repetitions() == 1 || period >= input.period {
            return plain;
        }
        let skew = (period / input.repetitions()).max(1);
        let skewed = Self::with_input(network, params, cost, lanes, Layout { skew, ..input });
        let weight = |(plan, keys): &(Self, f64)| plan.seconds.iter().map(|s| s.total()).sum::<f64>() + keys;
        match (plain, skewed) {
            (Ok(plain), Ok(skewed)) => Ok(if weight(&skewed) < weight(&plain) { skewed } else { plain }),
            (plain, Err(_)) => plain,
            (Err(_), skewed) => skewed,
        }
    }

    fn with_input(
        network: &PolynomialNetwork,
        params: &ParameterSet,
        cost: &CkksCost,
        lanes: usize,
        input: Layout,
    ) -> Result<(Self, f64), String> {
        let ring = input.ring;
        let limbs = limbs_of_stages(network, params.primes.len());
        let mut tensors = vec![Tensor { first: 0, layout: input.clone(), limbs: limbs[0] }];
        let mut maps = Vec::new();
        let read = network.refresh.is_some().then(|| network.tensors_read());
        let (mut seconds, mut keys) = (Vec::new(), 0.0);
        let shapes = network.stages.iter().map(|stage| &stage.shape).chain([&network.output.shape]);
        let mut first = network.input.len();
        for ((at, rows), shape) in SharedRows::of_network(network).iter().enumerate().zip(shapes) {
            let is_output = at == network.stages.len();
            // The output is not rescaled: few limbs hold it.
            let own = if is_output { limbs[at].min(OUTPUT_LIMBS) } else { limbs[at] };
            let pricing = Pricing { params, cost, limbs: own };
            let mut best: Option<(LinearMap, Price)> = None;
            let values = network.stages.get(at).map_or(rows.rows.len(), |stage| stage.rows.len());
            // Deep networks have many tensors that a stage has nothing to do with.
            let near: Vec<&Tensor> = match &read {
                Some(read) => read[at].iter().map(|&tensor| &tensors[tensor]).collect(),
                None => tensors.iter().collect(),
            };
            let most_period = tensors.iter().map(|tensor| tensor.layout.period).max().unwrap_or(1);
            let windows: &[bool] = if rows.groups.is_empty() { &[false] } else { &[false, true] };
            let tried: Vec<(Layout, bool)> = candidates(shape, values, &near, most_period, ring)
                .into_iter()
                .flat_map(|output| windows.iter().map(move |&with_windows| (output.clone(), with_windows)))
                .collect();
            let planned = tried
                .into_par_iter()
                .map(|(output, with_windows)| LinearMap::plan(rows, &tensors, output, with_windows, &pricing));
            for (map, price) in planned.collect::<Vec<_>>().into_iter().flatten() {
                if best.as_ref().is_none_or(|(_, least)| price.weight() < least.weight()) {
                    best = Some((map, price));
                }
            }
            let (map, price) = best.ok_or("a stage has no layout")?;
            let mut own_seconds = price.work;
            keys += price.keys;
            if !is_output {
                let stage = &network.stages[at];
                let argument = limbs[at] - usize::from(stage.scaling.rescales);
                let each = stage.products().iter().map(|depth| cost.multiply_seconds(params, argument + 1 - depth));
                own_seconds.switching += map.output.ciphertexts() as f64 * each.sum::<f64>();
                tensors.push(Tensor { first, layout: map.output.clone(), limbs: limbs[at + 1] });
                first += values;
            }
            maps.push(map);
            seconds.push(own_seconds);
        }
        Ok((Self { lanes, input, maps, seconds }, keys))
    }

    /// Thread-seconds of each map that rotate one ciphertext by several amounts, a part of the switching in
    /// [`LatencyPlan::seconds`] where the cost is what the plan was made with: devices are faster at it than at
    /// rotations one after the other.
    #[must_use]
    pub fn hoisted_seconds(&self, network: &PolynomialNetwork, params: &ParameterSet, cost: &CkksCost) -> Vec<f64> {
        let ciphertexts =
            |tensor: usize| tensor.checked_sub(1).map_or(&self.input, |at| &self.maps[at].output).ciphertexts();
        let of_map =
            |(map, limbs): (&LinearMap, usize)| map.hoisted_seconds(ciphertexts, &Pricing { params, cost, limbs });
        self.maps.iter().zip(self.limbs_of_maps(network, params.primes.len())).map(of_map).collect()
    }

    /// Limbs at which each map begins, the first at `limbs`.
    #[must_use]
    pub fn limbs_of_maps(&self, network: &PolynomialNetwork, limbs: usize) -> Vec<usize> {
        let mut limbs = limbs_of_stages(network, limbs);
        // The output is not rescaled: few limbs hold it.
        if let Some(output) = limbs.last_mut() {
            *output = (*output).min(OUTPUT_LIMBS);
        }
        limbs
    }

    /// Checks layouts and steps; needed once after reading from outside. That they are those of the network's maps is
    /// seen when masks are made.
    ///
    /// # Errors
    /// A sentence that names the first violation.
    pub fn check(&self, network: &PolynomialNetwork) -> Result<(), String> {
        self.input.check()?;
        if self.maps.len() != network.stages.len() + 1 {
            return Err("the plan has another number of maps than its network".into());
        }
        if network.stages.iter().any(|stage| stage.scaling.closing != Closing::Value) {
            return Err("rotated values are no products of three parts".into());
        }
        let is_time = |seconds: f64| seconds.is_finite() && seconds >= 0.0;
        let are_times = |s: &WorkSeconds| is_time(s.switching) && is_time(s.products);
        if self.seconds.len() != self.maps.len() || !self.seconds.iter().all(are_times) {
            return Err("the plan does not say what each map takes".into());
        }
        let of_stages = network.stages.iter().map(|stage| (stage.rows_per_value(), stage.rows.len()));
        let results = of_stages.chain([(1, network.output_rows.len())]);
        for ((at, map), results) in self.maps.iter().enumerate().zip(results) {
            map.check(at, results, self.input.ring)?;
        }
        if self.maps.iter().map(LinearMap::rotation_count).sum::<usize>() > MOST_ROTATIONS {
            return Err("the plan has more rotations than any input needs".into());
        }
        Ok(())
    }

    /// Bytes of masks, and of the ciphertexts of the widest map. Masks that are kept as coefficients take what `kept`
    /// says of their number.
    #[must_use]
    pub fn memory_bytes(&self, network: &PolynomialNetwork, params: &ParameterSet, kept: impl Fn(usize) -> u64) -> u64 {
        let limbs = limbs_of_stages(network, params.primes.len());
        let (mut masks, mut most) = (0, 0);
        for (map, limbs) in self.maps.iter().zip(limbs) {
            let polynomial = |count: usize| (4 * count * limbs * params.degree()) as u64;
            let outputs = map.ciphertexts();
            let inputs = |operand: &Operand| {
                let before = operand.tensor.checked_sub(1).map_or(&self.input, |at| &self.maps[at].output);
                before.ciphertexts()
            };
            // Those of a polynomial in a power of X where the numbers repeat.
            let kept = kept((2 * map.period * self.lanes).min(params.degree()));
            let own = |operand: &Operand| {
                let steps = &operand.steps;
                let count = |pick: fn(&Axis) -> usize| steps.axes.iter().map(pick).product::<usize>();
                let held = inputs(operand) * count(|axis| axis.babies) + outputs * count(Axis::giants);
                let masks = steps.places.len() * inputs(operand) * outputs;
                let bytes = if network.refresh.is_some() { masks as u64 * kept } else { polynomial(masks) };
                (bytes, polynomial(2 * held))
            };
            for (of_masks, held) in map.operands.iter().map(own) {
                masks += of_masks;
                most = most.max(held);
            }
        }
        if network.refresh.is_none() {
            return masks + most;
        }
        // A tensor of each stage, its constants, and what a bootstrap holds: baby steps, digits and masks at all limbs.
        let limbs = params.primes.len();
        let ciphertext = (8 * limbs * params.degree()) as u64;
        let constants = |stage: &PolynomialStage| 1 + stage.activation(0).form.constants().len() as u64;
        let of_stages: u64 = network.stages.iter().map(|stage| (constants(stage) + 2) * ciphertext / 4).sum();
        masks + most.max(BOOTSTRAP_CIPHERTEXTS * ciphertext) + of_stages
    }

    /// Ciphertexts that a run bootstraps.
    #[must_use]
    pub fn bootstraps(&self, network: &PolynomialNetwork) -> usize {
        let tensors = network.refreshed().into_iter().flat_map(|(_, tensors)| tensors);
        tensors.filter_map(|tensor| self.maps.get(tensor.checked_sub(1)?)).map(|map| map.output.ciphertexts()).sum()
    }

    /// Checks that what is bootstrapped repeats as the recipe says, if anything is.
    ///
    /// # Errors
    /// A sentence.
    pub fn check_refresh(&self, network: &PolynomialNetwork) -> Result<(), String> {
        let Some(refresh) = &network.refresh else { return Ok(()) };
        let mut tensors = network.refreshed().into_iter().flat_map(|(_, tensors)| tensors);
        let fits = |map: &LinearMap| map.output.period * self.lanes <= 1 << refresh.recipe.log2_slots;
        if tensors.all(|tensor| tensor.checked_sub(1).and_then(|at| self.maps.get(at)).is_some_and(fits)) {
            return Ok(());
        }
        Err("a tensor of the plan has more slots than its bootstraps take in".into())
    }

    /// For each map the products with masks that a value of it is the sum of, in squares of what one value adds: an
    /// encoded mask has an error at every slot, whether the value reads what stands there or not. A window counts for
    /// the square of its size, as if what it sums were alike.
    #[must_use]
    pub fn products_of_values(&self) -> Vec<f64> {
        let of_operand = |operand: &Operand| {
            let before = operand.tensor.checked_sub(1).map_or(&self.input, |at| &self.maps[at].output);
            let window = operand.window.as_ref().map_or(1, |window| window.places.len());
            (operand.steps.places.len() * before.ciphertexts() * window * window) as f64
        };
        let of_map = |map: &LinearMap| {
            let folded = (map.period / map.output.period) as f64;
            folded * map.operands.iter().map(of_operand).sum::<f64>()
        };
        self.maps.iter().map(of_map).collect()
    }

    /// Words of all masks that differ: repeated numbers are encoded once.
    #[must_use]
    pub fn mask_words(&self, network: &PolynomialNetwork, params: &ParameterSet) -> usize {
        let of_map = |(map, limbs): (&LinearMap, usize)| {
            let of_operand = |operand: &Operand| {
                let before = operand.tensor.checked_sub(1).map_or(&self.input, |at| &self.maps[at].output);
                operand.steps.places.len() * before.ciphertexts()
            };
            let repeats = (map.output.ring / map.period).clamp(1, MOST_REPEATS);
            map.operands.iter().map(of_operand).sum::<usize>() * map.ciphertexts() * limbs * params.degree() / repeats
        };
        self.maps.iter().zip(self.limbs_of_maps(network, params.primes.len())).map(of_map).sum()
    }

    /// Where the output's values lie.
    #[must_use]
    pub fn output(&self) -> &Layout {
        &self.maps.last().expect("there is an output map").output
    }

    /// The rotations that a run needs, in slots of the whole ciphertext, each with the most limbs that it is needed at.
    #[must_use]
    pub fn rotations(&self, network: &PolynomialNetwork, limbs: usize) -> BTreeMap<usize, usize> {
        let mut rotations = BTreeMap::new();
        for (map, own) in self.maps.iter().zip(self.limbs_of_maps(network, limbs)) {
            for amount in map.rotations() {
                let most = rotations.entry(amount * self.lanes).or_insert(own);
                *most = own.max(*most);
            }
        }
        rotations
    }
}

/// Layouts that a stage's values may take.
fn candidates(shape: &[usize], values: usize, tensors: &[&Tensor], most_period: usize, ring: usize) -> Vec<Layout> {
    let [channels, height, width] = image_shape(shape);
    let vector = Layout::vector(values, ring);
    if height * width == 1 || channels * height * width != values {
        return vec![vector];
    }
    let mut layouts = Vec::new();
    for before in tensors {
        let from = &before.layout;
        for gap in (1..=MOST_GAP).map(|times| times * from.gap) {
            let fills: &[usize] = if gap > 1 { &[gap * gap, 1] } else { &[1] };
            let blocks = [from.block, from.period].into_iter();
            for (block, &channels_per_block) in blocks.flat_map(|block| fills.iter().map(move |fill| (block, fill))) {
                let fitting = (ring / block).max(1);
                let blocks = channels.div_ceil(channels_per_block);
                let blocks_per_ciphertext = fitting.min(blocks);
                let period = (blocks_per_ciphertext * block).next_power_of_two().max(most_period);
                let shape = [channels, height, width];
                let pitch = from.pitch;
                let layout = Layout {
                    shape,
                    gap,
                    channels_per_block,
                    pitch,
                    block,
                    blocks_per_ciphertext,
                    period,
                    skew: 0,
                    ring,
                };
                if layout.check().is_ok() && !layouts.contains(&layout) {
                    layouts.push(layout);
                }
            }
        }
    }
    // Last: where an image lies row by row without gaps, a vector has the same slots and takes as long, but what reads
    // it would not know of rows and channels, nor find the few rotations that a convolution is made of.
    layouts.push(vector);
    layouts
}
