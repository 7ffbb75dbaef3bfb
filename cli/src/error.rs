//! One error type at the top: a sentence for people, with the file it is about.

use std::fmt;
use std::path::Path;

/// What ends a verb.
#[derive(Debug)]
pub struct CliError(String);

impl CliError {
    /// An error with its own sentence.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// An error about a file.
    pub fn file(path: &Path, error: impl fmt::Display) -> Self {
        let text = error.to_string();
        let name = path.display().to_string();
        Self(if text.contains(&name) { text } else { format!("{name}: {text}") })
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.0))
    }
}

/// A text in which names from files cannot steer the terminal: control characters but for line ends are replaced.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

macro_rules! from_errors {
    ($($source:ty),* $(,)?) => {
        $(impl From<$source> for CliError {
            fn from(error: $source) -> Self {
                Self(error.to_string())
            }
        })*
    };
}

from_errors!(
    heman_client::ClientError,
    heman_core::device::error::BackendError,
    heman_core::ckks::error::CkksError,
    heman_engine::EngineError,
    heman_core::files::container::FormatError,
    heman_import::ImportError,
    heman_core::files::params::ParamsError,
);
