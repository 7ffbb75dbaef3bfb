//! What a bootstrap is made for, and where it stands among the levels.

use serde::{Deserialize, Serialize};

use crate::ckks::cost::CkksCost;
use crate::ckks::params::key_request::loaded_key_bytes;
use crate::ckks::params::set::{ParameterSet, RingKind};
use crate::ckks::params::sparse::{check_sparse_modulus, sparse_modulus_bits};
use crate::ckks::ring::number::State;
use crate::ckks::ring::raise::MOST_RAISED_LIMBS;

/// Primes that one level of the raised part takes: two of 29 bits make a scale of 58.
pub const PRIMES_A_LEVEL: usize = 2;
/// Factors of either transform, and levels that each takes.
pub const MAPS: usize = 3;
/// Levels of the sine: one for the square of the argument, four for a polynomial of degree 15, three doublings.
pub const SINE_LEVELS: usize = 8;
/// Limbs of what goes in: a level of one prime for each factor of the first transform, and the primes of `Q_0`.
pub const INPUT_LIMBS: usize = MOST_RAISED_LIMBS + MAPS;
/// Primes that are spent between the raised modulus and the result.
pub const SPENT_LIMBS: usize = PRIMES_A_LEVEL * (MAPS + SINE_LEVELS);

/// How one factor of a transform is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapShape {
    /// Depths of the transform that it takes together.
    pub depths: u32,
    /// Rotations of one ciphertext that share their digits, the one by nothing among them.
    pub babies: usize,
}

/// What a bootstrap is made for. The numbers are real, one a slot, and repeat after `2^log2_slots` slots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// log2 of the numbers, at most that of the slots.
    pub log2_slots: u32,
    /// Largest magnitude of the numbers.
    pub bound: f64,
    /// The numbers fill `2^-ratio_log2` of `Q_0`: the sine bends by `(2 pi 2^-ratio_log2)^2 / 6` of the bound there.
    pub ratio_log2: u32,
    /// Scale of what goes in.
    pub input_scale: f64,
    /// Scale of what comes out.
    pub output_scale: f64,
    /// The transforms' factors, that of neighbouring slots first.
    pub maps: [MapShape; MAPS],
}

/// Bytes of all keys with their masks at the most, where there is a choice between fewer keys and less time.
const MOST_KEY_BYTES: u64 = 5 << 30;

impl Recipe {
    /// A recipe for a set, with factors of alike numbers of depths, and the grids that take the least time among those
    /// whose keys fit 5 GiB, or the fewest keys where none fit.
    ///
    /// # Errors
    /// As [`Recipe::check`].
    pub fn new(
        params: &ParameterSet,
        log2_slots: u32,
        bound: f64,
        ratio_log2: u32,
        scales: [f64; 2],
    ) -> Result<Self, String> {
        let depths = balanced(log2_slots);
        let [input_scale, output_scale] = scales;
        let maps = depths.map(|depths| MapShape { depths, babies: 1 });
        let recipe = Self { log2_slots, bound, ratio_log2, input_scale, output_scale, maps };
        recipe.check(params)?;
        Ok(Self { maps: cheapest_grids(params, depths), ..recipe })
    }

    /// Checks every field against a set, and the security of the sparse secret.
    ///
    /// # Errors
    /// A sentence that names the first violation.
    pub fn check(&self, params: &ParameterSet) -> Result<(), String> {
        let invalid = |text: &str| Err(format!("a bootstrap {text}"));
        if params.ring != RingKind::Complex {
            return invalid("takes place in the ring of complex slots");
        }
        if params.primes.len() <= SPENT_LIMBS || params.primes.len() < INPUT_LIMBS {
            return Err(format!("a bootstrap takes {SPENT_LIMBS} primes and leaves none of {}", params.primes.len()));
        }
        check_sparse_modulus(params, MOST_RAISED_LIMBS)?;
        // Factors of unlike depths would have masks without number: each has as many as its depths make.
        let is_balanced = self.log2_slots < params.log2_degree
            && self.maps.map(|map| map.depths) == balanced(self.log2_slots)
            && self.maps.iter().all(|map| map.depths > 0);
        if !is_balanced || !self.maps.iter().all(|map| (1..=1 << (map.depths + 1)).contains(&map.babies)) {
            return invalid("has factors that do not make its transform");
        }
        if self.maps[MAPS - 1].babies.count_ones() != 1 || self.maps[MAPS - 1].babies > 1 << self.maps[MAPS - 1].depths
        {
            return invalid("has a last factor that does not go round");
        }
        let within = |x: f64, least: i32, most: i32| (2_f64.powi(least)..=2_f64.powi(most)).contains(&x);
        let scales = within(self.input_scale, 0, 58) && within(self.output_scale, 0, 58);
        if !((2..=20).contains(&self.ratio_log2) && within(self.bound, -30, 30) && scales) {
            return invalid("has a range or a scale beyond what its levels hold");
        }
        if self.raised_scale(params) < self.input_scale {
            return invalid("would divide what goes in");
        }
        Ok(())
    }

    /// log2 of the largest modulus under the sparse secret: the key that leads to it has the primes of `Q_0` and P.
    #[must_use]
    pub fn sparse_modulus_bits(params: &ParameterSet) -> f64 {
        sparse_modulus_bits(params, MOST_RAISED_LIMBS)
    }

    /// `Q_0`.
    #[must_use]
    pub fn low_modulus(params: &ParameterSet) -> f64 {
        params.primes.iter().take(MOST_RAISED_LIMBS).map(|&p| f64::from(p)).product()
    }

    /// Scale of the numbers where the modulus is raised: the largest one fills its share of `Q_0`.
    #[must_use]
    pub fn raised_scale(&self, params: &ParameterSet) -> f64 {
        Self::low_modulus(params) * 2_f64.powi(-(self.ratio_log2 as i32)) / self.bound
    }

