//! Outputs: claimed before the work begins, then written beside their place, synced, and renamed, so that nothing
//! half-written is ever seen and nothing is lost that should have stayed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::NamedTempFile;

use super::leftovers;
use super::names::{place_new, place_over, sync_folder};
use super::place::{Found, Place};
use super::spans::writing;
use super::standard_output::check_open;
use super::temporaries::{self, Undisturbed};
use crate::error::CliError;

/// The place of this process's trace, which is no other output's.
static TRACE: OnceLock<Place> = OnceLock::new();

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Its owner only (mode 0600).
    Owner,
    /// Everybody whom the process's umask allows.
    Everybody,
}

/// What may stand at the place of an output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Any file but a secret key and a count of shared values.
    AnyFile,
    /// Another trace.
    Trace,
    /// A count of shared values by the next one; whoever claims this has read what is there.
    Count,
    /// A key of the same kind if that is forced; otherwise nothing, whoever else writes there at the same time.
    Key {
        /// Its kind.
        kind: Found,
        /// Whether it is forced.
        is_forced: bool,
    },
}

/// An output that has been checked: its name, its place, and what may be replaced there.
pub struct Target {
    name: PathBuf,
    place: Place,
    access: Access,
    replace: Replace,
}

/// Content that is being written beside its place.
pub struct Writing {
    target: Target,
    file: NamedTempFile,
    path: PathBuf,
}

/// Content that waits beside its place.
pub struct Pending {
    target: Target,
    file: NamedTempFile,
    path: PathBuf,
}

impl Target {
    /// Checks before the work begins that an output can be written, and that nothing is lost by it: neither an input of
    /// the same command, nor a secret key, nor a count of shared values.
    ///
    /// # Errors
    /// A sentence with the output's name.
    pub fn claim(name: &Path, access: Access, inputs: &[&Path]) -> Result<Self, CliError> {
        Self::claim_for(name, access, Replace::AnyFile, inputs)
    }

    /// As [`Target::claim`], with what may be replaced.
    ///
    /// # Errors
    /// As [`Target::claim`].
    pub fn claim_for(name: &Path, access: Access, replace: Replace, inputs: &[&Path]) -> Result<Self, CliError> {
        let place = Place::of(name)?;
        place.keep_apart(name, inputs)?;
        let target = Self { name: name.to_path_buf(), place, access, replace };
        target.check_replaced()?;
        if TRACE.get().is_some_and(|trace| trace.is_same(&target.place)) {
            let text = format!("{} would be both the trace and another output; give one another name", name.display());
            return Err(CliError::refusal(text));
        }
        match &target.place {
            Place::File(path) => {
                leftovers::settle(folder(path));
                drop(temporaries::create(folder(path), file_name(path)).map_err(|error| target.failed(error))?);
            }
            Place::Stdout => check_open().map_err(|error| target.failed(error))?,
            Place::Stream(_) => {}
        }
        Ok(target)
    }

    /// Whether it goes to standard output, which then has no room for a report.
    pub fn is_stdout(&self) -> bool {
        self.place == Place::Stdout
    }

    /// Whether it is a file, and no stream.
    pub fn is_file(&self) -> bool {
        matches!(self.place, Place::File(_))
    }

    /// Whether two outputs would be one file.
    pub fn is_same(&self, other: &Self) -> bool {
        self.place.is_same(&other.place)
    }

    /// Keeps the place for the trace: no output that is claimed later may be the same file. Once a process.
    pub fn keep_for_trace(&self) {
        let _ = TRACE.set(self.place.clone());
    }

