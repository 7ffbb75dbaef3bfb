//! `heman keyparams`: model and calibration data to parameters and plan.

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use heman_core::deadline::Deadline;
use heman_core::either::planner;
use heman_core::either::planner::Options;
use heman_core::files::scheme::Scheme;
use heman_core::model::network::Network;
use heman_core::planning::error::PlanError;
use heman_core::progress::Progress;
use heman_engine::ForTarget;
use heman_import::{ImportError, import_file_with};
use serde_json::json;
use tracing::info_span;

use super::{Output, options};
use crate::args::{Keyparams, Planning};
use crate::error::{Cause, CliError, printable};
use crate::io::inputs::{array_shapes, read_inputs};
use crate::io::output::{Access, Target, commit};
use crate::io::samples::Samples;
use crate::io::weights::files_of_model;
use crate::progress::Bar;
use crate::say::say;
use crate::{report, target};

/// What helps where time is over.
const MORE_TIME: &str = "; allow more with --max-seconds";

/// Imports, calibrates and plans, for the scheme that is asked for, or the faster one of those that the device can run.
pub fn derive(planning: &Planning, verbose: bool) -> Result<ForTarget, CliError> {
    let options = options(planning)?;
    let deadline = planning.deadline();
    let network = import(planning, deadline)?;
    let calibration = read_inputs(&planning.calibration, &network.inputs)?;
    derive_for(&network, &calibration, planning, &options, (verbose, deadline))
}

/// The inputs that judge the loss, if some were named.
fn read_judges(planning: &Planning, network: &Network) -> Result<Vec<Vec<f32>>, CliError> {
    let Some(path) = &planning.judge else { return Ok(Vec::new()) };
    let judges: Vec<Vec<f32>> = read_inputs(path, &network.inputs)?.iter().map(Cow::into_owned).collect();
    match judges.iter().position(|input| input.iter().any(|x| !x.is_finite())) {
        Some(at) => Err(CliError::file(path, format!("input {at} is not finite"))),
        None => Ok(judges),
    }
}

/// As [`derive()`], for a network that is imported and calibration data that are read already.
pub fn derive_for(
    network: &Network,
    calibration: &Samples,
    planning: &Planning,
    options: &Options,
    (verbose, deadline): (bool, Deadline),
) -> Result<ForTarget, CliError> {
    let mut inputs: Vec<Vec<f32>> = calibration.iter().map(Cow::into_owned).collect();
    let judges = read_judges(planning, network)?;
    let unseen = judges.len();
    inputs.extend(judges);
    let only = planning.exact.then_some(Scheme::Tfhe);
    let bar = Bar::new(verbose).until(deadline);
    let plan = |target: &heman_engine::Target| {
        let asked: Option<Scheme> = Option::from(planning.scheme).or(only);
        let able = target.only_scheme();
        if let (Some(asked), Some(able)) = (asked, able)
            && asked != able
        {
            let name = |scheme| if scheme == Scheme::Tfhe { "TFHE" } else { "CKKS" };
            return Err(CliError::refusal(format!("{} does not run {}", target.name(), name(asked))));
        }
        let mut options = options.clone();
        options.tfhe.budget.unseen = unseen;
        options.ckks.budget.unseen = unseen;
        options.tfhe.cost = target.cost();
        options.ckks.most_special = target.most_special();
        let planned = planner::plan_at(target.pace(), asked.or(able), network, &inputs, &options, &bar);
        planned.map_err(planning_failed)
    };
    let planning_span = info_span!("plan").entered();
    let planned = target::find(&planning.target, &bar)?.fastest(options.ckks.batch, plan)?;
    drop(planning_span);
    if let Some(reason) = &planned.reason {
        bar.note(&printable(reason));
    }
    Ok(planned)
}

/// Imports the model for inputs of the calibration data's shape.
pub fn import(planning: &Planning, deadline: Deadline) -> Result<Network, CliError> {
    let _importing = info_span!("import", file = report::path(&planning.model)).entered();
    let hints = array_shapes(&planning.calibration);
    import_file_with(&planning.model, &hints, deadline).map_err(|error| import_failed(&planning.model, error))
}

/// The importer's reason, with the flag that helps.
pub fn import_failed(model: &Path, error: ImportError) -> CliError {
    match error {
        ImportError::Late(_) => CliError::refusal(format!("{error}{MORE_TIME}")),
        other => CliError::file(model, other),
    }
}

