//! Where bootstraps go, and what a plan with them costs.
//!
//! Limbs cost time: a stage is the cheaper the fewer levels come behind it before the next bootstrap, and each
//! bootstrap takes as long as several stages. All ways of dividing the stages into stretches are compared by a
//! shortest path over the stages, with the times that the maps take at the limbs that they would begin at.

use crate::ckks::bootstrap::program::{Map, Program};
use crate::ckks::bootstrap::recipe::{INPUT_LIMBS, PRIMES_A_LEVEL, Recipe, SPENT_LIMBS};
use crate::ckks::cost::{CkksCost, WorkSeconds};
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::bootstraps::live_behind;
use crate::ckks::plan::latency::LatencyPlan;
use crate::ckks::plan::limbs::{limbs_of_stages, limbs_of_stretch};
use crate::ckks::plan::polynomials::PolynomialNetwork;
use crate::ckks::plan::pricing::Pricing;
use crate::ckks::plan::refresh::Refresh;
use crate::ckks::plan::scales::OUTPUT_LIMBS;
use crate::ckks::ring::raise::MOST_RAISED_LIMBS;

/// log2 N of plans with bootstraps.
const LOG2_DEGREE: u32 = 16;
/// Primes of one level each, beside the base; their size in bits; special primes.
const LEVELS: usize = 49;
const PRIME_LOG2: u32 = 29;
const SPECIAL: usize = 8;
/// The numbers fill `2^-10` of `Q_0`: there the sine bends by less than the noise.
const RATIO_LOG2: u32 = 10;
/// Seconds of a stage for each limb, before its map is known: only their ratio to a bootstrap's counts.
const GUESSED_STAGE: f64 = 0.06;
const GUESSED_BOOTSTRAP: f64 = 5.0;

/// A network with its bootstraps, packed.
pub struct Packed {
    /// With its bootstraps.
    pub network: PolynomialNetwork,
    /// The parameters.
    pub params: ParameterSet,
    /// Layouts and steps; the times of maps have those of masks and bootstraps.
    pub latency: LatencyPlan,
    /// Thread-seconds of a run.
    pub seconds: f64,
}

/// Puts bootstraps where a run takes the least time, in the set of networks. `layouts` are those of another fit of the
/// same network, which have the same maps.
///
/// # Errors
/// A sentence where the levels between two stages do not fit, or a tensor lies in no slots that a bootstrap takes.
pub fn place(network: &PolynomialNetwork, cost: &CkksCost, layouts: Option<&LatencyPlan>) -> Result<Packed, String> {
    let params = ParameterSet::new(LOG2_DEGREE, LEVELS, PRIME_LOG2, SPECIAL)?;
    let guessed = |_: usize, limbs: usize| GUESSED_STAGE * limbs as f64;
    let after = shortest(network, &params, guessed, |_| GUESSED_BOOTSTRAP)?;
    let packed = pack(network, after.clone(), &params, cost, layouts)?;
    // Once more with what the maps really take.
    let program = Program::new(&params, packed.recipe()?)?;
    let bootstrap = bootstrap_seconds(&program, &params, cost);
    let latency = &packed.latency;
    let exact = |at: usize, limbs: usize| stage_seconds(network, latency, &params, cost, at, limbs).total();
    let each = |tensor: usize| latency.maps[tensor - 1].output.ciphertexts() as f64 * bootstrap.total();
    let better = shortest(network, &params, exact, each)?;
    if better == after { Ok(packed) } else { pack(network, better, &params, cost, Some(latency)) }
}

impl Packed {
    fn recipe(&self) -> Result<&Recipe, String> {
        self.network.refresh.as_ref().map(|refresh| &refresh.recipe).ok_or_else(|| "there is no bootstrap".into())
    }
}

/// The stages behind which bootstraps stand on the cheapest way to the output.
fn shortest(
    network: &PolynomialNetwork,
    params: &ParameterSet,
    stage: impl Fn(usize, usize) -> f64,
    bootstrap: impl Fn(usize) -> f64,
) -> Result<Vec<usize>, String> {
    let (count, limbs) = (network.stages.len(), params.primes.len());
    let live = live_behind(&network.tensors_read(), &(0..count).collect::<Vec<_>>());
    // The least time to the end of stage `at - 1` and a bootstrap there, and the bootstraps on the way.
    let mut best: Vec<Option<(f64, Vec<usize>)>> = vec![None; count + 1];
    best[0] = Some((0.0, Vec::new()));
    let mut whole: Option<(f64, Vec<usize>)> = None;
    for from in 0..count {
        let Some((before, after)) = best[from].clone() else { continue };
        let room = if from == 0 { limbs } else { limbs - SPENT_LIMBS };
        // The last stretch leaves fewer limbs than the others, and may fit where one that ends before it does not.
        let begins = |to: usize| limbs_of_stretch(&network.stages[from..to], to == count);
        for (to, begins) in (from + 1..=count).map(|to| (to, begins(to))).filter(|&(_, begins)| begins <= room) {
            let (mut left, mut seconds) = (begins, before);
            for at in from..to {
                seconds += stage(at, left);
                left -= network.stages[at].levels();
            }
            if to == count {
                // A network that does without is planned elsewhere, unless no ring has the precision.
                if whole.as_ref().is_none_or(|(least, _)| seconds < *least) && !after.is_empty() {
                    whole = Some((seconds, after.clone()));
                }
                continue;
            }
            let live = &live[to - 1];
            if live.contains(&0) {
                continue;
            }
            seconds += live.iter().map(|&tensor| bootstrap(tensor)).sum::<f64>();
            if best[to].as_ref().is_none_or(|(least, _)| seconds < *least) {
                best[to] = Some((seconds, [after.as_slice(), &[to - 1]].concat()));
            }
        }
    }
    let levels = network.levels();
    whole.map(|(_, after)| after).ok_or_else(|| {
        format!("no places for bootstraps divide {levels} levels into what one leaves, {}", limbs - SPENT_LIMBS)
    })
}

