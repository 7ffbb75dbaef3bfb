//! The devices and the memory that were asked for.

use heman_core::either::plan::Plan;
use heman_core::progress::Progress;
use heman_engine::{Devices, EngineError};

use crate::args::Running;
use crate::error::CliError;

/// Opens the devices for a plan.
pub fn open_devices(running: &Running, plan: &Plan, progress: &dyn Progress) -> Result<Devices, CliError> {
    Devices::open(&running.device, running.threads, plan, progress).map_err(|error| match error {
        EngineError::OnlyCpu => CliError::new(format!("{error}; use --device cpu, or --scheme tfhe")),
        other => other.into(),
    })
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
