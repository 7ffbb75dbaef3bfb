//! wgpu adapters: what is there. Kernels come with the wgpu backend, which is not built yet; asking for it says so.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// A graphics adapter that could run compute shaders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WgpuDevice {
    /// Position in the list.
    pub index: usize,
    /// The adapter's name.
    pub name: String,
    /// Graphics interface: "Vulkan", "Metal", ….
    pub interface: String,
    /// Whether it is a real GPU, not a software rasteriser.
    pub hardware: bool,
}

/// Why wgpu cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WgpuError {
    /// The backend itself.
    #[error("the wgpu backend is not built yet")]
    NotBuilt,
}

/// Lists the adapters; empty where no driver is installed.
#[must_use]
pub fn devices() -> Vec<WgpuDevice> {
    let descriptor = wgpu::InstanceDescriptor {
        backends: wgpu::Backends::VULKAN,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    };
    let instance = wgpu::Instance::new(descriptor);
    let adapters = wait(instance.enumerate_adapters(wgpu::Backends::VULKAN));
    let describe = |(index, adapter): (usize, wgpu::Adapter)| {
        let info = adapter.get_info();
        WgpuDevice {
            index,
            name: info.name,
            interface: format!("{:?}", info.backend),
            hardware: info.device_type != wgpu::DeviceType::Cpu,
        }
    };
    adapters.into_iter().enumerate().map(describe).collect()
}

/// Opens adapter `index` as a backend.
///
/// # Errors
/// Always [`WgpuError::NotBuilt`] in this version.
pub fn open(_index: usize) -> Result<std::convert::Infallible, WgpuError> {
    Err(WgpuError::NotBuilt)
}

/// Runs a future that native wgpu completes without an event loop.
fn wait<F: Future>(future: F) -> F::Output {
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
            println!("skipped: no Vulkan adapter");
        }
        assert!(devices.iter().all(|d| !d.name.is_empty()));
    }
}