/// Packs a network with bootstraps behind the given stages, of numbers up to 1.
///
/// # Errors
/// A sentence where the set lacks levels, or a tensor lies in no slots that a bootstrap takes.
pub fn pack(
    network: &PolynomialNetwork,
    after: Vec<usize>,
    params: &ParameterSet,
    cost: &CkksCost,
    layouts: Option<&LatencyPlan>,
) -> Result<Packed, String> {
    let mut network = network.clone();
    let scale = f64::from(PRIME_LOG2).exp2();
    let most = params.slots().trailing_zeros();
    // The most slots until layouts are known: nothing before depends on them.
    let recipe = Recipe::new(params, most, 1.0, RATIO_LOG2, [scale; 2])?;
    network.refresh = Some(Refresh { recipe, after });
    network.check_refresh(params)?;
    let mut latency = match layouts {
        Some(latency) => latency.clone(),
        None => LatencyPlan::new(&network, params, cost, 1)?.0,
    };
    let tensors = network.refreshed().into_iter().flat_map(|(_, tensors)| tensors);
    let period = tensors.map(|tensor| latency.maps[tensor - 1].output.period).max().unwrap_or(1);
    let log2_slots = period.trailing_zeros().clamp(3, most);
    if let Some(refresh) = &mut network.refresh {
        refresh.recipe = Recipe::new(params, log2_slots, 1.0, RATIO_LOG2, [scale; 2])?;
    }
    latency.check_refresh(&network)?;
    let program = Program::new(params, &network.refresh.as_ref().ok_or("no recipe")?.recipe)?;
    let bootstrap = bootstrap_seconds(&program, params, cost);
    let limbs = limbs_of_stages(&network, params.primes.len());
    let mut seconds: Vec<WorkSeconds> =
        (0..latency.maps.len()).map(|at| stage_seconds(&network, &latency, params, cost, at, limbs[at])).collect();
    for (stage, tensors) in network.refreshed() {
        for tensor in tensors {
            (0..latency.maps[tensor - 1].output.ciphertexts()).for_each(|_| seconds[stage] += bootstrap);
        }
    }
    latency.seconds = seconds;
    let seconds = latency.seconds.iter().copied().sum::<WorkSeconds>().total();
    Ok(Packed { network, params: params.clone(), latency, seconds })
}

/// What a map and its polynomials take at so many limbs, masks transformed when they are used.
fn stage_seconds(
    network: &PolynomialNetwork,
    latency: &LatencyPlan,
    params: &ParameterSet,
    cost: &CkksCost,
    at: usize,
    limbs: usize,
) -> WorkSeconds {
    let map = &latency.maps[at];
    let limbs = if at == network.stages.len() { limbs.min(OUTPUT_LIMBS) } else { limbs };
    let pricing = Pricing { params, cost, limbs };
    let layout = |tensor: usize| tensor.checked_sub(1).map_or(&latency.input, |at| &latency.maps[at].output);
    let (price, masks) = map.price(|tensor| layout(tensor).ciphertexts(), &pricing);
    let mut work = price.work;
    work.products += masks as f64 * cost.mask_transform_seconds(params, map.period, limbs);
    if let Some(stage) = network.stages.get(at) {
        let each = stage.products().iter().map(|depth| cost.multiply_seconds(params, limbs - depth));
        work.switching += map.output.ciphertexts() as f64 * each.sum::<f64>();
    }
    work
}

