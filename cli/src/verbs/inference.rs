//! `heman inference`: the server's part.

use std::time::Instant;

use heman_core::ckks::ops::RnsDevice;
use heman_core::ckks::plan::CkksPlan;
use heman_core::ckks::session::CkksSession;
use heman_core::device::Device;
use heman_core::either::plan::AnyPlan;
use heman_core::tfhe::ops::TfheBackend;
use heman_core::tfhe::plan::Plan;
use heman_core::tfhe::session::Session;
use serde_json::json;

use super::Context;
use crate::args::Inference;
use crate::device::{ckks_device, memory_budget, names, on_backend, open};
use crate::error::CliError;
use crate::io::output::{Access, write};
use crate::io::sealed::{read_ckks_evaluation_key, read_ckks_input, read_evaluation_key, read_input, read_plan};
use crate::progress::Bar;
use crate::report;

/// Runs the verb.
pub fn run(context: &Context, args: &Inference) -> Result<(), CliError> {
    match read_plan(&args.model)? {
        AnyPlan::Tfhe(plan) => {
            on_backend!(open(&args.running, &plan.params.tfhe)?, |backends| run_on(context, args, &plan, &backends))
        }
        AnyPlan::Ckks(plan) => run_ckks(context, args, &plan),
    }
}

fn run_ckks(context: &Context, args: &Inference, plan: &CkksPlan) -> Result<(), CliError> {
    let backend = ckks_device(&args.running)?;
    let device = backend.name();
    let start = Instant::now();
    let keys = read_ckks_evaluation_key(&args.key, plan)?;
    let input = read_ckks_input(&args.input, &plan.params)?;
    let ring = backend.ring(&plan.params.ckks, plan.params.packing.occupancy())?;
    let session = CkksSession::new(&ring, plan, &keys, memory_budget(&args.running));
    let session = session.map_err(|error| CliError::file(&args.key, error))?;
    let loaded = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let output = session.run(&input, &Bar::new(context.verbose));
    let output = output.map_err(|error| CliError::file(&args.input, error))?;
    let seconds = start.elapsed().as_secs_f64();
    let bytes = output.to_bytes(&plan.params.binding());
    write(&args.output, &bytes, Access::Everybody)?;
    let object = json!({
        "output": args.output,
        "device": device,
        "inputs": input.images,
        "seconds": seconds,
        "seconds_per_input": seconds / f64::from(input.images),
        "seconds_loading": loaded,
        "evaluation_peak_bytes": session.peak_bytes(),
        "bytes": bytes.len(),
        "peak_rss_bytes": report::peak_rss_bytes(),
    });
    let text = format!(
        "{device}: {} input(s) in {seconds:.2} s; keys and masks loaded in {loaded:.2} s\nwrote {} ({})",
        input.images,
        args.output.display(),
        report::bytes(bytes.len() as u64),
    );
    report::print_either(context.json, &object, &text);
    Ok(())
}

fn run_on<B: TfheBackend>(context: &Context, args: &Inference, plan: &Plan, backends: &[B]) -> Result<(), CliError> {
    let start = Instant::now();
    let keys = read_evaluation_key(&args.key, plan)?;
    let input = read_input(&args.input, &plan.params)?;
    let session = Session::new(backends, plan, &keys)?;
    let loaded = start.elapsed().as_secs_f64();
    let (output, timings) = session.run(&input, &Bar::new(context.verbose))?;
    let bytes = output.to_bytes(&plan.params.binding());
    write(&args.output, &bytes, Access::Everybody)?;
    let total = timings.total().as_secs_f64();
    let object = json!({
        "output": args.output,
        "device": names(backends),
        "inputs": input.images,
        "seconds": total,
        "seconds_per_input": total / f64::from(input.images),
        "seconds_loading": loaded,
        "seconds_linear": timings.linear.as_secs_f64(),
        "seconds_keyswitch": timings.keyswitch.as_secs_f64(),
        "seconds_bootstrap": timings.bootstrap.as_secs_f64(),
        "seconds_transfer": timings.transfer.as_secs_f64(),
        "bytes": bytes.len(),
        "peak_rss_bytes": report::peak_rss_bytes(),
    });
    let text = format!(
        "{}: {} input(s) in {total:.2} s (linear {:.2}, keyswitch {:.2}, bootstrap {:.2}); keys loaded in {loaded:.2} s\n\
         wrote {} ({})",
        names(backends),
        input.images,
        timings.linear.as_secs_f64(),
        timings.keyswitch.as_secs_f64(),
        timings.bootstrap.as_secs_f64(),
        args.output.display(),
        report::bytes(bytes.len() as u64),
    );
    report::print_either(context.json, &object, &text);
    Ok(())
}
