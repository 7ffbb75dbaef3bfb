//! A text with its length in front: the parameters in a key file.

use std::io::{self, Write};

use heman_core::files::chunks::Reader;
use heman_core::files::container::FormatError;

/// Bytes that [`write_text`] writes.
pub(crate) fn text_bytes(text: &str) -> u64 {
    (size_of::<u32>() + text.len()) as u64
}

/// Writes a text behind its length.
pub(crate) fn write_text(text: &str, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&(text.len() as u32).to_le_bytes())?;
    out.write_all(text.as_bytes())
}

/// Reads what [`write_text`] wrote.
pub(crate) fn read_text(body: &mut Reader<'_>) -> Result<Vec<u8>, FormatError> {
    let length = u32::from_le_bytes(body.array()?);
    body.words(length as usize)
}
