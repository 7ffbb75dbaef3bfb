//! Text for people and facts for machines.

pub mod choice;
pub mod ckks;
pub mod client;
pub mod heavy;
pub mod input;
pub mod loss;
pub mod tfhe;

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use heman_core::batch::Timings;
use heman_core::either::plan::Plan;
use serde_json::{Value, json};

use crate::error::{CliError, printable};

/// Prints to stdout; a reader that went away is no error.
///
/// # Errors
/// A sentence where stdout cannot be written.
pub fn print(text: &str) -> Result<(), CliError> {
    print_to(&mut std::io::stdout().lock(), text)
}

fn print_to(out: &mut dyn Write, text: &str) -> Result<(), CliError> {
    match writeln!(out, "{}", printable(text.trim_end())).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::bad_file(format!("cannot write the report: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints the object if JSON was asked for, the text otherwise.
///
/// # Errors
/// As [`print()`].
pub fn print_either(json: bool, object: &Value, text: &str) -> Result<(), CliError> {
    if json { print(&object.to_string()) } else { print(text) }
}

/// As [`print_either`], on stderr where stdout holds the output itself.
///
/// # Errors
/// As [`print()`]; what cannot be written to stderr is left out.
pub fn print_beside(stdout_is_taken: bool, json: bool, object: &Value, text: &str) -> Result<(), CliError> {
    if !stdout_is_taken {
        return print_either(json, object, text);
    }
    let report = if json { &object.to_string() } else { text.trim_end() };
    let _ = writeln!(std::io::stderr(), "{}", printable(report));
    Ok(())
}

/// A path for machines: what is no UTF-8 in it is replaced.
pub fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Adds the fields of one object to another.
pub fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

/// What there is to say about a plan: facts, text, layers.
pub fn plan(plan: &Plan) -> (Value, String, Vec<Layer>) {
    match plan {
        Plan::Tfhe(plan) => (tfhe::params_json(&plan.params), tfhe::params_text(&plan.params), tfhe::plan_layers(plan)),
        Plan::Ckks(plan) => (ckks::params_json(&plan.params), ckks::params_text(&plan.params), ckks::plan_layers(plan)),
    }
}

/// Where the time went, for machines; empty where steps were not told apart.
pub fn steps_json(timings: &Timings) -> Value {
    let steps = timings.steps.iter().map(|(step, time)| (format!("seconds_{step}"), json!(time.as_secs_f64())));
    Value::Object(steps.collect())
}

/// Where the time went, for people.
pub fn steps_text(timings: &Timings) -> String {
    let step = |(step, time): &(&str, Duration)| format!("{step} {:.2}", time.as_secs_f64());
    let steps: Vec<String> = timings.steps.iter().map(step).collect();
    if steps.is_empty() { String::new() } else { format!(" ({})", steps.join(", ")) }
}

/// One line of the layer table.
pub struct Layer {
    /// Operators.
    pub operator: String,
    /// Name of the last node.
    pub name: String,
    /// Shape of its output.
    pub shape: Vec<usize>,
    /// Bootstraps an input.
    pub activations: usize,
    /// Terms of its linear map.
    pub terms: usize,
    /// Width of its weights in bits, if quantised.
    pub bits: Option<u32>,
    /// Predicted thread-seconds, if planned.
    pub seconds: Option<f64>,
}

/// Most characters of a name in a table.
const MOST_SHOWN: usize = 64;

/// The start of a name that would be too wide for a table, and how long all of it is.
fn shortened(name: &str) -> String {
    let count = name.chars().count();
    if count <= MOST_SHOWN {
        return name.to_string();
    }
    let start: String = name.chars().take(MOST_SHOWN / 2).collect();
    format!("{start}... ({count} characters)")
}

/// The layer table, for people.
pub fn layers_text(layers: &[Layer]) -> String {
    let operators: Vec<String> = layers.iter().map(|layer| printable(&shortened(&layer.operator))).collect();
    let width = operators.iter().map(String::len).max().unwrap_or(8).max(8);
    let mut text = format!(
        "{:width$}  {:>11}  {:>9}  {:>4}  {:>8}  shape\n",
        "operator", "activations", "terms", "bits", "thread-s"
    );
    for (layer, operator) in layers.iter().zip(&operators) {
        let bits = layer.bits.map_or("-".into(), |bits| bits.to_string());
        let seconds = layer.seconds.map_or("-".into(), |seconds| format!("{seconds:.3}"));
        text += &format!(
            "{operator:width$}  {:>11}  {:>9}  {bits:>4}  {seconds:>8}  {:?}\n",
            layer.activations, layer.terms, layer.shape
        );
    }
    text
}

/// The layer table, for machines.
pub fn layers_json(layers: &[Layer]) -> Value {
    layers
        .iter()
        .map(|layer| {
            json!({
                "operator": layer.operator,
                "name": layer.name,
                "shape": layer.shape,
                "activations": layer.activations,
                "terms": layer.terms,
                "weight_bits": layer.bits,
                "predicted_thread_seconds": layer.seconds,
            })
        })
        .collect()
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A size in the unit that suits it.
pub fn bytes(count: u64) -> String {
    match count {
        0..=9_999 => format!("{count} B"),
        10_000..=9_999_999 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

/// Largest resident set of this process so far, in bytes; 0 where the system does not tell.
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Failure;

    /// Fails with one kind of error.
    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _bytes: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_report_that_cannot_be_written_is_an_error_unless_the_reader_went_away() {
        let failure = |kind| print_to(&mut Broken(kind), "report").map_err(|error| error.failure());
        assert_eq!(failure(ErrorKind::StorageFull), Err(Failure::File));
        assert_eq!(failure(ErrorKind::BrokenPipe), Ok(()));
    }
}
