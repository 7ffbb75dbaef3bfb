//! `heman devices`: what could run an inference.

use heman_core::device::Device;
use heman_core::device::cpu::CpuBackend;
use heman_cuda::CudaBackend;
use serde_json::json;

use super::Output;
use crate::error::CliError;
use crate::report;

/// Runs the verb.
pub fn run(out: &Output) -> Result<(), CliError> {
    let mut text = format!("cpu      {}\n", CpuBackend::new(0)?.name());
    let mut rows = vec![json!({ "device": "cpu", "name": CpuBackend::new(0)?.name(), "usable": true })];
    match heman_cuda::devices() {
        Ok(devices) => {
            for device in devices {
                let (major, minor) = device.compute_capability;
                let memory = report::bytes(device.memory_bytes);
                let name = format!("cuda:{}", device.index);
                let image = CudaBackend::open(device.index).and_then(|backend| backend.image());
                let (image, reason) = match image {
                    Ok(image) => (Some(image), None),
                    Err(error) => (None, Some(error.to_string())),
                };
                let note = image.as_ref().or(reason.as_ref()).map_or("", String::as_str);
                text += &format!("{name}   {} (sm_{major}{minor}, {memory}); {note}\n", device.name);
                rows.push(json!({
                    "device": name,
                    "name": device.name,
                    "memory_bytes": device.memory_bytes,
                    "usable": reason.is_none(),
                    "image": image,
                    "reason": reason,
                }));
            }
        }
        Err(error) => {
            text += &format!("cuda     none: {error}\n");
            rows.push(json!({ "device": "cuda", "usable": false, "reason": error.to_string() }));
        }
    }
    let adapters = heman_wgpu::devices();
    if adapters.is_empty() {
        text += "wgpu     none: no Vulkan adapter\n";
        rows.push(json!({ "device": "wgpu", "usable": false, "reason": "no Vulkan adapter" }));
    }
    for adapter in adapters {
        let kind = if adapter.hardware { "hardware" } else { "software" };
        text += &format!(
            "wgpu:{}   {} ({}, {kind}); the wgpu backend is not built yet\n",
            adapter.index, adapter.name, adapter.interface
        );
        let name = format!("wgpu:{}", adapter.index);
        rows.push(json!({ "device": name, "name": adapter.name, "usable": false, "reason": "not built yet" }));
    }
    report::print_either(out.json, &json!({ "devices": rows }), &text);
    Ok(())
}
