//! Launches of kernels.

use bytemuck::Pod;
use cudarc::driver::{DeviceRepr, LaunchConfig};

/// Blocks that a grid takes in its second dimension.
pub(crate) const MOST_TILES: usize = 65_535;

/// A parameter block as a kernel argument.
#[repr(transparent)]
pub(crate) struct Block<T>(pub T);

// SAFETY: plain words without padding, laid out as the kernel's block of the same name.
unsafe impl<T: Pod> DeviceRepr for Block<T> {}

/// A launch of blocks of one dimension.
pub(crate) fn config(grid: (usize, usize), threads: usize, shared_bytes: usize) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (grid.0 as u32, grid.1 as u32, 1),
        block_dim: (threads as u32, 1, 1),
        shared_mem_bytes: shared_bytes as u32,
    }
}

/// Launches with the arguments in order and turns the driver's error into ours.
macro_rules! launch {
    ($backend:expr, $step:expr, $function:expr, $config:expr, $($arg:expr),+ $(,)?) => {{
        use cudarc::driver::PushKernelArg as _;
        let mut builder = $backend.stream.launch_builder($function);
        $(builder.arg($arg);)+
        // SAFETY: the arguments are those of the kernel's signature, in order; buffers were checked to be as long as the
        // kernel's comment says.
        unsafe { builder.launch($config) }.map(|_| ()).map_err(|error| $backend.error($step, error, 0))
    }};
}
pub(crate) use launch;
