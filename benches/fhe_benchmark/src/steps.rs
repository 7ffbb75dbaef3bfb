//! How long the parts of a stage take, for `server_reported_steps.json`.

use std::path::Path;
use std::time::Instant;

use crate::error::StageError;

/// A clock that is read at the end of each part.
pub struct Steps {
    last: Instant,
    parts: Vec<(&'static str, f64)>,
}

impl Steps {
    /// Starts the clock.
    #[must_use]
    pub fn begin() -> Self {
        Self { last: Instant::now(), parts: Vec::new() }
    }

    /// A part is over.
    pub fn end(&mut self, name: &'static str) {
        let now = Instant::now();
        self.parts.push((name, (now - self.last).as_secs_f64()));
        self.last = now;
    }

    /// Writes the seconds of all parts by name.
    ///
    /// # Errors
    /// [`StageError::File`].
    pub fn write(&self, path: &Path) -> Result<(), StageError> {
        let object: serde_json::Map<String, serde_json::Value> =
            self.parts.iter().map(|&(name, seconds)| (name.to_string(), seconds.into())).collect();
        let text = serde_json::Value::Object(object).to_string();
        std::fs::write(path, text).map_err(|error| StageError::file(path, error))
    }
}
