//! The keys that a plan asks its clients for.

use std::collections::BTreeMap;

use crate::ckks::bootstrap::program::Program;
use crate::ckks::params::key_request::{BootstrapLimbs, KeyRequest};
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::latency::LatencyPlan;
use crate::ckks::plan::limbs::limbs_of_stages;
use crate::ckks::plan::polynomials::{Closing, PolynomialNetwork, PolynomialStage};

/// Limbs at which products are relinearised first.
fn relinearisation_limbs(network: &PolynomialNetwork, limbs: usize) -> usize {
    let at = limbs_of_stages(network, limbs);
    let own = |(stage, &limbs): (&PolynomialStage, &usize)| match (stage.depth(), stage.scaling.closing) {
        (0, _) => 0,
        // Sums of outputs are rescaled until two limbs hold them.
        (1, Closing::Output) => 2,
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

/// A key for more limbs serves fewer as well.
fn merge(limbs: &mut BTreeMap<usize, usize>, others: &BTreeMap<usize, usize>) {
    for (&steps, &other) in others {
        let own = limbs.entry(steps).or_insert(other);
        *own = other.max(*own);
    }
}
