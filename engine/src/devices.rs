//! Opens the devices that were asked for.

use std::sync::OnceLock;

use heman_core::ckks::cpu::CpuRing;
use heman_core::ckks::ops::RnsDevice;
use heman_core::device::Device;
use heman_core::device::cpu::CpuBackend;
use heman_core::either::plan::Plan;
use heman_core::progress::Progress;
use heman_cuda::{CudaBackend, CudaRing};
use heman_wgpu::{WgpuBackend, WgpuRing};

use crate::candidates::{Candidates, Place, open_first};
use crate::choice::DeviceChoice;
use crate::error::EngineError;
use crate::predict::Work;
use crate::profile::Profiles;

/// What is to run, and where.
pub struct Wanted<'a> {
    /// The devices.
    pub choice: &'a DeviceChoice,
    /// Threads of the host, 0 for all cores.
    pub threads: usize,
    /// Inputs that come at a time: what times are predicted for.
    pub inputs: usize,
    /// How fast devices are, as far as that was measured.
    pub profiles: &'a Profiles,
}

/// Devices of one kind, opened for plans of one parameter set.
pub struct Devices {
    pub(crate) opened: Opened,
    pub(crate) names: Vec<String>,
    /// Threads of the host, if it evaluates.
    pub(crate) threads: Option<usize>,
    places: Vec<Place>,
    /// What to do where keys cannot be loaded.
    others: Option<Others>,
    /// The devices in their place, once that has happened.
    next: OnceLock<Box<Devices>>,
}

/// Devices that were not taken, because another one was predicted to be faster.
struct Others {
    candidates: Candidates,
    /// The position of the next one.
    next: usize,
    threads: usize,
}

/// By scheme and kind.
pub(crate) enum Opened {
    /// TFHE on the host.
    TfheCpu(CpuBackend),
    /// TFHE on CUDA devices.
    TfheCuda(Vec<CudaBackend>),
    /// TFHE on wgpu adapters.
    TfheWgpu(Vec<WgpuBackend>),
    /// CKKS on the host.
    CkksCpu(Box<CpuRing>),
    /// CKKS on CUDA devices.
    CkksCuda(Vec<CudaRing>),
    /// CKKS on a wgpu adapter, and the bytes that its kernels reach.
    CkksWgpu(Box<WgpuRing>, u64),
}

impl Devices {
    /// Opens devices for a plan. Where the choice is ours, it falls on the device with the least predicted time, and
    /// `progress` is told which one that is and why, unless there is only the host.
    ///
    /// # Errors [`EngineError::Cuda`], [`EngineError::Wgpu`] for devices that are not there or cannot run, or what a
    /// device says of parameters that it does not take.
    pub fn open(wanted: &Wanted<'_>, plan: &Plan, progress: &dyn Progress) -> Result<Self, EngineError> {
        let threads = wanted.threads;
        match wanted.choice {
            DeviceChoice::Cpu => Self::on_cpu(CpuBackend::new(threads)?, plan),
            DeviceChoice::Cuda(indices) => Self::on_cuda(indices, plan),
            DeviceChoice::Wgpu(index) => Self::on_wgpu(*index, plan),
            DeviceChoice::Auto => {
                let work = Work::of(plan, wanted.inputs);
                let candidates = Candidates::find(&CpuBackend::new(threads)?, wanted.profiles, &work);
                Self::first_of(candidates, 0, threads, plan, progress)
            }
        }
    }

    /// The first candidate that opens, from `first` on.
    fn first_of(
        candidates: Candidates,
        first: usize,
        threads: usize,
        plan: &Plan,
        progress: &dyn Progress,
    ) -> Result<Self, EngineError> {
        let open = |place| match place {
            Place::Cpu => Self::on_cpu(CpuBackend::new(threads)?, plan),
            Place::Cuda(index) => Self::on_cuda(&[index], plan),
            Place::Wgpu(index) => Self::on_wgpu(index, plan),
        };
        let (opened, at, reason) = open_first(&candidates, first, open)?;
        if let Some(reason) = reason {
            progress.note(&reason);
        }
        Ok(Self { others: Some(Others { candidates, next: at + 1, threads }), ..opened })
    }

