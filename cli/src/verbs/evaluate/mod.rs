//! `heman evaluate`: all five steps in one process, against the plaintext model.

mod compare;
mod run;

use heman_core::model::network::Network;
use serde_json::json;

use self::compare::compare;
use super::{Output, keyparams};
use crate::args::Evaluate;
use crate::error::CliError;
use crate::io::inputs::read_inputs;
use crate::io::samples::read_labels;
use crate::progress::Bar;
use crate::report;

/// Runs the verb.
pub fn run(out: &Output, args: &Evaluate) -> Result<(), CliError> {
    let network = keyparams::import(&args.planning)?;
    let mut samples = read_inputs(&args.data, &network.inputs)?;
    let labels = read_labels(&args.data)?;
    if let Some(labels) = &labels
        && labels.len() != samples.count
    {
        return Err(CliError::file(&args.data, format!("{} labels for {} inputs", labels.len(), samples.count)));
    }
    samples.truncate(args.number.unwrap_or(usize::MAX));
    if samples.count == 0 {
        return Err(CliError::new("there is nothing to evaluate (-n 0)"));
    }
    let plain: Vec<Vec<f64>> = samples.iter().map(|x| evaluate_plain(&network, x)).collect();
    let bar = Bar::new(out.verbose);
    let derived = keyparams::derive(&args.planning, &args.running.device, out.verbose)?;
    let run = if args.simulate {
        run::simulated(&derived.plan, &samples)
    } else {
        run::encrypted(&args.running, &derived.plan, &samples, &bar)?
    };
    let (mut object, text, _) = report::plan(&derived.plan);
    let compared = compare(&network.output.shape, &run.outputs, &plain, labels.as_deref());
    let count = samples.count as f64;
    report::merge(
        &mut object,
        json!({
            "device": run.device,
            "simulated": args.simulate,
            "inputs": samples.count,
            "accuracy": compared.accuracy,
            "plain_accuracy": compared.plain_accuracy,
            "agreement": compared.agreement,
            "max_abs_error": compared.max_abs_error,
            "mean_abs_error": compared.mean_abs_error,
            "mean_cosine": compared.mean_cosine,
            "min_cosine": compared.min_cosine,
            "seconds": run.seconds,
            "seconds_per_input": run.seconds / count,
            "inputs_per_second": count / run.seconds,
            "peak_rss_bytes": report::peak_rss_bytes(),
        }),
    );
    report::merge(&mut object, run.details);
    let share = |value: Option<f64>| value.map_or("no labels".into(), |v| format!("{:.2} %", 100.0 * v));
    let text = format!(
        "{}{text}\n\n{} input(s) {} on {}\naccuracy      {} (plaintext {})\nagreement     {:.2} % with the plaintext model\n\
         error         largest {:.4}, mean {:.4}; least cosine {:.5}\ntime          {:.3} s an input\n\
         memory        {} at the most",
        report::choice::text(derived.choice.as_ref()),
        samples.count,
        if args.simulate { "simulated" } else { "encrypted" },
        run.device,
        share(compared.accuracy),
        share(compared.plain_accuracy),
        100.0 * compared.agreement,
        compared.max_abs_error,
        compared.mean_abs_error,
        compared.min_cosine,
        run.seconds / count,
        report::bytes(report::peak_rss_bytes()),
    );
    report::print_either(out.json, &object, &text);
    Ok(())
}

fn evaluate_plain(network: &Network, input: &[f32]) -> Vec<f64> {
    let input: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
    network.evaluate(&input).1
}
