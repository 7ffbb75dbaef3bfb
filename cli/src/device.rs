//! The backend that was asked for.

use heman_core::device::Device;
use heman_core::device::cpu::CpuBackend;
use heman_core::tfhe::ops::TfheBackend;
use heman_core::tfhe::params::set::TfheParams;
use heman_cuda::{CudaBackend, CudaError};

use crate::args::{DeviceChoice, Running};
use crate::error::CliError;

/// Backends of one kind, opened.
pub enum Opened {
    /// The host.
    Cpu([CpuBackend; 1]),
    /// CUDA devices.
    Cuda(Vec<CudaBackend>),
}

/// Opens the backends for plans of these parameters. `auto` says on stderr why a CUDA device that is there is not used.
pub fn open(running: &Running, params: &TfheParams) -> Result<Opened, CliError> {
    match &running.device {
        DeviceChoice::Cpu => Ok(Opened::Cpu([CpuBackend::new(running.threads)?])),
        DeviceChoice::Cuda(indices) => {
            Ok(Opened::Cuda(indices.iter().map(|&index| CudaBackend::open(index)).collect::<Result<_, _>>()?))
        }
        DeviceChoice::Wgpu(index) => match heman_wgpu::open(*index)? {},
        DeviceChoice::Auto => {
            let refused = match CudaBackend::open(0) {
                Ok(backend) => match backend.supports(params) {
                    Ok(()) => return Ok(Opened::Cuda(vec![backend])),
                    Err(error) => Some(error.to_string()),
                },
                Err(CudaError::NoDriver | CudaError::NoDevice { .. }) => None,
                Err(error) => Some(error.to_string()),
            };
            if let Some(reason) = refused {
                eprintln!("the CUDA device is not used, the CPU is: {reason}");
            }
            Ok(Opened::Cpu([CpuBackend::new(running.threads)?]))
        }
    }
}

/// The host for CKKS, which runs there only so far.
pub fn ckks_device(running: &Running) -> Result<CpuBackend, CliError> {
    if !matches!(running.device, DeviceChoice::Auto | DeviceChoice::Cpu) {
        return Err(CliError::new("CKKS runs on the CPU only so far; use --device cpu, or --scheme tfhe"));
    }
    Ok(CpuBackend::new(running.threads)?)
}

/// Bytes that CKKS may use.
pub fn memory_budget(running: &Running) -> u64 {
    running.memory.map_or_else(half_of_memory, |size| size.bytes)
}

fn half_of_memory() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib * 512)
}

/// What the backends are called, all together.
pub fn names<B: TfheBackend>(backends: &[B]) -> String {
    backends.iter().map(Device::name).collect::<Vec<_>>().join(" and ")
}

/// Evaluates an expression with a name bound to the opened backends, of whichever kind.
macro_rules! on_backend {
    ($opened:expr, |$backends:ident| $body:expr) => {
        match $opened {
            $crate::device::Opened::Cpu($backends) => $body,
            $crate::device::Opened::Cuda($backends) => $body,
        }
    };
}
pub(crate) use on_backend;