/// What one bootstrap takes.
fn bootstrap_seconds(program: &Program, params: &ParameterSet, cost: &CkksCost) -> WorkSeconds {
    let of_map = |map: &Map| {
        let (limbs, masks) = (map.input.limbs, map.giants.values().map(Vec::len).sum::<usize>() as f64);
        let giants: usize = [map.giants.keys().min(), map.giants.keys().max()]
            .into_iter()
            .flatten()
            .map(|giant| giant.unsigned_abs())
            .sum();
        let babies = (map.babies.len() - 1) as f64 * cost.switch_seconds(params, limbs);
        let switching = cost.decompose_seconds(params, limbs)
            + babies
            + giants as f64 * cost.rotate_seconds(params, limbs)
            + map.primes as f64 * cost.rescale_seconds(params, limbs);
        let each = cost.product_seconds(params, limbs) + cost.mask_transform_seconds(params, map.period, limbs);
        WorkSeconds { switching, products: masks * each }
    };
    let maps: WorkSeconds = program.to_coefficients.iter().chain(&program.to_slots).map(of_map).sum();
    let all = params.primes.len();
    let steps = program.sine.steps.iter().map(|step| {
        let limbs = step.sum.limbs;
        let products = step.products.len() as f64 * cost.tensor_seconds(params, limbs);
        let switched = if step.products.is_empty() { 0.0 } else { cost.rotate_seconds(params, limbs) };
        products + switched + PRIMES_A_LEVEL as f64 * cost.rescale_seconds(params, limbs)
    });
    let conjugation = cost.rotate_seconds(params, program.sine.argument.limbs);
    let keys = cost.rotate_seconds(params, MOST_RAISED_LIMBS)
        + (1 + program.folds.len()) as f64 * cost.rotate_seconds(params, all)
        + cost.rescale_seconds(params, INPUT_LIMBS);
    WorkSeconds { switching: maps.switching + steps.sum::<f64>() + conjugation + keys, products: maps.products }
}

/// Whether one of all values, those of the input first, leaves the bound of its stage.
#[must_use]
pub fn leaves_bounds(network: &PolynomialNetwork, values: &[f64]) -> bool {
    let mut first = network.input.len();
    network.stages.iter().any(|stage| {
        let own = &values[first..first + stage.rows.len()];
        first += own.len();
        let leaves = |(row, value): (usize, &f64)| {
            let bound = stage.activation(row).form.gain().abs();
            value.abs() > bound || value.is_nan()
        };
        own.iter().enumerate().any(leaves)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::plan::samples;
    use crate::ckks::plan::samples::{seventh, square};

    /// Stages of four levels, each reading the one before it; map `late` reads the input as well.
    fn network(stages: usize, late: usize) -> PolynomialNetwork {
        let own: Vec<Vec<usize>> = (0..=stages).map(|at| if at == late { vec![0, at] } else { vec![at] }).collect();
        let reads: Vec<&[usize]> = own.iter().map(Vec::as_slice).collect();
        samples::network(&vec![seventh(); stages], &reads)
    }

    fn set() -> ParameterSet {
        ParameterSet::new(LOG2_DEGREE, LEVELS, PRIME_LOG2, SPECIAL).expect("a secure set")
    }

    #[test]
    fn there_are_few_bootstraps_where_they_are_dear_and_more_where_limbs_are() {
        // The first stretch has 45 levels, the others 23, the last one 26: 11, 5 and 6 stages.
        let (network, params) = (network(20, 0), set());
        let places = |bootstrap: f64| {
            let after = shortest(&network, &params, |_, limbs| limbs as f64, |_| bootstrap).expect("enough levels");
            let mut placed = network.clone();
            placed.refresh_behind(&after);
            assert_eq!(placed.check_refresh(&params), Ok(()));
            after
        };
        assert_eq!(places(1e6).len(), 2);
        assert_eq!(places(0.0), (0..19).collect::<Vec<_>>(), "between all stages");
        let some = places(60.0).len();
        assert!((3..20).contains(&some), "{some}");
        // Whoever asks for places gets one, though levels would do without.
        assert_eq!(
            shortest(&self::network(2, 0), &params, |_, limbs| limbs as f64, |_| 1e6).map(|after| after.len()),
            Ok(1)
        );
    }

    #[test]
    fn no_bootstrap_stands_before_the_last_map_that_reads_the_input() {
        let params = set();
        for late in [3, 8, 10] {
            let after = shortest(&network(16, late), &params, |_, limbs| limbs as f64, |_| 0.0).expect("enough levels");
            assert_eq!(after[0], late, "stages before are in the first stretch");
        }
        let error = shortest(&network(16, 11), &params, |_, limbs| limbs as f64, |_| 0.0)
            .expect_err("48 levels and a bootstrap");
        assert!(error.contains("no places for bootstraps"), "{error}");
    }

    #[test]
    fn a_stage_that_no_stretch_holds_is_an_error() {
        // Four limbs are left: a square and the output.
        let params = ParameterSet::new(15, 25, 29, 3).expect("a secure set");
        let flat = |_: usize, limbs: usize| limbs as f64;
        let reads: [&[usize]; 8] = [&[0], &[1], &[2], &[3], &[4], &[5], &[6], &[7]];
        let forms = |last| [[seventh(); 5].as_slice(), &[last, last]].concat();
        let short = samples::network(&[[seventh(); 5].as_slice(), &[square()]].concat(), &reads[..7]);
        assert_eq!(shortest(&short, &params, flat, |_| 1.0), Ok(vec![4]));
        for network in [samples::network(&forms(seventh()), &reads), samples::network(&forms(square()), &reads)] {
            let error = shortest(&network, &params, flat, |_| 1.0).expect_err("too deep");
            assert!(error.ends_with("what one leaves, 4"), "{error}");
        }
    }
}
