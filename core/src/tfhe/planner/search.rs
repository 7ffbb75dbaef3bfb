//! The space of secure TFHE parameter sets, and its frontier of cost against noise.

use crate::tfhe::cost::CostModel;
use crate::tfhe::cost::rings::Ring;
use crate::tfhe::noise;
use crate::tfhe::params::set::{MOST_GROUPING, ParameterSet};

/// A parameter set with its predicted cost and noise.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The set.
    pub params: ParameterSet,
    /// Seconds of one keyswitch and bootstrap, by the cost model that was given.
    pub seconds: f64,
    /// Score of its noise, in turns squared: lower is better.
    pub noise: f64,
}

/// Degrees and dimensions (N, k) that are tried.
fn shapes() -> impl Iterator<Item = (usize, usize)> {
    let all = (8..=14).flat_map(|log2_size| (1..=8).map(move |glwe_dimension| (1_usize << log2_size, glwe_dimension)));
    all.filter(|&(polynomial_size, glwe_dimension)| {
        let big = glwe_dimension * polynomial_size;
        big >= 1280 && (glwe_dimension == 1 || big <= 4096)
    })
}

/// Levels of the bootstrapping key that are tried.
const LEVELS: std::ops::RangeInclusive<usize> = 1..=3;

/// Every ring that a plan may have.
pub fn rings() -> impl Iterator<Item = Ring> {
    shapes().flat_map(|(polynomial_size, glwe_dimension)| {
        LEVELS.flat_map(move |pbs_level| {
            (1..=MOST_GROUPING).map(move |grouping_factor| Ring {
                glwe_dimension,
                polynomial_size,
                pbs_level,
                grouping_factor,
            })
        })
    })
}

/// Every (k, N, l, n, g, l_ks) with the bases of least noise and the noise bounds of the security curves.
fn all_sets() -> Vec<ParameterSet> {
    let mut sets = Vec::new();
    for (polynomial_size, glwe_dimension) in shapes() {
        for pbs_level in LEVELS {
            let dimensions = (540..=1100_usize).step_by(10);
            for (n, grouping_factor) in dimensions.flat_map(|n| (1..=MOST_GROUPING).map(move |g| (n, g))) {
                let n = n.next_multiple_of(grouping_factor);
                let base = ParameterSet::with_least_noise(n, glwe_dimension, polynomial_size, (1, pbs_level), (1, 1));
                let base = ParameterSet { grouping_factor, ..base };
                let pbs_base_log =
                    best_base(31 / pbs_level, |b| noise::bootstrap_variance(&ParameterSet { pbs_base_log: b, ..base }));
                for ks_level in 1..=10 {
                    let ks_base_log = best_base((31 / ks_level).min(15), |b| {
                        noise::keyswitch_variance(&ParameterSet { ks_base_log: b, ks_level, ..base })
                    });
                    sets.push(ParameterSet { pbs_base_log, ks_base_log, ks_level, ..base });
                }
            }
        }
    }
    sets
}

fn best_base(largest: usize, variance: impl Fn(usize) -> f64) -> usize {
    (1..=largest).min_by(|&a, &b| variance(a).total_cmp(&variance(b))).unwrap_or(1)
}

/// Sets that no other set beats in both cost and noise, cheapest first.
///
/// `score` gives the noise of a set; bootstraps cost what `model` says, and `row_words_seconds` is added for every word
/// of a row (the linear maps' share). Rings that the model's device does not run are left out.
#[must_use]
pub fn frontier(model: &CostModel, row_word_seconds: f64, score: impl Fn(&ParameterSet) -> f64) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = all_sets()
        .into_iter()
        .map(|params| Candidate {
            params,
            seconds: model.bootstrap_seconds(&params) + row_word_seconds * params.big_row_words() as f64,
            noise: score(&params),
        })
        .filter(|candidate| candidate.seconds.is_finite())
        .collect();
    candidates.sort_by(|a, b| a.seconds.total_cmp(&b.seconds).then(a.noise.total_cmp(&b.noise)));
    let mut best = f64::INFINITY;
    candidates.retain(|candidate| {
        let better = candidate.noise < best * 0.97;
        if better {
            best = candidate.noise;
        }
        better
    });
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use crate::tfhe::cost::rings::RingTimes;
    use crate::tfhe::params::security::smallest_noise_bound;
    use crate::tfhe::params::set::bits;

    #[test]
    fn every_set_that_can_be_emitted_is_valid_and_has_128_bits() {
        let sets = all_sets();
        assert!(sets.len() > 10_000);
        for set in &sets {
            set.check().expect("in range");
            assert!(bits(set) >= crate::files::params::REQUIRED_BITS, "{set:?}");
            let bound = |d, q| smallest_noise_bound(d, q);
            assert!(set.ks_noise_bound_log2 >= bound(set.lwe_dimension, 32));
            assert!(set.pbs_noise_bound_log2 >= bound(set.big_dimension(), 64));
            assert!(set.input_noise_bound_log2 >= bound(set.big_dimension(), 32));
        }
    }

    #[test]
    fn rings_are_those_of_the_sets() {
        let of_sets: BTreeSet<Ring> = all_sets().iter().map(Ring::of).collect();
        assert_eq!(rings().collect::<BTreeSet<Ring>>(), of_sets);
    }

    #[test]
    fn a_device_gets_no_ring_that_it_does_not_run() {
        let score = |p: &ParameterSet| noise::keyswitch_variance(p) + noise::modulus_switch_variance(p);
        let runs = |ring: &Ring| ring.polynomial_size <= 1024 && ring.pbs_level == 1;
        let times = rings().filter(runs).map(|ring| (ring, 1e-12 * ring.bit_operations()));
        let model = CostModel { rings: Some(RingTimes::new(times)), ..CostModel::default() };
        let frontier = frontier(&model, 0.0, score);
        assert!(!frontier.is_empty() && frontier.iter().all(|candidate| runs(&Ring::of(&candidate.params))));
    }

    #[test]
    fn the_frontier_falls_in_noise_as_it_rises_in_cost() {
        let score = |p: &ParameterSet| noise::keyswitch_variance(p) + noise::modulus_switch_variance(p);
        let frontier = frontier(&CostModel::default(), 0.0, score);
        assert!(frontier.len() > 10);
        assert!(frontier.windows(2).all(|w| w[0].seconds <= w[1].seconds && w[0].noise > w[1].noise));
    }
}
