//! Passphrases: from an open file, a file, or the terminal.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use heman_client::mode_with_others;
use zeroize::Zeroizing;

use super::line::read_line;
use super::place::names_open_file;
use super::terminal::ask;
use crate::args::Unlocking;
use crate::error::CliError;

/// The passphrase for a new key: where it is to be read from, or asked for twice if `is_asked`; none otherwise.
///
/// # Errors
/// What cannot be read; an empty one; answers that differ.
pub fn for_new_key(from: &Unlocking, is_asked: bool) -> Result<Option<Zeroizing<Vec<u8>>>, CliError> {
    if let Some(given) = given(from)? {
        return Ok(Some(given));
    }
    if !is_asked {
        return Ok(None);
    }
    let needs = "a new key is to get a passphrase";
    let first = asked("Passphrase of the new key: ", needs)?;
    if *first != *asked("The same again: ", needs)? {
        return Err(CliError::usage("the two passphrases differ"));
    }
    Ok(Some(first))
}

/// The passphrase of a key: where it is to be read from, or asked for.
///
/// # Errors
/// As [`for_new_key`].
pub fn of_key(path: &Path, from: &Unlocking) -> Result<Zeroizing<Vec<u8>>, CliError> {
    match given(from)? {
        Some(given) => Ok(given),
        None => asked(&format!("Passphrase of {}: ", path.display()), "the key has a passphrase"),
    }
}

fn given(from: &Unlocking) -> Result<Option<Zeroizing<Vec<u8>>>, CliError> {
    let (path, file) = match (from.passphrase_fd, &from.passphrase_file) {
        (Some(number), _) => (PathBuf::from(format!("/dev/fd/{number}")), open_number(number)),
        (None, Some(path)) => (path.clone(), File::open(path)),
        (None, None) => return Ok(None),
    };
    if let (Some(path), Ok(file)) = (&from.passphrase_file, &file) {
        check_rights(path, file)?;
    }
    let line = file.and_then(|mut file| read_line(&mut file));
    line.map_err(|error| CliError::file(&path, format!("the passphrase cannot be read: {error}")))
        .and_then(sound)
        .map(Some)
}

/// An open file of this process, at the position where it is: to open its name again would need rights to it, begin at
/// its start, and fail for sockets.
#[cfg(unix)]
fn open_number(number: u32) -> io::Result<File> {
    use std::os::fd::FromRawFd;
    let number = i32::try_from(number).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the call takes numbers only.
    let own = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if own < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call gave the number to this function alone.
    Ok(unsafe { File::from_raw_fd(own) })
}

/// Elsewhere open files have no numbers.
#[cfg(not(unix))]
fn open_number(_number: u32) -> io::Result<File> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// Refuses files of passphrases that others have rights to, as keys are; streams have no such rights.
fn check_rights(path: &Path, file: &File) -> Result<(), CliError> {
    let mode = file.metadata().ok().filter(|_| !names_open_file(path)).and_then(|metadata| mode_with_others(&metadata));
    let Some(mode) = mode else { return Ok(()) };
    let name = path.display();
    Err(CliError::refusal(format!(
        "{name} holds a passphrase, and others have rights to it (mode {mode:04o}); mend it with: chmod 600 {name}"
    )))
}

/// Why there is a question is said where nobody can be asked.
fn asked(question: &str, why: &str) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let none = |error: io::Error| {
        CliError::usage(format!(
            "{why}, and there is no terminal to ask for it ({error}): give it with --passphrase-fd or \
             --passphrase-file"
        ))
    };
    ask(question).map_err(none).and_then(sound)
}

fn sound(passphrase: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, CliError> {
    if passphrase.is_empty() { Err(CliError::usage("the passphrase is empty")) } else { Ok(passphrase) }
}
