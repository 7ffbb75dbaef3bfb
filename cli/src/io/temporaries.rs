//! Unfinished files, and the signals that remove them before the process ends.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

/// How names of unfinished files begin.
pub const PREFIX: &str = ".heman-";
/// How they end; the name that they are for stands between.
pub const SUFFIX: &str = ".part";
/// Random characters behind [`PREFIX`].
pub const RANDOM: usize = 12;
/// Longest name of a file that most file systems take.
const MOST_NAME_BYTES: usize = 255;
/// How often a new file is made for one that was taken for somebody's leftover.
const ATTEMPTS: usize = 16;

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

/// A new file with mode 0600 beside the place it is for, removed when it is dropped or the process is told to end.
///
/// It is locked as long as it is open. What is not locked was left behind by a process that ended without a chance to
/// remove it, and is dealt with by [`super::leftovers`].
pub fn create(folder: &Path, name: &OsStr) -> io::Result<NamedTempFile> {
    let mut all = Undisturbed::begin();
    let mut suffix = OsStr::new(".").to_os_string();
    if PREFIX.len() + RANDOM + 1 + name.len() + SUFFIX.len() <= MOST_NAME_BYTES {
        suffix.push(name);
    }
    suffix.push(SUFFIX);
    for _ in 0..ATTEMPTS {
        let mut new = tempfile::Builder::new();
        // Our own way to open it: errors are the system's alone, and name no file that nobody knows.
        let file = new.prefix(PREFIX).rand_bytes(RANDOM).suffix(&suffix).make_in(folder, open_new)?;
        if is_held(file.as_file(), file.path()) {
            all.0.push(file.path().to_path_buf());
            return Ok(file);
        }
    }
    Err(io::Error::other("new files vanish while they are made"))
}

fn open_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.read(true).write(true).create_new(true).open(path)
}

/// Locks a new file. Between its making and its locking somebody may have taken it for a leftover.
fn is_held(file: &File, path: &Path) -> bool {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => false,
        // A file system without locks: nothing is taken for a leftover there.
        Err(TryLockError::Error(_)) => true,
        Ok(()) => std::fs::symlink_metadata(path).is_ok(),
    }
}

/// Opens an unfinished file that no living process holds, and holds it.
pub fn take_over(path: &Path) -> Option<File> {
    let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
    file.try_lock().is_ok().then_some(file)
}

/// Removes unfinished files when the process is interrupted, terminated, or its terminal goes away, then ends it with
/// status 128 and the signal's number. Signals that were ignored when the process started stay ignored (`nohup`).
/// A file that grows beyond the limit of the process is an error of the write, and no signal.
///
/// This must be called before other threads start: they inherit that these signals are left to one thread.
#[cfg(unix)]
pub fn remove_on_signals() {
    let all = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGXCPU];
    let wanted = all.into_iter().filter(|&signal| !is_ignored(signal));
    // SAFETY: no other thread runs yet, and to ignore a signal touches no memory of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
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
        super::terminal::restore();
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
