//! The backend on the emulated driver.

use std::path::Path;
use std::sync::OnceLock;

use heman_cuda::CudaBackend;
use heman_testing::cuda_emulation;

/// The backend on the emulated driver, or nothing where it cannot be built.
pub fn backend() -> Option<CudaBackend> {
    static READY: OnceLock<Result<(), String>> = OnceLock::new();
    let ready = READY.get_or_init(|| {
        let library = cuda_emulation::library(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
        // Its soname is libcuda.so: whoever opens that name later, cudarc, is given this copy.
        // SAFETY: the library's constructors only fill a table of kernels.
        let library = unsafe { libloading::Library::new(library) }.expect("loads");
        std::mem::forget(library);
        Ok(())
    });
    if let Err(reason) = ready {
        println!("skipped: {reason}");
        return None;
    }
    Some(CudaBackend::open(0).expect("opens"))
}
