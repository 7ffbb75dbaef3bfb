//! What a stage can fail with.

use std::error::Error;
use std::path::{Path, PathBuf};

use heman_client::ClientError;
use heman_core::planning::error::PlanError;
use heman_engine::EngineError;

use crate::size::{NoSize, Size};

/// Why a stage did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The program was started by a name that is no stage's.
    #[error("{0:?} is no stage; start one of the links that scripts/build_task.sh makes")]
    Name(String),
    /// The argument is no size.
    #[error(transparent)]
    Size(#[from] NoSize),
    /// The folder of the links is not known.
    #[error("the program must be started by a path, such as submissions/mnist/build/plan_sizes")]
    NoFolder,
    /// A file cannot be read or written, or does not hold what it should.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        reason: Box<dyn Error + Send + Sync>,
    },
    /// The entry does not run a size.
    #[error("the entry {entry} has no size {}", size.name())]
    NotRun {
        /// Its name.
        entry: String,
        /// The size.
        size: Size,
    },
    /// No plan keeps within what the entry allows.
    #[error("planning for size {}: {reason}", size.name())]
    Plan {
        /// The size.
        size: Size,
        /// Why.
        reason: PlanError,
    },
    /// Keys, encryption or decryption failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The evaluation failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl StageError {
    /// An error about a file.
    pub fn file(path: &Path, reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::File { path: path.to_path_buf(), reason: reason.into() }
    }
}
