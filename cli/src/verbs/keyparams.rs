//! `heman keyparams`: model and calibration data to parameters and plan.

use std::path::PathBuf;
use std::time::Instant;

use heman_core::ckks::plan::CkksPlan;
use heman_core::ckks::planner as ckks_planner;
use heman_core::either::plan::AnyPlan;
use heman_core::import::import_file;
use heman_core::model::network::Network;
use heman_core::planning::error::PlanError;
use heman_core::progress::Progress;
use heman_core::tfhe::plan::Plan;
use heman_core::tfhe::planner::options::{Options, Planned};
use heman_core::tfhe::planner::plan;
use serde_json::{Value, json};

use super::{Context, options};
use crate::args::{DeviceChoice, Keyparams, Planning, SchemeChoice};
use crate::error::CliError;
use crate::io::output::{Access, prepare};
use crate::io::samples::read_samples;
use crate::progress::Bar;
use crate::report;

/// A plan, and how it was chosen where there was a choice.
pub struct Derived {
    /// The plan.
    pub plan: AnyPlan,
    /// Widest weights of a TFHE plan, in bits.
    pub weight_bits: Option<u32>,
    /// Both schemes side by side, for people; empty where one was asked for.
    pub choice: String,
    /// The same for machines.
    pub choice_json: Value,
}

/// Imports, calibrates and plans, for the scheme that is asked for, or the faster one of those that the device can run.
pub fn derive(planning: &Planning, device: &DeviceChoice, verbose: bool) -> Result<Derived, CliError> {
    let (tfhe_options, ckks_options) = options(planning)?;
    let network = import_file(&planning.model).map_err(|error| CliError::file(&planning.model, error))?;
    let calibration = read_samples(&planning.calibration, &network.input.shape)?;
    let inputs: Vec<Vec<f32>> = calibration.iter().map(<[f32]>::to_vec).collect();
    let only_tfhe_can = planning.exact || matches!(device, DeviceChoice::Cuda(_) | DeviceChoice::Wgpu(_));
    let scheme = match planning.scheme {
        SchemeChoice::Auto if only_tfhe_can => SchemeChoice::Tfhe,
        asked => asked,
    };
    plan_for(scheme, &network, &inputs, (&tfhe_options, &ckks_options), &Bar::new(verbose))
}

/// Plans for a scheme, or for both and takes the faster one.
pub fn plan_for(
    scheme: SchemeChoice,
    network: &Network,
    inputs: &[Vec<f32>],
    (tfhe_options, ckks_options): (&Options, &ckks_planner::Options),
    progress: &dyn Progress,
) -> Result<Derived, CliError> {
    let tfhe = || plan(network, inputs, tfhe_options, progress);
    let ckks = || ckks_planner::plan(network, inputs, ckks_options, progress);
    match scheme {
        SchemeChoice::Tfhe => Ok(only_tfhe(tfhe()?)),
        SchemeChoice::Ckks => Ok(only_ckks(ckks()?)),
        SchemeChoice::Auto => choose(ckks(), tfhe(), ckks_options.batch),
    }
}

fn only_tfhe(planned: Planned) -> Derived {
    Derived {
        weight_bits: Some(planned.weight_bits),
        plan: AnyPlan::Tfhe(Box::new(planned.plan)),
        choice: String::new(),
        choice_json: Value::Null,
    }
}

fn only_ckks(plan: CkksPlan) -> Derived {
    let plan = AnyPlan::Ckks(Box::new(plan));
    Derived { plan, weight_bits: None, choice: String::new(), choice_json: Value::Null }
}

/// The faster of both for the batch, or the one that there is.
fn choose(
    ckks: Result<CkksPlan, PlanError>,
    tfhe: Result<Planned, PlanError>,
    batch: usize,
) -> Result<Derived, CliError> {
    // Where both fail TFHE's reason counts: it is about the model or the data, not about depth or polynomials.
    let (ckks, tfhe) = match (ckks, tfhe) {
        (Err(_), Err(error)) => return Err(error.into()),
        (Err(error), Ok(tfhe)) => {
            let why = format!("scheme TFHE: {error}\n");
            return Ok(Derived { choice: why, choice_json: json!({ "ckks": error.to_string() }), ..only_tfhe(tfhe) });
        }
        (Ok(ckks), Err(error)) => {
            let why = format!("scheme CKKS: TFHE has {error}\n");
            return Ok(Derived { choice: why, choice_json: json!({ "tfhe": error.to_string() }), ..only_ckks(ckks) });
        }
        (Ok(ckks), Ok(tfhe)) => (ckks, tfhe),
    };
    let batch = batch.min(ckks.params.inputs_per_run());
    let rows = [Row::of_tfhe(&tfhe.plan, batch), Row::of_ckks(&ckks, batch)];
    let takes_ckks = rows[1].seconds < rows[0].seconds;
    let ratio = if takes_ckks { rows[0].seconds / rows[1].seconds } else { rows[1].seconds / rows[0].seconds };
    let name = if takes_ckks { "CKKS" } else { "TFHE" };
    let mut choice = format!(
        "{:6} {:>20} {:>26} {:>16} {:>16} {:>16}\n",
        "scheme",
        "changed decisions",
        format!("thread-s for {batch} input(s)"),
        "evaluation key",
        "encrypted input",
        "output"
    );
    for row in &rows {
        choice += &row.text();
    }
    choice +=
        &format!("{name} is predicted to be {ratio:.1} times faster at this accuracy; --scheme takes the other\n");
    let choice_json = json!({ "tfhe": rows[0].json(), "ckks": rows[1].json(), "batch": batch });
    let derived = if takes_ckks { only_ckks(ckks) } else { only_tfhe(tfhe) };
    Ok(Derived { choice, choice_json, ..derived })
}

