//! The network under simulated noise.

use crate::ckks::bootstrap::precision::Precision;
use crate::ckks::bootstrap::program::Program;
use crate::ckks::error::CkksError;
use crate::ckks::noise;
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::latency::LatencyPlan;
use crate::ckks::plan::limbs::limbs_of_stages;
use crate::ckks::plan::polynomials::{Closing, double};
use crate::ckks::plan::polynomials::{ErrorSource, PolynomialNetwork};
use crate::ckks::plan::scales::{map_states, output_state};
use crate::ckks::plan::uses::uses;
use crate::ckks::ring::number::State;
use crate::planning::random::Gaussian;

/// Deviations of a slot's error, in units of what is encrypted.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotNoise {
    /// Of a fresh ciphertext.
    fresh: f64,
    /// For each map of the stages, then for the output's.
    maps: Vec<MapNoise>,
    /// Of all bootstraps of each stage's values together.
    refreshes: Vec<f64>,
}

/// Deviations around one map.
#[derive(Clone, Debug, PartialEq)]
struct MapNoise {
    /// Of a rotation of what it reads; 0 where nothing is rotated.
    switch: f64,
    /// Of a rounded weight.
    weight: f64,
    /// Of the division behind it; 0 where there is none.
    rescale: f64,
    /// Of each division within the polynomials, with the key switch before it.
    products: Vec<f64>,
}

impl SlotNoise {
    /// Errors with and without rotations. Where there are rotations weights are masks, polynomials with rounded
    /// coefficients, of which there are as many as rows have terms; else they are rounded numbers.
    ///
    /// # Errors
    /// [`CkksError::Depth`] if the parameters have too few levels.
    pub fn new(network: &PolynomialNetwork, params: &ParameterSet, rotates: bool) -> Result<Self, CkksError> {
        if !network.fits(params.primes.len()) {
            return Err(CkksError::Depth);
        }
        let root = noise::of_slot(params);
        let rounding = noise::ENCODING_DEVIATION * if rotates { root } else { 1.0 };
        let limbs = limbs_of_stages(network, params.primes.len());
        let fresh = f64::from(params.scale_log2).exp2();
        // What each map reads, as far as one scale stands for all of it.
        let mut read = State { scale: fresh, limbs: limbs[0] };
        let mut maps = Vec::with_capacity(limbs.len());
        let switch = |read: State| {
            if rotates { noise::key_switch(params, read.limbs) * root / read.scale } else { 0.0 }
        };
        for (stage, pair) in network.stages.iter().zip(limbs.windows(2)) {
            let (limbs, limbs_behind) = (pair[0], pair[1]);
            let (linear, argument) = map_states(stage, params, limbs)?;
            let is_open = stage.scaling.closing != Closing::Value;
            let kind = stage.activations.first().map(|activation| activation.form.kind());
            let uses = kind.map(|kind| uses(kind, params, argument, is_open));
            let divided = |state: State| {
                // The key switch is divided by the prime that goes.
                let prime = f64::from(params.primes[state.limbs]);
                let switched = noise::key_switch(params, (state.limbs + 1).min(params.key_limbs)) / prime;
                noise::rescale(params).hypot(switched) * root / state.scale
            };
            maps.push(MapNoise {
                switch: switch(read),
                weight: rounding * read.scale / linear.scale,
                rescale: if stage.scaling.rescales { noise::rescale(params) * root / argument.scale } else { 0.0 },
                products: uses.iter().flat_map(|uses| &uses.rescaled).map(|&state| divided(state)).collect(),
            });
            read = uses.map_or(argument, |uses| uses.value);
            if network.refresh.is_some() {
                read.limbs = limbs_behind;
            }
            if stage.scaling.closing == Closing::Sum {
                // The sum's error is shared out over its members, of which there are two at the least.
                let closed = read.rescaled(params);
                maps.last_mut().into_iter().for_each(|map| map.products.push(divided(closed) / 2_f64.sqrt()));
                read = closed;
            }
        }
        let is_open = network.stages.last().is_some_and(|stage| stage.scaling.closing == Closing::Output);
        let output = output_state(params, network.output_bound, limbs[network.stages.len()], is_open);
        let weight = rounding * read.scale / output.scale;
        maps.push(MapNoise { switch: switch(read), weight, rescale: 0.0, products: Vec::new() });
        let refreshes = refreshes(network, params)?;
        Ok(Self { fresh: noise::FRESH_DEVIATION * root / fresh, maps, refreshes })
    }

