//! What is measured: a model with a plan for each number of inputs at a time, or a plan, and inputs.

use std::borrow::Cow;
use std::time::Instant;

use heman_client::check_inputs;
use heman_core::either::params::Params;
use heman_core::either::plan::Plan;
use heman_core::either::planner::Options;
use heman_core::model::network::{Network, TensorInfo};

use crate::args::{Bench, Planning};
use crate::error::CliError;
use crate::io::inputs::read_inputs;
use crate::io::samples::Samples;
use crate::io::sealed::read_plan;
use crate::verbs::{keyparams, options};

/// Where plans come from.
enum Source<'a> {
    /// They are made.
    Model { network: Box<Network>, calibration: Samples, planning: &'a Planning, options: Box<Options> },
    /// There is one.
    Plan,
}

/// A model or a plan, with inputs.
pub struct Subject<'a> {
    /// The file's name.
    pub name: String,
    source: Source<'a>,
    samples: Samples,
    plans: Vec<Planned>,
}

/// A plan with inputs that it takes.
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Seconds that it took to make it; none where it was read.
    pub seconds: Option<f64>,
    /// Inputs within its range.
    pub inputs: Vec<Vec<f32>>,
    /// What it was made for.
    batch: Option<usize>,
}

impl<'a> Subject<'a> {
    /// Reads model, calibration data and inputs, or a plan.
    pub fn read(args: &'a Bench) -> Result<Self, CliError> {
        if let (Some(path), Some(data)) = (&args.plan, &args.data) {
            let plan = read_plan(path)?;
            let samples = read_inputs(data, tensors(&plan.params()))?;
            let planned = Planned::new(plan, None, None, &samples)?;
            let name = crate::report::path(path);
            return Ok(Self { name, source: Source::Plan, samples, plans: vec![planned] });
        }
        let planning = args.planning.as_ref().ok_or_else(|| {
            CliError::usage(
                "there is nothing to measure: name a model with -m and -c, a plan with --plan, or --primitives",
            )
        })?;
        let options = Box::new(options(planning)?);
        let network = Box::new(keyparams::import(planning, planning.deadline())?);
        let calibration = read_inputs(&planning.calibration, &network.inputs)?;
        let samples = match &args.data {
            Some(data) => read_inputs(data, &network.inputs)?,
            None => calibration.clone(),
        };
        let name = crate::report::path(&planning.model);
        Ok(Self { name, source: Source::Model { network, calibration, planning, options }, samples, plans: vec![] })
    }

    /// The plan for so many inputs at a time, or for as many as planning was asked for.
    pub fn plan(&mut self, batch: Option<usize>, verbose: bool) -> Result<&Planned, CliError> {
        let known = self.plans.iter().position(|known| known.batch == batch || matches!(self.source, Source::Plan));
        let at = match (known, &self.source) {
            (Some(at), _) => at,
            (None, Source::Plan) => return Err(CliError::new("there is no plan")),
            (None, Source::Model { network, calibration, planning, options }) => {
                let mut options = options.clone();
                options.ckks.batch = batch.unwrap_or(options.ckks.batch);
                let start = Instant::now();
                let planned =
                    keyparams::derive_for(network, calibration, planning, &options, (verbose, planning.deadline()))?;
                let seconds = Some(start.elapsed().as_secs_f64());
                self.plans.push(Planned::new(planned.derived.plan, seconds, batch, &self.samples)?);
                self.plans.len() - 1
            }
        };
        Ok(&self.plans[at])
    }
}

impl Planned {
    fn new(plan: Plan, seconds: Option<f64>, batch: Option<usize>, samples: &Samples) -> Result<Self, CliError> {
        let params = plan.params();
        let inputs: Vec<Vec<f32>> =
            samples.iter().filter(|input| check_inputs(&params, input).is_ok()).map(Cow::into_owned).collect();
        if inputs.is_empty() {
            return Err(CliError::refusal("all inputs are outside of the parameters' range"));
        }
        Ok(Self { plan, seconds, inputs, batch })
    }
}

fn tensors(params: &Params) -> &[TensorInfo] {
    match params {
        Params::Tfhe(params) => &params.input.parts,
        Params::Ckks(params) => &params.input.parts,
    }
}
