//! `heman keyparams`: model and calibration data to parameters and plan.

use std::path::PathBuf;
use std::time::Instant;

use heman_core::either::planner;
use heman_core::either::planner::Derived;
use heman_core::files::scheme::Scheme;
use heman_core::model::network::Network;
use heman_core::planning::error::PlanError;
use heman_engine::DeviceChoice;
use heman_import::import_file_with;
use serde_json::json;

use super::{Output, options};
use crate::args::{Keyparams, Planning};
use crate::error::CliError;
use crate::io::inputs::{array_shapes, read_inputs};
use crate::io::output::{Access, prepare, prepare_with};
use crate::progress::Bar;
use crate::report;

/// Imports, calibrates and plans, for the scheme that is asked for, or the faster one of those that the device can run.
pub fn derive(planning: &Planning, device: &DeviceChoice, verbose: bool) -> Result<Derived, CliError> {
    let options = options(planning)?;
    let network = import(planning)?;
    let calibration = read_inputs(&planning.calibration, &network.inputs)?;
    let inputs: Vec<Vec<f32>> = calibration.iter().map(<[f32]>::to_vec).collect();
    let only = if planning.exact { Some(Scheme::Tfhe) } else { device.only_scheme() };
    let scheme = Option::from(planning.scheme).or(only);
    planner::plan(scheme, &network, &inputs, &options, &Bar::new(verbose)).map_err(planning_failed)
}

/// Imports the model for inputs of the calibration data's shape.
pub fn import(planning: &Planning) -> Result<Network, CliError> {
    let hints = array_shapes(&planning.calibration);
    import_file_with(&planning.model, &hints).map_err(|error| CliError::file(&planning.model, error))
}

/// The planner's reason, with the flag that helps.
pub fn planning_failed(error: PlanError) -> CliError {
    let hint = match error {
        PlanError::Accuracy { .. } => "; allow more with --max-loss",
        PlanError::Polynomials { .. } => {
            "; allow more with --max-loss, or evaluate the functions as they are with --scheme tfhe"
        }
        PlanError::Depth(_) => "; --scheme tfhe has no bound on depth",
        PlanError::Exact(_) => " (--exact)",
        _ => "",
    };
    CliError::new(format!("{error}{hint}"))
}

/// Runs the verb.
pub fn run(out: &Output, args: &Keyparams) -> Result<(), CliError> {
    let start = Instant::now();
    let derived = derive(&args.planning, &DeviceChoice::Auto, out.verbose)?;
    let plan_path: PathBuf = args.plan.clone().unwrap_or_else(|| args.output.with_extension("plan"));
    if plan_path == args.output {
        return Err(CliError::new("parameters and plan would be the same file; name the plan with --plan"));
    }
    let plan_bytes = derived.plan.sealed_bytes();
    let plan_file = prepare_with(&plan_path, Access::Everybody, |out| derived.plan.seal_to(out))?;
    let params_file = prepare(&args.output, derived.plan.params_json().as_bytes(), Access::Everybody)?;
    plan_file.commit()?;
    params_file.commit()?;
    let (mut object, text, layers) = report::plan(&derived.plan);
    report::merge(
        &mut object,
        json!({
            "params": args.output,
            "plan": plan_path,
            "plan_bytes": plan_bytes,
            "weight_bits": derived.weight_bits,
            "compared": report::choice::json(derived.choice.as_ref()),
            "seconds": start.elapsed().as_secs_f64(),
            "layers": report::layers_json(&layers),
        }),
    );
    let choice = report::choice::text(derived.choice.as_ref());
    let gap = if choice.is_empty() { "" } else { "\n" };
    let text = format!(
        "{}{gap}{text}\n\n{}\nwrote {} (for the client) and {} (stays here, {}) in {:.1} s",
        choice,
        report::layers_text(&layers),
        args.output.display(),
        plan_path.display(),
        report::bytes(plan_bytes),
        start.elapsed().as_secs_f64(),
    );
    report::print_either(out.json, &object, &text);
    Ok(())
}
