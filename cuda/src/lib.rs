//! The CUDA backend: everything that an inference needs by either scheme, resident on one NVIDIA device.
//!
//! Kernels come from [`heman_kernels`] as machine code; building needs no CUDA, running needs the NVIDIA driver only.
//! All steps are queued on one stream, so that only downloads and [`heman_core::device::Device::sync`] wait.

mod ckks;
mod device;
mod devices;
mod launch;
mod modules;
mod pool;
mod queues;
mod rates;
mod roots_by_thread;
mod tfhe;
mod uploads;

pub use ckks::{CudaCiphertext, CudaGaloisKey, CudaMap, CudaPlaintext, CudaRing, CudaSwitchKey};
pub use device::CudaBackend;
pub use devices::{CudaDevice, CudaError, devices};
pub use rates::Rates;
pub use tfhe::bootstrap::{CudaBootstrapKey, CudaTables};
pub use tfhe::counts::{ExactOperations, operations};
pub use tfhe::keyswitch::CudaKeyswitchKey;
pub use tfhe::linear::CudaAffine;
pub use tfhe::rings::{has_ring, shared_bytes};
pub use tfhe::transform::Transform;
pub use tfhe::waves::Waves;
