//! One error type at the top: a sentence for people, with the file it is about, and what kind of failure it is.

use std::fmt;
use std::path::Path;

use heman_client::ClientError;
use heman_core::ckks::error::CkksError;
use heman_core::device::error::BackendError;
use heman_core::files::container::FormatError;
use heman_core::files::params::ParamsError;
use heman_core::planning::error::PlanError;
use heman_core::tfhe::session::ExecError;
use heman_engine::{EngineError, ProfileError};
use heman_import::ImportError;

use crate::exit::Failure;

/// What ends a verb.
#[derive(Debug)]
pub struct CliError {
    failure: Failure,
    text: String,
}

impl CliError {
    /// An error with its own sentence, of no kind.
    pub fn new(message: impl Into<String>) -> Self {
        Self::of(Failure::Other, message)
    }

    /// An error of some kind with its own sentence.
    pub fn of(failure: Failure, message: impl Into<String>) -> Self {
        Self { failure, text: message.into() }
    }

    /// What was asked for is nothing that can be done.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::of(Failure::Usage, message)
    }

    /// What was asked for is understood and not done.
    pub fn refusal(message: impl Into<String>) -> Self {
        Self::of(Failure::Refusal, message)
    }

    /// A file cannot be used, and the sentence says which.
    pub fn bad_file(message: impl Into<String>) -> Self {
        Self::of(Failure::File, message)
    }

    /// An error about a file, of its cause's kind.
    pub fn file(path: &Path, cause: impl Cause) -> Self {
        let text = cause.to_string();
        let name = path.display().to_string();
        Self::of(cause.failure(), if text.contains(&name) { text } else { format!("{name}: {text}") })
    }

    /// What kind of failure it is.
    pub fn failure(&self) -> Failure {
        self.failure
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.text))
    }
}

/// A text in which names from files can neither steer the terminal nor look like others: control characters but for
/// line ends, and characters that are not seen or turn the direction of writing, become escapes, which JSON reads back.
pub fn printable(text: &str) -> String {
    let mut printed = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
        let is_hidden = turns || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if is_hidden || (c.is_control() && c != '\n') {
            printed += &format!("\\u{:04x}", c as u32);
        } else {
            printed.push(c);
        }
    }
    printed
}

/// An error of a library, or a sentence about a file.
pub trait Cause: fmt::Display {
    /// What kind of failure it is.
    fn failure(&self) -> Failure;
}

macro_rules! about_files {
    ($($cause:ty),* $(,)?) => {
        $(impl Cause for $cause {
            fn failure(&self) -> Failure {
                Failure::File
            }
        })*
    };
}

about_files!(String, &str, std::io::Error, FormatError, ProfileError);

impl Cause for ParamsError {
    fn failure(&self) -> Failure {
        match self {
            Self::Json(_) | Self::Format { .. } | Self::Version { .. } | Self::Invalid(_) => Failure::File,
            Self::Insecure { .. } => Failure::Refusal,
        }
    }
}

impl Cause for ClientError {
    fn failure(&self) -> Failure {
        match self {
            Self::Params(error) => error.failure(),
            Self::Format(error) => error.failure(),
            Self::InputLength { .. } | Self::Scheme | Self::Passphrase => Failure::File,
            Self::Permissions { .. }
            | Self::InputRange { .. }
            | Self::Untrusted { .. }
            | Self::Flooded { .. }
            | Self::Outside
            | Self::NotShared => Failure::Refusal,
        }
    }
}

impl Cause for ImportError {
    fn failure(&self) -> Failure {
        match self {
            Self::Read { .. } | Self::NotOnnx(_) | Self::Weights(_) => Failure::File,
            Self::TooLarge { .. }
            | Self::Interface(_)
            | Self::Unsupported(_)
            | Self::TooComplex(_)
            | Self::Plain(_) => Failure::Refusal,
        }
    }
}

impl Cause for PlanError {
    fn failure(&self) -> Failure {
        match self {
            Self::CalibrationShape { .. }
            | Self::CalibrationValue { .. }
            | Self::NoCalibration
            | Self::PlainOutput { .. } => Failure::File,
            Self::Accuracy { .. }
            | Self::Polynomials { .. }
            | Self::Comparisons
            | Self::Confidence { .. }
            | Self::Rings
            | Self::Depth(_)
            | Self::Refused { .. }
            | Self::Exact(_) => Failure::Refusal,
        }
    }
}

impl Cause for BackendError {
    fn failure(&self) -> Failure {
        match self {
            Self::OutOfMemory { .. } | Self::Device { .. } => Failure::Device,
            Self::Shape { .. } => Failure::Other,
        }
    }
}

impl Cause for CkksError {
    fn failure(&self) -> Failure {
        match self {
            Self::Memory { .. } => Failure::Refusal,
            Self::Device(error) => error.failure(),
            // Plans, keys and ciphertexts come from files; those that belong together fit.
            Self::Depth | Self::Scale { .. } | Self::Residues | Self::Plan(_) | Self::Level { .. } => Failure::File,
        }
    }
}

impl Cause for EngineError {
    fn failure(&self) -> Failure {
        match self {
            Self::Backend(error) | Self::Tfhe(ExecError::Backend(error)) => error.failure(),
            Self::Cuda(_) | Self::Wgpu(_) | Self::Wrong(_) | Self::GivenUp { .. } | Self::NoTarget(_) => {
                Failure::Device
            }
            Self::Tfhe(ExecError::Keys | ExecError::Input { .. }) | Self::Scheme(_) => Failure::File,
            Self::Ckks(error) => error.failure(),
            Self::Profile(error) => error.failure(),
            Self::Outside(error) => error.downcast_ref::<ClientError>().map_or(Failure::Other, Cause::failure),
        }
    }
}

macro_rules! from_causes {
    ($($cause:ty),* $(,)?) => {
        $(impl From<$cause> for CliError {
            fn from(cause: $cause) -> Self {
                Self::of(cause.failure(), cause.to_string())
            }
        })*
    };
}

from_causes!(ClientError, BackendError, CkksError, EngineError, FormatError, ImportError, ParamsError, ProfileError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[31m\u{202e}b\u{9b}\nc"), "a\\u001b[31m\\u202eb\\u009b\nc");
        let json = serde_json::json!({ "name": "\u{202e}\u{9b}\u{1b}" });
        let back: serde_json::Value = serde_json::from_str(&printable(&json.to_string())).expect("still JSON");
        assert_eq!(back, json);
    }
}
