//! The device's pool of memory, where the driver has one: allocations and frees take their turn in a stream.

use cudarc::driver::sys::{self, CUmemPool_attribute, CUmemoryPool};
use cudarc::driver::{CudaContext, DriverError};

/// Keeps what is freed for later allocations: by itself the driver gives it back whenever the host waits, and maps it
/// anew afterwards, which takes milliseconds.
pub(crate) fn keep_freed(context: &CudaContext) -> Result<(), DriverError> {
    let Some(pool) = pool(context)? else { return Ok(()) };
    let mut most = u64::MAX;
    let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the pool is the device's own, and the attribute is a number of 64 bits.
    unsafe { sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut most).cast()) }.result()
}

/// Bytes that the pool keeps, and nobody has.
pub(crate) fn kept_bytes(context: &CudaContext) -> Result<u64, DriverError> {
    let Some(pool) = pool(context)? else { return Ok(0) };
    let value = |attribute| {
        let mut bytes = 0_u64;
        // SAFETY: the pool is the device's own, and the attribute is a number of 64 bits.
        unsafe { sys::cuMemPoolGetAttribute(pool, attribute, (&raw mut bytes).cast()) }.result().map(|()| bytes)
    };
    let reserved = value(CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?;
    Ok(reserved.saturating_sub(value(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?))
}

fn pool(context: &CudaContext) -> Result<Option<CUmemoryPool>, DriverError> {
    if !context.has_async_alloc() {
        return Ok(None);
    }
    context.bind_to_thread()?;
    let mut pool = std::ptr::null_mut();
    // SAFETY: the device is the context's, and the pointer is to a live variable.
    unsafe { sys::cuDeviceGetDefaultMemPool(&raw mut pool, context.cu_device()) }.result()?;
    Ok(Some(pool))
}
