//! The device, its stream and its memory.

use std::sync::Arc;

use bytemuck::Pod;
use cudarc::driver::sys::{CUdevice_attribute, CUresult};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, DeviceRepr, DriverError, LaunchConfig, result, sys,
};
use heman_core::device::error::{BackendError, require};
use heman_core::device::{DEFAULT_BUFFER_BYTES, Device};
use heman_core::tfhe::files::ciphertexts::EncryptedInput;
use heman_core::tfhe::ops::InputOps;
use heman_kernels::{Image, LWE_LINEAR};

use crate::devices::CudaError;
use crate::modules::Modules;
use crate::seeded_rows::SeededRows;

/// Runs every step on one NVIDIA device, in the order of the calls.
pub struct CudaBackend {
    pub(crate) stream: Arc<CudaStream>,
    modules: Modules,
    name: String,
    multiprocessors: usize,
    shared_bytes: usize,
    rates: Rates,
}

/// What the device can do at most, from its data sheet's counts a clock and the clock that the driver reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Double-precision instructions a second, a fused multiply-add being one.
    pub doubles: f64,
    /// 32-bit integer multiply-adds a second.
    pub words: f64,
    /// 8-bit integer multiply-adds a second on the tensor cores.
    pub bytes: f64,
}

impl Rates {
    /// Source: CUDA C++ programming guide, throughput of arithmetic instructions; tensor core rates of NVIDIA's data sheets.
    fn new(multiprocessors: usize, clock_hz: f64, compute_capability: (i32, i32)) -> Self {
        let clocks = multiprocessors as f64 * clock_hz;
        let (doubles, bytes) = match compute_capability {
            (8, 0) => (32.0, 2048.0),
            (9, 0) => (64.0, 4096.0),
            (10, 0) => (64.0, 8192.0),
            _ => (2.0, 1024.0),
        };
        Self { doubles: clocks * doubles, words: clocks * 64.0, bytes: clocks * bytes }
    }
}

/// A parameter block as a kernel argument.
#[repr(transparent)]
pub(crate) struct Block<T>(pub T);

// SAFETY: plain words without padding, laid out as the kernel's block of the same name.
unsafe impl<T: Pod> DeviceRepr for Block<T> {}

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

/// Grid of a launch that must not be larger than the driver takes.
pub(crate) fn config(grid: (usize, usize), threads: usize, shared_bytes: usize) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (grid.0 as u32, grid.1 as u32, 1),
        block_dim: (threads as u32, 1, 1),
        shared_mem_bytes: shared_bytes as u32,
    }
}

/// Blocks that a grid takes in its second dimension.
pub(crate) const MOST_TILES: usize = 65_535;

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

/// Launches with the arguments in order and turns the driver's error into ours.
macro_rules! launch {
    ($backend:expr, $step:expr, $function:expr, $config:expr, $($arg:expr),+ $(,)?) => {{
        use cudarc::driver::PushKernelArg as _;
        let mut builder = $backend.stream.launch_builder($function);
        $(builder.arg($arg);)+
        // SAFETY: the arguments are those of the kernel's signature, in order; buffers were checked to be as long as the
        // kernel's comment says.
        unsafe { builder.launch($config) }.map(|_| ()).map_err(|error| $backend.error($step, error, 0))
    }};
}
pub(crate) use launch;

impl InputOps for CudaBackend {
    fn upload_inputs(
        &self,
        inputs: &EncryptedInput,
        (first, count): (usize, usize),
        row_words: usize,
        buffer: &mut CudaSlice<u32>,
        at: usize,
    ) -> Result<(), BackendError> {
        const STEP: &str = "inputs";
        let values = inputs.bodies.len() / inputs.images as usize;
        require(STEP, at.saturating_add(values * count * row_words), buffer.len())?;
        let bodies = self.load(STEP, &inputs.bodies[first * values..(first + count) * values])?;
        for (image, seed) in inputs.seeds[first..first + count].iter().enumerate() {
            let rows = SeededRows { seed, mask_words: row_words - 1, body_words: 1, stride: count * row_words };
            let mut target = buffer.slice_mut(at + image * row_words..at + values * count * row_words);
            let bodies = bodies.slice(image * values..(image + 1) * values);
            rows.expand(self, STEP, 0..values, &bodies, &mut target)?;
        }
        Ok(())
    }
}
