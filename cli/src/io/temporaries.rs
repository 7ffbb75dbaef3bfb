//! Unfinished files, and the signals that remove them before the process ends.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Keeps signals from ending the process while it lives: what is done meanwhile is done as a whole or not at all.
pub struct Undisturbed(MutexGuard<'static, Vec<PathBuf>>);

impl Undisturbed {
    /// Waits for its turn.
    pub fn begin() -> Self {
        Self(UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A file is finished, or removed.
    pub fn forget(&mut self, path: &Path) {
        self.0.retain(|other| other != path);
    }
}

/// A new file with mode 0600 in a folder, removed when it is dropped or the process is told to end.
pub fn create(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut all = Undisturbed::begin();
    let file = tempfile::Builder::new().prefix(".heman-").tempfile_in(folder)?;
    all.0.push(file.path().to_path_buf());
    Ok(file)
}

/// Removes unfinished files when the process is interrupted, terminated, or its terminal goes away, then ends it with
/// status 128 and the signal's number. Signals that were ignored when the process started stay ignored (`nohup`).
///
/// This must be called before other threads start: they inherit that these signals are left to one thread.
#[cfg(unix)]
pub fn remove_on_signals() {
    let wanted = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP].into_iter().filter(|&signal| !is_ignored(signal));
    // SAFETY: the set is initialised by sigemptyset before anything reads it, and lives on this stack.
    let set = unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        for signal in wanted {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        set
    };
    let wait = move || {
        let mut signal = 0;
        // SAFETY: both point to live values, and the set was initialised above.
        while unsafe { libc::sigwait(&raw const set, &raw mut signal) } != 0 {}
        let all = Undisturbed::begin();
        for path in all.0.iter() {
            let _ = std::fs::remove_file(path);
        }
        std::process::exit(128 + signal);
    };
    if std::thread::Builder::new().name("signals".into()).spawn(wait).is_err() {
        // SAFETY: as above. Without the thread the signals end the process as they always do.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
    }
}

/// Elsewhere unfinished files stay behind when the process is ended from outside.
#[cfg(not(unix))]
pub fn remove_on_signals() {}

#[cfg(unix)]
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: a null action asks for the present one, which is written to a live value.
    unsafe {
        let mut action = std::mem::zeroed::<libc::sigaction>();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}
