//! `heman demo`: handwritten digits, classified under encryption.

use std::time::Instant;

use heman_client::SecretKey;
use heman_core::backend::TfheBackend;
use heman_core::exec::Session;
use heman_core::import::import_bytes;
use heman_core::network::Network;
use heman_core::plan::Plan;
use heman_core::planner::{Options, argmax, plan};
use serde_json::json;

use super::Context;
use crate::args::Demo;
use crate::device::{on_backend, open};
use crate::error::CliError;
use crate::io::samples::{labels_from_npz, samples_from_npz};
use crate::progress::Bar;
use crate::report;

const MODEL: &[u8] = include_bytes!("../../../demo/digits.onnx");
const CALIBRATION: &[u8] = include_bytes!("../../../demo/calibration.npz");
const SAMPLES: &[u8] = include_bytes!("../../../demo/samples.npz");

/// Runs the verb.
pub fn run(context: &Context, args: &Demo) -> Result<(), CliError> {
    let say = |text: &str| {
        if !context.json {
            report::print(text);
        }
    };
    let bar = Bar::new(context.verbose);
    let start = Instant::now();
    let network = import_bytes(MODEL)?;
    let calibration = samples_from_npz(CALIBRATION, &network.input.shape)?;
    let inputs: Vec<Vec<f32>> = calibration.iter().map(<[f32]>::to_vec).collect();
    let planned = plan(&network, &inputs, &Options::default(), &bar)?;
    let plan = &planned.plan;
    say("A small CNN reads handwritten digits that it cannot see.\n");
    say(&format!("model owner: parameters derived in {:.2} s", start.elapsed().as_secs_f64()));
    say(&format!("{}\n", report::params_text(&plan.params)));
    on_backend!(open(&args.running, &plan.params.tfhe)?, |backend| classify(context, args, &network, plan, &backend))
}

/// The client's part and the model owner's, in turns.
fn classify<B: TfheBackend>(
    context: &Context,
    args: &Demo,
    network: &Network,
    plan: &Plan,
    backend: &B,
) -> Result<(), CliError> {
    let say = |text: &str| {
        if !context.json {
            report::print(text);
        }
    };
    let bar = Bar::new(context.verbose);
    let start = Instant::now();
    let key = SecretKey::generate(&plan.params)?;
    let evaluation_key = key.evaluation_key(&bar);
    let key_bytes = evaluation_key.to_bytes(&plan.params.binding()).len();
    say(&format!(
        "client: keys made in {:.2} s; the evaluation key ({}) goes to the model owner",
        start.elapsed().as_secs_f64(),
        report::bytes(key_bytes as u64)
    ));
    let mut samples = samples_from_npz(SAMPLES, &network.input.shape)?;
    let labels = labels_from_npz(SAMPLES)?.unwrap_or_default();
    samples.truncate(usize::from(args.number));
    let session = Session::new(backend, plan, &evaluation_key.expand())?;
    say(&format!("model owner: {}\n", backend.name()));

    let mut rows = Vec::with_capacity(samples.count);
    let (mut right, mut agree, mut seconds) = (0, 0, 0.0);
    for (image, &label) in samples.iter().zip(&labels) {
        let ciphertext = key.encrypt(image, false)?;
        let input_bytes = ciphertext.to_bytes(&plan.params.binding()).len();
        let (result, timings) = session.run(&ciphertext, &bar)?;
        let took = timings.total().as_secs_f64();
        let values = key.decrypt_values(&result).remove(0);
        let shape = &plan.params.output.tensor.shape;
        let axis = shape.len() - 1;
        let encrypted = argmax(&values, shape, axis)[0];
        let exact: Vec<f64> = image.iter().map(|&x| f64::from(x)).collect();
        let (_, plain_values) = network.evaluate(&exact);
        let plain = argmax(&plain_values, shape, axis)[0];
        right += usize::from(encrypted as i64 == label);
        agree += usize::from(encrypted == plain);
        seconds += took;
        let captions = [
            format!("label      {label}"),
            format!("plaintext  {plain}   (logit {:.2})", plain_values[plain]),
            format!("encrypted  {encrypted}   (logit {:.2})", values[encrypted]),
            format!("{took:.2} s, input {}", report::bytes(input_bytes as u64)),
        ];
        say(&picture(image, &captions));
        rows.push(json!({ "label": label, "plaintext": plain, "encrypted": encrypted, "seconds": took }));
    }
    let object = json!({
        "device": backend.name(),
        "inputs": samples.count,
        "right": right,
        "agreement": agree as f64 / samples.count as f64,
        "seconds_per_input": seconds / samples.count as f64,
        "evaluation_key_bytes": key_bytes,
        "digits": rows,
    });
    let text = format!(
        "{right} of {} right, {agree} as in plaintext; {:.2} s an input, {} of memory at the most",
        samples.count,
        seconds / samples.count as f64,
        report::bytes(report::peak_rss_bytes())
    );
    report::print_either(context.json, &object, &text);
    Ok(())
}

/// Draws 8 x 8 grey values, two rows of pixels in a line of half blocks would lose grey: one line a row, two columns a pixel.
fn picture(image: &[f32], captions: &[String]) -> String {
    const SHADES: [&str; 5] = ["  ", "░░", "▒▒", "▓▓", "██"];
    let mut text = String::new();
    for (y, row) in image.chunks(8).enumerate() {
        for &grey in row {
            text += SHADES[((grey * 4.999) as usize).min(4)];
        }
        if let Some(caption) = y.checked_sub(2).and_then(|line| captions.get(line)) {
            text += "    ";
            text += caption;
        }
        text += "\n";
    }
    text
}
