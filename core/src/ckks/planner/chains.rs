//! Which primes a network needs on each ring, and how its scales are kept: the chains that the planner compares.
//!
//! A level costs a limb of everything before it. Three kinds of levels can be had for less:
//!
//! - A map divides by a prime that need only be as large as weights are precise, and not at all if the scale of what it
//!   reads and that of its weights come to no more than a product's factors may have. That is tried for the first map,
//!   whose limbs cost the most.
//! - Products that are summed by a pooling, or by the output, are sums of three parts first ([`Closing`]). The output's
//!   takes no level, if the last factors' scale is so small that product and weights fit into the last primes.
//! - Only primes that a switching key has share the modulus with the special ones.

use std::collections::BTreeSet;

use crate::ckks::params::set::{MOST_MODULUS_BITS, ParameterSet, PrimeBits, RingKind};
use crate::ckks::plan::polynomials::{Closing, PolynomialNetwork, Scaling};
use crate::ckks::plan::shared_rows::SharedRows;
use crate::residues::modulus::PRIME_BITS;

/// log2 of the widest scale between products.
const MOST_SCALE: u32 = 29;
/// log2 of the smallest: below it rescaling alone costs three decimal places.
const LEAST_SCALE: u32 = 22;
/// From one scale that is tried to the next.
const SCALE_STEP: usize = 2;
/// Most special primes that are worth trying: with more of them a polynomial has fewer digits, each to be converted to
/// more primes.
pub const MOST_SPECIAL: usize = 10;
/// log2 of the scales of weights that meet fresh ciphertexts without a division behind them: which of them makes the
/// errors of inputs and weights weigh the same depends on how many inputs a row has.
const BARE_WEIGHTS: [u32; 3] = [12, 13, 15];
/// log2 of the smallest scale of fresh ciphertexts.
const LEAST_FRESH: u32 = 15;
/// Bits that the output's weights have beside the output's own size.
const OUTPUT_BITS: [f64; 2] = [12.0, 9.0];
/// Bits of the last primes that outputs leave to those that were not calibrated.
const OUTPUT_MARGIN: f64 = 2.4;
/// What primes of one ring that are near one power of two come to over it, in bits.
const SLACK: u32 = 1;

/// A chain of primes for a network on one ring.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// The parameters.
    pub params: ParameterSet,
    /// For each stage how its scales are kept.
    pub scalings: Vec<Scaling>,
}

/// What is tried, but for the ring and the sizes of primes.
#[derive(Clone, Debug, PartialEq)]
struct Variant {
    /// log2 of the scale of the first map's weights where it is not rescaled.
    bare_weights: Option<u32>,
    closings: Vec<Closing>,
    /// Bits of the output's weights beside the output's own size.
    output_bits: f64,
    /// Whether primes behind maps are as wide as those behind products: masks are less precise than numbers.
    has_wide_maps: bool,
    /// Limbs of the output's sums beyond the two that hold the output.
    more: usize,
}

/// Where the products of each stage can end: a stage that only shared sums read, and a last one that only the output
/// reads.
#[must_use]
pub fn closings(network: &PolynomialNetwork) -> Vec<Closing> {
    let mut first = network.input.len();
    let mut closings: Vec<Option<Closing>> = vec![None; network.stages.len()];
    let firsts: Vec<usize> = network
        .stages
        .iter()
        .map(|stage| {
            first += stage.rows.len();
            first - stage.rows.len()
        })
        .collect();
    let stage_of = |source: u32| firsts.partition_point(|&first| first <= source as usize).checked_sub(1);
    for (at, rows) in SharedRows::of_network(network).iter().enumerate() {
        let is_output = at == network.stages.len();
        let alone: BTreeSet<Option<usize>> = rows
            .rows
            .iter()
            .flat_map(|(_, taps)| taps)
            .filter(|tap| tap.0 < rows.first_group)
            .map(|tap| stage_of(tap.0))
            .collect();
        let summed: BTreeSet<Option<usize>> = rows.groups.iter().flatten().map(|&source| stage_of(source)).collect();
        let mut meet = |stage: Option<usize>, closing: Closing| {
            let Some(stage) = stage else { return };
            closings[stage] = match closings[stage] {
                None => Some(closing),
                Some(own) if own == closing && closing != Closing::Output => Some(own),
                Some(_) => Some(Closing::Value),
            };
        };
        let is_alone = is_output && alone.len() == 1 && alone.iter().all(|own| *own == at.checked_sub(1));
        for &stage in &alone {
            meet(stage, if is_alone && summed.is_empty() { Closing::Output } else { Closing::Value });
        }
        for &stage in &summed {
            // Sums of members of several stages would have open and closed ones.
            meet(stage, if summed.len() == 1 { Closing::Sum } else { Closing::Value });
        }
    }
    let depth = |at: usize| network.stages[at].depth();
    let own = |(at, closing): (usize, Option<Closing>)| match closing {
        Some(closing) if depth(at) > 0 => closing,
        _ => Closing::Value,
    };
    closings.into_iter().enumerate().map(own).collect()
}

