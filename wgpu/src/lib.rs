//! The wgpu backend: both schemes on GPUs of any make, by Vulkan, Metal or DirectX 12.
//!
//! Kernels are WGSL ([`heman_kernels::wgsl`]) and integer arithmetic only: the words of both schemes are those of the
//! host's exact mirrors, bit for bit. Building needs no driver; one is loaded when devices are asked for.

mod adapters;
mod arena;
pub mod bounds;
mod ckks;
mod context;
mod device;
mod error;
mod pipelines;
mod queue;
mod rate;
mod recorder;
mod tfhe;

pub use adapters::{WgpuDevice, devices};
pub use ckks::{WgpuCiphertext, WgpuGaloisKey, WgpuMap, WgpuPlaintext, WgpuRing, WgpuSwitchKey};
pub use context::Restrictions;
pub use device::{WgpuBackend, WgpuBuffer};
pub use error::WgpuError;
pub use tfhe::{WgpuAffine, WgpuBootstrapKey, WgpuKeyswitchKey, WgpuTables};
