//! `heman demo`: handwritten digits, classified under encryption.

use std::borrow::Cow;
use std::time::Instant;

use heman_client::SecretKey;
use heman_core::ckks::planner as ckks;
use heman_core::either::planner;
use heman_core::either::planner::{Derived, Options};
use heman_core::files::scheme::Scheme;
use heman_core::model::client_op::argmax;
use heman_core::model::network::Network;
use heman_core::progress::Progress;
use heman_core::tfhe::planner::options as tfhe;
use heman_import::import_bytes;
use serde_json::json;
use tracing::info_span;

use super::Output;
use super::keyparams::planning_failed;
use crate::args::Demo;
use crate::device::{memory_budget, open_devices};
use crate::error::CliError;
use crate::io::samples::{labels_from_npz, samples_from_npz};
use crate::progress::Bar;
use crate::report;

const MODEL: &[u8] = include_bytes!("../../../demo/digits.onnx");
const CALIBRATION: &[u8] = include_bytes!("../../../demo/calibration.npz");
const SAMPLES: &[u8] = include_bytes!("../../../demo/samples.npz");

/// Runs the verb.
pub fn run(out: &Output, args: &Demo) -> Result<(), CliError> {
    let say = |text: &str| if out.json { Ok(()) } else { report::print(text) };
    let bar = Bar::new(out.verbose);
    let start = Instant::now();
    let (network, derived) = planned(args.scheme.into(), &bar)?;
    let (plan, choice) = (derived.plan, report::choice::text(derived.choice.as_ref()));
    say("A small CNN reads handwritten digits that it cannot see.\n")?;
    say(&format!("model owner: parameters derived in {:.2} s", start.elapsed().as_secs_f64()))?;
    say(&format!("{choice}{}\n", report::plan(&plan).1))?;
    let devices = open_devices(&args.running, &plan, 1, &bar)?;
    let start = Instant::now();
    let key = SecretKey::generate(&plan.params())?;
    let evaluation_key = info_span!("make keys").in_scope(|| key.evaluation_key(&bar));
    let bytes =
        evaluation_key.seal_to(&plan.params(), &mut std::io::sink()).map_err(|e| CliError::new(e.to_string()))?;
    let seconds = start.elapsed().as_secs_f64();
    let session = devices.session(&plan, &evaluation_key, memory_budget(&args.running), out.trace.is_some(), &bar)?;
    let keys = Keys { seconds, bytes, device: devices.names() };
    classify(out, args, &network, &keys, |image| {
        let input = info_span!("encrypt", inputs = 1).in_scope(|| key.encrypt(image, false))?;
        let input_bytes = input.sealed_bytes(&plan.params());
        let (output, timings) = session.pass(&input, &bar)?;
        let values = info_span!("decrypt").in_scope(|| key.decrypt_values(&output))?.remove(0);
        Ok(Answer { values, seconds: timings.total.as_secs_f64(), input_bytes })
    })
}

/// The demo's network, and a plan for it.
pub(super) fn planned(scheme: Option<Scheme>, progress: &dyn Progress) -> Result<(Network, Derived), CliError> {
    let network = import_bytes(MODEL)?;
    let calibration = samples_from_npz(CALIBRATION, &network.input.shape)?;
    let inputs: Vec<Vec<f32>> = calibration.iter().map(Cow::into_owned).collect();
    let options = Options { tfhe: tfhe::Options::default(), ckks: ckks::Options::default() };
    let _planning = info_span!("plan").entered();
    let derived = planner::plan(scheme, &network, &inputs, &options, progress).map_err(planning_failed)?;
    Ok((network, derived))
}

/// One digit, encrypted, evaluated and decrypted.
struct Answer {
    values: Vec<f64>,
    seconds: f64,
    input_bytes: u64,
}

/// What there is to say about keys and device.
struct Keys {
    seconds: f64,
    bytes: u64,
    device: String,
}

/// The client's part and the model owner's, in turns.
fn classify(
    out: &Output,
    args: &Demo,
    network: &Network,
    keys: &Keys,
    answer: impl Fn(&[f32]) -> Result<Answer, CliError>,
) -> Result<(), CliError> {
    let say = |text: &str| if out.json { Ok(()) } else { report::print(text) };
    say(&format!(
        "client: keys made in {:.2} s; the evaluation key ({}) goes to the model owner",
        keys.seconds,
        report::bytes(keys.bytes)
    ))?;
    let mut samples = samples_from_npz(SAMPLES, &network.input.shape)?;
    let labels = labels_from_npz(SAMPLES)?.unwrap_or_default();
    samples.truncate(usize::from(args.number));
    say(&format!("model owner: {}\n", keys.device))?;

    let mut rows = Vec::with_capacity(samples.count);
    let (mut right, mut agree, mut seconds) = (0, 0, 0.0);
    for (image, &label) in samples.iter().zip(&labels) {
        let Answer { values, seconds: took, input_bytes } = answer(&image)?;
        let shape = &network.output.shape;
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
            format!("{took:.2} s, input {}", report::bytes(input_bytes)),
        ];
        say(&picture(&image, &captions))?;
        rows.push(json!({ "label": label, "plaintext": plain, "encrypted": encrypted, "seconds": took }));
    }
    let (idle_object, idle_text) = out.idle_share();
    let mut object = json!({
        "device": keys.device,
        "inputs": samples.count,
        "right": right,
        "agreement": agree as f64 / samples.count as f64,
        "seconds_per_input": seconds / samples.count as f64,
        "evaluation_key_bytes": keys.bytes,
        "digits": rows,
    });
    report::merge(&mut object, idle_object);
    let text = format!(
        "{right} of {} right, {agree} as in plaintext; {:.2} s an input, {} of memory at the most{idle_text}",
        samples.count,
        seconds / samples.count as f64,
        report::bytes(report::peak_rss_bytes())
    );
    report::print_either(out.json, &object, &text)
}

/// Draws 8 x 8 grey values, two rows of pixels in a line of half blocks would lose grey: one line a row, two columns a
/// pixel.
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
