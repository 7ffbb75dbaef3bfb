//! From WGSL to pipelines, compiled once an adapter and kept on disk where the driver gives them out.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use heman_core::device::cache;
use heman_core::device::error::BackendError;
use heman_kernels::wgsl::{Shader, Variant};

use crate::adapters::{PARAMETER_BYTES, wait};
use crate::arena::SLABS;

/// Longest cache of compiled kernels that is read.
const MOST_CACHE_BYTES: u64 = 256 << 20;

/// A kernel, compiled.
pub(crate) struct Kernel {
    pub pipeline: wgpu::ComputePipeline,
}

/// The kernels of one adapter.
pub(crate) struct Pipelines {
    device: wgpu::Device,
    /// The adapter's name, for errors.
    name: String,
    pub bindings: wgpu::BindGroupLayout,
    layout: wgpu::PipelineLayout,
    variant: Variant,
    cache: Option<wgpu::PipelineCache>,
    cache_path: Option<PathBuf>,
    /// By source with its constants, and kernel.
    known: Mutex<HashMap<(String, &'static str), Arc<Kernel>>>,
}

impl Pipelines {
    pub fn new(device: &wgpu::Device, name: String, info: &wgpu::AdapterInfo, variant: Variant) -> Self {
        let storage = |binding: u32| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only: binding as usize >= SLABS },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let entries: Vec<_> = (0..SLABS as u32 + 2).map(storage).collect();
        let bindings =
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&bindings)],
            immediate_size: PARAMETER_BYTES,
        });
        let cache_path = cache_path(info).filter(|_| device.features().contains(wgpu::Features::PIPELINE_CACHE));
        let cache = cache_path.as_ref().map(|path| {
            let data = cache::read_checked(path, MOST_CACHE_BYTES);
            let descriptor = wgpu::PipelineCacheDescriptor { label: None, data: data.as_deref(), fallback: true };
            // SAFETY: the data are whole, as their digest says, were written by `save` from what this driver gave for this adapter
            // (both name the file), and lie in the user's own cache.
            unsafe { device.create_pipeline_cache(&descriptor) }
        });
        let known = Mutex::new(HashMap::new());
        Self { device: device.clone(), name, bindings, layout, variant, cache, cache_path, known }
    }

    /// Keeps what the driver compiled for the next start.
    fn save(&self) {
        let (Some(cache), Some(path)) = (&self.cache, &self.cache_path) else { return };
        if let Some(data) = cache.get_data() {
            cache::keep_checked(path, &data);
        }
    }

    /// A kernel of a source made for some constants.
    pub fn kernel(
        &self,
        step: &'static str,
        shader: &Shader,
        constants: &[(&str, u32)],
        entry: &'static str,
    ) -> Result<Arc<Kernel>, BackendError> {
        Ok(self.kernels(step, shader, constants, &[entry])?.swap_remove(0))
    }

    /// Kernels of a source made for some constants.
    pub fn kernels(
        &self,
        step: &'static str,
        shader: &Shader,
        constants: &[(&str, u32)],
        entries: &[&'static str],
    ) -> Result<Vec<Arc<Kernel>>, BackendError> {
        let name = format!("{}{constants:?}", shader.name);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let find = |known: &HashMap<_, Arc<Kernel>>| -> Option<Vec<Arc<Kernel>>> {
            entries.iter().map(|&entry| known.get(&(name.clone(), entry)).cloned()).collect()
        };
        if let Some(found) = find(&known) {
            return Ok(found);
        }
        let scopes =
            [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation].map(|f| self.device.push_error_scope(f));
        let source = wgpu::ShaderSource::Wgsl(shader.text(self.variant, constants).into());
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(shader.name), source };
        let checks = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
        // SAFETY: only the check that loops end is left out: all of ours count up to a bound that the host gave. Memory is checked.
        let module = unsafe { self.device.create_shader_module_trusted(descriptor, checks) };
        let mut made = Vec::new();
        for &entry in entries {
            let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(entry),
                layout: Some(&self.layout),
                module: &module,
                entry_point: Some(entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..wgpu::PipelineCompilationOptions::default()
                },
                cache: self.cache.as_ref(),
            });
            made.push(Arc::new(Kernel { pipeline }));
        }
        for scope in scopes.into_iter().rev() {
            if let Some(error) = wait(scope.pop()) {
                let (device, message) = (self.name.clone(), error.to_string());
                return Err(BackendError::Device { step, device, message });
            }
        }
        for (&entry, kernel) in entries.iter().zip(&made) {
            known.insert((name.clone(), entry), kernel.clone());
        }
        self.save();
        Ok(made)
    }
}

/// Where compiled pipelines are kept: named by adapter and driver.
fn cache_path(info: &wgpu::AdapterInfo) -> Option<PathBuf> {
    let key = wgpu::util::pipeline_cache_key(info)?;
    cache::path("wgpu", &[&key, &info.name, &info.driver, &info.driver_info], "pipelines")
}
