//! Large buffers in large pages.
//!
//! Keys and polynomials are buffers of megabytes, and of pages of 4 KiB a key of 10 GB has 2.4 million, each of which
//! the kernel clears and maps when it is first touched: more time than what is then written there. Where the kernel
//! gives pages of 2 MiB to those who ask (`/sys/kernel/mm/transparent_hugepage/enabled` says `madvise`), this asks.

use std::alloc::{GlobalAlloc, Layout, System};

/// Buffers of this size and more are worth a call.
const LARGE: usize = 4 << 20;
/// What a range that is asked for begins at a multiple of.
const PAGE: usize = 4096;

/// The system's allocator, with large pages for large buffers. A program makes it its own by `#[global_allocator]`.
pub struct LargePages;

// SAFETY: every call is the system allocator's, and its results are passed on as they are.
unsafe impl GlobalAlloc for LargePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps to the contract.
        let pointer = unsafe { System.alloc(layout) };
        ask(pointer, layout.size());
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract, and the system's allocator gave the pointer.
        unsafe { System.dealloc(pointer, layout) };
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps to the contract.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        ask(pointer, layout.size());
        pointer
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps to the contract, and the system's allocator gave the pointer.
        let pointer = unsafe { System.realloc(pointer, layout, size) };
        ask(pointer, size);
        pointer
    }
}

/// Asks for large pages in the whole pages of a buffer; without them it is as good, and slower.
#[cfg(target_os = "linux")]
fn ask(pointer: *mut u8, size: usize) {
    if size < LARGE || pointer.is_null() {
        return;
    }
    let skipped = pointer.addr().next_multiple_of(PAGE) - pointer.addr();
    let length = (size - skipped) / PAGE * PAGE;
    // SAFETY: the range lies within a buffer of our own, and the advice changes none of its content.
    unsafe { libc::madvise(pointer.add(skipped).cast(), length, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn ask(_: *mut u8, _: usize) {}
