//! `heman bench`: latency and throughput, of a model under encryption or of the operations themselves.

mod breakdown;
mod compare;
mod csv;
mod figures;
mod html;
mod machine;
mod model;
mod pool;
mod primitives;
mod sampler;
mod scenarios;
mod setup;
mod sweep;
mod text;

use std::path::{Path, PathBuf};

use heman_engine::measure::primitives::Wanted;
use heman_load::scenario::Scenario;
use serde_json::{Value, json};

use self::setup::Subject;
use self::sweep::configurations;
use super::Output;
use crate::args::{Axis, Bench, Planning};
use crate::error::{CliError, printable};
use crate::io::output::{Access, Target};
use crate::io::weights::files_of_model;
use crate::progress::Bar;
use crate::report;
use crate::say::say;

/// What reports call the rules, with their version.
const RULES: &str = "MLPerf Inference rules, mlcommons/inference_policies at ac93e89 (2026-07-23)";
/// Version of the report's form.
const VERSION: u32 = 1;
/// Seconds of each operation.
const OPERATION_SECONDS: f64 = 1.0;
/// The same where it should be quick.
const QUICK_OPERATION_SECONDS: f64 = 0.1;

/// Runs the verb.
pub fn run(out: &Output, args: &Bench) -> Result<(), CliError> {
    check_server(args)?;
    if let Some([first, second]) = args.compare.as_deref() {
        return compare::run(out, first, second);
    }
    let (csv, html) = (claim(args, args.csv.as_ref())?, claim(args, args.html.as_ref())?);
    if let (Some(csv), Some(html)) = (&csv, &html)
        && csv.is_same(html)
    {
        return Err(CliError::usage("the table and the report with plots would be the same file"));
    }
    let mut object = json!({
        "kind": "bench",
        "version": VERSION,
        "heman": env!("CARGO_PKG_VERSION"),
        "date": heman_engine::measure::today(),
        "machine": machine::facts(),
    });
    let duration = duration(args);
    if let Some(filter) = &args.primitives {
        let seconds = duration.unwrap_or(if args.quick { QUICK_OPERATION_SECONDS } else { OPERATION_SECONDS });
        report::merge(&mut object, primitives::run(out, &args.running, Wanted { seconds, filter })?);
    } else {
        report::merge(&mut object, models(out, args)?);
    }
    write(csv, &csv::text(&object))?;
    write(html, &html::text(&object))?;
    report::print_either(out.json, &object, &printable(&text::text(&object)))
}

fn duration(args: &Bench) -> Option<f64> {
    args.duration.map(|span| span.seconds)
}

fn wanted(args: &Bench) -> scenarios::Wanted {
    scenarios::Wanted::new(args.quick, duration(args), args.latency_bound.map(|span| span.seconds), args.rate)
}

/// Refuses what the server scenario cannot do, and its options where it is not asked for.
fn check_server(args: &Bench) -> Result<(), CliError> {
    if !args.scenario.iter().any(|&choice| Scenario::from(choice) == Scenario::Server) {
        let given = [("--latency-bound", args.latency_bound.is_some()), ("--rate", args.rate.is_some())];
        return match given.into_iter().find(|&(_, is_given)| is_given) {
            Some((name, _)) => Err(CliError::usage(format!("{name} is for the server scenario: --scenario server"))),
            None => Ok(()),
        };
    }
    if args.latency_bound.is_none() {
        return Err(CliError::usage("the server scenario needs a bound for its latency: --latency-bound"));
    }
    wanted(args).check_rate()
}

/// All configurations of a model.
fn models(out: &Output, args: &Bench) -> Result<Value, CliError> {
    let wanted = wanted(args);
    let sweeps_batch = args.sweep.iter().any(|axis| matches!(axis, Axis::Batch(_)));
    let mut scenarios: Vec<Scenario> = args.scenario.iter().map(|&choice| choice.into()).collect();
    scenarios.dedup();
    if scenarios.is_empty() {
        // A query of SingleStream is one input, however many come at a time elsewhere.
        scenarios = if sweeps_batch { vec![] } else { vec![Scenario::SingleStream] };
        scenarios.push(Scenario::Offline);
    }
    let mut subject = Subject::read(args)?;
    let bar = Bar::new(out.verbose);
    let mut results = Vec::new();
    let configurations = configurations(&args.running, &args.sweep);
    for (at, configuration) in configurations.iter().enumerate() {
        if configurations.len() > 1 && out.verbose {
            say(&format!("configuration {} of {}", at + 1, configurations.len()));
        }
        let planned = subject.plan(configuration.batch, out.verbose)?;
        results.push(model::measure(configuration, planned, &scenarios, &wanted, args.running.memory, &bar)?);
    }
    Ok(json!({
        "model": subject.name,
        "rules": RULES,
        "by_rules": wanted.is_by_rules,
        "configurations": results,
    }))
}

/// Checks that an output can be written, and that none of the inputs is lost by it.
fn claim(args: &Bench, name: Option<&PathBuf>) -> Result<Option<Target>, CliError> {
    let Some(name) = name else { return Ok(None) };
    let planning = args.planning.as_ref();
    let weights = planning.map(|planning| files_of_model(&planning.model)).unwrap_or_default();
    let of_planning = planning.into_iter().flat_map(Planning::files);
    let inputs: Vec<&Path> =
        of_planning.chain(&args.plan).chain(&args.data).chain(&weights).map(PathBuf::as_path).collect();
    let target = Target::claim(name, Access::Everybody, &inputs)?;
    if target.is_stdout() {
        return Err(CliError::usage("standard output holds the report; name a file for the other one"));
    }
    Ok(Some(target))
}

fn write(target: Option<Target>, text: &str) -> Result<(), CliError> {
    let Some(target) = target else { return Ok(()) };
    target.write_with(|out| out.write_all(text.as_bytes()).map(|()| text.len() as u64)).map(|_| ())
}
