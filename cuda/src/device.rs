//! The device, its stream and its memory.

use std::sync::Arc;

use cudarc::driver::sys::{CUdevice_attribute, CUresult};
use cudarc::driver::{CudaContext, CudaFunction, CudaSlice, CudaStream, DeviceRepr, DriverError, result, sys};
use heman_core::device::error::{BackendError, require};
use heman_core::device::{DEFAULT_BUFFER_BYTES, Device};
use heman_core::tfhe::params::set::ParameterSet;
use heman_kernels::{Image, LWE_LINEAR};

use crate::devices::CudaError;
use crate::modules::Modules;
use crate::pool;
use crate::queues::Queue;
use crate::rates::Rates;
use crate::tfhe::transform::Transform;

/// Runs every step on one NVIDIA device, in the order of the calls.
pub struct CudaBackend {
    pub(crate) stream: Arc<CudaStream>,
    modules: Arc<Modules>,
    name: String,
    multiprocessors: usize,
    shared_bytes: usize,
    rates: Rates,
    /// What was asked for instead of the fastest.
    forced: Option<Transform>,
    /// Whether a block of CKKS's transforms holds a whole polynomial, where that was asked for.
    whole: Option<bool>,
    queue: Arc<Queue>,
}

impl CudaBackend {
    /// Opens device `index`.
    ///
    /// For tests and benchmarks, environment variables force what is otherwise chosen: `HEMAN_CUDA_TRANSFORM`
    /// (`doubles`, `exact`) the transform of the bootstrap, `HEMAN_CUDA_POLYNOMIALS` (`whole`, `parts`) whether a block
    /// of CKKS's transforms holds a whole polynomial of up to 2^14 words, where shared memory does.
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
        // SAFETY: kernels and frees go through one stream, which keeps the order without events; copies beside them have
        // events of their own (`uploads`).
        unsafe { context.disable_event_tracking() };
        let attribute = |attribute| context.attribute(attribute).map(|value| value.max(0) as usize);
        let multiprocessors = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        let shared_bytes = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        let (major, minor) = context.compute_capability()?;
        let clock_hz = 1e3 * attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)? as f64;
        let rates = Rates::new(multiprocessors, clock_hz, (major, minor));
        let name = format!("CUDA {index}, {} (sm_{major}{minor})", context.name()?);
        let modules = Arc::new(Modules::new(context.clone()));
        let forced = std::env::var("HEMAN_CUDA_TRANSFORM").ok().and_then(|name| Transform::named(&name));
        let whole = std::env::var("HEMAN_CUDA_POLYNOMIALS").ok().and_then(|name| match name.as_str() {
            "whole" => Some(true),
            "parts" => Some(false),
            _ => None,
        });
        pool::keep_freed(&context)?;
        // A stream of its own: a device opened twice has two queues that overlap.
        let (stream, queue) = (context.new_stream()?, Arc::new(Queue::new(index)));
        Ok(Self { stream, modules, name, multiprocessors, shared_bytes, rates, forced, whole, queue })
    }

    /// The same device with a transform of the bootstrap instead of the fastest one.
    #[must_use]
    pub fn with_transform(self, transform: Transform) -> Self {
        Self { forced: Some(transform), ..self }
    }

    /// The transform by which bootstraps of a set are computed: the fastest one by [`Transform::fastest`], unless
    /// another is asked for; the exact one where doubles have no kernel, not the precision or not the shared memory.
    #[must_use]
    pub fn transform(&self, params: &ParameterSet) -> Transform {
        self.forced.unwrap_or_else(|| match Transform::fastest(params, &self.rates) {
            Transform::Doubles if self.shape(params).is_ok() => Transform::Doubles,
            _ => Transform::Exact,
        })
    }

    /// Whether a block of CKKS's transforms is to hold a whole polynomial, if that was asked for.
    pub(crate) fn forced_whole(&self) -> Option<bool> {
        self.whole
    }

    /// The same queue of the same device.
    pub(crate) fn handle(&self) -> Self {
        let Self { stream, modules, name, .. } = self;
        let (multiprocessors, shared_bytes) = (self.multiprocessors, self.shared_bytes);
        let (rates, forced, whole) = (self.rates, self.forced, self.whole);
        let (stream, modules, name) = (stream.clone(), modules.clone(), name.clone());
        let queue = self.queue.clone();
        Self { stream, modules, name, multiprocessors, shared_bytes, rates, forced, whole, queue }
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

    /// Gives blocks no more shared memory than this, as on a smaller card.
    #[must_use]
    pub fn with_shared_bytes(self, bytes: usize) -> Self {
        Self { shared_bytes: self.shared_bytes.min(bytes), ..self }
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

    /// This queue's share of the bytes that nobody has.
    pub(crate) fn free_bytes(&self) -> Result<u64, BackendError> {
        let context = self.stream.context();
        let free = || Ok(context.mem_get_info()?.0 as u64 + pool::kept_bytes(context)?);
        let free = free().map_err(|error| self.error("asking for memory", error, 0))?;
        Ok(free / self.queue.count() as u64)
    }

    /// A second try where memory was short: what was freed behind work that still runs is there when that is done.
    pub(crate) fn again<T>(
        &self,
        error: DriverError,
        room: impl FnOnce() -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        if error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            self.stream.synchronize()?;
            return room();
        }
        Err(error)
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
        let room = || unsafe { self.stream.alloc(count) };
        room().or_else(|error| self.again(error, room)).map_err(|error| self.error(step, error, count * size_of::<T>()))
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
        self.free_bytes().map_or(DEFAULT_BUFFER_BYTES, |free| (free / 10 * 7) as usize)
    }

    fn sync(&self) -> Result<(), BackendError> {
        self.stream.synchronize().map_err(|error| self.error("waiting for the device", error, 0))
    }
}
