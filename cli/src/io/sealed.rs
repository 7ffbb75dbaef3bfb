//! Our own binary files, with errors that say which file a verb wanted.

use std::path::Path;

use heman_client::{AnyKey, ClientError};
use heman_core::ckks::files::ciphertexts as ckks;
use heman_core::ckks::params::public::Params as CkksParams;
use heman_core::ckks::plan::CkksPlan;
use heman_core::either::params::AnyParams;
use heman_core::either::plan::AnyPlan;
use heman_core::files;
use heman_core::files::container as format;
use heman_core::files::container::{Binding, FormatError, Kind};
use heman_core::files::scheme::Scheme;
use heman_core::tfhe::files::ciphertexts::{EncryptedInput, EncryptedOutput, MAX_FILE_BYTES as LIMIT};
use heman_core::tfhe::files::evaluation_key;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::params::public::Params;
use heman_core::tfhe::plan;
use heman_core::tfhe::plan::Plan;

use super::samples::read_bounded;
use crate::error::CliError;

fn wanted(path: &Path, error: FormatError, wants: &str) -> CliError {
    match error {
        FormatError::Kind { found, .. } => CliError::file(path, format!("this is {}; {wants}", found.describe())),
        FormatError::Magic => CliError::file(path, format!("this is not a heman file; {wants}")),
        other => CliError::file(path, other),
    }
}

fn read(path: &Path, kind: Kind, scheme: Scheme, limit: u64, wants: &str) -> Result<(Binding, Vec<u8>), CliError> {
    format::read_file(path, kind, scheme, limit).map_err(|error| wanted(path, error, wants))
}

/// Reads a file that must belong to the given parameters.
fn read_bound(
    path: &Path,
    (kind, scheme, limit): (Kind, Scheme, u64),
    bound: &Binding,
    (wants, differs): (&str, &str),
) -> Result<Vec<u8>, CliError> {
    let (binding, body) = read(path, kind, scheme, limit, wants)?;
    if binding == *bound { Ok(body) } else { Err(CliError::file(path, differs)) }
}

/// Reads `params.json`.
pub fn read_params(path: &Path) -> Result<AnyParams, CliError> {
    AnyParams::from_json(&read_bounded(path, files::params::MAX_FILE_BYTES)?)
        .map_err(|error| CliError::file(path, error))
}

/// Reads a plan.
pub fn read_plan(path: &Path) -> Result<AnyPlan, CliError> {
    let wants = "inference takes the model's plan with -m";
    let start = format::read_start(path).map_err(|error| wanted(path, error, wants))?;
    let scheme = format::scheme_of(&start).map_err(|error| wanted(path, error, wants))?;
    let (binding, body) = read(path, Kind::Plan, scheme, plan::MAX_FILE_BYTES, wants)?;
    let plan = match scheme {
        Scheme::Tfhe => Plan::from_body(&binding, &body).map(|plan| AnyPlan::Tfhe(Box::new(plan))),
        Scheme::Ckks => CkksPlan::from_body(&binding, &body).map(|plan| AnyPlan::Ckks(Box::new(plan))),
    };
    plan.map_err(|error| CliError::file(path, error))
}

/// Reads a secret key.
pub fn read_secret_key(path: &Path) -> Result<AnyKey, CliError> {
    AnyKey::read(path).map_err(|error| match error {
        ClientError::Format(error) => wanted(path, error, "this verb takes the secret key, the file without .pub"),
        other => CliError::file(path, other),
    })
}

const KEY_WANTED: (&str, &str) =
    ("inference takes key.pub, the evaluation key", "this key was made for other parameters than the plan's");
const INPUT_WANTED: (&str, &str) = (
    "inference takes the encrypted input that encrypt wrote",
    "this input was encrypted for other parameters than the plan's",
);
const OUTPUT_WANTED: (&str, &str) = (
    "decrypt takes the encrypted output that inference wrote",
    "this output belongs to other parameters than this key",
);

/// Reads an evaluation key that belongs to a plan.
pub fn read_evaluation_key(path: &Path, plan: &Plan) -> Result<SeededEvaluationKey, CliError> {
    let file = (Kind::EvaluationKey, Scheme::Tfhe, evaluation_key::MAX_FILE_BYTES);
    let body = read_bound(path, file, &plan.params.binding(), KEY_WANTED)?;
    let key = SeededEvaluationKey::from_body(&body).map_err(|error| CliError::file(path, error))?;
    if key.fits(&plan.params) { Ok(key) } else { Err(CliError::file(path, KEY_WANTED.1)) }
}

/// Reads an encrypted input that belongs to the parameters.
pub fn read_input(path: &Path, params: &Params) -> Result<EncryptedInput, CliError> {
    let body = read_bound(path, (Kind::Input, Scheme::Tfhe, LIMIT), &params.binding(), INPUT_WANTED)?;
    EncryptedInput::from_body(&body, params).map_err(|error| CliError::file(path, error))
}

/// Reads an encrypted output that belongs to the parameters.
pub fn read_output(path: &Path, params: &Params) -> Result<EncryptedOutput, CliError> {
    let body = read_bound(path, (Kind::Output, Scheme::Tfhe, LIMIT), &params.binding(), OUTPUT_WANTED)?;
    EncryptedOutput::from_body(&body, params).map_err(|error| CliError::file(path, error))
}

/// Reads an evaluation key of CKKS that belongs to a plan.
pub fn read_ckks_evaluation_key(
    path: &Path,
    plan: &CkksPlan,
) -> Result<heman_core::ckks::files::evaluation_key::SeededEvaluationKey, CliError> {
    let file = (Kind::EvaluationKey, Scheme::Ckks, evaluation_key::MAX_FILE_BYTES);
    let body = read_bound(path, file, &plan.params.binding(), KEY_WANTED)?;
    heman_core::ckks::files::evaluation_key::SeededEvaluationKey::from_body(&body)
        .map_err(|error| CliError::file(path, error))
}

/// Reads an encrypted input of CKKS that belongs to the parameters.
pub fn read_ckks_input(path: &Path, params: &CkksParams) -> Result<ckks::EncryptedInput, CliError> {
    let body = read_bound(path, (Kind::Input, Scheme::Ckks, LIMIT), &params.binding(), INPUT_WANTED)?;
    ckks::EncryptedInput::from_body(&body, params).map_err(|error| CliError::file(path, error))
}

/// Reads an encrypted output of CKKS that belongs to the parameters.
pub fn read_ckks_output(path: &Path, params: &CkksParams) -> Result<ckks::EncryptedOutput, CliError> {
    let body = read_bound(path, (Kind::Output, Scheme::Ckks, LIMIT), &params.binding(), OUTPUT_WANTED)?;
    ckks::EncryptedOutput::from_body(&body, params).map_err(|error| CliError::file(path, error))
}
