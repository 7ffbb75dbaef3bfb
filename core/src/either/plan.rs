//! A plan of either scheme.

use crate::ckks::plan as ckks;
use crate::ckks::planner::simulate::SlotNoise;
use crate::either::params::Params;
use crate::files::chunks::Reader;
use crate::files::container::{FormatError, Kind};
use crate::files::scheme::Scheme;
use crate::files::sealed::Sealed;
use crate::model::columns::Columns;
use crate::tfhe::plan as tfhe;
use crate::tfhe::planner::simulate::Simulator;
use std::io::{self, Write};

/// What gives the output for an input and a seed in the clear, with the noise that encryption would add.
pub type Simulate<'a> = dyn Fn(&[f32], u64) -> Vec<f64> + Sync + 'a;

/// How much further an element with a scale of its own may go than CKKS's planner lets it, over the range. TFHE's
/// planner lets all inputs go as far.
const COLUMN_MARGIN: f64 = 0.2;

/// A plan for either scheme.
pub enum Plan {
    /// TFHE.
    Tfhe(Box<tfhe::Plan>),
    /// CKKS.
    Ckks(Box<ckks::Plan>),
}

impl Plan {
    /// Reads a plan, and checks it.
    ///
    /// # Errors
    /// As [`Sealed::open`].
    pub fn open(file: Reader<'_>) -> Result<Self, FormatError> {
        let scheme = file.header().scheme;
        file.header().expect(Kind::Plan, scheme)?;
        match scheme {
            Scheme::Tfhe => tfhe::Plan::open(file, &(), None).map(|plan| Self::Tfhe(Box::new(plan))),
            Scheme::Ckks => ckks::Plan::open(file, &(), None).map(|plan| Self::Ckks(Box::new(plan))),
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
    pub fn params(&self) -> Params {
        match self {
            Self::Tfhe(plan) => Params::Tfhe(plan.params.clone()),
            Self::Ckks(plan) => Params::Ckks(plan.params.clone()),
        }
    }

    /// What gives the output for an input and a seed in the clear, with the noise that encryption would add.
    #[must_use]
    pub fn simulator(&self) -> Box<Simulate<'_>> {
        match self {
            Self::Tfhe(plan) => {
                let simulator = Simulator::new(plan);
                Box::new(move |input, seed| simulator.run(&plan.params.input.columns.encoded(input), seed))
            }
            Self::Ckks(plan) => {
                let noise = SlotNoise::packed(&plan.network, &plan.params.ckks, plan.latency.as_ref());
                let noise = noise.expect("a plan that was checked has the levels of its network");
                let columns = &plan.params.input.columns;
                Box::new(move |input, seed| plan.network.simulate(&columns.encoded(input), &noise, seed))
            }
        }
    }

    /// The output that an encrypted evaluation without any noise would give, where the scheme approximates the network
    /// by one.
    #[must_use]
    pub fn without_noise(&self, input: &[f32]) -> Option<Vec<f64>> {
        match self {
            Self::Tfhe(_) => None,
            Self::Ckks(plan) => Some(plan.network.evaluate(&plan.params.input.columns.encoded(input))),
        }
    }

    /// Tells clients to encrypt each element of the input at a scale of its own, which the plan was made for.
    pub(in crate::either) fn scale_columns(&mut self, columns: Columns) {
        match self {
            Self::Tfhe(plan) => plan.params.input.columns = columns,
            Self::Ckks(plan) => {
                let input = &mut plan.params.input;
                // The more elements, the more often one of them leaves what was seen of it.
                let margin = COLUMN_MARGIN * (input.high - input.low);
                (input.low, input.high) = (input.low - margin, input.high + margin);
                input.columns = columns;
            }
        }
    }
}
