//! Which chain of primes on which ring, and which packing, answers a batch first.

use std::collections::HashSet;

use rayon::prelude::*;

use crate::ckks::cost::{CkksCost, MapSize, WorkSeconds};
use crate::ckks::params::set::{MOST_MODULUS_BITS, ParameterSet, RingKind};
use crate::ckks::plan::latency::LatencyPlan;
use crate::ckks::plan::limbs::limbs_of_stages;
use crate::ckks::plan::polynomials::{Closing, PolynomialNetwork};
use crate::ckks::plan::shared_rows::SharedRows;
use crate::ckks::planner::chains::{Chain, chains, closings};
use crate::ckks::planner::simulate::SlotNoise;
use crate::deadline::Deadline;
use crate::planning::error::PlanError;

/// Share of the time that the largest noise is worth.
const NOISE_PRICE: f64 = 0.1;
/// Inputs that noise is simulated on.
const NOISE_INPUTS: usize = 24;
/// log2 of the rings that are tried.
const RINGS: std::ops::RangeInclusive<u32> = 12..=16;

/// Parameters with a packing, and what a run of it costs and errs.
pub(in crate::ckks) struct Chosen {
    pub params: ParameterSet,
    pub latency: Option<LatencyPlan>,
    /// Thread-seconds of a run.
    pub seconds: f64,
    /// Root mean square of the output's noise.
    pub noise: f64,
    /// Share of held-out inputs that leave what bootstraps are made for.
    pub outside: f64,
}

/// A chain that was found, with what it is compared by.
struct Candidate {
    chain: Chain,
    latency: Option<LatencyPlan>,
    seconds: f64,
    /// Thread-seconds of the batch, with keys, masks and files.
    total: f64,
}

/// The network with its scales, and the cheapest secure parameters and packing for the batch whose noise is at most
/// `most_noise`.
pub(in crate::ckks) fn choose(
    (rings, most_special): (&[RingKind], usize),
    polynomials: &PolynomialNetwork,
    calibration: &[Vec<f32>],
    (batch, cost): (usize, &CkksCost),
    most_noise: f64,
    deadline: Deadline,
) -> Result<(PolynomialNetwork, Chosen), PlanError> {
    let counts = Counts::of(polynomials);
    let search = Search { polynomials, calibration, most_special, batch, cost, counts };
    let mut last = "no parameters are precise enough".to_string();
    let mut best = None;
    // For each ring which packings were found, and whether inputs fill all slots of a degree that was.
    let mut found = vec![([false; 2], false); rings.len()];
    let closings = closings(polynomials);
    for log2_degree in RINGS.filter(|log2| MOST_MODULUS_BITS.iter().any(|(own, _)| own == log2)) {
        let mut candidates = Vec::new();
        for (&ring, (found, slots_alone)) in rings.iter().zip(&mut found) {
            deadline.check()?;
            candidates.extend(search.throughput((ring, log2_degree), &closings));
            // Where inputs fill all slots, rotations can only add to the work.
            *slots_alone |= found[0] && batch >= ring.slots(log2_degree);
            found[1] |= *slots_alone;
            if !*slots_alone {
                match search.latency((ring, log2_degree), most_noise) {
                    Ok(packed) => candidates.extend(packed),
                    Err(error) => last = error,
                }
            }
        }
        // Noise is simulated for those alone that could be taken.
        candidates.sort_by(|a, b| a.total.total_cmp(&b.total));
        for candidate in candidates {
            let least = best.as_ref().map_or(f64::INFINITY, |(_, least): &(_, f64)| *least);
            let own = rings.iter().position(|&ring| ring == candidate.chain.params.ring).unwrap_or(0);
            let kind = usize::from(candidate.latency.is_some());
            if candidate.total >= least && found[own].0[kind] {
                continue;
            }
            deadline.check()?;
            let Some(noise) = search.noise(&candidate).filter(|&noise| noise <= most_noise) else { continue };
            found[own].0[kind] = true;
            // Less noise is worth a little time.
            let total = candidate.total * (1.0 + NOISE_PRICE * noise / most_noise);
            if total < least {
                best = Some(((candidate, noise), total));
            }
        }
        // A larger ring makes a run no faster; it only takes more inputs at a time.
        let has_both = found.iter().map(|(packings, _)| *packings == [true; 2]);
        if rings.iter().zip(has_both).any(|(ring, has_both)| has_both && batch <= ring.slots(log2_degree)) {
            break;
        }
    }
    let Some(((Candidate { chain, latency, seconds, .. }, noise), _)) = best else {
        let levels = polynomials.levels();
        return Err(PlanError::Depth(format!("no ring up to 2^16 has {levels} levels at 128 bits ({last})")));
    };
    let mut network = polynomials.clone();
    network.keep(&chain);
    Ok((network, Chosen { params: chain.params, latency, seconds, noise, outside: 0.0 }))
}

