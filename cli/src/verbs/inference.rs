//! `heman inference`: the server's part. Inputs are read, evaluated and written some at a time, so that a batch of any
//! size takes bounded memory.

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use heman_core::either::files::{EncryptedInput, EncryptedOutput};
use heman_core::either::streams::{InputReader, OutputWriter, output_file_bytes};
use heman_core::files::container::FormatError;
use heman_engine::{EngineError, Inputs, Outputs};
use serde_json::json;

use super::Output;
use crate::args::Inference;
use crate::device::{memory_budget, open_devices};
use crate::error::CliError;
use crate::io::output::{Access, Target, commit};
use crate::io::place::input_name;
use crate::io::sealed::{bad_input, open_input, read_evaluation_key, read_plan};
use crate::io::spans::{reading, writing};
use crate::progress::{Bar, InParts};
use crate::{memory, report};

/// Runs the verb.
pub fn run(out: &Output, args: &Inference) -> Result<(), CliError> {
    let bar = Bar::new(out.verbose);
    let input_name = input_name(&args.input);
    let target = Target::claim(&args.output, Access::Everybody, &[&args.model, &args.key, input_name])?;
    let plan = read_plan(&args.model)?;
    let params = plan.params();
    let reader = open_input(input_name, &params)?;
    let (batch, fingerprint) = (reader.batch(), reader.fingerprint());
    let inputs = batch.inputs as usize;
    let devices = open_devices(&args.running, &plan, inputs, &bar)?;
    let needed = |inputs| devices.needed_bytes(&plan, inputs);
    let together = memory::fewer_inputs(devices.inputs_at_a_time(&plan).min(inputs), args.running.memory, needed);
    let needed = needed(together);
    memory::check_inference(needed, args.running.memory)?;
    let start = Instant::now();
    let key = read_evaluation_key(&args.key, &plan)?;
    if key.fingerprint() != fingerprint {
        let _reading = reading(input_name, "encrypted input").entered();
        return Err(bad_input(input_name, FormatError::OtherKey));
    }
    let is_timed = out.is_timed(&plan);
    let session = devices.session(&plan, &key, memory_budget(&args.running), is_timed, &bar);
    let session = session.map_err(|error| CliError::within(&args.key, error))?;
    drop(key);
    let loaded = start.elapsed().as_secs_f64();
    let together = together.min(session.inputs_per_pass());
    let per_run = params.inputs_per_run();
    // A run of several inputs is a step of its own, a pass of single ones is one.
    let first = if per_run > 1 { 1 } else { together };
    let whole = InParts::new(&bar, inputs.div_ceil(per_run), first);
    let mut source = Source { path: input_name, reader, together, failure: None };
    let mut ended = None;
    let evaluate = |out: &mut dyn Write| {
        let writer = OutputWriter::new(out, &params, batch, fingerprint)?;
        let mut sink = Sink { path: &args.output, writer, failure: None };
        let result = session.run(&mut source, &mut sink, &whole);
        if let Some(error) = sink.failure {
            return Err(error);
        }
        let is_done = result.is_ok();
        ended = Some(result);
        if !is_done {
            return Err(io::Error::other("the evaluation failed"));
        }
        sink.writer.finish().map(|_| output_file_bytes(&params, batch.inputs))
    };
    let is_stdout = target.is_stdout();
    let written = write(target, evaluate);
    drop(whole);
    let timings = match (ended, source.failure) {
        (_, Some(error)) => return Err(bad_input(input_name, error)),
        (Some(Err(error)), _) => return Err(CliError::within(&args.input, error)),
        (Some(Ok(timings)), _) => timings,
        (None, None) => return written.map(|_| ()),
    };
    let bytes = written?;
    let (seconds, device) = (timings.total.as_secs_f64(), devices.names());
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
    report::print_beside(is_stdout, out.json, &object, &text)?;
    if devices.is_host() {
        // The output is in its place, and nothing of this is secret. The process ends, and its memory goes as a whole.
        std::mem::forget(session);
        std::mem::forget(devices);
        std::mem::forget(plan);
    }
    Ok(())
}

/// Writes as [`Target::write_with`] does, without a span around all of it: each part has its own.
fn write(target: Target, evaluate: impl FnOnce(&mut dyn Write) -> io::Result<u64>) -> Result<u64, CliError> {
    if !target.is_file() {
        return target.write_with(evaluate);
    }
    let mut file = target.begin()?;
    let bytes = evaluate(&mut file).map_err(|error| file.failed(error))?;
    commit(vec![file.finish()?])?;
    Ok(bytes)
}

/// The file of inputs.
struct Source<'a> {
    path: &'a Path,
    reader: InputReader<'a>,
    /// Inputs at a time.
    together: usize,
    failure: Option<FormatError>,
}

impl Inputs for Source<'_> {
    fn next(&mut self, most: usize) -> Result<Option<EncryptedInput>, EngineError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let _reading = reading(self.path, "encrypted input").entered();
        self.reader.next(most.min(self.together)).map_err(|error| {
            let text = error.to_string();
            self.failure = Some(error);
            EngineError::Outside(text.into())
        })
    }
}

/// The file of outputs.
struct Sink<'a, W: Write> {
    path: &'a Path,
    writer: OutputWriter<'a, W>,
    failure: Option<io::Error>,
}

impl<W: Write> Outputs for Sink<'_, W> {
    fn put(&mut self, output: EncryptedOutput) -> Result<(), EngineError> {
        let _writing = writing(self.path).entered();
        self.writer.put(&output).map_err(|error| {
            let text = error.to_string();
            self.failure = Some(error);
            EngineError::Outside(text.into())
        })
    }
}
