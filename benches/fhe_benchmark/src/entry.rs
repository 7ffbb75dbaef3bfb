//! What is run: a network, what the client does before it, and how each size is planned.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use heman_core::files::scheme::Scheme;
use serde::Deserialize;

use crate::error::StageError;
use crate::images::Preparation;
use crate::places::Places;
use crate::size::Size;

/// An entry: `entries/<name>.json` of a submission.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name, which is not in the file.
    #[serde(skip)]
    pub name: String,
    /// The ONNX file, from the submission's folder.
    pub model: PathBuf,
    /// The file that takes its place where `scripts/build_task.sh` made it: the network as the harness trained it.
    #[serde(default)]
    pub model_of_harness: Option<String>,
    /// What the client does before encryption.
    pub preparation: Preparation,
    /// How many of the calibration images planning takes; all of them where it is not said.
    #[serde(default)]
    pub calibration_images: Option<usize>,
    /// How each size is planned.
    sizes: BTreeMap<Size, Planned>,
}

/// How a size is planned.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// The scheme; the faster one where none is named.
    #[serde(default)]
    pub scheme: Option<Scheme>,
    /// Inputs that the plan is made for.
    pub batch: usize,
    /// Share of decisions on new inputs that may change, as far as polynomials can keep to it.
    pub max_loss: f64,
}

impl Entry {
    /// Reads the entry that `install` chose.
    ///
    /// # Errors
    /// [`StageError::File`].
    pub fn chosen(places: &Places) -> Result<Self, StageError> {
        let name = name(places)?;
        let path = places.submission().join("entries").join(format!("{name}.json"));
        let text = fs::read(&path).map_err(|error| StageError::file(&path, error))?;
        let entry: Self = serde_json::from_slice(&text).map_err(|error| StageError::file(&path, error))?;
        if !entry.preparation.is_sound() {
            return Err(StageError::file(&path, "what is left of an image is no whole number of squares"));
        }
        Ok(Self { name, ..entry })
    }

    /// The sizes that it runs.
    pub fn sizes(&self) -> impl Iterator<Item = (Size, &Planned)> {
        self.sizes.iter().map(|(&size, planned)| (size, planned))
    }

    /// The ONNX file.
    #[must_use]
    pub fn model(&self, places: &Places) -> PathBuf {
        let built = self.model_of_harness.as_deref().map(|name| places.built(name)).filter(|path| path.is_file());
        built.unwrap_or_else(|| places.submission().join(&self.model))
    }

    /// Checks that it runs a size.
    ///
    /// # Errors
    /// [`StageError::NotRun`].
    pub fn check_runs(&self, size: Size) -> Result<(), StageError> {
        let is_run = self.sizes.contains_key(&size);
        is_run.then_some(()).ok_or_else(|| StageError::NotRun { entry: self.name.clone(), size })
    }
}

/// The name of the entry that `install` chose.
///
/// # Errors
/// [`StageError::File`].
pub fn name(places: &Places) -> Result<String, StageError> {
    let path = places.submission().join("entry");
    let name = fs::read_to_string(&path).map_err(|error| StageError::file(&path, error))?;
    Ok(name.trim().to_string())
}