/// The planner's reason, with the flag that helps.
pub fn planning_failed(error: PlanError) -> CliError {
    let hint = match error {
        PlanError::Accuracy { .. } => "; allow more with --max-loss",
        PlanError::Polynomials { .. } => {
            "; allow more with --max-loss, or evaluate the functions as they are with --scheme tfhe"
        }
        PlanError::Depth(_) => "; --scheme tfhe has no bound on depth",
        PlanError::Refused { scheme: "CKKS", .. } => "; --scheme tfhe may hold them",
        PlanError::Exact(_) => " (--exact)",
        PlanError::Late(_) => MORE_TIME,
        _ => "",
    };
    CliError::of(error.failure(), format!("{error}{hint}"))
}

/// Runs the verb.
pub fn run(out: &Output, args: &Keyparams) -> Result<(), CliError> {
    let start = Instant::now();
    let (params_target, plan_target, plan_path) = targets(args)?;
    let planned = derive(&args.planning, out.verbose)?;
    let (target_text, target_object) = target::of_planned(&planned);
    let derived = planned.derived;
    let plan_bytes = derived.plan.sealed_bytes();
    let params = derived.plan.params_json();
    let write_plan = |out: &mut dyn Write| derived.plan.seal_to(out).map(|()| plan_bytes);
    let write_params = |out: &mut dyn Write| out.write_all(params.as_bytes()).map(|()| params.len() as u64);
    if plan_target.is_file() && params_target.is_file() {
        commit(vec![plan_target.prepare(write_plan)?.0, params_target.prepare(write_params)?.0])?;
    } else {
        plan_target.write_with(write_plan)?;
        params_target.write_with(write_params)?;
    }
    let (mut object, text, layers) = report::plan(&derived.plan);
    report::merge(
        &mut object,
        json!({
            "params": report::path(&args.output),
            "plan": report::path(&plan_path),
            "plan_bytes": plan_bytes,
            "weight_bits": derived.weight_bits,
            "compared": report::choice::json(derived.choice.as_ref()),
            "target": target_object,
            "seconds": start.elapsed().as_secs_f64(),
            "layers": report::layers_json(&layers),
        }),
    );
    let warning = report::heavy::warning(&object, &layers);
    report::merge(&mut object, json!({ "warning": warning }));
    if let Some(warning) = &warning {
        say(&format!("warning: {warning}"));
    }
    let choice = report::choice::text(derived.choice.as_ref());
    let gap = if choice.is_empty() { "" } else { "\n" };
    let text = format!(
        "{}{gap}{text}\n{target_text}\n\n{}\nwrote {} (for the client) and {} (stays here, {}) in {:.1} s",
        choice,
        report::layers_text(&layers),
        args.output.display(),
        plan_path.display(),
        report::bytes(plan_bytes),
        start.elapsed().as_secs_f64(),
    );
    report::print_either(out.json, &object, &text)
}

/// The places of parameters and plan, and the plan's name.
fn targets(args: &Keyparams) -> Result<(Target, Target, PathBuf), CliError> {
    let weights = files_of_model(&args.planning.model);
    let inputs: Vec<&Path> = args.planning.files().chain(&weights).map(PathBuf::as_path).collect();
    let claim = |name: &Path| {
        let target = Target::claim(name, Access::Everybody, &inputs)?;
        if target.is_stdout() {
            return Err(CliError::usage("keyparams writes two files and a report; name a file for each"));
        }
        Ok(target)
    };
    let params = claim(&args.output)?;
    if args.plan.is_none() && !params.is_file() {
        return Err(CliError::usage(format!("{} is no file; name the plan with --plan", args.output.display())));
    }
    let plan_path = args.plan.clone().unwrap_or_else(|| plan_beside(&args.output));
    let plan = claim(&plan_path)?;
    if params.is_same(&plan) {
        return Err(CliError::usage("parameters and plan would be the same file; name the plan with --plan"));
    }
    Ok((params, plan, plan_path))
}

/// Extensions of parameter files, which the plan's takes the place of; any other is a part of the name.
const EXTENSIONS: [&str; 3] = ["json", "params", "plan"];

/// The plan's name beside the parameters'.
fn plan_beside(params: &Path) -> PathBuf {
    let is_known = params.extension().is_some_and(|own| EXTENSIONS.iter().any(|known| own.eq_ignore_ascii_case(known)));
    if is_known {
        return params.with_extension("plan");
    }
    let mut name = params.as_os_str().to_os_string();
    name.push(".plan");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_extensions_are_replaced() {
        for (params, plan) in [
            ("p.json", "p.plan"),
            ("a/p.JSON", "a/p.plan"),
            ("par_v1.0", "par_v1.0.plan"),
            ("p", "p.plan"),
            (".json", ".json.plan"),
        ] {
            assert_eq!(plan_beside(Path::new(params)), Path::new(plan));
        }
    }
}
