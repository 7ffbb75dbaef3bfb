//! One error type at the top: a sentence for people, with the file it is about, and what kind of failure it is.

use std::fmt;
use std::path::Path;

use heman_arrays::ArrayError;
use heman_client::ClientError;
use heman_core::ckks::error::CkksError;
use heman_core::device::error::BackendError;
use heman_core::files::container::FormatError;
use heman_core::files::params::ParamsError;
use heman_core::planning::error::PlanError;
use heman_core::tfhe::session::ExecError;
use heman_engine::{EngineError, ProfileError};
use heman_import::{ImportError, UnsupportedNode};

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
        let text = cause.sentence();
        let name = one_line(&path.display().to_string());
        Self::of(cause.failure(), if text.contains(&name) { text } else { format!("{name}: {text}") })
    }

    /// An error in working with a file's content, which names the file only where the file is at fault.
    pub fn within(path: &Path, cause: impl Cause) -> Self {
        if cause.failure() == Failure::File {
            Self::file(path, cause)
        } else {
            Self::of(cause.failure(), cause.sentence())
        }
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
///
/// Names that others chose go through [`one_line`] before they come into a text.
pub fn printable(text: &str) -> String {
    escaped(text, |c| c != '\n' && (c.is_control() || is_hidden(c)))
}

/// As [`printable`], with line ends escaped as well: what comes from a file cannot look like a line of its own.
pub fn one_line(text: &str) -> String {
    escaped(text, |c| c.is_control() || is_hidden(c))
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut printed = String::with_capacity(text.len());
    for c in text.chars() {
        if is_escaped(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| printed += &format!("\\u{unit:04x}"));
        } else {
            printed.push(c);
        }
    }
    printed
}

/// Characters that turn the direction of writing, end a line, or take no room: those of Unicode that a font leaves out
/// (`Default_Ignorable_Code_Point`), and interlinear annotations.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// An error of a library, or a sentence about a file.
pub trait Cause: fmt::Display {
    /// What kind of failure it is.
    fn failure(&self) -> Failure;

    /// What it says, in which nothing that comes from a file looks like a line of its own.
    fn sentence(&self) -> String {
        one_line(&self.to_string())
    }
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

about_files!(String, &str, std::io::Error, ArrayError, FormatError, ProfileError);

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
            | Self::Late(_)
            | Self::Plain(_) => Failure::Refusal,
        }
    }

    fn sentence(&self) -> String {
        let Self::Unsupported(nodes) = self else { return one_line(&self.to_string()) };
        // A line for each node.
        let escaped = |node: &UnsupportedNode| UnsupportedNode { reason: one_line(&node.reason), ..node.clone() };
        Self::Unsupported(nodes.iter().map(escaped).collect()).to_string()
    }
}

impl Cause for PlanError {
    fn failure(&self) -> Failure {
        match self {
            Self::CalibrationShape { .. }
            | Self::CalibrationValue { .. }
            | Self::NoCalibration
            | Self::Unseen
            | Self::PlainOutput { .. } => Failure::File,
            Self::Accuracy { .. }
            | Self::Polynomials { .. }
            | Self::Comparisons
            | Self::Confidence { .. }
            | Self::Rings
            | Self::Depth(_)
            | Self::Refused { .. }
            | Self::Late(_)
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
                Self::of(cause.failure(), cause.sentence())
            }
        })*
    };
}

from_causes!(
    ArrayError,
    BackendError,
    CkksError,
    ClientError,
    EngineError,
    FormatError,
    ImportError,
    ParamsError,
    ProfileError,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[31m\u{202e}b\u{9b}\nc"), "a\\u001b[31m\\u202eb\\u009b\nc");
        let json = serde_json::json!({ "name": "\u{202e}\u{9b}\u{1b}\u{e0041}\u{ad}" });
        let text = printable(&json.to_string());
        assert!(text.is_ascii(), "{text:?}");
        let back: serde_json::Value = serde_json::from_str(&text).expect("still JSON");
        assert_eq!(back, json);
    }

    #[test]
    fn what_comes_from_files_is_no_line_of_its_own() {
        let error = CliError::file(Path::new("a\nwrote key"), "unknown field `b\nerror: c`");
        assert_eq!(error.to_string(), "a\\u000awrote key: unknown field `b\\u000aerror: c`");
        let node = |name: &str| UnsupportedNode {
            operator: format!("{name}\nwrote operator"),
            node: format!("{name}\nwrote node"),
            reason: format!("{name}\nwrote reason"),
            suggestion: "remove it".into(),
        };
        let error = CliError::from(ImportError::Unsupported(vec![node("a"), node("b")])).to_string();
        assert_eq!(error.lines().count(), 3, "{error}");
    }

    #[test]
    fn a_file_is_named_only_where_it_is_at_fault() {
        let named = |cause| CliError::within(Path::new("key.pub"), cause).to_string().starts_with("key.pub: ");
        assert!(named(CkksError::Depth));
        assert!(!named(CkksError::Memory { needed: 2, budget: 1 }));
    }
}