struct Search<'a> {
    polynomials: &'a PolynomialNetwork,
    calibration: &'a [Vec<f32>],
    most_special: usize,
    batch: usize,
    cost: &'a CkksCost,
    counts: Vec<Counts>,
}

impl Search<'_> {
    /// One input a slot.
    fn throughput(&self, ring: (RingKind, u32), closings: &[Closing]) -> Vec<Candidate> {
        let mut network = self.polynomials.clone();
        let candidate = |chain: Chain| {
            network.keep(&chain);
            let cost = self.cost;
            let seconds = seconds_of(&network, &self.counts, &chain.params, cost);
            let seconds =
                seconds.into_iter().sum::<WorkSeconds>().total() + expansion_seconds(&network, &chain.params, cost);
            let inputs = cost.input_seconds(&chain.params, network.input.len());
            let runs = self.batch.div_ceil(chain.params.slots()) as f64;
            Candidate { total: runs * (seconds + inputs), seconds, latency: None, chain }
        };
        chains(self.polynomials, ring, self.most_special, false, closings).into_iter().map(candidate).collect()
    }

    /// One input over many slots, with the best number of lanes for each chain.
    fn latency(&self, ring: (RingKind, u32), most_noise: f64) -> Result<Vec<Candidate>, String> {
        let mut packed = Vec::new();
        let mut last = String::new();
        for chain in chains(self.polynomials, ring, self.most_special, true, &[]) {
            // A narrower chain takes the same time.
            let primes = |params: &ParameterSet| (params.primes.len(), params.special_primes.len());
            if packed.iter().any(|own: &Candidate| primes(&own.chain.params) == primes(&chain.params)) {
                continue;
            }
            let mut network = self.polynomials.clone();
            network.keep(&chain);
            let noise = SlotNoise::new(&network, &chain.params, true).map_err(|error| error.to_string())?;
            if noise_of(&network, self.calibration, &noise) > most_noise {
                continue;
            }
            match self.lanes(&network, chain) {
                Ok(candidate) => packed.push(candidate),
                Err(error) => last = error,
            }
        }
        if packed.is_empty() { Err(last) } else { Ok(packed) }
    }

    fn lanes(&self, network: &PolynomialNetwork, chain: Chain) -> Result<Candidate, String> {
        let (params, cost, batch) = (&chain.params, self.cost, self.batch);
        let mut best: Option<Candidate> = None;
        let mut last = String::new();
        let most = batch.next_power_of_two().min(params.slots() / 64);
        for lanes in std::iter::successors(Some(1), |lanes| Some(2 * lanes)).take_while(|&lanes| lanes <= most) {
            match LatencyPlan::new(network, params, cost, lanes) {
                Ok((plan, _)) => {
                    let seconds = plan.seconds.iter().copied().sum::<WorkSeconds>().total();
                    let rotations = plan.rotations(network, params.primes.len());
                    let once = rotations.values().map(|&limbs| cost.key_seconds(params, limbs)).sum::<f64>()
                        + cost.mask_seconds(plan.mask_words(network, params));
                    let inputs = cost.input_seconds(params, plan.input.ciphertexts());
                    let total = batch.div_ceil(lanes) as f64 * (seconds + inputs) + once;
                    if best.as_ref().is_some_and(|best| total >= best.total) {
                        break;
                    }
                    best = Some(Candidate { chain: chain.clone(), latency: Some(plan), seconds, total });
                }
                Err(error) => last = error,
            }
        }
        best.ok_or(last)
    }

    /// Root mean square of the output's noise; none if the chain does not hold the network.
    fn noise(&self, candidate: &Candidate) -> Option<f64> {
        let mut network = self.polynomials.clone();
        network.keep(&candidate.chain);
        let noise = SlotNoise::packed(&network, &candidate.chain.params, candidate.latency.as_ref()).ok()?;
        Some(noise_of(&network, self.calibration, &noise))
    }
}

