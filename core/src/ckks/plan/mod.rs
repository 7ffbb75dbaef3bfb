//! The plan of a model under CKKS: what the model owner's server runs. Self-contained, bound to its public parameters.

pub mod activation;
pub mod bootstraps;
pub mod chebyshev;
pub mod keys;
pub mod latency;
pub mod limbs;
pub mod linear;
pub mod polynomials;
pub mod pricing;
pub mod refresh;
#[cfg(test)]
pub(in crate::ckks) mod samples;
pub mod scales;
pub mod shared_rows;
pub mod steps;
pub mod uses;
pub mod width;
pub mod wiring;

use serde::{Deserialize, Serialize};

use crate::ckks::params::packing::Packing;
use crate::ckks::params::public::{InputEncoding, OutputEncoding, Params, Prediction};
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::keys::key_request;
use crate::ckks::plan::latency::LatencyPlan;
use crate::ckks::plan::polynomials::PolynomialNetwork;
use crate::files::container::{Binding, Kind};
use crate::files::params::{FORMAT, VERSION};
use crate::files::scheme::Scheme;
use crate::files::sealed::Whole;
use crate::model::columns::Columns;

/// A model with polynomials, and how it is packed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The public parameters.
    pub params: Params,
    /// Affine maps and polynomials.
    pub network: PolynomialNetwork,
    /// Layouts and steps, for latency packing.
    pub latency: Option<LatencyPlan>,
}

impl Plan {
    /// Network and packing, with the parameters that follow from them, for inputs within a range. What is predicted is
    /// left to whoever knows it.
    ///
    /// # Errors
    /// A sentence if the network has bootstraps that the parameters do not hold.
    pub fn new(
        network: PolynomialNetwork,
        ckks: ParameterSet,
        latency: Option<LatencyPlan>,
        (low, high): (f64, f64),
    ) -> Result<Self, String> {
        let keys = key_request(&network, latency.as_ref(), &ckks)?;
        let packing = latency.as_ref().map_or(Packing::Throughput, |latency| Packing::Latency {
            lanes: latency.lanes,
            input: latency.input.clone(),
            output: latency.output().clone(),
        });
        let params = Params {
            format: FORMAT.into(),
            version: VERSION,
            scheme: Scheme::Ckks,
            input: InputEncoding {
                tensor: network.input.clone(),
                parts: network.inputs.clone(),
                low,
                high,
                columns: Columns::default(),
            },
            output: OutputEncoding {
                tensor: network.output.clone(),
                scale: ckks.output_scale(network.output_bound),
                noise: 0.0,
                client_ops: network.client_ops.clone(),
            },
            plan_digest: Self::digest(&network, latency.as_ref()),
            prediction: Prediction::default(),
            ckks,
            packing,
            keys,
        };
        Ok(Self { params, network, latency })
    }

    /// Digest of network and packing.
    #[must_use]
    pub fn digest(network: &PolynomialNetwork, latency: Option<&LatencyPlan>) -> String {
        let body = postcard::to_allocvec(&(network, latency)).expect("plain data always serialises");
        blake3::hash(&body).to_hex().to_string()
    }
}

impl Whole for Plan {
    const KIND: Kind = Kind::Plan;
    const SCHEME: Scheme = Scheme::Ckks;

    fn own_binding(&self) -> Binding {
        self.params.binding()
    }

    fn check_whole(&self) -> Result<(), String> {
        self.params.check().map_err(|e| e.to_string())?;
        if self.params.input.tensor != self.network.input || self.params.output.tensor != self.network.output {
            return Err("the plan's tensors are not those of its parameters".into());
        }
        let network = &self.network;
        if network.inputs != self.params.input.parts || network.client_ops != self.params.output.client_ops {
            return Err("the plan's inputs and outputs are not those of its parameters".into());
        }
        network.check()?;
        network.check_refresh(&self.params.ckks)?;
        if !network.fits(self.params.ckks.primes.len()) {
            return Err("the plan's parameters have too few levels".into());
        }
        match (&self.params.packing, &self.latency) {
            (Packing::Throughput, None) if network.refresh.is_none() => Ok(()),
            (Packing::Throughput, None) => Err("a plan of one slot an input has no bootstraps".into()),
            (Packing::Latency { lanes, input, output }, Some(own)) => {
                own.check(&self.network)?;
                let same = own.lanes == *lanes && own.input == *input && own.output() == output;
                // Rotations of other lanes could be any number.
                if !same {
                    return Err("the plan's packing is not that of its parameters".into());
                }
                own.check_refresh(network)?;
                let keys = key_request(network, Some(own), &self.params.ckks)?;
                let asked = &self.params.keys;
                let has_keys = keys.relinearisation_limbs <= asked.relinearisation_limbs
                    && keys.rotation_limbs == asked.rotation_limbs
                    && keys.bootstrap == asked.bootstrap;
                if has_keys { Ok(()) } else { Err("the plan's packing is not that of its parameters".into()) }
            }
            _ => Err("the plan's packing is not that of its parameters".into()),
        }
    }
}