    /// The devices that take the place of these, whose keys could not be loaded; none if there are none.
    pub(crate) fn replaced(
        &self,
        error: &EngineError,
        plan: &Plan,
        progress: &dyn Progress,
    ) -> Option<Result<&Self, EngineError>> {
        let others = self.others.as_ref().filter(|others| others.next < others.candidates.ranked.len())?;
        if !error.is_of_a_device() {
            return None;
        }
        let failed = others.candidates.ranked[others.next - 1].place;
        progress.note(&format!("{failed} is not used: {error}"));
        let next = Self::first_of(others.candidates.clone(), others.next, others.threads, plan, progress);
        Some(next.map(|next| self.next.get_or_init(|| Box::new(next)).as_ref()))
    }

    fn new(opened: Opened, names: Vec<String>, places: Vec<Place>) -> Self {
        Self { opened, names, threads: None, places, others: None, next: OnceLock::new() }
    }

    fn on_cpu(backend: CpuBackend, plan: &Plan) -> Result<Self, EngineError> {
        let (names, threads) = (vec![backend.name()], Some(backend.threads()));
        let opened = match plan {
            Plan::Tfhe(_) => Opened::TfheCpu(backend),
            Plan::Ckks(plan) => {
                let ring = backend.ring(&plan.params.ckks, plan.params.packing.occupancy())?;
                Opened::CkksCpu(Box::new(ring))
            }
        };
        Ok(Self { threads, ..Self::new(opened, names, vec![Place::Cpu]) })
    }

    fn on_cuda(indices: &[usize], plan: &Plan) -> Result<Self, EngineError> {
        let backends = indices.iter().map(|&index| CudaBackend::open(index)).collect::<Result<Vec<_>, _>>()?;
        // Kernels that do not load are known before keys are read.
        backends.iter().try_for_each(|backend| backend.image().map(|_| ()))?;
        let names = backends.iter().map(Device::name).collect();
        let places = indices.iter().map(|&index| Place::Cuda(index)).collect();
        Ok(match plan {
            Plan::Tfhe(plan) => {
                backends.iter().try_for_each(|backend| backend.supports(&plan.params.tfhe))?;
                Self::new(Opened::TfheCuda(backends), names, places)
            }
            Plan::Ckks(plan) => {
                let (params, occupancy) = (&plan.params.ckks, plan.params.packing.occupancy());
                let rings = backends.iter().map(|backend| backend.ring(params, occupancy)).collect::<Result<_, _>>()?;
                Self::new(Opened::CkksCuda(rings), names, places)
            }
        })
    }

    fn on_wgpu(index: usize, plan: &Plan) -> Result<Self, EngineError> {
        let backend = WgpuBackend::open(index)?;
        let names = vec![backend.name()];
        Ok(match plan {
            Plan::Tfhe(plan) => {
                backend.supports(&plan.params.tfhe)?;
                Self::new(Opened::TfheWgpu(vec![backend]), names, vec![Place::Wgpu(index)])
            }
            Plan::Ckks(plan) => {
                let ring = backend.ring(&plan.params.ckks, plan.params.packing.occupancy())?;
                let opened = Opened::CkksWgpu(Box::new(ring), backend.reach_bytes());
                Self::new(opened, names, vec![Place::Wgpu(index)])
            }
        })
    }

    /// The devices that evaluate: these, or those in their place.
    pub(crate) fn current(&self) -> &Self {
        self.next.get().map_or(self, |next| next.current())
    }

    /// Where the devices are.
    pub(crate) fn places(&self) -> &[Place] {
        &self.current().places
    }

    /// What the devices are called, all together.
    #[must_use]
    pub fn names(&self) -> String {
        self.current().names.join(" and ")
    }

    /// Whether the host's processors evaluate.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.current().threads.is_some()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.current().names.len()
    }
}
