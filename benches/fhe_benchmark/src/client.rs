//! The client's stages: keys, encryption and decryption, and what is done in the clear before and behind them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use heman_client::{KeyFile, SecretKey, TensorData};
use heman_core::either::params::Params;
use heman_core::either::streams::{InputWriter, OutputReader, input_file_bytes, output_file_bytes};
use heman_core::files::chunks::Reader;
use heman_core::files::sealed::Batch;
use heman_core::progress::NoProgress;

use crate::entry::{self, Entry};
use crate::error::StageError;
use crate::places::{Places, make_folder_of};
use crate::size::Size;
use crate::vectors::Vectors;

/// Bytes of ciphertexts that are held at a time.
const PART_BYTES: u64 = 64 << 20;

/// Makes a secret key and its evaluation key.
///
/// # Errors
/// [`StageError`].
pub fn make_keys(places: &Places, size: Size) -> Result<(), StageError> {
    let params_path = places.params(&entry::name(places)?, size);
    let text = fs::read(&params_path).map_err(|error| StageError::file(&params_path, error))?;
    let params = Params::from_json(&text).map_err(|error| StageError::file(&params_path, error))?;
    let key = SecretKey::generate(&params)?;
    let path = places.secret_key(size);
    make_folder_of(&path)?;
    let failed = |error| StageError::file(&path, error);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(failed)?;
    key.seal_to(&mut file).map_err(failed)?;
    let public = places.evaluation_key(size);
    let mut file = create(&public)?;
    let evaluation = key.evaluation_key(&NoProgress);
    evaluation.seal_to(&params, &mut file).map(|_| ()).map_err(|error| StageError::file(&public, error))
}

/// Makes the network's inputs from the harness's pixels.
///
/// # Errors
/// [`StageError`].
pub fn preprocess(places: &Places, size: Size) -> Result<(), StageError> {
    let entry = Entry::chosen(places)?;
    entry.check_runs(size)?;
    entry.preparation.read(&places.pixels(size))?.write(&places.inputs(size))
}

/// Encrypts the inputs.
///
/// # Errors
/// [`StageError`].
pub fn encrypt(places: &Places, size: Size) -> Result<(), StageError> {
    let inputs_path = places.inputs(size);
    let inputs = Vectors::read(&inputs_path)?;
    let key = read_key(&places.secret_key(size))?;
    let params = key.params();
    if inputs.length != key.input().len() {
        let text = format!("inputs have {} elements, the parameters ask for {}", inputs.length, key.input().len());
        return Err(StageError::file(&inputs_path, text));
    }
    let count = u32::try_from(inputs.count()).map_err(|error| StageError::file(&inputs_path, error))?;
    let path = places.upload(size);
    let file = create(&path)?;
    let failed = |error| StageError::file(&path, error);
    let batch = Batch { inputs: count, batched: true };
    let mut writer = InputWriter::new(file, &params, batch, key.fingerprint()).map_err(failed)?;
    for values in inputs.values.chunks(inputs_at_a_time(&params, input_file_bytes) * inputs.length) {
        writer.put(&key.encrypt(values, true)?).map_err(failed)?;
    }
    writer.finish().map(|_| ()).map_err(failed)
}

/// Decrypts the outputs.
///
/// # Errors
/// [`StageError`].
pub fn decrypt(places: &Places, size: Size) -> Result<(), StageError> {
    let key = read_key(&places.secret_key(size))?;
    let params = key.params();
    let path = places.download(size);
    let failed = |error| StageError::file(&path, error);
    let file = Reader::open(&path).map_err(failed)?;
    let mut reader = OutputReader::open(file, &params, Some(key.fingerprint())).map_err(failed)?;
    let count = reader.batch().inputs as usize;
    let mut values: Vec<f32> = Vec::new();
    while let Some(part) = reader.next(inputs_at_a_time(&params, output_file_bytes)).map_err(failed)? {
        let answers = key.decrypt(&part, None)?;
        match answers.into_iter().next().map(|answer| answer.tensor.data) {
            Some(TensorData::Real(more)) => values.extend(more),
            _ => return Err(StageError::file(&path, "the network's output is no vector of real numbers")),
        }
    }
    Vectors { length: values.len() / count, values }.write(&places.outputs(size))
}

/// Writes the label of each output: the position of the largest element.
///
/// # Errors
/// [`StageError`].
pub fn postprocess(places: &Places, size: Size) -> Result<(), StageError> {
    let outputs = Vectors::read(&places.outputs(size))?;
    let mut text = String::new();
    for output in outputs.values.chunks_exact(outputs.length) {
        let label = output.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(label, _)| label);
        text += &format!("{label}\n");
    }
    let path = places.io(size, "encrypted_model_predictions.txt");
    fs::write(&path, text).map_err(|error| StageError::file(&path, error))
}

fn read_key(path: &Path) -> Result<SecretKey, StageError> {
    match KeyFile::open(path).map_err(|error| StageError::file(path, error))? {
        KeyFile::Plain(key) => Ok(key),
        KeyFile::Protected(_) => Err(StageError::file(path, "the key has a passphrase")),
    }
}

fn create(path: &Path) -> Result<impl Write, StageError> {
    make_folder_of(path)?;
    File::create(path).map_err(|error| StageError::file(path, error))
}

/// Inputs whose ciphertexts are held at a time, where a file of so many inputs has `file_bytes`: all of a run.
fn inputs_at_a_time(params: &Params, file_bytes: fn(&Params, u32) -> u64) -> usize {
    let run = params.inputs_per_run();
    (PART_BYTES / file_bytes(params, run as u32).max(1)).max(1) as usize * run
}