/// The chains on a ring, which is given by its kind and log2 N: for each variant and number of special primes, up to
/// `most_special`, at several scales, the widest first.
#[must_use]
pub fn chains(
    network: &PolynomialNetwork,
    ring: (RingKind, u32),
    most_special: usize,
    rotates: bool,
    closings: &[Closing],
) -> Vec<Chain> {
    let plain = vec![Closing::Value; network.stages.len()];
    let fixed =
        Variant { bare_weights: None, closings: plain, output_bits: OUTPUT_BITS[0], has_wide_maps: false, more: 0 };
    let mut variants = vec![Variant { has_wide_maps: true, ..fixed.clone() }, fixed.clone()];
    if !rotates {
        variants.remove(0);
    }
    if !rotates && !network.stages.is_empty() {
        let without_output = |closing: &Closing| if *closing == Closing::Output { Closing::Value } else { *closing };
        let summed: Vec<Closing> = closings.iter().map(without_output).collect();
        variants.clear();
        for bare_weights in [None].into_iter().chain(BARE_WEIGHTS.map(Some)) {
            for output_bits in OUTPUT_BITS {
                let own = Variant { bare_weights, output_bits, ..fixed.clone() };
                variants.push(Variant { closings: summed.clone(), ..own.clone() });
                if summed != closings {
                    for more in [0, 1] {
                        variants.push(Variant { closings: closings.to_vec(), more, ..own.clone() });
                    }
                }
            }
        }
    }
    let mut found: Vec<Chain> = Vec::new();
    for variant in &variants {
        for special_count in 1..=most_special {
            let scales = (LEAST_SCALE..=MOST_SCALE).rev();
            let chain = |scale| variant.chain(network, ring, scale, special_count, rotates);
            let fitting: Vec<Chain> = scales.filter_map(chain).collect();
            // Rotations take the time of the search, and less precision gains nothing there.
            let (step, most) = if rotates { (1, 1) } else { (SCALE_STEP, usize::MAX) };
            for chain in fitting.into_iter().step_by(step).take(most) {
                if !found.contains(&chain) {
                    found.push(chain);
                }
            }
        }
    }
    found
}

