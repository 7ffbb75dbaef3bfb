//! `heman inference`: the server's part.

use std::time::Instant;

use serde_json::json;

use super::Output;
use crate::args::Inference;
use crate::device::{memory_budget, open_devices};
use crate::error::CliError;
use crate::io::output::{Access, Target};
use crate::io::place::input_name;
use crate::io::sealed::{count_inputs, read_evaluation_key, read_input, read_plan};
use crate::progress::Bar;
use crate::{memory, report};

/// Runs the verb.
pub fn run(out: &Output, args: &Inference) -> Result<(), CliError> {
    let bar = Bar::new(out.verbose);
    let input_name = input_name(&args.input);
    let target = Target::claim(&args.output, Access::Everybody, &[&args.model, &args.key, input_name])?;
    let plan = read_plan(&args.model)?;
    let inputs = count_inputs(input_name)?.unwrap_or(1);
    let devices = open_devices(&args.running, &plan, inputs, &bar)?;
    let needed = devices.needed_bytes(&plan, inputs);
    memory::check_inference(needed, args.running.memory)?;
    let start = Instant::now();
    let key = read_evaluation_key(&args.key, &plan)?;
    let input = read_input(input_name, &plan, &key)?;
    let is_timed = out.is_timed(&plan);
    let session = devices.session(&plan, &key, memory_budget(&args.running), is_timed, &bar);
    let session = session.map_err(|error| CliError::file(&args.key, error))?;
    let loaded = start.elapsed().as_secs_f64();
    let (output, timings) = session.pass(&input, &bar).map_err(|error| CliError::file(&args.input, error))?;
    let is_stdout = target.is_stdout();
    let bytes = target.write_with(|out| output.seal_to(&plan.params(), out))?;
    let (seconds, inputs, device) = (timings.total.as_secs_f64(), input.count(), devices.names());
    let mut object = json!({
        "output": report::path(&args.output),
        "device": device,
        "inputs": inputs,
        "seconds": seconds,
        "seconds_per_input": seconds / inputs as f64,
        "seconds_loading": loaded,
        "evaluation_peak_bytes": session.peak_bytes(),
        "needed_bytes": needed,
        "bytes": bytes,
        "peak_rss_bytes": report::peak_rss_bytes(),
    });
    report::merge(&mut object, report::steps_json(&timings));
    let (idle_object, idle_text) = out.idle_share();
    report::merge(&mut object, idle_object);
    let text = format!(
        "{device}: {inputs} input(s) in {seconds:.2} s{}; keys loaded in {loaded:.2} s{idle_text}\nwrote {} ({})",
        report::steps_text(&timings),
        args.output.display(),
        report::bytes(bytes),
    );
    report::print_beside(is_stdout, out.json, &object, &text)
}
