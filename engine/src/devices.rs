//! Opens the devices that were asked for.

use heman_core::ckks::cpu::CpuRing;
use heman_core::ckks::ops::RnsDevice;
use heman_core::device::Device;
use heman_core::device::cpu::CpuBackend;
use heman_core::either::plan::Plan;
use heman_core::progress::Progress;
use heman_cuda::{CudaBackend, CudaError};

use crate::choice::DeviceChoice;
use crate::error::EngineError;

/// Devices of one kind, opened for plans of one parameter set.
pub struct Devices {
    pub(crate) opened: Opened,
    names: Vec<String>,
}

/// By scheme and kind.
pub(crate) enum Opened {
    /// TFHE on the host.
    TfheCpu(CpuBackend),
    /// TFHE on CUDA devices.
    TfheCuda(Vec<CudaBackend>),
    /// CKKS on the host.
    CkksCpu(Box<CpuRing>),
}

impl Devices {
    /// Opens devices for a plan; `threads` are the host's, 0 for all cores. Where the choice is ours, `progress` is
    /// told why a GPU that is there is not used.
    ///
    /// # Errors
    /// [`EngineError::Cuda`], [`EngineError::Wgpu`] for devices that are not there or cannot run,
    /// [`EngineError::OnlyCpu`].
    pub fn open(
        choice: &DeviceChoice,
        threads: usize,
        plan: &Plan,
        progress: &dyn Progress,
    ) -> Result<Self, EngineError> {
        match plan {
            Plan::Tfhe(plan) => match choice {
                DeviceChoice::Cpu => Self::tfhe_on_cpu(threads),
                DeviceChoice::Cuda(indices) => Ok(Self::tfhe_on_cuda(
                    indices.iter().map(|&index| CudaBackend::open(index)).collect::<Result<_, _>>()?,
                )),
                DeviceChoice::Wgpu(_) => Err(EngineError::OnlyCpu),
                DeviceChoice::Auto => {
                    let refused = match CudaBackend::open(0) {
                        Ok(backend) => match backend.supports(&plan.params.tfhe) {
                            Ok(()) => return Ok(Self::tfhe_on_cuda(vec![backend])),
                            Err(error) => Some(error.to_string()),
                        },
                        Err(CudaError::NoDriver | CudaError::NoDevice { .. }) => None,
                        Err(error) => Some(error.to_string()),
                    };
                    if let Some(reason) = refused {
                        progress.note(&format!("the CUDA device is not used, the CPU is: {reason}"));
                    }
                    Self::tfhe_on_cpu(threads)
                }
            },
            Plan::Ckks(plan) => match choice {
                DeviceChoice::Auto | DeviceChoice::Cpu => {
                    let backend = CpuBackend::new(threads)?;
                    let ring = backend.ring(&plan.params.ckks, plan.params.packing.occupancy())?;
                    Ok(Self { opened: Opened::CkksCpu(Box::new(ring)), names: vec![backend.name()] })
                }
                DeviceChoice::Cuda(_) | DeviceChoice::Wgpu(_) => Err(EngineError::OnlyCpu),
            },
        }
    }

    fn tfhe_on_cpu(threads: usize) -> Result<Self, EngineError> {
        let backend = CpuBackend::new(threads)?;
        Ok(Self { names: vec![backend.name()], opened: Opened::TfheCpu(backend) })
    }

    fn tfhe_on_cuda(backends: Vec<CudaBackend>) -> Self {
        Self { names: backends.iter().map(Device::name).collect(), opened: Opened::TfheCuda(backends) }
    }

    /// What the devices are called, all together.
    #[must_use]
    pub fn names(&self) -> String {
        self.names.join(" and ")
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names.len()
    }
}
