//! What an inference can fail with.

use heman_core::ckks::error::CkksError;
use heman_core::device::error::BackendError;
use heman_core::tfhe::session::ExecError;
use heman_cuda::CudaError;
use heman_wgpu::WgpuError;

use crate::profile::ProfileError;

/// Why devices were not opened, or an inference did not run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The host failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A CUDA device cannot be used.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// A wgpu adapter cannot be used.
    #[error(transparent)]
    Wgpu(#[from] WgpuError),
    /// A TFHE session failed.
    #[error(transparent)]
    Tfhe(#[from] ExecError),
    /// A CKKS session failed.
    #[error(transparent)]
    Ckks(#[from] CkksError),
    /// A device whose words are not those of the host.
    #[error("{0} computes wrong results")]
    Wrong(String),
    /// Keys or inputs of the other scheme.
    #[error("the {0} is for the other scheme than the plan")]
    Scheme(&'static str),
    /// A request failed as often as it may.
    #[error("given up after {attempts} attempts: {reason}")]
    GivenUp {
        /// Passes that failed.
        attempts: u32,
        /// Why the last one did.
        reason: String,
    },
    /// A device profile is not used.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// There is no device to plan for.
    #[error("there is nothing to plan for: {0}")]
    NoTarget(String),
    /// Where inputs come from, or outputs go to, failed.
    #[error(transparent)]
    Outside(Box<dyn std::error::Error + Send + Sync>),
}

impl EngineError {
    /// Whether every other request of the plan would fail on the device in the same way.
    pub(crate) fn is_for_all(&self) -> bool {
        matches!(self, Self::Ckks(CkksError::Memory { .. }))
    }

    /// Whether another device may do better: it is not about the plan, the key or the inputs.
    pub(crate) fn is_of_a_device(&self) -> bool {
        match self {
            Self::Backend(_) | Self::Cuda(_) | Self::Wgpu(_) | Self::Wrong(_) => true,
            Self::Tfhe(error) => matches!(error, ExecError::Backend(_)),
            Self::Ckks(error) => matches!(error, CkksError::Device(_) | CkksError::Memory { .. }),
            Self::GivenUp { .. } | Self::Scheme(_) | Self::Outside(_) | Self::Profile(_) | Self::NoTarget(_) => false,
        }
    }
}