    /// Of what goes in; limbs beyond these are dropped.
    #[must_use]
    pub fn input(&self) -> State {
        State { scale: self.input_scale, limbs: INPUT_LIMBS }
    }

    /// Of what comes out.
    #[must_use]
    pub fn output(&self, params: &ParameterSet) -> State {
        State { scale: self.output_scale, limbs: params.primes.len() - SPENT_LIMBS }
    }

    /// Levels of one prime between two bootstraps.
    #[must_use]
    pub fn levels_left(&self, params: &ParameterSet) -> usize {
        self.output(params).limbs.saturating_sub(INPUT_LIMBS)
    }
}

/// Depths of the transform's factors, as alike as they can be.
fn balanced(log2_slots: u32) -> [u32; MAPS] {
    let first = log2_slots.div_ceil(3);
    let second = (log2_slots - first).div_ceil(2);
    [first, second, log2_slots - first - second]
}

/// Grids for factors of so many depths, by what their rotations cost at the limbs of the second transform.
fn cheapest_grids(params: &ParameterSet, depths: [u32; MAPS]) -> [MapShape; MAPS] {
    let cost = CkksCost::default();
    let limbs = params.primes.len();
    // Beside those of the grids: to and from the sparse secret, conjugation and relinearisation.
    let others = [MOST_RAISED_LIMBS, limbs, limbs - MAPS * PRIMES_A_LEVEL, limbs - MAPS * PRIMES_A_LEVEL];
    let others: u64 = others.iter().map(|&limbs| loaded_key_bytes(params, limbs)).sum();
    // Seconds and bytes of the keys by the number of baby steps; the last factor's offsets go round.
    let candidates = |at: usize| -> Vec<(usize, f64, u64)> {
        let limbs = limbs - PRIMES_A_LEVEL * (MAPS - 1 - at);
        let (switch, rotate) = (cost.switch_seconds(params, limbs), cost.rotate_seconds(params, limbs));
        let goes_round = at == MAPS - 1;
        let diagonals = if goes_round { 1_usize << depths[at] } else { (2 << depths[at]) - 1 };
        let fits = |babies: &usize| if goes_round { babies.is_power_of_two() } else { babies % 2 == 1 };
        let grid = |babies: usize| {
            let giants = diagonals.div_ceil(babies) - 1;
            let keys = babies - 1 + giants.min(if goes_round { 1 } else { 2 });
            let seconds = (babies - 1) as f64 * switch + giants as f64 * rotate;
            (babies, seconds, keys as u64 * loaded_key_bytes(params, limbs))
        };
        (1..=diagonals).filter(fits).map(grid).collect()
    };
    let all: [_; MAPS] = std::array::from_fn(candidates);
    let mut best = None;
    for a in &all[0] {
        for b in &all[1] {
            for c in &all[2] {
                let (seconds, bytes) = (a.1 + b.1 + c.1, others + a.2 + b.2 + c.2);
                // Too many bytes first, then seconds.
                let rank = (bytes.saturating_sub(MOST_KEY_BYTES), seconds);
                if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                    best = Some((rank, [a.0, b.0, c.0]));
                }
            }
        }
    }
    let babies = best.map_or([1; MAPS], |(_, babies)| babies);
    std::array::from_fn(|at| MapShape { depths: depths[at], babies: babies[at] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_of_full_size_fill_what_keys_may_take() {
        let params = ParameterSet::new(16, 49, 29, 8).expect("a secure set");
        let recipe = Recipe::new(&params, 15, 1.0, 9, [2_f64.powi(29); 2]).expect("a sound recipe");
        let grids = recipe.maps.map(|map| (map.depths, map.babies));
        assert_eq!(grids[2], (5, 8), "32 diagonals that go round, at all primes");
        assert!(grids[..2] == [(5, 9), (5, 7)] || grids[..2] == [(5, 7), (5, 9)], "{grids:?}");
        assert!((298.0..300.0).contains(&Recipe::sparse_modulus_bits(&params)));
    }

    #[test]
    fn factors_that_are_not_alike_are_refused() {
        let params = ParameterSet::new(16, 49, 29, 8).expect("a secure set");
        let recipe = Recipe::new(&params, 15, 1.0, 9, [2_f64.powi(29); 2]).expect("a sound recipe");
        let with = |log2_slots: u32, maps: [(u32, usize); MAPS]| Recipe {
            log2_slots,
            maps: maps.map(|(depths, babies)| MapShape { depths, babies }),
            ..recipe.clone()
        };
        assert_eq!(with(15, [(5, 63), (5, 64), (5, 32)]).check(&params), Ok(()));
        for (log2_slots, maps) in [
            (15, [(u32::MAX, 1); MAPS]),
            (15, [(1, 1), (4, 1), (10, 1)]),
            (15, [(5, 0), (5, 1), (5, 1)]),
            (15, [(5, 65), (5, 1), (5, 1)]),
            (15, [(5, usize::MAX), (5, 1), (5, 1)]),
            (2, [(1, 1), (1, 1), (0, 1)]),
            (0, [(0, 1); MAPS]),
            (16, [(6, 1), (5, 1), (5, 1)]),
            (u32::MAX, [(u32::MAX / 3, 1); MAPS]),
        ] {
            let error = with(log2_slots, maps).check(&params).expect_err("factors that make no transform");
            assert!(error.contains("factors that do not make its transform"), "{maps:?}: {error}");
        }
        for babies in [3, 64] {
            let error = with(15, [(5, 1), (5, 1), (5, babies)]).check(&params).expect_err("a grid that overlaps");
            assert!(error.contains("does not go round"), "{babies}: {error}");
        }
    }
}