/// Root mean square of the output's noise.
pub(in crate::ckks) fn noise_of(polynomials: &PolynomialNetwork, calibration: &[Vec<f32>], noise: &SlotNoise) -> f64 {
    let step = calibration.len().div_ceil(NOISE_INPUTS);
    let inputs: Vec<&Vec<f32>> = calibration.iter().step_by(step).collect();
    let square = |(at, input): (usize, &&Vec<f32>)| -> f64 {
        let (exact, noisy) = (polynomials.evaluate(input), polynomials.simulate(input, noise, at as u64 ^ 0x5eed));
        exact.iter().zip(&noisy).map(|(e, n)| (e - n) * (e - n)).sum()
    };
    let total: f64 = inputs.par_iter().enumerate().map(square).sum();
    (total / (inputs.len() * polynomials.output.len()) as f64).sqrt()
}

/// What a map has to do with one input a slot.
struct Counts {
    map: MapSize,
    /// Shared sums, and their members.
    sums: usize,
    members: usize,
}

impl Counts {
    fn of(network: &PolynomialNetwork) -> Vec<Self> {
        let count = |rows: SharedRows| {
            let sources = |(_, taps): &(f64, Vec<(u32, f64)>)| -> Vec<u32> { taps.iter().map(|tap| tap.0).collect() };
            // Rows of one position read the same.
            let positions: HashSet<Vec<u32>> = rows.rows.iter().map(sources).collect();
            let map = MapSize {
                products: rows.rows.iter().map(|(_, taps)| taps.len()).sum(),
                reads: positions.iter().map(Vec::len).sum(),
                results: rows.rows.len(),
            };
            Self { map, sums: rows.groups.len(), members: rows.groups.iter().map(Vec::len).sum() }
        };
        SharedRows::of_network(network).into_iter().map(count).collect()
    }
}

/// Thread-seconds in which the inputs of such a run are made of what clients send.
#[must_use]
pub fn expansion_seconds(network: &PolynomialNetwork, params: &ParameterSet, cost: &CkksCost) -> f64 {
    network.input.len() as f64 * cost.expand_seconds(params)
}

/// Thread-seconds of a run with one slot an input, for each map with the polynomials behind it.
#[must_use]
pub fn throughput_seconds(network: &PolynomialNetwork, params: &ParameterSet, cost: &CkksCost) -> Vec<WorkSeconds> {
    seconds_of(network, &Counts::of(network), params, cost)
}

