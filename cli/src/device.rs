//! The devices and the memory that were asked for.

use heman_core::either::plan::Plan;
use heman_core::progress::Progress;
use heman_engine::{Devices, Wanted};

use crate::args::Running;
use crate::error::CliError;
use crate::{memory, profile, threads};

/// Opens the devices for a plan and so many inputs at a time.
pub fn open_devices(
    running: &Running,
    plan: &Plan,
    inputs: usize,
    progress: &dyn Progress,
) -> Result<Devices, CliError> {
    let profiles = profile::read_for(&running.device, progress)?;
    let wanted =
        Wanted { choice: &running.device, threads: threads::number(running.threads), inputs, profiles: &profiles };
    Ok(Devices::open(&wanted, plan, progress)?)
}

/// Bytes that CKKS may use.
pub fn memory_budget(running: &Running) -> u64 {
    memory::budget(running.memory)
}
