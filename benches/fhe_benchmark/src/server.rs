//! The server's stages. Nothing here names a secret key.

use std::fs::File;
use std::path::Path;
use std::thread;

use heman_core::either::files::{EncryptedInput, EncryptedOutput, EvaluationKey};
use heman_core::either::plan::Plan;
use heman_core::either::streams::{InputReader, OutputWriter};
use heman_core::files::chunks::Reader;
use heman_core::files::container::FormatError;
use heman_core::progress::NoProgress;
use heman_engine::memory::available_bytes;
use heman_engine::{DeviceChoice, Devices, EngineError, Inputs, Outputs, Profiles, Wanted};

use crate::entry::{self, Entry};
use crate::error::StageError;
use crate::places::{Places, make_folder_of};
use crate::size::Size;
use crate::steps::Steps;

/// Names the device that evaluates; the host where it is not set.
const DEVICE: &str = "HEMAN_DEVICE";

/// Looks at the plan of every size, before inputs are there.
///
/// # Errors
/// [`StageError`].
pub fn preprocess(places: &Places) -> Result<(), StageError> {
    let entry = Entry::chosen(places)?;
    entry.sizes().try_for_each(|(size, _)| read_plan(&places.plan(&entry.name, size)).map(|_| ()))
}

/// Evaluates the encrypted inputs.
///
/// # Errors
/// [`StageError`].
pub fn compute(places: &Places, size: Size, mut steps: Steps) -> Result<(), StageError> {
    let plan = read_plan(&places.plan(&entry::name(places)?, size))?;
    steps.end("Plan");
    let params = plan.params();
    let (key_path, upload) = (places.evaluation_key(size), places.upload(size));
    let bad_input = |error| StageError::file(&upload, error);
    let (key, devices, source) = thread::scope(|scope| {
        let key = scope.spawn(|| Reader::open(&key_path).and_then(|file| EvaluationKey::open(file, &params, None)));
        let reader = Reader::open(&upload).and_then(|file| InputReader::open(file, &params, None)).map_err(bad_input);
        let opened = reader.and_then(|reader| {
            let inputs = reader.batch().inputs as usize;
            let devices = open_devices(&plan, inputs)?;
            let together = devices.inputs_at_a_time(&plan).min(inputs);
            Ok((devices, Source { reader, together, ahead: None, failure: None }))
        });
        let first = opened.and_then(|(devices, mut source)| {
            source.ahead = source.read(source.together).map_err(bad_input)?;
            Ok((devices, source))
        });
        let key = key.join().expect("reading a key does not panic").map_err(|error| StageError::file(&key_path, error));
        first.and_then(|(devices, source)| Ok((key?, devices, source)))
    })?;
    let mut source = source;
    let (batch, fingerprint) = (source.reader.batch(), source.reader.fingerprint());
    if key.fingerprint() != fingerprint {
        return Err(bad_input(FormatError::OtherKey));
    }
    steps.end("Evaluation key and first inputs");
    let memory = available_bytes().map_or(u64::MAX, |bytes| bytes / 2);
    let session = devices.session(&plan, &key, memory, false, &NoProgress)?;
    steps.end("Loading the key");
    let path = places.download(size);
    make_folder_of(&path)?;
    let file = File::create(&path).map_err(|error| StageError::file(&path, error))?;
    let writer =
        OutputWriter::new(file, &params, batch, fingerprint).map_err(|error| StageError::file(&path, error))?;
    let mut sink = Sink { writer, failure: None };
    let run = session.run(&mut source, &mut sink, &NoProgress);
    if let Some(error) = source.failure {
        return Err(bad_input(error));
    }
    if let Some(error) = sink.failure {
        return Err(StageError::file(&path, error));
    }
    run?;
    sink.writer.finish().map_err(|error| StageError::file(&path, error))?;
    steps.end("Encrypted computation");
    steps.write(&places.io(size, "server_reported_steps.json"))?;
    // The process ends here; what would be freed is left to it.
    std::process::exit(0);
}

fn read_plan(path: &Path) -> Result<Plan, StageError> {
    Reader::open(path).and_then(Plan::open).map_err(|error| StageError::file(path, error))
}

fn open_devices(plan: &Plan, inputs: usize) -> Result<Devices, StageError> {
    let named = std::env::var(DEVICE).unwrap_or_else(|_| "cpu".into());
    let choice: DeviceChoice = named.parse().map_err(|error: String| StageError::file(Path::new(DEVICE), error))?;
    let wanted = Wanted { choice: &choice, threads: 0, inputs, profiles: &Profiles::default() };
    Ok(Devices::open(&wanted, plan, &NoProgress)?)
}

/// The uploaded inputs.
struct Source<'a> {
    reader: InputReader<'a>,
    /// Inputs at a time.
    together: usize,
    /// Inputs that were read before they were asked for.
    ahead: Option<EncryptedInput>,
    failure: Option<FormatError>,
}

impl Source<'_> {
    fn read(&mut self, most: usize) -> Result<Option<EncryptedInput>, FormatError> {
        if self.reader.is_empty() { Ok(None) } else { self.reader.next(most.min(self.together)) }
    }
}

impl Inputs for Source<'_> {
    fn next(&mut self, most: usize) -> Result<Option<EncryptedInput>, EngineError> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        self.read(most).map_err(|error| {
            let text = error.to_string();
            self.failure = Some(error);
            EngineError::Outside(text.into())
        })
    }
}

/// The file of outputs.
struct Sink<'a> {
    writer: OutputWriter<'a, File>,
    failure: Option<std::io::Error>,
}

impl Outputs for Sink<'_> {
    fn put(&mut self, output: EncryptedOutput) -> Result<(), EngineError> {
        self.writer.put(&output).map_err(|error| {
            let text = error.to_string();
            self.failure = Some(error);
            EngineError::Outside(text.into())
        })
    }
}