/// What is compared.
struct Row {
    name: &'static str,
    disagreement: Option<f64>,
    relative_error: f64,
    seconds: f64,
    sizes: [u64; 3],
}

impl Row {
    fn of_tfhe(plan: &Plan, batch: usize) -> Self {
        let promised = &plan.params.prediction;
        let batched = |bytes: u64| bytes * batch as u64;
        Self {
            name: "TFHE",
            disagreement: promised.disagreement,
            relative_error: promised.relative_error,
            seconds: promised.thread_seconds_per_input * batch as f64,
            sizes: [promised.evaluation_key_bytes, batched(promised.input_bytes), batched(promised.output_bytes)],
        }
    }

    fn of_ckks(plan: &CkksPlan, batch: usize) -> Self {
        let promised = &plan.params.prediction;
        let runs = batch.div_ceil(plan.params.inputs_per_run());
        let batched = |bytes: u64| bytes * runs as u64;
        Self {
            name: "CKKS",
            disagreement: promised.disagreement,
            relative_error: promised.relative_error,
            seconds: promised.thread_seconds_per_run * runs as f64,
            sizes: [promised.evaluation_key_bytes, batched(promised.input_bytes), batched(promised.output_bytes)],
        }
    }

    fn text(&self) -> String {
        let loss = match self.disagreement {
            Some(share) => format!("{:.2} %", 100.0 * share),
            None => format!("(error {:.4} %)", 100.0 * self.relative_error),
        };
        let [key, input, output] = self.sizes.map(report::bytes);
        format!("{:6} {loss:>20} {:>26.2} {key:>16} {input:>16} {output:>16}\n", self.name, self.seconds)
    }

    fn json(&self) -> Value {
        json!({
            "predicted_disagreement": self.disagreement,
            "predicted_relative_error": self.relative_error,
            "predicted_thread_seconds": self.seconds,
            "evaluation_key_bytes": self.sizes[0],
            "encrypted_input_bytes": self.sizes[1],
            "encrypted_output_bytes": self.sizes[2],
        })
    }
}

/// Runs the verb.
pub fn run(context: &Context, args: &Keyparams) -> Result<(), CliError> {
    let start = Instant::now();
    let derived = derive(&args.planning, &DeviceChoice::Auto, context.verbose)?;
    let plan_path: PathBuf = args.plan.clone().unwrap_or_else(|| args.output.with_extension("plan"));
    if plan_path == args.output {
        return Err(CliError::new("parameters and plan would be the same file; name the plan with --plan"));
    }
    let plan_bytes = derived.plan.to_bytes();
    let plan_file = prepare(&plan_path, &plan_bytes, Access::Everybody)?;
    let params_file = prepare(&args.output, derived.plan.params_json().as_bytes(), Access::Everybody)?;
    plan_file.commit()?;
    params_file.commit()?;
    let (mut object, text, layers) = report::plan(&derived.plan);
    report::merge(
        &mut object,
        json!({
            "params": args.output,
            "plan": plan_path,
            "plan_bytes": plan_bytes.len(),
            "weight_bits": derived.weight_bits,
            "compared": derived.choice_json,
            "seconds": start.elapsed().as_secs_f64(),
            "layers": report::layers_json(&layers),
        }),
    );
    let gap = if derived.choice.is_empty() { "" } else { "\n" };
    let text = format!(
        "{}{gap}{text}\n\n{}\nwrote {} (for the client) and {} (stays here, {}) in {:.1} s",
        derived.choice,
        report::layers_text(&layers),
        args.output.display(),
        plan_path.display(),
        report::bytes(plan_bytes.len() as u64),
        start.elapsed().as_secs_f64(),
    );
    report::print_either(context.json, &object, &text);
    Ok(())
}
