//! Where the harness, the submission and this program keep their files.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::StageError;
use crate::size::Size;

/// Folders. The harness starts every stage in its root.
pub struct Places {
    /// `submissions/<dataset>`.
    submission: PathBuf,
}

impl Places {
    /// The places that belong to the link that the program was started by: it lies in `submissions/<dataset>/build`.
    ///
    /// # Errors
    /// [`StageError::NoFolder`] if it was found by a search path.
    pub fn find(started_as: &OsStr) -> Result<Self, StageError> {
        let build = Path::new(started_as).parent().filter(|folder| folder.ends_with("build"));
        let submission = build.and_then(Path::parent).ok_or(StageError::NoFolder)?;
        Ok(Self { submission: submission.to_path_buf() })
    }

    /// The submission's folder.
    #[must_use]
    pub fn submission(&self) -> &Path {
        &self.submission
    }

    /// A file that `scripts/build_task.sh` makes.
    #[must_use]
    pub fn built(&self, name: &str) -> PathBuf {
        self.submission.join("build").join(name)
    }

    /// The model owner's plan of an entry for a size.
    #[must_use]
    pub fn plan(&self, entry: &str, size: Size) -> PathBuf {
        self.built("plans").join(entry).join(format!("{}.plan", size.name()))
    }

    /// The public parameters of an entry for a size.
    #[must_use]
    pub fn params(&self, entry: &str, size: Size) -> PathBuf {
        self.plan(entry, size).with_extension("json")
    }

    /// What the harness gives as input, a line an image.
    #[must_use]
    pub fn pixels(&self, size: Size) -> PathBuf {
        Path::new("datasets").join(size.name()).join("intermediate").join("test_pixels.txt")
    }

    /// A file between stages.
    #[must_use]
    pub fn io(&self, size: Size, name: &str) -> PathBuf {
        Path::new("io").join(size.name()).join(name)
    }

    /// The client's secret key.
    #[must_use]
    pub fn secret_key(&self, size: Size) -> PathBuf {
        self.io(size, "secret_key/key")
    }

    /// The client's evaluation key.
    #[must_use]
    pub fn evaluation_key(&self, size: Size) -> PathBuf {
        self.io(size, "public_keys/key.pub")
    }

    /// The encrypted inputs.
    #[must_use]
    pub fn upload(&self, size: Size) -> PathBuf {
        self.io(size, "ciphertexts_upload/input")
    }

    /// The encrypted outputs.
    #[must_use]
    pub fn download(&self, size: Size) -> PathBuf {
        self.io(size, "ciphertexts_download/output")
    }

    /// The network's inputs in the clear.
    #[must_use]
    pub fn inputs(&self, size: Size) -> PathBuf {
        self.io(size, "intermediate/inputs.f32")
    }

    /// The network's outputs in the clear.
    #[must_use]
    pub fn outputs(&self, size: Size) -> PathBuf {
        self.io(size, "intermediate/outputs.f32")
    }
}

/// Makes the folder of a file.
///
/// # Errors
/// [`StageError::File`].
pub fn make_folder_of(path: &Path) -> Result<(), StageError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| StageError::file(folder, error))
}
