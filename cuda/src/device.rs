//! The device, its stream and its memory.

use std::sync::Arc;

use cudarc::driver::sys::{CUdevice_attribute, CUresult};
use cudarc::driver::{CudaContext, CudaFunction, CudaSlice, CudaStream, DeviceRepr, DriverError, result, sys};
use heman_core::device::error::{BackendError, require};
use heman_core::device::{DEFAULT_BUFFER_BYTES, Device};
use heman_kernels::{Image, LWE_LINEAR};

use crate::devices::CudaError;
use crate::modules::Modules;
use crate::rates::Rates;

/// Runs every step on one NVIDIA device, in the order of the calls.
pub struct CudaBackend {
    pub(crate) stream: Arc<CudaStream>,
    modules: Modules,
    name: String,
    multiprocessors: usize,
    shared_bytes: usize,
    rates: Rates,
}

impl CudaBackend {
    /// Opens device `index`.
    ///
    /// # Errors
    /// [`CudaError::NoDriver`], [`CudaError::NoDevice`], or what the driver says.
    pub fn open(index: usize) -> Result<Self, CudaError> {
        // SAFETY: only asks the dynamic loader whether the library opens; cudarc panics later if it does not, hence the check.
        if !unsafe { sys::is_culib_present() } {
            return Err(CudaError::NoDriver);
        }
        result::init()?;
        let count = result::device::get_count()?.max(0) as usize;
        if index >= count {
            return Err(CudaError::NoDevice { index, count });
        }
        let context = CudaContext::new(index)?;
        // SAFETY: all work goes through one stream, which keeps the order without events.
        unsafe { context.disable_event_tracking() };
        let attribute = |attribute| context.attribute(attribute).map(|value| value.max(0) as usize);
        let multiprocessors = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        let shared_bytes = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        let (major, minor) = context.compute_capability()?;
        let clock_hz = 1e3 * attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)? as f64;
        let rates = Rates::new(multiprocessors, clock_hz, (major, minor));
        let name = format!("CUDA {index}, {} (sm_{major}{minor})", context.name()?);
        let modules = Modules::new(context.clone());
        // A stream of its own: a device opened twice has two queues that overlap.
        Ok(Self { stream: context.new_stream()?, modules, name, multiprocessors, shared_bytes, rates })
    }

    /// The device's ceilings.
    #[must_use]
    pub fn rates(&self) -> Rates {
        self.rates
    }

    /// Multiprocessors of the device.
    #[must_use]
    pub fn multiprocessors(&self) -> usize {
        self.multiprocessors
    }

    /// The driver's number of the device.
    pub(crate) fn ordinal(&self) -> usize {
        self.stream.context().ordinal()
    }

    /// Shared memory that one block may use, in bytes.
    #[must_use]
    pub fn shared_bytes(&self) -> usize {
        self.shared_bytes
    }

    /// How the kernels come to this device.
    ///
    /// # Errors
    /// [`CudaError::NoImage`] if they do not.
    pub fn image(&self) -> Result<String, CudaError> {
        self.modules.origin(&LWE_LINEAR)
    }

    /// A kernel of an image.
    pub(crate) fn function(
        &self,
        step: &'static str,
        image: &Image,
        name: &str,
        shared_bytes: usize,
    ) -> Result<CudaFunction, BackendError> {
        self.modules.function(image, name, shared_bytes).map_err(|error| self.device(step, error.to_string()))
    }

    fn device(&self, step: &'static str, message: String) -> BackendError {
        BackendError::Device { step, device: self.name.clone(), message }
    }

    /// The driver's error as ours; `bytes` is what an allocation asked for.
    pub(crate) fn error(&self, step: &'static str, error: DriverError, bytes: usize) -> BackendError {
        if error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            BackendError::OutOfMemory { step, bytes: bytes as u64, device: self.name.clone() }
        } else {
            self.device(step, CudaError::from(error).to_string())
        }
    }

    /// Room for `count` values, content undefined.
    pub(crate) fn reserve<T: DeviceRepr>(
        &self,
        step: &'static str,
        count: usize,
    ) -> Result<CudaSlice<T>, BackendError> {
        // The driver has no empty allocations.
        let count = count.max(1);
        // SAFETY: the content is undefined until something writes it; every user writes before it reads.
        unsafe { self.stream.alloc(count) }.map_err(|error| self.error(step, error, count * size_of::<T>()))
    }

    /// Values on the device.
    pub(crate) fn load<T: DeviceRepr>(&self, step: &'static str, values: &[T]) -> Result<CudaSlice<T>, BackendError> {
        let mut slice = self.reserve(step, values.len())?;
        if !values.is_empty() {
            self.stream
                .memcpy_htod(values, &mut slice.slice_mut(..values.len()))
                .map_err(|e| self.error(step, e, 0))?;
        }
        Ok(slice)
    }
}

impl Device for CudaBackend {
    type Buffer = CudaSlice<u32>;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn allocate(&self, words: usize) -> Result<CudaSlice<u32>, BackendError> {
        self.reserve("allocate", words)
    }

    fn upload(&self, words: &[u32], buffer: &mut CudaSlice<u32>, at: usize) -> Result<(), BackendError> {
        require("upload", at.saturating_add(words.len()), buffer.len())?;
        if words.is_empty() {
            return Ok(());
        }
        let mut target = buffer.slice_mut(at..at + words.len());
        self.stream.memcpy_htod(words, &mut target).map_err(|error| self.error("upload", error, 0))
    }

    fn download(&self, buffer: &CudaSlice<u32>, at: usize, words: &mut [u32]) -> Result<(), BackendError> {
        require("download", at.saturating_add(words.len()), buffer.len())?;
        if words.is_empty() {
            return Ok(());
        }
        let source = buffer.slice(at..at + words.len());
        self.stream.memcpy_dtoh(&source, words).map_err(|error| self.error("download", error, 0))?;
        self.sync()
    }

    fn buffer_bytes(&self) -> usize {
        // Most of what keys, maps and tables have left; scratch of the driver and other processes take the rest.
        self.stream.context().mem_get_info().map_or(DEFAULT_BUFFER_BYTES, |(free, _)| free / 10 * 7)
    }

    fn sync(&self) -> Result<(), BackendError> {
        self.stream.synchronize().map_err(|error| self.error("waiting for the device", error, 0))
    }
}