impl Variant {
    /// The chain with products at about this scale; none if it does not fit the ring.
    fn chain(
        &self,
        network: &PolynomialNetwork,
        (ring, log2_degree): (RingKind, u32),
        scale: u32,
        special_count: usize,
        rotates: bool,
    ) -> Option<Chain> {
        let &(_, most) = MOST_MODULUS_BITS.iter().find(|(log2, _)| *log2 == log2_degree)?;
        let most = most as u32 - SLACK;
        // Smaller primes of the right form are few.
        let narrow = ring.log2_half_order(log2_degree) + 9;
        let size = network.output_bound.max(1e-3).log2() + self.output_bits + OUTPUT_MARGIN;
        let open = self.closings.last() == Some(&Closing::Output);
        let output = |value_scale: u32| (size + f64::from(value_scale)).ceil().max(0.0) as u32;
        let base = if open {
            let size = if self.more > 0 { scale + 1 } else { PRIME_BITS };
            vec![size; 2 + self.more]
        } else {
            let left = output(scale).saturating_sub(PRIME_BITS).max(if self.has_wide_maps { scale } else { 0 });
            vec![PRIME_BITS, left.clamp(narrow, PRIME_BITS)]
        };
        // The last factors' scale, so that their product, weights and outputs fit.
        let last = ((f64::from(base.iter().sum::<u32>()) - size) / 2.0).max(0.0) as u32;
        let mut scalings = Vec::with_capacity(network.stages.len());
        // From the first level on.
        let mut levels = Vec::new();
        let mut fresh = scale.min(MOST_SCALE);
        // Levels above the first ciphertext whose key is switched.
        let mut above = rotates.then_some(0);
        for (at, (stage, &closing)) in network.stages.iter().zip(&self.closings).enumerate() {
            let rescales = at > 0 || self.bare_weights.is_none();
            let ends = closing == Closing::Output;
            let depth = stage.depth();
            let divisions = depth - usize::from(ends && depth > 0);
            let mut argument = scale;
            let mut primes = vec![scale; divisions];
            if ends && depth == 1 {
                argument = last.min(if rescales { scale } else { u32::MAX });
            } else if !rescales && divisions > 0 {
                argument = (PRIME_BITS + scale) / 2;
                primes[0] = 2 * argument - scale;
            }
            if ends && depth > 1 {
                // The factors of the last product come out of the division before it.
                let before = if divisions == 1 { argument } else { scale };
                let own = last.min(scale);
                primes[divisions - 1] = 2 * before - own;
                if primes[divisions - 1] > PRIME_BITS {
                    return None;
                }
            }
            if rescales {
                let map = if self.has_wide_maps { scale.max(narrow) } else { narrow };
                levels.push(map + scale.saturating_sub(argument));
            }
            if depth > 1 || (depth == 1 && !ends) {
                above.get_or_insert(levels.len());
            }
            levels.extend(primes);
            if let (0, Some(weights)) = (at, self.bare_weights) {
                fresh = argument.checked_sub(weights)?.min(MOST_SCALE);
            }
            scalings.push(Scaling { argument_log2: Some(argument), rescales, closing });
        }
        if fresh < LEAST_FRESH || levels.iter().any(|&bits| bits > PRIME_BITS) {
            return None;
        }
        let limbs = base.len() + levels.len();
        let key_limbs = match above {
            Some(above) => limbs - above,
            // The output's sums are relinearised where two limbs hold them.
            None if open => 2,
            None => 0,
        };
        // One special prime less would leave as many digits.
        if special_count > 1 && key_limbs.div_ceil(special_count) == key_limbs.div_ceil(special_count - 1) {
            return None;
        }
        levels.reverse();
        let chain = [base, levels].concat();
        let of_key: u32 = chain[..key_limbs].iter().sum();
        let special = (most.checked_sub(of_key)? / special_count as u32).min(PRIME_BITS);
        // Digits are as long as there are special primes, and their errors are divided by those.
        if special < narrow || special + 4 < scale.min(PRIME_BITS) {
            return None;
        }
        let bits = PrimeBits { chain, special, special_count, key_limbs };
        if bits.modulus_bits() > most {
            return None;
        }
        let params = ParameterSet::of_bits(ring, log2_degree, fresh, &bits).ok()?;
        Some(Chain { params, scalings })
    }
}

impl PolynomialNetwork {
    /// Keeps the stages' scales as a chain says.
    pub fn keep(&mut self, chain: &Chain) {
        for (stage, &scaling) in self.stages.iter_mut().zip(&chain.scalings) {
            stage.scaling = scaling;
        }
    }

    /// Keeps the stages' scales as another fit of the same network does.
    pub(in crate::ckks) fn keep_as(&mut self, other: &Self) {
        for (stage, other) in self.stages.iter_mut().zip(&other.stages) {
            stage.scaling = other.scaling;
        }
    }
}
