//! Output files: written beside their place, synced, then renamed, so that nothing half-written is ever seen.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::NamedTempFile;

use crate::error::CliError;

static TEMPORARIES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Its owner only (mode 0600).
    Owner,
    /// Everybody whom the process's umask allows.
    Everybody,
}

/// A file that waits for its rename.
pub struct Pending {
    file: NamedTempFile,
    target: PathBuf,
}

/// Removes unfinished files when the process is interrupted, then ends it.
pub fn remove_temporaries_on_interrupt() {
    // Without a handler the files merely stay behind; nothing else depends on it.
    let _ = ctrlc::set_handler(|| {
        if let Ok(paths) = TEMPORARIES.lock() {
            for path in paths.iter() {
                let _ = std::fs::remove_file(path);
            }
        }
        std::process::exit(130);
    });
}

/// Writes a file beside its place, its bytes as they come.
pub fn prepare_with(
    target: &Path,
    access: Access,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<Pending, CliError> {
    let fail = |error: std::io::Error| CliError::new(format!("cannot write {}: {error}", target.display()));
    if target.is_dir() {
        return Err(CliError::new(format!("cannot write {}: it is a folder", target.display())));
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // tempfile creates with mode 0600.
    let mut file = tempfile::Builder::new().prefix(".heman-").tempfile_in(folder).map_err(fail)?;
    if let Ok(mut paths) = TEMPORARIES.lock() {
        paths.push(file.path().to_path_buf());
    }
    write(&mut file).map_err(fail)?;
    if access == Access::Everybody {
        widen(file.as_file()).map_err(fail)?;
    }
    file.as_file().sync_all().map_err(fail)?;
    Ok(Pending { file, target: target.to_path_buf() })
}

/// Writes a file beside its place.
pub fn prepare(target: &Path, bytes: &[u8], access: Access) -> Result<Pending, CliError> {
    prepare_with(target, access, |out| out.write_all(bytes))
}

impl Pending {
    /// Renames the file to its place.
    pub fn commit(self) -> Result<(), CliError> {
        let target = self.target;
        let result = self.file.persist(&target);
        result.map(|_| ()).map_err(|e| CliError::new(format!("cannot write {}: {}", target.display(), e.error)))
    }
}

/// Writes a file in one go.
pub fn write(target: &Path, bytes: &[u8], access: Access) -> Result<(), CliError> {
    prepare(target, bytes, access)?.commit()
}

#[cfg(unix)]
fn widen(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    // SAFETY: umask cannot fail and touches nothing but the process's mask, which is put back at once.
    let mask = unsafe {
        let mask = libc::umask(0o022);
        libc::umask(mask);
        mask
    };
    file.set_permissions(std::fs::Permissions::from_mode(0o666 & !mask))
}

#[cfg(not(unix))]
fn widen(_file: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}
