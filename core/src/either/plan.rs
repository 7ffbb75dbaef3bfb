//! A plan of either scheme.

use crate::ckks::plan::Plan as CkksPlan;
use crate::ckks::planner::simulate::SlotNoise;
use crate::either::params::AnyParams;
use crate::files::chunks::Reader;
use crate::files::container::FormatError;
use crate::files::container::Kind;
use crate::files::scheme::Scheme;
use crate::files::sealed::Sealed;
use crate::tfhe::plan::Plan;
use crate::tfhe::planner::simulate::Simulator;
use std::io::{self, Write};

/// What gives the output for an input and a seed in the clear, with the noise that encryption would add.
pub type Simulate<'a> = dyn Fn(&[f32], u64) -> Vec<f64> + Sync + 'a;

/// A plan for either scheme.
pub enum AnyPlan {
    /// TFHE.
    Tfhe(Box<Plan>),
    /// CKKS.
    Ckks(Box<CkksPlan>),
}

impl AnyPlan {
    /// Reads a plan, and checks it.
    ///
    /// # Errors
    /// As [`Sealed::open`].
    pub fn open(file: Reader<'_>) -> Result<Self, FormatError> {
        let scheme = file.header().scheme;
        file.header().expect(Kind::Plan, scheme)?;
        match scheme {
            Scheme::Tfhe => Plan::open(file, &(), None).map(|plan| Self::Tfhe(Box::new(plan))),
            Scheme::Ckks => CkksPlan::open(file, &(), None).map(|plan| Self::Ckks(Box::new(plan))),
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The target's.
    pub fn seal_to(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Tfhe(plan) => plan.seal_to(&(), out),
            Self::Ckks(plan) => plan.seal_to(&(), out),
        }
    }

    /// Length of the file, in bytes.
    #[must_use]
    pub fn sealed_bytes(&self) -> u64 {
        match self {
            Self::Tfhe(plan) => plan.sealed_bytes(&()),
            Self::Ckks(plan) => plan.sealed_bytes(&()),
        }
    }

    /// The text of its public parameters.
    #[must_use]
    pub fn params_json(&self) -> String {
        match self {
            Self::Tfhe(plan) => plan.params.to_json(),
            Self::Ckks(plan) => plan.params.to_json(),
        }
    }

    /// The public parameters.
    #[must_use]
    pub fn params(&self) -> AnyParams {
        match self {
            Self::Tfhe(plan) => AnyParams::Tfhe(plan.params.clone()),
            Self::Ckks(plan) => AnyParams::Ckks(plan.params.clone()),
        }
    }

    /// What gives the output for an input and a seed in the clear, with the noise that encryption would add.
    #[must_use]
    pub fn simulator(&self) -> Box<Simulate<'_>> {
        match self {
            Self::Tfhe(plan) => {
                let simulator = Simulator::new(plan);
                Box::new(move |input, seed| simulator.run(input, seed))
            }
            Self::Ckks(plan) => {
                let rotates = plan.latency.is_some();
                let noise = SlotNoise::new(&plan.params.ckks, rotates, plan.network.output_bound);
                Box::new(move |input, seed| plan.network.simulate(input, &noise, seed))
            }
        }
    }

    /// The output that an encrypted evaluation without any noise would give, where the scheme approximates the network
    /// by one.
    #[must_use]
    pub fn without_noise(&self, input: &[f32]) -> Option<Vec<f64>> {
        match self {
            Self::Tfhe(_) => None,
            Self::Ckks(plan) => Some(plan.network.evaluate(input)),
        }
    }
}
