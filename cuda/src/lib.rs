//! The CUDA backend: everything that a TFHE inference needs, resident on one NVIDIA device.
//!
//! Kernels come from [`heman_kernels`] as machine code; building needs no CUDA, running needs the NVIDIA driver only. All steps are
//! queued on one stream, so that only downloads and [`heman_core::device::Device::sync`] wait.

mod backend;
mod bootstrap;
mod devices;
mod keyswitch;
mod linear;
mod modules;
mod seeded_rows;
mod tuning;

pub use backend::{CudaBackend, Rates};
pub use bootstrap::{CudaBootstrapKey, CudaTables, operations};
pub use devices::{CudaDevice, CudaError, devices};
pub use keyswitch::CudaKeyswitchKey;
pub use linear::CudaAffine;
pub use tuning::Waves;
