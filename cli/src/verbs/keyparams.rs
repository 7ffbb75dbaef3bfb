//! `heman keyparams`: model and calibration data to parameters and plan.

use std::path::PathBuf;
use std::time::Instant;

use heman_core::import::import_file;
use heman_core::planner::{Planned, plan};
use serde_json::json;

use super::{Context, options};
use crate::args::{Keyparams, Planning};
use crate::error::CliError;
use crate::io::output::{Access, prepare};
use crate::io::samples::read_samples;
use crate::progress::Bar;
use crate::report;

/// Imports, calibrates and plans.
pub fn derive(planning: &Planning, verbose: bool) -> Result<Planned, CliError> {
    let options = options(planning)?;
    let network = import_file(&planning.model).map_err(|error| CliError::file(&planning.model, error))?;
    let calibration = read_samples(&planning.calibration, &network.input.shape)?;
    let inputs: Vec<Vec<f32>> = calibration.iter().map(<[f32]>::to_vec).collect();
    let planned = plan(&network, &inputs, &options, &Bar::new(verbose))?;
    if verbose {
        for (candidate, loss) in &planned.trials {
            let p = &candidate.params;
            let (n, k, size) = (p.lwe_dimension, p.glwe_dimension, p.polynomial_size);
            eprintln!(
                "tried n = {n}, k = {k}, N = {size}: {:.2} ms a bootstrap, loss {loss:.4}",
                1e3 * candidate.seconds
            );
        }
    }
    Ok(planned)
}

/// Runs the verb.
pub fn run(context: &Context, args: &Keyparams) -> Result<(), CliError> {
    let start = Instant::now();
    let planned = derive(&args.planning, context.verbose)?;
    let plan_path: PathBuf = args.plan.clone().unwrap_or_else(|| args.output.with_extension("plan"));
    if plan_path == args.output {
        return Err(CliError::new("parameters and plan would be the same file; name the plan with --plan"));
    }
    let plan_bytes = planned.plan.to_bytes();
    let params = &planned.plan.params;
    let plan_file = prepare(&plan_path, &plan_bytes, Access::Everybody)?;
    let params_file = prepare(&args.output, params.to_json().as_bytes(), Access::Everybody)?;
    plan_file.commit()?;
    params_file.commit()?;
    let layers = report::plan_layers(&planned.plan);
    let mut object = report::params_json(params);
    report::merge(
        &mut object,
        json!({
            "params": args.output,
            "plan": plan_path,
            "plan_bytes": plan_bytes.len(),
            "weight_bits": planned.weight_bits,
            "seconds": start.elapsed().as_secs_f64(),
            "layers": report::layers_json(&layers),
        }),
    );
    let text = format!(
        "{}\n\n{}\nwrote {} (for the client) and {} (stays here, {}) in {:.1} s",
        report::params_text(params),
        report::layers_text(&layers),
        args.output.display(),
        plan_path.display(),
        report::bytes(plan_bytes.len() as u64),
        start.elapsed().as_secs_f64(),
    );
    report::print_either(context.json, &object, &text);
    Ok(())
}
