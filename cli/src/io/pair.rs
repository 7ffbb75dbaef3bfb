//! Whether the files of a key pair belong to each other.

use std::fs::File;
use std::path::Path;

use heman_core::files::container::Kind;

use super::leftovers::{fingerprint, secret_fingerprint, settle};
use super::output::folder;
use super::place::{Found, Place};
use crate::error::CliError;

/// What stands in the places of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No secret key, or something else than a pair.
    Other,
    /// A secret key with its evaluation key.
    Whole,
    /// A secret key whose evaluation key is missing, or is another key's: it can be made again from the secret key, and
    /// another key's is of no use beside this one.
    Half,
}

/// Looks at the places of a pair, once leftovers of earlier runs are dealt with, and while nobody puts a pair there.
///
/// # Errors
/// Places that no file can stand in.
pub fn look(secret: &Path, public: &Path) -> Result<Standing, CliError> {
    let (Place::File(secret), Place::File(public)) = (Place::of(secret)?, Place::of(public)?) else {
        return Ok(Standing::Other);
    };
    settle(folder(&secret));
    if secret_fingerprint(&secret).is_none() {
        return Ok(Standing::Other);
    }
    let lock = File::open(folder(&secret)).ok();
    // Where the file system has no locks, a pair that is being put there may look like a half: it stays one key's.
    let _locked = lock.as_ref().map(File::lock);
    let Some(of) = secret_fingerprint(&secret) else { return Ok(Standing::Other) };
    let standing = match Place::File(public.clone()).found_kind()? {
        Found::Nothing if !public.exists() => Standing::Half,
        Found::EvaluationKey if fingerprint(&public, Kind::EvaluationKey) == Some(of) => Standing::Whole,
        Found::EvaluationKey => Standing::Half,
        _ => Standing::Other,
    };
    Ok(standing)
}
