//! What a device can fail with.

/// What a backend can fail with.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum BackendError {
    /// Memory for a batch is not to be had; a smaller batch may do.
    #[error("{step}: {} not fit into the memory of {device}", amount(*bytes))]
    OutOfMemory {
        /// Which step.
        step: &'static str,
        /// How much was asked for; 0 where the device does not tell.
        bytes: u64,
        /// Where.
        device: String,
    },
    /// Shapes that do not fit together.
    #[error("{step}: expected {expected}, got {found}")]
    Shape {
        /// Which step.
        step: &'static str,
        /// What was expected.
        expected: String,
        /// What came.
        found: String,
    },
    /// The device failed.
    #[error("{step} failed on {device}: {message}")]
    Device {
        /// Which step.
        step: &'static str,
        /// Where.
        device: String,
        /// The driver's words.
        message: String,
    },
}

fn amount(bytes: u64) -> String {
    if bytes == 0 { "what it takes does".into() } else { format!("{bytes} bytes do") }
}

/// Fails unless a buffer holds at least `expected` words.
///
/// # Errors
/// [`BackendError::Shape`].
pub fn require(step: &'static str, expected: usize, found: usize) -> Result<(), BackendError> {
    if found < expected {
        let (expected, found) = (format!("a buffer of at least {expected} words"), format!("{found}"));
        return Err(BackendError::Shape { step, expected, found });
    }
    Ok(())
}
