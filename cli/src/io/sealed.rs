//! Our own binary files, with errors that say which file a verb wanted.

use std::path::{Path, PathBuf};

use heman_client::{ClientError, KeyFile, SecretKey};
use heman_core::either::files::{EncryptedOutput, EvaluationKey};
use heman_core::either::params::Params;
use heman_core::either::plan::Plan;
use heman_core::either::streams::{InputReader, OutputReader};
use heman_core::files;
use heman_core::files::chunks::Reader;
use heman_core::files::container::{FormatError, Kind};
use heman_core::files::sealed::Batch;

use tracing::info_span;

use super::passphrase;
use super::place::{input_name, names_open_file, names_stdin};
use super::samples::read_bounded;
use super::spans::reading;
use crate::args::Unlocking;
use crate::error::CliError;
use crate::memory;
use crate::say::say;

/// Bytes of ciphertexts that the client holds at a time.
const PART_BYTES: u64 = 32 << 20;

/// What a verb says about a file that it did not want.
struct Wants {
    /// Of another kind.
    kind: &'static str,
    /// Of other parameters.
    parameters: &'static str,
    /// Of another key.
    key: &'static str,
}

fn wants(kind: Kind) -> Wants {
    match kind {
        Kind::Plan => Wants {
            kind: "inference takes the model's plan with -m",
            parameters: "this plan belongs to other parameters",
            key: "this plan belongs to a key",
        },
        Kind::SecretKey | Kind::ProtectedKey => Wants {
            kind: "this verb takes the secret key, the file without .pub",
            parameters: "this key was made for other parameters",
            key: "this is another key",
        },
        Kind::EvaluationKey => Wants {
            kind: "inference takes key.pub, the evaluation key",
            parameters: "this key was made for other parameters than the plan's",
            key: "this key belongs to another secret key than the input",
        },
        Kind::Input => Wants {
            kind: "inference takes the encrypted input that encrypt wrote",
            parameters: "this input was encrypted for other parameters than the plan's",
            key: "this input was encrypted with another key than the evaluation key belongs to",
        },
        Kind::Output => Wants {
            kind: "decrypt takes the encrypted output that inference wrote",
            parameters: "this output belongs to other parameters than this key",
            key: "this output was computed for another key than this one",
        },
    }
}

fn wanted(path: &Path, error: FormatError, kind: Kind) -> CliError {
    let wants = wants(kind);
    match error {
        FormatError::Kind { found, .. } => {
            CliError::file(path, format!("this is {}; {}", found.describe(), wants.kind))
        }
        FormatError::Magic => CliError::file(path, format!("this is not a heman file; {}", wants.kind)),
        FormatError::Binding => CliError::file(path, wants.parameters),
        FormatError::OtherKey => CliError::file(path, wants.key),
        other => CliError::file(path, other),
    }
}

/// Reads `params.json`.
pub fn read_params(path: &Path) -> Result<Params, CliError> {
    let _reading = reading(path, "parameters").entered();
    Params::from_json(&read_bounded(path, files::params::MAX_FILE_BYTES)?).map_err(|error| CliError::file(path, error))
}

/// Reads a plan.
pub fn read_plan(path: &Path) -> Result<Plan, CliError> {
    let _reading = reading(path, "plan").entered();
    Reader::open(path).and_then(Plan::open).map_err(|error| wanted(path, error, Kind::Plan))
}

/// Reads a secret key file, which a passphrase may protect.
pub fn read_key_file(path: &Path) -> Result<KeyFile, CliError> {
    let _reading = reading(path, "secret key").entered();
    let file = if names_open_file(path) { KeyFile::open_given(path) } else { KeyFile::open(path) };
    file.map_err(|error| key_error(path, error))
}

/// Reads a secret key; asks for its passphrase if it has one.
pub fn read_secret_key(path: &Path, unlocking: &Unlocking) -> Result<SecretKey, CliError> {
    unlocked(path, read_key_file(path)?, unlocking)
}

