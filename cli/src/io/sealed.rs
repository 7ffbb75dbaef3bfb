//! Our own binary files, with errors that say which file a verb wanted.

use std::path::Path;

use heman_client::{ClientError, SecretKey};
use heman_core::ciphertext::{self, EncryptedInput, EncryptedOutput};
use heman_core::evaluation_key::{self, SeededEvaluationKey};
use heman_core::format::{self, Binding, FormatError, Kind};
use heman_core::params::{self, Params};
use heman_core::plan::{self, Plan};

use super::samples::read_bounded;
use crate::error::CliError;

fn wanted(path: &Path, error: FormatError, wants: &str) -> CliError {
    match error {
        FormatError::Kind { found, .. } => CliError::file(path, format!("this is {}; {wants}", found.describe())),
        FormatError::Magic => CliError::file(path, format!("this is not a heman file; {wants}")),
        other => CliError::file(path, other),
    }
}

fn read(path: &Path, kind: Kind, limit: u64, wants: &str) -> Result<(Binding, Vec<u8>), CliError> {
    format::read_file(path, kind, limit).map_err(|error| wanted(path, error, wants))
}

/// Reads `params.json`.
pub fn read_params(path: &Path) -> Result<Params, CliError> {
    Params::from_json(&read_bounded(path, params::MAX_FILE_BYTES)?).map_err(|error| CliError::file(path, error))
}

/// Reads a plan.
pub fn read_plan(path: &Path) -> Result<Plan, CliError> {
    let (binding, body) = read(path, Kind::Plan, plan::MAX_FILE_BYTES, "inference takes the model's plan with -m")?;
    Plan::from_body(&binding, &body).map_err(|error| CliError::file(path, error))
}

/// Reads a secret key.
pub fn read_secret_key(path: &Path) -> Result<SecretKey, CliError> {
    SecretKey::read(path).map_err(|error| match error {
        ClientError::Format(error) => wanted(path, error, "this verb takes the secret key, the file without .pub"),
        other => CliError::file(path, other),
    })
}

/// Reads an evaluation key that belongs to a plan.
pub fn read_evaluation_key(path: &Path, plan: &Plan) -> Result<SeededEvaluationKey, CliError> {
    let limit = evaluation_key::MAX_FILE_BYTES;
    let (binding, body) = read(path, Kind::EvaluationKey, limit, "inference takes key.pub, the evaluation key")?;
    let key = SeededEvaluationKey::from_body(&body).map_err(|error| CliError::file(path, error))?;
    if binding != plan.params.binding() || !key.fits(&plan.params) {
        return Err(CliError::file(path, "this key was made for other parameters than the plan's"));
    }
    Ok(key)
}

/// Reads an encrypted input that belongs to the parameters.
pub fn read_input(path: &Path, params: &Params) -> Result<EncryptedInput, CliError> {
    let limit = ciphertext::MAX_FILE_BYTES;
    let (binding, body) = read(path, Kind::Input, limit, "inference takes the encrypted input that encrypt wrote")?;
    if binding != params.binding() {
        return Err(CliError::file(path, "this input was encrypted for other parameters than the plan's"));
    }
    EncryptedInput::from_body(&body, params).map_err(|error| CliError::file(path, error))
}

/// Reads an encrypted output that belongs to the parameters.
pub fn read_output(path: &Path, params: &Params) -> Result<EncryptedOutput, CliError> {
    let limit = ciphertext::MAX_FILE_BYTES;
    let (binding, body) = read(path, Kind::Output, limit, "decrypt takes the encrypted output that inference wrote")?;
    if binding != params.binding() {
        return Err(CliError::file(path, "this output belongs to other parameters than this key"));
    }
    EncryptedOutput::from_body(&body, params).map_err(|error| CliError::file(path, error))
}
