//! CUDA devices: what is there, and why it cannot be used.

use cudarc::driver::{result, sys};

use crate::rates::Rates;

/// A CUDA device that the driver reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaDevice {
    /// Ordinal.
    pub index: usize,
    /// The driver's name for it.
    pub name: String,
    /// Compute capability, major and minor.
    pub compute_capability: (i32, i32),
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Multiprocessors.
    pub multiprocessors: usize,
    /// The driver's clock, in kilohertz.
    pub clock_khz: usize,
}

impl CudaDevice {
    /// The device's ceilings.
    #[must_use]
    pub fn rates(&self) -> Rates {
        Rates::new(self.multiprocessors, 1e3 * self.clock_khz as f64, self.compute_capability)
    }
}

/// Why CUDA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    /// The driver library is not there.
    #[error("no NVIDIA driver (libcuda) on this machine")]
    NoDriver,
    /// The driver answers with an error.
    #[error("the NVIDIA driver reports {0}")]
    Driver(String),
    /// No device of this number.
    #[error("there is no CUDA device {index}; {count} found")]
    NoDevice {
        /// What was asked for.
        index: usize,
        /// Devices found.
        count: usize,
    },
    /// Neither the embedded images nor a run-time compiler fit the device.
    #[error("{device} cannot run the embedded kernels ({load}), and they cannot be compiled for it: {compile}")]
    NoImage {
        /// The driver's name for it.
        device: String,
        /// Why the images did not load.
        load: String,
        /// Why compiling did not help.
        compile: String,
    },
}

impl From<result::DriverError> for CudaError {
    fn from(error: result::DriverError) -> Self {
        Self::Driver(format!("{error:?}"))
    }
}

/// Lists the devices; never panics, whatever is or is not installed.
///
/// # Errors
/// [`CudaError::NoDriver`] without a driver library, [`CudaError::Driver`] if it cannot be initialised.
pub fn devices() -> Result<Vec<CudaDevice>, CudaError> {
    // SAFETY: only asks the dynamic loader whether the library opens; cudarc panics later if it does not, hence the check.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudaError::NoDriver);
    }
    result::init()?;
    let count = result::device::get_count()?;
    (0..count).map(describe).collect()
}

fn describe(index: i32) -> Result<CudaDevice, CudaError> {
    let device = result::device::get(index)?;
    // SAFETY: `device` was returned by the driver for an ordinal below its count.
    unsafe {
        let major = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
        let minor = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR;
        let multiprocessors = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let clock = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE;
        Ok(CudaDevice {
            index: index as usize,
            name: result::device::get_name(device)?,
            compute_capability: (
                result::device::get_attribute(device, major)?,
                result::device::get_attribute(device, minor)?,
            ),
            memory_bytes: result::device::total_mem(device)? as u64,
            multiprocessors: result::device::get_attribute(device, multiprocessors)?.max(0) as usize,
            clock_khz: result::device::get_attribute(device, clock)?.max(0) as usize,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_devices_is_an_answer_on_any_machine() {
        match devices() {
            Ok(devices) => assert!(devices.iter().all(|d| !d.name.is_empty())),
            Err(error) => println!("skipped: no CUDA device ({error})"),
        }
    }
}
