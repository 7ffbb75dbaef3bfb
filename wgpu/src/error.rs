//! Why an adapter cannot be used, and what it failed with.

use std::sync::Mutex;

use heman_core::device::error::BackendError;

/// Why wgpu cannot be used.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum WgpuError {
    /// No graphics driver, or none that knows an adapter.
    #[error("no graphics adapter: no Vulkan, Metal or DirectX 12 driver is installed, or it knows no device")]
    NoAdapter,
    /// An adapter that is not there.
    #[error("there is no wgpu adapter {index}: there {} (heman devices lists them)", if *.count == 1 { "is one".to_string() } else { format!("are {count}") })]
    NoSuchAdapter {
        /// The number that was asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// An adapter below what kernels need.
    #[error("{name} lacks {lacks}")]
    Unsuitable {
        /// The adapter.
        name: String,
        /// What it lacks.
        lacks: String,
    },
    /// The driver refused.
    #[error("{name} could not be opened: {message}")]
    Open {
        /// The adapter.
        name: String,
        /// The driver's words.
        message: String,
    },
}

/// The first thing that went wrong on a device, as the driver's callbacks tell it.
#[derive(Default)]
pub(crate) struct Failure(Mutex<Option<(bool, String)>>);

impl Failure {
    /// Keeps the first failure; `is_memory` if it is for want of memory.
    pub fn set(&self, is_memory: bool, message: String) {
        let mut first = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        first.get_or_insert((is_memory, message));
    }

    /// Fails if anything did. Want of memory is told once: less may fit.
    pub fn check(&self, step: &'static str, device: &str) -> Result<(), BackendError> {
        let mut first = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*first {
            None => Ok(()),
            Some((true, _)) => {
                *first = None;
                Err(BackendError::OutOfMemory { step, bytes: 0, device: device.into() })
            }
            Some((false, message)) => {
                Err(BackendError::Device { step, device: device.into(), message: message.clone() })
            }
        }
    }
}
