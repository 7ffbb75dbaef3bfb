//! The keys that a plan asks its clients for.

use std::collections::BTreeMap;

use crate::ckks::bootstrap::program::Program;
use crate::ckks::bootstrap::recipe::SPENT_LIMBS;
use crate::ckks::params::key_request::{BootstrapLimbs, KeyRequest, loaded_key_bytes};
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::latency::LatencyPlan;
use crate::ckks::plan::limbs::limbs_of_stages;
use crate::ckks::plan::polynomials::{Closing, PolynomialNetwork, PolynomialStage};
use crate::ckks::plan::scales::OUTPUT_LIMBS;

/// Limbs at which products are relinearised first.
fn relinearisation_limbs(network: &PolynomialNetwork, limbs: usize) -> usize {
    let at = limbs_of_stages(network, limbs);
    let own = |(stage, &limbs): (&PolynomialStage, &usize)| match (stage.depth(), stage.scaling.closing) {
        (0, _) => 0,
        // Sums of outputs are rescaled until few limbs hold them.
        (1, Closing::Output) => OUTPUT_LIMBS,
        _ => limbs - usize::from(stage.scaling.rescales),
    };
    network.stages.iter().zip(&at).map(own).max().unwrap_or(0)
}

/// Keys for a network in either packing: throughput packing where there is no plan of rotations.
///
/// # Errors
/// A sentence if the network has bootstraps that the parameters do not hold.
pub fn key_request(
    network: &PolynomialNetwork,
    latency: Option<&LatencyPlan>,
    params: &ParameterSet,
) -> Result<KeyRequest, String> {
    let limbs = params.primes.len();
    let mut request = KeyRequest {
        relinearisation_limbs: relinearisation_limbs(network, limbs),
        rotation_limbs: latency.map(|latency| latency.rotations(network, limbs)).unwrap_or_default(),
        bootstrap: None,
    };
    if let Some(refresh) = &network.refresh {
        let own = Program::new(params, &refresh.recipe)?.keys(params);
        request.relinearisation_limbs = request.relinearisation_limbs.max(own.relinearisation_limbs);
        merge(&mut request.rotation_limbs, &own.rotation_limbs);
        request.bootstrap = Some(BootstrapLimbs {
            conjugation_limbs: own.conjugation_limbs,
            to_sparse_limbs: own.to_sparse_limbs,
            from_sparse_limbs: own.from_sparse_limbs,
        });
    }
    Ok(request)
}

/// Whether a rotation's key is used a few times in a run: of plans with bootstraps those that maps alone use. Devices
/// may hold less of them.
#[must_use]
pub fn is_rare(request: &KeyRequest, params: &ParameterSet, limbs: usize) -> bool {
    request.bootstrap.is_some() && limbs + SPENT_LIMBS <= params.primes.len()
}

/// Bytes of all keys on the host, with the masks that it holds.
#[must_use]
pub fn loaded_bytes(request: &KeyRequest, params: &ParameterSet) -> u64 {
    let saved = request.rotation_limbs.values().filter(|&&limbs| is_rare(request, params, limbs));
    gpu_bytes(request, params) - saved.map(|&limbs| loaded_key_bytes(params, limbs) / 2).sum::<u64>()
}

/// Bytes of all keys with all masks, as GPUs hold them.
#[must_use]
pub fn gpu_bytes(request: &KeyRequest, params: &ParameterSet) -> u64 {
    request.all_limbs().map(|limbs| loaded_key_bytes(params, limbs)).sum()
}

/// A key for more limbs serves fewer as well.
fn merge(limbs: &mut BTreeMap<usize, usize>, others: &BTreeMap<usize, usize>) {
    for (&steps, &other) in others {
        let own = limbs.entry(steps).or_insert(other);
        *own = other.max(*own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::cost::CkksCost;
    use crate::ckks::plan::samples::{network, seventh};

    #[test]
    fn rotations_that_bootstraps_and_maps_share_have_the_larger_limbs() {
        let mut limbs = BTreeMap::from([(1, 9), (2, 3), (3, 5)]);
        merge(&mut limbs, &BTreeMap::from([(1, 4), (2, 7), (8, 6)]));
        assert_eq!(limbs, BTreeMap::from([(1, 9), (2, 7), (3, 5), (8, 6)]));

        let params = ParameterSet::new(15, 25, 29, 3).expect("a secure set");
        let mut network = network(&[seventh(), seventh()], &[&[0], &[1], &[1, 2]]);
        network.refresh_behind(&[1]);
        let (latency, _) = LatencyPlan::new(&network, &params, &CkksCost::default(), 1).expect("a small input");
        let of_maps = latency.rotations(&network, params.primes.len());
        let recipe = &network.refresh.as_ref().expect("bootstraps").recipe;
        let of_bootstraps = Program::new(&params, recipe).expect("a sound recipe").keys(&params);
        let request = key_request(&network, Some(&latency), &params).expect("a sound recipe");
        let larger = |steps: &usize| of_maps.get(steps).max(of_bootstraps.rotation_limbs.get(steps));
        assert!(request.rotation_limbs.iter().all(|(steps, limbs)| larger(steps) == Some(limbs)));
        let either = of_maps.keys().chain(of_bootstraps.rotation_limbs.keys());
        assert!(either.into_iter().all(|steps| request.rotation_limbs.contains_key(steps)));
        // Eight limbs of the first product, and those of the sine.
        assert_eq!(request.relinearisation_limbs, of_bootstraps.relinearisation_limbs);
        assert_eq!(request.bootstrap.map(BootstrapLimbs::all), Some([20, 2, 26]));
    }
}
