//! The sizes that the benchmark runs.

use std::ffi::OsString;

use serde::Deserialize;

/// An argument that is no size.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no size; sizes are 0, 1, 2 and 3")]
pub struct NoSize(String);

/// A size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// One image.
    Single,
    /// A hundred.
    Small,
    /// A thousand.
    Medium,
    /// Ten thousand.
    Large,
}

impl Size {
    /// All sizes; the harness's argument is the position.
    pub const ALL: [Self; 4] = [Self::Single, Self::Small, Self::Medium, Self::Large];

    /// Reads the harness's argument.
    ///
    /// # Errors
    /// [`NoSize`].
    pub fn parse(argument: Option<OsString>) -> Result<Self, NoSize> {
        let text = argument.unwrap_or_default();
        let number: Option<usize> = text.to_str().and_then(|text| text.parse().ok());
        let size = number.and_then(|number| Self::ALL.get(number).copied());
        size.ok_or_else(|| NoSize(text.display().to_string()))
    }

    /// The name of its folders.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }
}
