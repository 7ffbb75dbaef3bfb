//! How fast devices are, in one unit for all of them: threads of the cost models.
//!
//! The planners predict thread-seconds of one thread that the models were measured on. A device is said to equal so
//! many of these threads, for each scheme, once it has enough to do side by side. Devices that were measured stand in a
//! file; for some others there are shipped predictions, which are marked as such.

mod cards;
mod file;
mod kinds;
mod rings;
mod shipped;

use heman_core::device::Device;
use heman_core::device::cpu::CpuBackend;
use heman_cuda::CudaDevice;
use heman_wgpu::WgpuDevice;
use serde::{Deserialize, Serialize};

pub(crate) use cards::{CARDS, card};
pub use file::ProfileError;
pub(crate) use kinds::Load;
pub use kinds::{CkksRates, KindRates, Shape, ShapeRates};
pub use rings::RingRate;

/// How fast a device runs one scheme.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speed {
    /// Threads of the cost model that the device equals when it has enough to do.
    pub threads: f64,
    /// Bootstraps of TFHE, or ciphertexts of CKKS in a ring of 2^13, that this takes side by side: fewer take as long.
    pub rows: u32,
}

/// How fast a device is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceProfile {
    /// Name of the device without its number, such as `NVIDIA GeForce RTX 4090 (Vulkan)`.
    pub name: String,
    /// The day it was measured, as YYYY-MM-DD; none for a prediction.
    pub measured: Option<String>,
    /// Speed of TFHE; none where the device does not run it.
    pub tfhe: Option<Speed>,
    /// Speed of CKKS; none where the device does not run it.
    pub ckks: Option<Speed>,
    /// What it does of each kind of CKKS's work, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ckks_rates: Option<CkksRates>,
    /// Seconds that a step takes at the least: its launch, and its share of waiting for the device.
    pub step_seconds: f64,
    /// Rates of TFHE's bootstraps by ring, where they are known: threads of the cost model tell them for one ring only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rings: Vec<RingRate>,
}

/// Devices that were measured, each name once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profiles {
    devices: Vec<DeviceProfile>,
}

impl Profiles {
    /// The measured devices.
    #[must_use]
    pub fn devices(&self) -> &[DeviceProfile] {
        &self.devices
    }

    /// Puts a device in the place of one of its name.
    pub fn insert(&mut self, device: DeviceProfile) {
        self.devices.retain(|known| known.name != device.name);
        self.devices.push(device);
    }

    fn find(&self, name: &str) -> Option<DeviceProfile> {
        self.devices.iter().find(|device| device.name == name).cloned()
    }

    /// The host's speed: measured, or as far as it was not, predicted.
    #[must_use]
    pub fn of_cpu(&self, backend: &CpuBackend) -> DeviceProfile {
        let name = backend.name();
        let shipped = shipped::cpu(&name, backend.threads());
        match self.find(&name) {
            Some(known) => {
                DeviceProfile { tfhe: known.tfhe.or(shipped.tfhe), ckks: known.ckks.or(shipped.ckks), ..known }
            }
            None => shipped,
        }
    }

    /// A CUDA device's speed, measured or predicted.
    #[must_use]
    pub fn of_cuda(&self, device: &CudaDevice) -> DeviceProfile {
        let name = cuda_name(device);
        self.find(&name).unwrap_or_else(|| cards::cuda(&name, &device.rates(), device.multiprocessors))
    }

    /// An adapter's speed, measured or predicted; none where nobody knows it.
    #[must_use]
    pub fn of_wgpu(&self, device: &WgpuDevice) -> Option<DeviceProfile> {
        let name = wgpu_name(device);
        self.find(&name).or_else(|| shipped::wgpu(&name))
    }
}

/// A device's name as it tells it, without its number: `wgpu 0, NVIDIA GeForce RTX 4090 (Vulkan)` is
/// `NVIDIA GeForce RTX 4090 (Vulkan)`.
pub(crate) fn bare_name(name: &str) -> String {
    let numbered = ["CUDA ", "wgpu "].iter().find_map(|kind| name.strip_prefix(kind)?.split_once(", "));
    match numbered {
        Some((number, bare)) if number.bytes().all(|b| b.is_ascii_digit()) => bare.into(),
        _ => name.into(),
    }
}

/// A CUDA device's name without its number.
pub(crate) fn cuda_name(device: &CudaDevice) -> String {
    let (major, minor) = device.compute_capability;
    format!("{} (sm_{major}{minor})", device.name)
}

/// An adapter's name without its number.
pub(crate) fn wgpu_name(device: &WgpuDevice) -> String {
    format!("{} ({})", device.name, device.interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_numbers_of_devices() {
        for (name, bare) in [
            ("wgpu 0, Apple M3 (Metal)", "Apple M3 (Metal)"),
            ("CUDA 12, NVIDIA H100 (sm_90)", "NVIDIA H100 (sm_90)"),
            ("CPU, 2 threads, AVX-512", "CPU, 2 threads, AVX-512"),
            ("wgpu x, y", "wgpu x, y"),
        ] {
            assert_eq!(bare_name(name), bare);
        }
    }
}
