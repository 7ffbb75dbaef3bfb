//! What an inference can fail with.

use heman_core::ckks::error::CkksError;
use heman_core::device::error::BackendError;
use heman_core::tfhe::session::ExecError;
use heman_cuda::CudaError;
use heman_wgpu::WgpuError;

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
    /// A device that cannot run plans of this scheme.
    #[error("CKKS runs on the CPU only so far")]
    OnlyCpu,
    /// Keys or inputs of the other scheme.
    #[error("the {0} is for the other scheme than the plan")]
    Scheme(&'static str),
    /// Where inputs come from, or outputs go to, failed.
    #[error(transparent)]
    Outside(Box<dyn std::error::Error + Send + Sync>),
}