    /// Errors in either packing: throughput packing where there is no plan of rotations.
    ///
    /// # Errors
    /// [`CkksError::Depth`] if the parameters have too few levels.
    pub fn packed(
        network: &PolynomialNetwork,
        params: &ParameterSet,
        latency: Option<&LatencyPlan>,
    ) -> Result<Self, CkksError> {
        let noise = Self::new(network, params, latency.is_some())?;
        Ok(latency.map_or_else(|| noise.clone(), |plan| noise.clone().with_masks(network, plan)))
    }

    /// The same where `plan` says which masks there are: of their rounding every product has a share, not only those
    /// that a row asks for.
    fn with_masks(mut self, network: &PolynomialNetwork, plan: &LatencyPlan) -> Self {
        let maps = network.stages.iter().map(|stage| [&stage.rows[..], &stage.factors[..]]);
        let maps = maps.chain([[&network.output_rows[..], &[]]]);
        for ((noise, products), rows) in self.maps.iter_mut().zip(plan.products_of_values()).zip(maps) {
            let taps: usize = rows.iter().flat_map(|rows| *rows).map(|row| row.taps.len()).sum();
            let rows: usize = rows.iter().map(|rows| rows.len()).sum();
            noise.weight *= (products * rows as f64 / taps.max(1) as f64).max(1.0).sqrt();
        }
        self
    }

    fn of(&self, source: ErrorSource) -> f64 {
        match source {
            ErrorSource::Fresh => self.fresh,
            ErrorSource::Switch(map) => self.maps[map].switch,
            ErrorSource::Map(map) => self.maps[map].rescale,
            ErrorSource::Weight(map) => self.maps[map].weight,
            ErrorSource::Refresh(stage) => self.refreshes.get(stage).copied().unwrap_or(0.0),
            ErrorSource::Product(map, product) => self.maps[map].products.get(product).copied().unwrap_or(0.0),
        }
    }
}

/// For each stage the deviation that bootstraps add to its values, for each as it comes.
fn refreshes(network: &PolynomialNetwork, params: &ParameterSet) -> Result<Vec<f64>, CkksError> {
    let Some(refresh) = &network.refresh else { return Ok(Vec::new()) };
    let program = Program::new(params, &refresh.recipe).map_err(CkksError::Plan)?;
    let each = Precision::new(params, &program).deviation();
    let mut times = vec![0_usize; network.stages.len()];
    for tensor in network.refreshed().into_iter().flat_map(|(_, tensors)| tensors) {
        tensor.checked_sub(1).into_iter().for_each(|stage| times[stage] += 1);
    }
    Ok(times.into_iter().map(|times| (times as f64).sqrt() * each).collect())
}

impl PolynomialNetwork {
    /// The output for one input under simulated noise.
    #[must_use]
    pub fn simulate(&self, input: &[f32], noise: &SlotNoise, seed: u64) -> Vec<f64> {
        self.simulate_values(input, noise, seed).1
    }

    /// As [`PolynomialNetwork::simulate`], with all values, those of the input first.
    pub(in crate::ckks) fn simulate_values(&self, input: &[f32], noise: &SlotNoise, seed: u64) -> (Vec<f64>, Vec<f64>) {
        let mut gaussian = Gaussian::new(seed);
        let mut disturb = |source: ErrorSource| {
            let deviation = noise.of(source);
            if deviation > 0.0 { gaussian.next() * deviation } else { 0.0 }
        };
        let input = double(input)
            .into_iter()
            .map(|x| x + disturb(ErrorSource::Fresh) + disturb(ErrorSource::Switch(0)))
            .collect();
        self.all_values(input, &mut disturb)
    }
}
