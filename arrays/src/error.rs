//! Why arrays are not read.

use std::io;
use std::path::Path;

/// Why arrays are not read.
#[derive(Debug, thiserror::Error)]
pub enum ArrayError {
    /// The system does not give the file.
    #[error("cannot read {name}: {source}")]
    Read {
        /// The file's name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// What is in it cannot be used.
    #[error("{name}: {reason}")]
    Content {
        /// The file's name, for an archive with the array's.
        name: String,
        /// A sentence.
        reason: String,
    },
}

impl ArrayError {
    pub(crate) fn read(path: &Path) -> impl Fn(io::Error) -> Self + use<'_> {
        move |source| Self::Read { name: path.display().to_string(), source }
    }

    pub(crate) fn content(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Content { name: name.into(), reason: reason.into() }
    }
}