    /// Writes it, its bytes as they come; returns how many `write` says they are.
    ///
    /// # Errors
    /// Those of the file system; what was there stays.
    pub fn write_with(self, write: impl FnOnce(&mut dyn Write) -> io::Result<u64>) -> Result<u64, CliError> {
        match &self.place {
            Place::File(_) => {
                let (pending, bytes) = self.prepare(write)?;
                commit(vec![pending])?;
                Ok(bytes)
            }
            Place::Stream(path) => {
                let _writing = writing(&self.name).entered();
                let written = OpenOptions::new().write(true).open(path).and_then(|mut file| {
                    let bytes = write(&mut file)?;
                    file.flush()?;
                    Ok(bytes)
                });
                written.map_err(|error| self.failed(error))
            }
            Place::Stdout => {
                let _writing = writing(&self.name).entered();
                let mut out = io::stdout().lock();
                let written = write(&mut out).and_then(|bytes| out.flush().map(|()| bytes));
                written.map_err(|error| self.failed(error))
            }
        }
    }

    /// Writes a file beside its place, and returns how many bytes `write` says it has.
    ///
    /// # Errors
    /// Those of the file system; for streams, which have no place beside them.
    pub fn prepare(self, write: impl FnOnce(&mut dyn Write) -> io::Result<u64>) -> Result<(Pending, u64), CliError> {
        let _writing = writing(&self.name).entered();
        let mut file = self.begin()?;
        let bytes = write(&mut file).map_err(|error| file.failed(error))?;
        Ok((file.finish()?, bytes))
    }

    /// Begins a file beside its place.
    ///
    /// # Errors
    /// Those of the file system; for streams, which have no place beside them.
    pub fn begin(self) -> Result<Writing, CliError> {
        let Place::File(path) = &self.place else {
            return Err(CliError::bad_file(format!("cannot write {}: it is not a file", self.name.display())));
        };
        let path = path.clone();
        let file = temporaries::create(folder(&path), file_name(&path)).map_err(|error| self.failed(error))?;
        Ok(Writing { target: self, file, path })
    }

    fn failed(&self, error: io::Error) -> CliError {
        CliError::bad_file(format!("cannot write {}: {error}", self.name.display()))
    }

    fn check_replaced(&self) -> Result<(), CliError> {
        let name = self.name.display();
        let exists = matches!(&self.place, Place::File(path) if path.exists());
        let sentence = match (self.replace, self.place.found_kind()?) {
            (Replace::Key { kind, is_forced }, found) if found == kind || found == Found::Nothing => {
                if is_forced || !exists {
                    return Ok(());
                }
                format!("{name} exists already; --force replaces it")
            }
            (_, Found::SecretKey) => {
                format!("{name} is a secret key, which would be lost; give the output another name")
            }
            (Replace::Count, _) => return Ok(()),
            (_, Found::Count) => {
                format!("{name} counts what was shared under a key; give the output another name")
            }
            (Replace::AnyFile, _) | (Replace::Trace, Found::Nothing | Found::Trace) => return Ok(()),
            (Replace::Trace, _) => format!("{name} exists already and is no trace; give the trace another name"),
            (Replace::Key { .. }, _) => {
                format!("{name} exists already and is no such key; give the key another name")
            }
        };
        Err(CliError::refusal(sentence))
    }
}

impl Writing {
    /// Ends the file, which then waits beside its place.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(self) -> Result<Pending, CliError> {
        let Self { target, file, path } = self;
        if target.access == Access::Everybody {
            widen(file.as_file()).map_err(|error| target.failed(error))?;
        }
        file.as_file().sync_all().map_err(|error| target.failed(error))?;
        Ok(Pending { target, file, path })
    }

    /// The error of a write that failed.
    pub fn failed(&self, error: io::Error) -> CliError {
        self.target.failed(error)
    }
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Of the file itself: an error of its name beside the place is nobody's concern.
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

