//! Core dumps, which would hold the secrets of whoever crashes.

/// Keeps the process from being dumped, and from being looked into by other processes of its user.
#[cfg(unix)]
pub fn switch_off() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is a live value that is only read.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    #[cfg(target_os = "linux")]
    // SAFETY: the call takes numbers only.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}

/// Elsewhere the system decides.
#[cfg(not(unix))]
pub fn switch_off() {}
