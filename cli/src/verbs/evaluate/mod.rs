//! `heman evaluate`: all five steps in one process, against the plaintext model.

mod compare;
mod run;
mod text;
mod truth;

use heman_arrays::labels::read_labels;
use heman_client::check_inputs;
use heman_core::model::network::Network;
use heman_core::planning::measures::Spread;
use heman_core::planning::output_kind::{OutputFacts, kind_of};
use rayon::prelude::*;
use serde_json::json;

use super::{Output, keyparams, options, task};
use crate::args::Evaluate;
use crate::error::CliError;
use crate::io::inputs::read_inputs;
use crate::io::samples::Samples;
use crate::progress::Bar;
use crate::{report, target};

/// Runs the verb.
pub fn run(out: &Output, args: &Evaluate) -> Result<(), CliError> {
    let options = options(&args.planning)?;
    let deadline = args.planning.deadline();
    let network = keyparams::import(&args.planning, deadline)?;
    let mut samples = read_inputs(&args.data, &network.inputs)?;
    let mut labels = read_labels(&args.data)?;
    if let Some(labels) = &mut labels {
        let (found, inputs) = (labels.len(), samples.count);
        if found == 0 || !found.is_multiple_of(inputs) {
            return Err(CliError::file(&args.data, format!("{found} labels for {inputs} inputs")));
        }
        labels.truncate(found / inputs * args.number.unwrap_or(inputs).min(inputs));
    }
    samples.truncate(args.number.unwrap_or(usize::MAX));
    if samples.count == 0 {
        return Err(CliError::usage("there is nothing to evaluate (-n 0)"));
    }
    let shape = &network.output.shape;
    let mut plain = evaluate_plain(&network, &samples);
    if let Some(at) = plain.iter().position(|y| y.iter().any(|value| !value.is_finite())) {
        return Err(CliError::file(&args.data, format!("the model's own output for input {at} is not finite")));
    }
    let calibration = read_inputs(&args.planning.calibration, &network.inputs)?;
    let calibrated = evaluate_plain(&network, &calibration);
    let task = task(&args.planning);
    let mut kind = kind_of(&OutputFacts::of(&network), &calibrated, task);
    let mut reading = None;
    if let Some(labels) = &labels {
        let outputs = truth::Outputs { kind, shape, plain: &plain, task };
        let read = truth::read(labels, &outputs).map_err(|error| CliError::file(&args.data, error))?;
        kind = read.kind;
        reading = Some(read);
    }
    let bar = Bar::new(out.verbose);
    let planned = keyparams::derive_for(&network, &calibration, &args.planning, &options, (out.verbose, deadline))?;
    let (target_text, target_object) = target::of_planned(&planned);
    let derived = planned.derived;
    let all = samples.count;
    let mut truth = reading.as_ref().map(|reading| reading.truth.clone());
    if args.skip_outside {
        let params = derived.plan.params();
        let inside: Vec<usize> =
            samples.iter().enumerate().filter(|(_, x)| check_inputs(&params, x).is_ok()).map(|(at, _)| at).collect();
        samples = samples.of(&inside);
        plain = inside.iter().map(|&at| plain[at].clone()).collect();
        truth = truth.map(|truth| truth.of(&inside));
        if inside.is_empty() {
            let text = format!("{}: all inputs are outside of the parameters' range", args.data.display());
            return Err(CliError::refusal(text));
        }
    }
    let run = if args.simulate {
        run::simulated(&derived.plan, &samples).map_err(|error| CliError::file(&args.data, error))?
    } else {
        run::encrypted(out, &args.running, &derived.plan, &samples, &bar)?
    };
    let (mut object, text, _) = report::plan(&derived.plan);
    let compared = compare::compare(&compare::Outputs {
        kind,
        shape,
        got: &run.outputs,
        plain: &plain,
        spread: &Spread::of(if calibrated.len() > 1 { &calibrated } else { &plain }),
        largest: calibrated.iter().chain(&plain).flatten().fold(0.0, |largest, y| y.abs().max(largest)),
        truth: truth.as_ref(),
    });
    let said = reading.as_ref().map(|reading| reading.said.as_str());
    let count = samples.count as f64;
    report::merge(&mut object, text::json(&compared, kind, said));
    report::merge(
        &mut object,
        json!({
            "device": run.device,
            "target": target_object,
            "simulated": args.simulate,
            "inputs": samples.count,
            "inputs_outside": all - samples.count,
            "seconds": run.seconds,
            "seconds_per_input": run.seconds / count,
            "inputs_per_second": count / run.seconds,
            "peak_rss_bytes": report::peak_rss_bytes(),
        }),
    );
    report::merge(&mut object, run.details);
    let (idle_object, idle_text) = out.idle_share();
    report::merge(&mut object, idle_object);
    let text = format!(
        "{}{text}\n{target_text}\n\n{} input(s) {} on {}{}\n{}\ntime          {:.3} s an input{idle_text}\nmemory        {} at the most",
        report::choice::text(derived.choice.as_ref()),
        samples.count,
        if args.simulate { "simulated" } else { "encrypted" },
        run.device,
        if all > samples.count {
            format!(", {} outside of the range left out", all - samples.count)
        } else {
            String::new()
        },
        text::text(&compared, kind, shape, said),
        run.seconds / count,
        report::bytes(report::peak_rss_bytes()),
    );
    report::print_either(out.json, &object, &text)
}

/// The outputs of all inputs in plaintext, before the client's operators.
fn evaluate_plain(network: &Network, samples: &Samples) -> Vec<Vec<f64>> {
    let exact = |at: usize| samples.input(at).iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    (0..samples.count).into_par_iter().map(|at| network.evaluate(&exact(at)).1).collect()
}
