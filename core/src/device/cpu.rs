//! The host as a device, for both schemes: SIMD chosen at run time, batches spread over a thread pool of its own.

use std::sync::Arc;

use pulp::Arch;

use crate::device::Device;
use crate::device::error::{BackendError, require};

/// The environment variable that forces an instruction set, for tests.
pub const SIMD_VARIABLE: &str = "HEMAN_CPU_SIMD";

/// What it may say.
const SIMD_NAMES: [&str; 3] = ["scalar", "avx2", "avx512"];

/// What the environment forces; none where it says nothing. What the processor lacks is not used.
///
/// # Errors
/// A sentence with the names, if it is none of them.
pub fn forced_simd() -> Result<Option<&'static str>, String> {
    let Some(value) = std::env::var_os(SIMD_VARIABLE).filter(|value| !value.is_empty()) else { return Ok(None) };
    match SIMD_NAMES.into_iter().find(|&name| value == name) {
        Some(name) => Ok(Some(name)),
        None => {
            let (text, names) = (value.to_string_lossy(), SIMD_NAMES.join(", "));
            Err(format!("{SIMD_VARIABLE} is {text:?}; it must be one of {names}, or not be set"))
        }
    }
}

/// Runs every step on the host's cores.
pub struct CpuBackend {
    pub(crate) pool: Arc<rayon::ThreadPool>,
    pub(crate) arch: Arch,
}

impl CpuBackend {
    /// A backend on `threads` threads; 0 stands for all cores.
    ///
    /// The environment variable `HEMAN_CPU_SIMD` (`scalar`, `avx2`, `avx512`) forces an instruction set for tests; what
    /// the processor lacks is not used.
    ///
    /// # Errors
    /// [`BackendError::Device`] if the threads cannot be started, or the variable says something else.
    pub fn new(threads: usize) -> Result<Self, BackendError> {
        let forced = forced_simd().map_err(|message| BackendError::Device {
            step: "choosing an instruction set",
            device: "CPU".into(),
            message,
        })?;
        Self::with_simd(threads, forced)
    }

    /// As [`CpuBackend::new`] with the instruction set named in the code instead of the environment.
    ///
    /// # Errors
    /// [`BackendError::Device`] if the threads cannot be started.
    pub fn with_simd(threads: usize, forced: Option<&str>) -> Result<Self, BackendError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| {
            BackendError::Device { step: "starting threads", device: "CPU".into(), message: error.to_string() }
        })?;
        Ok(Self { pool: Arc::new(pool), arch: choose_arch(forced) })
    }

    /// Number of threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }
}

fn choose_arch(forced: Option<&str>) -> Arch {
    let best = Arch::new();
    match forced {
        Some("scalar") => Arch::Scalar,
        #[cfg(target_arch = "x86_64")]
        Some("avx2") => pulp::x86::V3::try_new().map_or(best, Arch::V3),
        _ => best,
    }
}

impl Device for CpuBackend {
    type Buffer = Vec<u32>;

    fn name(&self) -> String {
        let simd = match self.arch {
            Arch::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Arch::V3(_) => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Arch::V4(_) => "AVX-512",
            _ => "SIMD",
        };
        format!("CPU, {} threads, {simd}", self.threads())
    }

    fn allocate(&self, words: usize) -> Result<Vec<u32>, BackendError> {
        allocate(words)
    }

    fn upload(&self, words: &[u32], buffer: &mut Vec<u32>, at: usize) -> Result<(), BackendError> {
        require("upload", at.saturating_add(words.len()), buffer.len())?;
        buffer[at..at + words.len()].copy_from_slice(words);
        Ok(())
    }

    fn download(&self, buffer: &Vec<u32>, at: usize, words: &mut [u32]) -> Result<(), BackendError> {
        require("download", at.saturating_add(words.len()), buffer.len())?;
        words.copy_from_slice(&buffer[at..at + words.len()]);
        Ok(())
    }

    fn sync(&self) -> Result<(), BackendError> {
        Ok(())
    }
}

/// A host buffer, or an error instead of an abort where memory is short.
pub(crate) fn allocate(words: usize) -> Result<Vec<u32>, BackendError> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(words).map_err(|_| BackendError::OutOfMemory {
        step: "allocate",
        bytes: 4 * words as u64,
        device: "the host".into(),
    })?;
    buffer.resize(words, 0);
    Ok(buffer)
}
