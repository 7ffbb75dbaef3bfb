//! Adapters: which there are, and what they can do.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wgpu::{Backends, Features};

use crate::error::WgpuError;

/// Workgroup storage that kernels are written for, in bytes.
const WORKGROUP_BYTES: u32 = 16 << 10;
/// Threads of a workgroup.
const WORKGROUP_THREADS: u32 = 256;
/// Storage buffers that a kernel sees.
pub(crate) const STORAGE_BUFFERS: u32 = 8;
/// Bytes of a kernel's parameter block at the most.
pub(crate) const PARAMETER_BYTES: u32 = 64;

/// Percent of what the driver says is left for us that buffers may take: a device that runs full is lost.
const MEMORY_PERCENT: u8 = 90;

/// A graphics adapter that could run compute shaders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WgpuDevice {
    /// Position in the list.
    pub index: usize,
    /// The adapter's name.
    pub name: String,
    /// Graphics interface: "Vulkan", "Metal", "Dx12".
    pub interface: String,
    /// Whether it is a real GPU, not a software rasteriser.
    pub hardware: bool,
    /// Why it cannot run our kernels, if it cannot.
    pub refused: Option<String>,
}

/// Graphics interfaces that are compiled in; which there are, is found out when they are loaded.
const INTERFACES: Backends = Backends::VULKAN.union(Backends::METAL).union(Backends::DX12);

pub(crate) fn adapters() -> Vec<wgpu::Adapter> {
    let memory_budget_thresholds = wgpu::MemoryBudgetThresholds {
        for_resource_creation: Some(MEMORY_PERCENT),
        ..wgpu::MemoryBudgetThresholds::default()
    };
    let descriptor = wgpu::InstanceDescriptor {
        backends: INTERFACES,
        memory_budget_thresholds,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    };
    wait(wgpu::Instance::new(descriptor).enumerate_adapters(INTERFACES))
}

/// Lists the adapters; empty where no driver is installed.
#[must_use]
pub fn devices() -> Vec<WgpuDevice> {
    let describe = |(index, adapter): (usize, wgpu::Adapter)| {
        let info = adapter.get_info();
        WgpuDevice {
            index,
            interface: format!("{:?}", info.backend),
            hardware: info.device_type != wgpu::DeviceType::Cpu,
            refused: suits(&adapter).err().map(|error| error.to_string()),
            name: info.name,
        }
    };
    adapters().into_iter().enumerate().map(describe).collect()
}

/// Whether an adapter has what kernels need.
pub(crate) fn suits(adapter: &wgpu::Adapter) -> Result<(), WgpuError> {
    let (limits, features) = (adapter.limits(), adapter.features());
    let lacks = |what: String| Err(WgpuError::Unsuitable { name: adapter.get_info().name, lacks: what });
    if !adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) {
        return lacks("compute shaders".into());
    }
    if !features.contains(Features::IMMEDIATES) || limits.max_immediate_size < PARAMETER_BYTES {
        return lacks(format!("{PARAMETER_BYTES} bytes of immediate data"));
    }
    for (what, has, needs) in [
        ("bytes of workgroup storage", limits.max_compute_workgroup_storage_size, WORKGROUP_BYTES),
        ("threads a workgroup", limits.max_compute_invocations_per_workgroup, WORKGROUP_THREADS),
        ("threads a workgroup in a row", limits.max_compute_workgroup_size_x, WORKGROUP_THREADS),
        ("storage buffers", limits.max_storage_buffers_per_shader_stage, STORAGE_BUFFERS),
    ] {
        if has < needs {
            return lacks(format!("{needs} {what} (it has {has})"));
        }
    }
    Ok(())
}

/// Runs a future that native wgpu completes without an event loop.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_adapters_is_an_answer_on_any_machine() {
        let devices = devices();
        if devices.is_empty() {
            println!("skipped: no adapter");
        }
        assert!(devices.iter().all(|d| !d.name.is_empty()));
    }
}