/// Renames files to their places in this order, all of them or none, and waits until the names are on the disk.
///
/// Whoever else commits several files to the same folder waits for the folder's lock, and signals wait during the
/// renames: files that belong together stay together. A process that is killed between two renames leaves the later
/// files beside their places, where [`leftovers`] finds them.
///
/// # Errors
/// What the file system says, and what may not be replaced; all places then hold what they held before. Only where the
/// names are in place and cannot be synced, they stay.
pub fn commit(files: Vec<Pending>) -> Result<(), CliError> {
    let mut folders: Vec<PathBuf> = files.iter().map(|file| folder(&file.path).to_path_buf()).collect();
    folders.sort();
    folders.dedup();
    // Where the file system has no locks, two that commit at once are told apart by the renames alone.
    let locks = if files.len() > 1 { locked(&folders) } else { Vec::new() };
    let mut undisturbed = Undisturbed::begin();
    for file in &files {
        file.target.check_replaced()?;
    }
    let names: Vec<PathBuf> = files.iter().map(|file| file.target.name.clone()).collect();
    let mut done: Vec<Done> = Vec::new();
    let last = files.len().saturating_sub(1);
    for (at, pending) in files.into_iter().enumerate() {
        let Pending { target, file, path } = pending;
        let temporary = file.path().to_path_buf();
        let is_new = matches!(target.replace, Replace::Key { is_forced: false, .. });
        // Nothing follows the last one that could fail.
        let before = if is_new || at == last || !path.exists() { Before::Nothing } else { keep(&path) };
        let moved = if is_new { place_new(file, &path) } else { place_over(file, &path) };
        if let Err(error) = moved {
            for done in done.into_iter().rev() {
                done.undo();
            }
            return Err(match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    CliError::refusal(format!("{} exists already; --force replaces it", target.name.display()))
                }
                _ => target.failed(error),
            });
        }
        undisturbed.forget(&temporary);
        done.push(Done { path, before });
    }
    drop(done);
    drop(undisturbed);
    let synced = folders.iter().try_for_each(|folder| sync_folder(folder));
    drop(locks);
    synced.map_err(|error| {
        let names: Vec<String> = names.iter().map(|name| name.display().to_string()).collect();
        CliError::bad_file(format!("{} may be lost when the system crashes: {error}", names.join(" and ")))
    })
}

fn locked(folders: &[PathBuf]) -> Vec<File> {
    folders.iter().filter_map(|folder| File::open(folder).and_then(|file| file.lock().map(|()| file)).ok()).collect()
}

/// A file at its place, and what was there before.
struct Done {
    path: PathBuf,
    before: Before,
}

/// What was at a place.
enum Before {
    Nothing,
    /// A file, with a second name that is removed when it is dropped.
    Kept(tempfile::TempPath),
    /// A file that could get no second name.
    Lost,
}

impl Done {
    /// Puts back what was there; what cannot be put back stays as it is.
    fn undo(self) {
        let _ = match self.before {
            Before::Kept(before) => std::fs::rename(&before, &self.path),
            Before::Nothing => std::fs::remove_file(&self.path),
            Before::Lost => Ok(()),
        };
    }
}

fn keep(path: &Path) -> Before {
    let link = |second: &Path| std::fs::hard_link(path, second);
    let mut name = tempfile::Builder::new();
    let name = name.prefix(temporaries::PREFIX).rand_bytes(temporaries::RANDOM).suffix(temporaries::SUFFIX);
    name.make_in(folder(path), link).map_or(Before::Lost, |second| Before::Kept(second.into_temp_path()))
}

fn file_name(path: &Path) -> &std::ffi::OsStr {
    path.file_name().unwrap_or_default()
}

/// The folder that a file lies in.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Lets everybody read a file whom the process's umask allows.
#[cfg(unix)]
pub fn widen(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    // SAFETY: umask cannot fail and touches nothing but the process's mask, which is put back at once.
    let mask = unsafe {
        let mask = libc::umask(0o022);
        libc::umask(mask);
        mask
    };
    file.set_permissions(std::fs::Permissions::from_mode(0o666 & !mask))
}

/// Elsewhere files are made with their folder's rights.
#[cfg(not(unix))]
pub fn widen(_file: &File) -> io::Result<()> {
    Ok(())
}