fn seconds_of(
    network: &PolynomialNetwork,
    counts: &[Counts],
    params: &ParameterSet,
    cost: &CkksCost,
) -> Vec<WorkSeconds> {
    let limbs = limbs_of_stages(network, params.primes.len());
    let closing = |at: usize| network.stages.get(at).map_or(Closing::Value, |stage| stage.scaling.closing);
    let map = |(at, counts): (usize, &Counts)| {
        let before = at.checked_sub(1).map_or(Closing::Value, closing);
        let is_open = at == network.stages.len() && before == Closing::Output;
        // The output is not rescaled: two limbs hold it, if it is no sum of products of three parts.
        let own = if at == network.stages.len() && !is_open { limbs[at].min(2) } else { limbs[at] };
        let parts = if is_open { 1.5 } else { 1.0 };
        let mut products = parts * cost.map_seconds(params, own, counts.map);
        let mut switching = 0.0;
        if before == Closing::Sum && counts.sums > 0 {
            let at_sum = limbs[at] + 1;
            products += 1.5 * counts.members as f64 * cost.add_seconds(params, at_sum);
            let closed = cost.rotate_seconds(params, at_sum) + cost.rescale_seconds(params, at_sum);
            switching += counts.sums as f64 * closed;
        } else {
            products += counts.members as f64 * cost.add_seconds(params, own);
        }
        if is_open {
            let rescales: f64 = (3..=own).map(|limbs| 1.5 * cost.rescale_seconds(params, limbs)).sum();
            switching += network.output_rows.len() as f64 * (rescales + cost.rotate_seconds(params, own.min(2)));
        }
        WorkSeconds { switching, products }
    };
    let mut seconds: Vec<WorkSeconds> = counts.iter().enumerate().map(map).collect();
    for (at, stage) in network.stages.iter().enumerate() {
        let argument = limbs[at] - usize::from(stage.scaling.rescales);
        let depths = stage.products();
        let closed = if stage.scaling.closing == Closing::Value { depths } else { &depths[..depths.len() - 1] };
        let each: f64 = closed.iter().map(|depth| cost.multiply_seconds(params, argument + 1 - depth)).sum();
        let open =
            if closed.len() < depths.len() { cost.tensor_seconds(params, argument + 1 - stage.depth()) } else { 0.0 };
        let rows = if stage.scaling.rescales { stage.rows.len() + stage.factors.len() } else { 0 };
        seconds[at].switching +=
            stage.rows.len() as f64 * (each + open) + rows as f64 * cost.rescale_seconds(params, limbs[at]);
    }
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::plan::activation::{Activation, Form};
    use crate::ckks::plan::polynomials::{PolynomialStage, Scaling};
    use crate::ckks::planner::chains::MOST_SPECIAL;
    use crate::model::client_op::ClientOps;
    use crate::model::network::{Row, Tap, TensorInfo};

    /// Stages of quartics or squares, each of two values that the next reads.
    fn network(depths: &[usize]) -> PolynomialNetwork {
        let tensor = |name: &str| TensorInfo { name: name.into(), shape: vec![1, 2] };
        let row = |first: u32| Row {
            bias: 0.0,
            taps: (first..first + 2).map(|source| Tap { source, weight: 0.5 }).collect(),
        };
        let form = |depth: usize| match depth {
            1 => Form::Square { gain: 1.0, shift: 0.0, constant: 0.0 },
            2 => Form::Quartic { gain: 1.0, a: 0.0, b: 0.0, c: 0.0, d: 0.0 },
            _ => Form::Sextic { gain: 1.0, rest: [0.0; 6] },
        };
        let stage = |(at, &depth): (usize, &usize)| PolynomialStage {
            name: format!("stage {at}"),
            operator: "Gemm".into(),
            shape: vec![1, 2],
            rows: vec![row(2 * at as u32); 2],
            factors: vec![],
            channel: vec![0, 0],
            activations: vec![Activation { centre: 0.0, radius: 1.0, form: form(depth) }],
            scaling: Scaling::default(),
        };
        PolynomialNetwork {
            input: tensor("x"),
            inputs: vec![tensor("x")],
            stages: depths.iter().enumerate().map(stage).collect(),
            output: tensor("y"),
            output_rows: vec![row(2 * depths.len() as u32); 2],
            output_operator: "Gemm".into(),
            client_ops: ClientOps::default(),
            output_bound: 10.0,
            refresh: None,
        }
    }

    #[test]
    fn every_chain_that_can_be_emitted_is_secure_and_holds_its_network() {
        let mut count = 0;
        for depths in [&[][..], &[1], &[2], &[3], &[1, 1], &[2, 2], &[2, 1], &[1, 2, 3], &[3; 6]] {
            let plain = network(depths);
            let closings = closings(&plain);
            for ring in RINGS.flat_map(|log2_degree| RingKind::ALL.map(|kind| (kind, log2_degree))) {
                for rotates in [false, true] {
                    for chain in chains(&plain, ring, MOST_SPECIAL, rotates, &closings) {
                        assert_eq!(chain.params.check(), Ok(()));
                        let mut network = plain.clone();
                        network.keep(&chain);
                        assert_eq!(network.check(), Ok(()));
                        assert!(chain.params.primes.len() > network.levels());
                        assert!(SlotNoise::new(&network, &chain.params, rotates).is_ok());
                        assert!(!rotates || chain.params.key_limbs == chain.params.primes.len());
                        count += 1;
                    }
                }
            }
        }
        assert!(count > 300, "{count}");
        assert!(chains(&network(&[3; 6]), (RingKind::Complex, 13), 10, false, &[Closing::Value; 6]).is_empty());
    }

    #[test]
    fn a_squared_layer_fits_the_smallest_ring() {
        let network = network(&[1]);
        let found = chains(&network, (RingKind::Complex, 12), MOST_SPECIAL, false, &closings(&network));
        assert!(found.iter().any(|chain| chain.params.primes.len() == 3), "{found:?}");
    }

    /// Outputs may fill the last primes with what weights need no precision for.
    #[test]
    fn large_outputs_leave_chains() {
        for depths in [&[][..], &[1], &[2, 2]] {
            let plain = PolynomialNetwork { output_bound: 1e8, ..network(depths) };
            for rotates in [false, true] {
                let found = chains(&plain, (RingKind::Complex, 14), MOST_SPECIAL, rotates, &closings(&plain));
                let held = |chain: &Chain| {
                    let mut network = plain.clone();
                    network.keep(chain);
                    SlotNoise::new(&network, &chain.params, rotates).is_ok()
                };
                assert!(!found.is_empty() && found.iter().all(held), "{depths:?}, {rotates}");
            }
        }
    }
}
