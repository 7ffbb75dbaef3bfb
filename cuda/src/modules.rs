//! From embedded images to functions; where no image fits the device, the run-time compiler and a cache on disk.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use cudarc::driver::sys::CUfunction_attribute;
use cudarc::driver::{CudaContext, CudaFunction, CudaModule};
use cudarc::nvrtc::{self, CompileOptions, Ptx};
use heman_kernels::Image;

use crate::devices::CudaError;

/// Major and minor compute capabilities of the machine code in every image.
const ARCHITECTURES: [(i32, i32); 4] = [(8, 0), (9, 0), (10, 0), (12, 0)];

/// Modules of one context, loaded when first asked for.
pub struct Modules {
    context: Arc<CudaContext>,
    loaded: Mutex<HashMap<&'static str, Loaded>>,
}

#[derive(Clone)]
struct Loaded {
    module: Arc<CudaModule>,
    /// Whether the run-time compiler made it.
    compiled: bool,
}

impl Modules {
    pub fn new(context: Arc<CudaContext>) -> Self {
        Self { context, loaded: Mutex::new(HashMap::new()) }
    }

    /// Function `name` of an image, allowed to use `shared_bytes` of dynamic shared memory.
    pub fn function(&self, image: &Image, name: &str, shared_bytes: usize) -> Result<CudaFunction, CudaError> {
        let function = self.loaded(image)?.module.load_function(name)?;
        if shared_bytes > 48 << 10 {
            let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(attribute, shared_bytes as i32)?;
        }
        Ok(function)
    }

    /// Where the code that runs comes from, for people.
    pub fn origin(&self, image: &Image) -> Result<String, CudaError> {
        if self.loaded(image)?.compiled {
            return Ok("kernels compiled for it by NVRTC".into());
        }
        // Machine code runs on later devices of its own major generation.
        let (major, minor) = self.context.compute_capability()?;
        let own = ARCHITECTURES.iter().rfind(|(own, from)| *own == major && *from <= minor);
        Ok(own.map_or("embedded PTX, compiled for it by the driver".into(), |(major, minor)| {
            format!("embedded machine code for sm_{major}{minor}")
        }))
    }

    fn loaded(&self, image: &Image) -> Result<Loaded, CudaError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(found) = loaded.get(image.name) {
            return Ok(found.clone());
        }
        let new = self.load(image)?;
        loaded.insert(image.name, new.clone());
        Ok(new)
    }

    fn load(&self, image: &Image) -> Result<Loaded, CudaError> {
        match self.context.load_module(Ptx::from_binary(image.bytes.to_vec())) {
            Ok(module) => Ok(Loaded { module, compiled: false }),
            Err(load) => {
                let failed = |compile: String| -> CudaError {
                    let device = self.context.name().unwrap_or_else(|_| "the device".into());
                    CudaError::NoImage { device, load: CudaError::from(load).to_string(), compile }
                };
                let ptx = self.compile(image).map_err(failed)?;
                let module =
                    self.context.load_module(ptx).map_err(|error| failed(CudaError::from(error).to_string()))?;
                Ok(Loaded { module, compiled: true })
            }
        }
    }

    /// The image's source as PTX for this device, from the cache or from NVRTC.
    fn compile(&self, image: &Image) -> Result<Ptx, String> {
        // SAFETY: only asks the dynamic loader whether the library opens; cudarc panics later if it does not, hence the check.
        if !unsafe { nvrtc::sys::is_culib_present() } {
            return Err("no NVRTC library (libnvrtc) on this machine".into());
        }
        let (major, minor) = self.context.compute_capability().map_err(|error| CudaError::from(error).to_string())?;
        let mut options = vec![format!("--gpu-architecture=compute_{major}{minor}"), "--std=c++17".to_string()];
        options.extend(image.log2_polynomial_size.map(|log2| format!("-DHEMAN_LOG2_N={log2}")));
        let source = single_source(image);
        let path = cache_path(image, &source, &options);
        if let Some(text) = path.as_ref().and_then(|path| std::fs::read_to_string(path).ok()) {
            return Ok(Ptx::from_src(text));
        }
        let compiled = nvrtc::compile_ptx_with_opts(&source, CompileOptions { options, ..CompileOptions::default() });
        let text = compiled.map_err(|error| error.to_string())?.to_src();
        if let Some(path) = path {
            // Without a cache the next start compiles again: slower, not wrong.
            let _ = write_whole(&path, text.as_bytes());
        }
        Ok(Ptx::from_src(text))
    }
}

/// Headers and source as one text: the run-time compiler is given no files.
fn single_source(image: &Image) -> String {
    let directive = |line: &&str| !line.starts_with("#pragma once") && !line.starts_with("#include \"");
    image.source.iter().flat_map(|text| text.lines()).filter(directive).flat_map(|line| [line, "\n"]).collect()
}

/// Where the compiled source is kept: named by everything that it depends on.
fn cache_path(image: &Image, source: &str, options: &[String]) -> Option<PathBuf> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both pointers are to live integers; the library is there, as the caller checked.
    unsafe { nvrtc::sys::nvrtcVersion(&raw mut major, &raw mut minor) }.result().ok()?;
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let mut hasher = blake3::Hasher::new();
    for part in [source, &options.join(" "), &format!("NVRTC {major}.{minor}")] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    Some(base.join("heman").join(format!("{}-{}.ptx", image.name, hasher.finalize().to_hex())))
}

fn write_whole(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    std::fs::write(&partial, bytes)?;
    std::fs::rename(partial, path)
}

#[cfg(test)]
mod tests {
    use heman_kernels::ALL_IMAGES;

    use super::*;

    #[test]
    fn sources_are_whole_without_their_headers() {
        for image in &ALL_IMAGES {
            let source = single_source(image);
            assert!(!source.contains("#include"), "{}", image.name);
            assert!(source.contains("__global__"), "{}", image.name);
        }
    }

    /// The compiler needs no device; whoever has it checks the text that other devices will be given.
    #[test]
    fn the_run_time_compiler_takes_every_source() {
        // SAFETY: only asks the dynamic loader whether the library opens.
        if !unsafe { nvrtc::sys::is_culib_present() } {
            println!("skipped: no NVRTC");
            return;
        }
        for image in &ALL_IMAGES {
            let mut options = vec!["--gpu-architecture=compute_80".to_string(), "--std=c++17".to_string()];
            options.extend(image.log2_polynomial_size.map(|log2| format!("-DHEMAN_LOG2_N={log2}")));
            let options = CompileOptions { options, ..CompileOptions::default() };
            let compiled = nvrtc::compile_ptx_with_opts(single_source(image), options);
            assert!(compiled.is_ok(), "{}: {compiled:?}", image.name);
        }
    }
}
