//! Where an output goes: a file at the end of all links, or a stream that is written to and never replaced.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use heman_core::files::container::{Kind, MAGIC};

use crate::error::CliError;

/// Most links that are followed, as many as Linux follows.
const MOST_LINKS: usize = 40;

/// How every trace begins.
pub const TRACE_START: &str = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";

/// How every count of shared values begins.
pub const COUNT_START: &str = "{\"format\":\"heman-shared\"";

/// What an output's name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A regular file, or one that is still to be made: its folder is canonical, and it is no link.
    File(PathBuf),
    /// A device, a FIFO, or an open file of this process.
    Stream(PathBuf),
    /// Standard output.
    Stdout,
}

impl Place {
    /// Finds the place of a name, which is checked for everything that can be known before it is written to.
    ///
    /// # Errors
    /// For folders, block devices and sockets, for names in folders that do not exist, and for files that may not be
    /// written.
    pub fn of(name: &Path) -> Result<Self, CliError> {
        let refuse = |why: &str| Err(CliError::bad_file(format!("cannot write {}: {why}", name.display())));
        let fail = |error: io::Error| CliError::bad_file(format!("cannot write {}: {error}", name.display()));
        if name == Path::new("-") {
            return Ok(Self::Stdout);
        }
        if name.as_os_str().is_empty() {
            return refuse("its name is empty");
        }
        let end = follow_links(name).map_err(fail)?;
        match open_file_number(&end) {
            Some(1) => return Ok(Self::Stdout),
            Some(_) => return Ok(Self::Stream(end)),
            None => {}
        }
        let metadata = match std::fs::metadata(&end) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(fail(error)),
        };
        if let Some(metadata) = &metadata {
            match kind(metadata) {
                FileKind::Folder => return refuse("it is a folder"),
                FileKind::Other => return refuse("it is neither a file nor a stream"),
                FileKind::Stream => return Ok(Self::Stream(end)),
                FileKind::Regular => {}
            }
            if !may_write(&end) {
                return refuse("it may not be written to");
            }
        }
        let is_folder_name = name.as_os_str().as_encoded_bytes().last() == Some(&b'/');
        let Some(file) = end.file_name().filter(|_| !is_folder_name) else { return refuse("it names a folder") };
        let folder = end.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = match std::fs::canonicalize(folder) {
            Ok(canonical) if canonical.is_dir() => canonical,
            Ok(_) => return refuse(&format!("{} is not a folder", folder.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return refuse(&format!("the folder {} does not exist", folder.display()));
            }
            Err(error) => return Err(fail(error)),
        };
        Ok(Self::File(folder.join(file)))
    }

    /// Whether two places are one file.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => one == other || is_same_file(one, other),
            _ => false,
        }
    }

    /// Refuses a place that is, or holds, one of the inputs, or that lies in a folder of inputs and exists already.
    ///
    /// # Errors
    /// A sentence with both names.
    pub fn keep_apart(&self, name: &Path, inputs: &[&Path]) -> Result<(), CliError> {
        let Self::File(own) = self else { return Ok(()) };
        for input in inputs {
            let folder = std::fs::canonicalize(input).ok().filter(|input| input.is_dir());
            let is_in_folder = own.exists() && own.parent() == folder.as_deref();
            if is_in_folder || is_same_file(own, input) {
                let (name, input) = (name.display(), input.display());
                return Err(CliError::refusal(format!(
                    "{name} would replace the input {input}; give the output another name"
                )));
            }
        }
        Ok(())
    }

    /// What kind of ours the file there is, by its first bytes; none for other files, and where there is none.
    ///
    /// # Errors
    /// A file that cannot be read could be anybody's key.
    pub fn found_kind(&self) -> Result<Found, CliError> {
        let Self::File(path) = self else { return Ok(Found::Nothing) };
        let mut start = Vec::new();
        match File::open(path).and_then(|file| file.take(64).read_to_end(&mut start)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => {
                let text = format!("cannot replace {}, which cannot be read: {error}", path.display());
                return Err(CliError::bad_file(text));
            }
            Ok(_) => {}
        }
        let kind = start.strip_prefix(&MAGIC).and_then(|rest| rest.first());
        // The kind stands at one place in files of every version.
        Ok(match kind {
            Some(&kind) if kind == Kind::SecretKey as u8 || kind == Kind::ProtectedKey as u8 => Found::SecretKey,
            Some(&kind) if kind == Kind::EvaluationKey as u8 => Found::EvaluationKey,
            _ if start.is_empty() => Found::Nothing,
            _ if start.starts_with(TRACE_START.as_bytes()) => Found::Trace,
            _ if start.starts_with(COUNT_START.as_bytes()) => Found::Count,
            _ => Found::Other,
        })
    }
}

