//! The CUDA backend: everything that a TFHE inference needs, resident on one NVIDIA device.
//!
//! Kernels come from [`heman_kernels`] as machine code; building needs no CUDA, running needs the NVIDIA driver only.
//! All steps are queued on one stream, so that only downloads and [`heman_core::device::Device::sync`] wait.

mod device;
mod devices;
mod launch;
mod modules;
mod rates;
mod tfhe;

pub use device::CudaBackend;
pub use devices::{CudaDevice, CudaError, devices};
pub use rates::Rates;
pub use tfhe::bootstrap::{CudaBootstrapKey, CudaTables, operations};
pub use tfhe::keyswitch::CudaKeyswitchKey;
pub use tfhe::linear::CudaAffine;
pub use tfhe::rings::{has_ring, shared_bytes};
pub use tfhe::waves::Waves;
