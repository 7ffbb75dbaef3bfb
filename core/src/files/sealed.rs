//! Bodies of files.

use serde::Deserialize;

use crate::files::container::FormatError;

/// A value from the body of a file.
pub(crate) fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, FormatError> {
    postcard::from_bytes(body).map_err(|e| FormatError::Body(e.to_string()))
}