/// The key of a file; asks for its passphrase if it has one.
pub fn unlocked(path: &Path, file: KeyFile, unlocking: &Unlocking) -> Result<SecretKey, CliError> {
    match file {
        KeyFile::Plain(key) => {
            if unlocking.is_given() {
                say("note: the key has no passphrase");
            }
            Ok(key)
        }
        KeyFile::Protected(key) => {
            memory::check_passphrase(key.unlocking_bytes())?;
            let passphrase = passphrase::of_key(path, unlocking)?;
            let _unlocking = info_span!("unlock the key").entered();
            key.unlock(&passphrase).map_err(|error| key_error(path, error))
        }
    }
}

fn key_error(path: &Path, error: ClientError) -> CliError {
    match error {
        ClientError::Format(error) => wanted(path, error, Kind::SecretKey),
        other => CliError::file(path, other),
    }
}

/// The name to read a key by, where other inputs have names of their own: `-` is standard input for one of them only.
///
/// # Errors
/// Where two of the key, its passphrase and an input are standard input.
pub fn key_name<'a>(key: &'a Path, others: &[PathBuf], unlocking: &Unlocking) -> Result<&'a Path, CliError> {
    let stdin = Path::new("-");
    if key == stdin && others.iter().any(|other| other == stdin) {
        return Err(CliError::usage("the key and an input cannot both come from standard input"));
    }
    if unlocking.passphrase_fd == Some(0) && names_stdin(key) {
        return Err(CliError::usage("the key and its passphrase cannot both come from standard input"));
    }
    Ok(input_name(key))
}

/// Reads the evaluation key of a plan.
pub fn read_evaluation_key(path: &Path, plan: &Plan) -> Result<EvaluationKey, CliError> {
    let _reading = reading(path, "evaluation key").entered();
    let key = Reader::open(path).and_then(|file| EvaluationKey::open(file, &plan.params(), None));
    key.map_err(|error| wanted(path, error, Kind::EvaluationKey))
}

/// Inputs whose ciphertexts the client holds at a time, where a file of so many inputs has `file_bytes`: all of a run.
pub fn inputs_at_a_time(params: &Params, file_bytes: fn(&Params, u32) -> u64) -> usize {
    let run = params.inputs_per_run();
    (PART_BYTES / file_bytes(params, run as u32).max(1)).max(1) as usize * run
}

/// How many inputs an encrypted input holds, by its head; none for streams, which are read only once.
pub fn count_inputs(path: &Path) -> Result<Option<usize>, CliError> {
    if !path.is_file() {
        return Ok(None);
    }
    let count = Reader::open(path).and_then(|mut file| {
        file.header().expect(Kind::Input, file.header().scheme)?;
        Ok(Batch::read(&mut file)?.inputs as usize)
    });
    count.map(Some).map_err(|error| wanted(path, error, Kind::Input))
}

/// Begins an encrypted input that belongs to a plan.
pub fn open_input<'a>(path: &Path, params: &'a Params) -> Result<InputReader<'a>, CliError> {
    Reader::open(path).and_then(|file| InputReader::open(file, params, None)).map_err(|error| bad_input(path, error))
}

/// What is said of an encrypted input that cannot be used.
pub fn bad_input(path: &Path, error: FormatError) -> CliError {
    wanted(path, error, Kind::Input)
}

/// Reads an encrypted output that belongs to a key.
pub fn read_output(path: &Path, key: &SecretKey) -> Result<EncryptedOutput, CliError> {
    let _reading = reading(path, "encrypted output").entered();
    let output =
        Reader::open(path).and_then(|file| EncryptedOutput::open(file, &key.params(), Some(key.fingerprint())));
    output.map_err(|error| wanted(path, error, Kind::Output))
}

/// Begins an encrypted output that belongs to a key.
pub fn open_output<'a>(path: &Path, params: &'a Params, key: &SecretKey) -> Result<OutputReader<'a>, CliError> {
    let output = Reader::open(path).and_then(|file| OutputReader::open(file, params, Some(key.fingerprint())));
    output.map_err(|error| bad_output(path, error))
}

/// What is said of an encrypted output that cannot be used.
pub fn bad_output(path: &Path, error: FormatError) -> CliError {
    wanted(path, error, Kind::Output)
}
