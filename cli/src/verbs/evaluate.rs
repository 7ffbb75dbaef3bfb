//! `heman evaluate`: all five steps in one process, against the plaintext model.

use std::time::Instant;

use heman_client::SecretKey;
use heman_core::batch::Timings;
use heman_core::either::plan::AnyPlan;
use heman_core::import::import_file;
use heman_core::model::client_op::argmax;
use heman_core::model::network::Network;
use heman_core::progress::Progress;
use heman_core::tfhe::ops::TfheBackend;
use heman_core::tfhe::plan::Plan;
use heman_core::tfhe::planner::simulate::Simulator;
use heman_core::tfhe::session::Session;
use rayon::prelude::*;
use serde_json::{Value, json};

use super::{Context, evaluate_ckks, keyparams};
use crate::args::Evaluate;
use crate::device::{names, on_backend, open};
use crate::error::CliError;
use crate::io::samples::{Samples, read_labels, read_samples};
use crate::progress::Bar;
use crate::report;

/// Most inputs that are encrypted and evaluated together.
const BATCH: usize = 64;

/// Outputs before the client's operators, and what it took to get them.
pub struct Run {
    /// One vector an input.
    pub outputs: Vec<Vec<f64>>,
    /// Ciphertext in to ciphertext out.
    pub seconds: f64,
    /// Where it ran.
    pub device: String,
    /// More fields for machines.
    pub details: Value,
}

/// How encrypted outputs compare with plaintext ones.
pub struct Comparison {
    /// Share of right answers, if there are labels.
    pub accuracy: Option<f64>,
    /// The same in plaintext.
    pub plain_accuracy: Option<f64>,
    /// Share of equal answers.
    pub agreement: f64,
    /// Largest difference of an output element.
    pub max_abs_error: f64,
    /// Mean difference of an output element.
    pub mean_abs_error: f64,
    /// Mean cosine of the angle between encrypted and plaintext outputs.
    pub mean_cosine: f64,
    /// Least cosine.
    pub min_cosine: f64,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Evaluate) -> Result<(), CliError> {
    let network = import_file(&args.planning.model)?;
    let mut samples = read_samples(&args.data, &network.input.shape)?;
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
    let bar = Bar::new(context.verbose);
    let derived = keyparams::derive(&args.planning, &args.running.device, context.verbose)?;
    let run = match &derived.plan {
        AnyPlan::Tfhe(plan) if args.simulate => simulated(plan, &samples),
        AnyPlan::Tfhe(plan) => {
            on_backend!(open(&args.running, &plan.params.tfhe)?, |backends| encrypted(&backends, plan, &samples, &bar))?
        }
        AnyPlan::Ckks(plan) if args.simulate => evaluate_ckks::simulated(plan, &samples),
        AnyPlan::Ckks(plan) => evaluate_ckks::encrypted(&args.running, plan, &samples, &bar)?,
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
    report::print_either(context.json, &object, &text);
    Ok(())
}

fn evaluate_plain(network: &Network, input: &[f32]) -> Vec<f64> {
    let input: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
    network.evaluate(&input).1
}

fn simulated(plan: &Plan, samples: &Samples) -> Run {
    let start = Instant::now();
    let simulator = Simulator::new(plan);
    let inputs: Vec<&[f32]> = samples.iter().collect();
    let outputs = inputs.par_iter().enumerate().map(|(i, x)| simulator.run(x, i as u64)).collect();
    let seconds = start.elapsed().as_secs_f64();
    Run { outputs, seconds, device: "noise model".into(), details: json!({}) }
}

fn encrypted<B: TfheBackend>(
    backends: &[B],
    plan: &Plan,
    samples: &Samples,
    bar: &dyn Progress,
) -> Result<Run, CliError> {
    let start = Instant::now();
    let key = SecretKey::generate(&plan.params)?;
    let evaluation = key.evaluation_key(bar);
    let keygen = start.elapsed().as_secs_f64();
    let key_bytes = evaluation.to_bytes(&plan.params.binding()).len();
    let session = Session::new(backends, plan, &evaluation)?;
    let mut outputs = Vec::with_capacity(samples.count);
    let mut sum = Timings::default();
    let inputs: Vec<&[f32]> = samples.iter().collect();
    let mut input_bytes = 0;
    let together = session.images_per_pass().min(BATCH * backends.len());
    for (at, batch) in inputs.chunks(together).enumerate() {
        let ciphertext = key.encrypt(&batch.concat(), true)?;
        input_bytes += 4 * ciphertext.bodies.len();
        let (result, timings) = session.run(&ciphertext, bar)?;
        outputs.extend(key.decrypt_values(&result));
        sum.transfer += timings.transfer;
        sum.linear += timings.linear;
        sum.keyswitch += timings.keyswitch;
        sum.bootstrap += timings.bootstrap;
        eprint_progress(at * together + batch.len(), samples.count);
    }
    let details = json!({
        "seconds_keygen": keygen,
        "seconds_linear": sum.linear.as_secs_f64(),
        "seconds_keyswitch": sum.keyswitch.as_secs_f64(),
        "seconds_bootstrap": sum.bootstrap.as_secs_f64(),
        "seconds_transfer": sum.transfer.as_secs_f64(),
        "measured_evaluation_key_bytes": key_bytes,
        "measured_input_bytes": input_bytes / samples.count.max(1),
    });
    Ok(Run { outputs, seconds: sum.total().as_secs_f64(), device: names(backends), details })
}

fn eprint_progress(done: usize, of: usize) {
    use std::io::IsTerminal;
    if std::io::stderr().is_terminal() && of > done {
        eprintln!("{done} of {of} inputs");
    }
}

/// Compares outputs with the plaintext network's.
pub fn compare(shape: &[usize], got: &[Vec<f64>], want: &[Vec<f64>], labels: Option<&[i64]>) -> Comparison {
    let axis = shape.iter().rposition(|&d| d > 1).unwrap_or(0);
    let answers =
        |outputs: &[Vec<f64>]| -> Vec<Vec<usize>> { outputs.iter().map(|y| argmax(y, shape, axis)).collect() };
    let (ours, plain) = (answers(got), answers(want));
    let count = got.len() as f64;
    let right = |answers: &[Vec<usize>]| {
        labels.map(|labels| {
            let hits = answers
                .iter()
                .zip(labels)
                .filter(|(answer, label)| answer.first() == usize::try_from(**label).ok().as_ref());
            hits.count() as f64 / count
        })
    };
    let errors: Vec<f64> =
        got.iter().zip(want).flat_map(|(g, w)| g.iter().zip(w).map(|(g, w)| (g - w).abs())).collect();
    let cosine = |g: &[f64], w: &[f64]| {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(g, w) / (dot(g, g) * dot(w, w)).sqrt().max(f64::MIN_POSITIVE)
    };
    let cosines: Vec<f64> = got.iter().zip(want).map(|(g, w)| cosine(g, w)).collect();
    Comparison {
        accuracy: right(&ours),
        plain_accuracy: right(&plain),
        agreement: ours.iter().zip(&plain).filter(|(a, b)| a == b).count() as f64 / count,
        max_abs_error: errors.iter().copied().fold(0.0, f64::max),
        mean_abs_error: errors.iter().sum::<f64>() / errors.len().max(1) as f64,
        mean_cosine: cosines.iter().sum::<f64>() / count,
        min_cosine: cosines.iter().copied().fold(1.0, f64::min),
    }
}
