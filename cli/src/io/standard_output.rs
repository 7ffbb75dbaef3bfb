//! Whether standard output was open when the process began.
//!
//! Rust's runtime opens the null device in the place of standard streams that are closed. What is written there is lost
//! without an error, so that it has to be looked at before the runtime starts.

use std::io;

/// Fails if standard output was closed when the process began.
///
/// # Errors
/// What a write to a closed file gives.
pub fn check_open() -> io::Result<()> {
    if start::was_closed() { Err(io::Error::other("standard output is closed")) } else { Ok(()) }
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
mod start {
    use std::sync::atomic::{AtomicBool, Ordering};

    static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

    /// Called by the system's loader before `main`, and so before the runtime.
    #[used]
    #[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
    #[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
    static LOOK: extern "C" fn() = look;

    extern "C" fn look() {
        // SAFETY: to ask for a file's flags changes nothing, and is allowed of files that are not open.
        let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
        WAS_CLOSED.store(flags == -1, Ordering::Relaxed);
    }

    pub fn was_closed() -> bool {
        WAS_CLOSED.load(Ordering::Relaxed)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod start {
    pub fn was_closed() -> bool {
        false
    }
}