/// The name to read an input by: `-` is standard input.
pub fn input_name(name: &Path) -> &Path {
    if name == Path::new("-") { Path::new("/dev/stdin") } else { name }
}

/// Whether a name stands for an open file of this process, which somebody else may have opened for it.
pub fn names_open_file(name: &Path) -> bool {
    follow_links(name).is_ok_and(|end| open_file_number(&end).is_some())
}

/// Whether a name stands for standard input.
pub fn names_stdin(name: &Path) -> bool {
    follow_links(input_name(name)).is_ok_and(|end| open_file_number(&end) == Some(0))
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No file, or an empty one.
    Nothing,
    /// A secret key of ours, of any version.
    SecretKey,
    /// An evaluation key of ours, of any version.
    EvaluationKey,
    /// A trace of ours.
    Trace,
    /// A count of values that were shared under a key, of any version.
    Count,
    /// Another file.
    Other,
}

/// Whether two names lead to one file: by their canonical paths, or by device and number.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let canonical = |path: &Path| std::fs::canonicalize(path).ok();
    if canonical(one).is_some_and(|one| Some(one) == canonical(other)) {
        return true;
    }
    match (std::fs::metadata(one), std::fs::metadata(other)) {
        (Ok(one), Ok(other)) => identity(&one).is_some_and(|one| Some(one) == identity(&other)),
        _ => false,
    }
}

/// Follows links of the last component, also those that lead to nothing.
fn follow_links(name: &Path) -> io::Result<PathBuf> {
    let mut path = name.to_path_buf();
    for _ in 0..MOST_LINKS {
        // What these links say is no path where the open file is a pipe or was deleted.
        if open_file_number(&path).is_some() {
            return Ok(path);
        }
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.file_type().is_symlink() => {
                let to = std::fs::read_link(&path)?;
                let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
                path = folder.join(to);
            }
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("it is a link to a link, and so on without end"))
}

/// The number of an open file of this process that a path names, such as `/dev/fd/3`.
fn open_file_number(path: &Path) -> Option<u32> {
    let number = |name: &OsStr| name.to_str().and_then(|name| name.parse().ok());
    match path.to_str()? {
        "/dev/stdin" => Some(0),
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        _ => {
            let folder = path.parent()?.to_str()?;
            let own = format!("/proc/{}/fd", std::process::id());
            let is_open = ["/dev/fd", "/proc/self/fd", own.as_str()].contains(&folder);
            path.file_name().filter(|_| is_open).and_then(number)
        }
    }
}

enum FileKind {
    Regular,
    Folder,
    Stream,
    Other,
}

#[cfg(unix)]
fn kind(metadata: &Metadata) -> FileKind {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    if kind.is_file() {
        FileKind::Regular
    } else if kind.is_dir() {
        FileKind::Folder
    } else if kind.is_char_device() || kind.is_fifo() {
        FileKind::Stream
    } else {
        FileKind::Other
    }
}

#[cfg(not(unix))]
fn kind(metadata: &Metadata) -> FileKind {
    if metadata.is_dir() { FileKind::Folder } else { FileKind::Regular }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(_metadata: &Metadata) -> Option<(u64, u64)> {
    None
}

#[cfg(unix)]
fn may_write(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: the path is a string that ends with a zero byte, and the call only reads it.
    unsafe { libc::access(path.as_ptr(), libc::W_OK) == 0 }
}

#[cfg(not(unix))]
fn may_write(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| !metadata.permissions().readonly())
}
