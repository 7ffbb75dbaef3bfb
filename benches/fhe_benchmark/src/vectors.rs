//! Vectors in the clear between two stages of the client: a length as a little-endian `u32`, then vector after vector
//! as little-endian `f32`.

use std::fs;
use std::path::Path;

use crate::error::StageError;
use crate::places::make_folder_of;

/// Vectors of one length.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    /// Elements of each.
    pub length: usize,
    /// One after another.
    pub values: Vec<f32>,
}

impl Vectors {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len() / self.length.max(1)
    }

    /// Writes them.
    ///
    /// # Errors
    /// [`StageError::File`].
    pub fn write(&self, path: &Path) -> Result<(), StageError> {
        make_folder_of(path)?;
        let length = u32::try_from(self.length).map_err(|error| StageError::file(path, error))?;
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(self.values.iter().flat_map(|value| value.to_le_bytes()));
        fs::write(path, bytes).map_err(|error| StageError::file(path, error))
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`StageError::File`], also where the file does not hold whole vectors.
    pub fn read(path: &Path) -> Result<Self, StageError> {
        let bytes = fs::read(path).map_err(|error| StageError::file(path, error))?;
        let words: Option<Vec<[u8; 4]>> = bytes.chunks(4).map(|word| word.try_into().ok()).collect();
        let (length, values) = words
            .as_deref()
            .and_then(<[_]>::split_first)
            .ok_or_else(|| StageError::file(path, "the file does not hold whole numbers"))?;
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 || values.is_empty() || !values.len().is_multiple_of(length) {
            return Err(StageError::file(path, "the file does not hold whole vectors"));
        }
        Ok(Self { length, values: values.iter().map(|&word| f32::from_le_bytes(word)).collect() })
    }
}
