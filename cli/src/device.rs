//! The devices and the memory that were asked for.

use heman_core::either::plan::Plan;
use heman_core::progress::Progress;
use heman_engine::{Devices, EngineError};

use crate::args::Running;
use crate::error::CliError;
use crate::{memory, threads};

/// Opens the devices for a plan.
pub fn open_devices(running: &Running, plan: &Plan, progress: &dyn Progress) -> Result<Devices, CliError> {
    Devices::open(&running.device, threads::number(running.threads), plan, progress).map_err(|error| match error {
        EngineError::OnlyCpu => CliError::new(format!("{error}; use --device cpu, or --scheme tfhe")),
        other => other.into(),
    })
}

/// Bytes that CKKS may use.
pub fn memory_budget(running: &Running) -> u64 {
    memory::budget(running.memory)
}
