//! Evaluation keys by their fingerprint, read when they are first needed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use heman_core::either::files::EvaluationKey;
use heman_core::either::params::Params;
use heman_core::files::chunks::Reader;
use heman_core::files::container::{Fingerprint, FormatError, Kind};
use heman_core::progress::Progress;
use heman_engine::EngineError;
use heman_engine::scheduler::Keys;

use crate::error::{CliError, printable};

/// Suffix of evaluation keys in a folder.
const SUFFIX: &str = "pub";

/// What is said of an input whose key is not there.
pub const NO_KEY: &str = "it was encrypted with a key that is none of those given";

/// Where the keys of a plan lie.
pub struct Keyring<'a> {
    params: &'a Params,
    keys: HashMap<[u8; 16], PathBuf>,
}

impl<'a> Keyring<'a> {
    /// One key, or those of a folder; of a folder, files that are no keys of the plan are told and left out.
    ///
    /// # Errors
    /// What cannot be read; if there is no key.
    pub fn open(name: &Path, params: &'a Params, progress: &dyn Progress) -> Result<Self, CliError> {
        if !name.is_dir() {
            let fingerprint = fingerprint(name, params).map_err(|error| CliError::file(name, error))?;
            return Ok(Self { params, keys: [(fingerprint.0, name.to_path_buf())].into() });
        }
        let entries = std::fs::read_dir(name).map_err(|error| CliError::file(name, error))?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == SUFFIX) && !path.is_dir());
        paths.sort();
        let mut keys = HashMap::new();
        for path in paths {
            match fingerprint(&path, params) {
                Ok(fingerprint) => drop(keys.entry(fingerprint.0).or_insert(path)),
                Err(error) => progress.note(&printable(&format!("left out: {}", CliError::file(&path, error)))),
            }
        }
        if keys.is_empty() {
            return Err(CliError::file(name, format!("no evaluation key of this plan is there, as a file *.{SUFFIX}")));
        }
        Ok(Self { params, keys })
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is a key of that fingerprint.
    pub fn holds(&self, of: Fingerprint) -> bool {
        self.keys.contains_key(&of.0)
    }
}

/// The fingerprint of an evaluation key, by its head.
fn fingerprint(path: &Path, params: &Params) -> Result<Fingerprint, FormatError> {
    let file = Reader::open(path)?;
    file.header().expect(Kind::EvaluationKey, params.scheme())?;
    if file.header().binding != params.binding() {
        return Err(FormatError::Binding);
    }
    Ok(file.header().fingerprint)
}

impl Keys for Keyring<'_> {
    fn key(&self, of: Fingerprint) -> Result<EvaluationKey, EngineError> {
        let path = self.keys.get(&of.0).ok_or_else(|| EngineError::Outside(NO_KEY.into()))?;
        let key = Reader::open(path).and_then(|file| EvaluationKey::open(file, self.params, Some(of)));
        key.map_err(|error| EngineError::Outside(CliError::file(path, error).to_string().into()))
    }
}
