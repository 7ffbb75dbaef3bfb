//! Every backend that this machine has.

use heman_core::ckks::ops::RnsDevice;
use heman_core::device::cpu::CpuBackend;
use heman_core::tfhe::ops::TfheBackend;
use heman_cuda::CudaBackend;
use heman_wgpu::WgpuBackend;

/// What is done on each backend.
pub trait OnBackend {
    /// Does it; `name` is `cpu`, `cuda` or `wgpu`.
    fn run<B: TfheBackend + RnsDevice>(&mut self, name: &str, backend: &B);
}

/// The host, the first CUDA device, and the first adapter that is hardware, as far as they are there.
///
/// # Panics
/// If the host starts no threads.
pub fn on_every_backend(work: &mut impl OnBackend) {
    work.run("cpu", &CpuBackend::new(0).expect("threads"));
    if let Ok(backend) = CudaBackend::open(0) {
        work.run("cuda", &backend);
    }
    let adapter = heman_wgpu::devices().into_iter().find(|device| device.hardware && device.refused.is_none());
    if let Some(Ok(backend)) = adapter.map(|device| WgpuBackend::open(device.index)) {
        work.run("wgpu", &backend);
    }
}
