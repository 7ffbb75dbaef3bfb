//! Names of files that are whole: given in one step, and kept when the system crashes.

use std::fs::File;
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

/// Moves a file to a place, in one step, whatever is there.
pub fn place_over(file: NamedTempFile, path: &Path) -> io::Result<()> {
    let (_held, temporary) = file.into_parts();
    std::fs::rename(&temporary, path)?;
    temporary.keep().map(|_| ()).map_err(|error| error.error)
}

/// Moves a file to a place where nothing is.
pub fn place_new(file: NamedTempFile, path: &Path) -> io::Result<()> {
    match std::fs::hard_link(file.path(), path) {
        // The first name goes when the file is dropped.
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // A file system without second names.
        Err(_) => file.persist_noclobber(path).map(|_| ()).map_err(|error| error.error),
    }
}

/// Waits until the names in a folder are on the disk; file systems that cannot are let be.
#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    let opened = match File::open(folder) {
        // A folder that may be written to and not read.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        opened => opened?,
    };
    match opened.sync_all() {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP | libc::EBADF)) => Ok(()),
        synced => synced,
    }
}

/// Elsewhere folders cannot be synced.
#[cfg(not(unix))]
pub fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
