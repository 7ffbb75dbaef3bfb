//! Passphrases: from an open file, a file, or the terminal.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::line::read_line;
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
    let first = asked("Passphrase of the new key: ")?;
    if *first != *asked("The same again: ")? {
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
        None => asked(&format!("Passphrase of {}: ", path.display())),
    }
}

fn given(from: &Unlocking) -> Result<Option<Zeroizing<Vec<u8>>>, CliError> {
    let path = match (from.passphrase_fd, &from.passphrase_file) {
        (Some(number), _) => PathBuf::from(format!("/dev/fd/{number}")),
        (None, Some(path)) => path.clone(),
        (None, None) => return Ok(None),
    };
    let line = File::open(&path).and_then(|mut file| read_line(&mut file));
    line.map_err(|error| CliError::file(&path, format!("the passphrase cannot be read: {error}")))
        .and_then(sound)
        .map(Some)
}

fn asked(question: &str) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let none = |error: io::Error| {
        CliError::usage(format!(
            "the key has a passphrase, and there is no terminal to ask for it ({error}): give it with \
             --passphrase-fd or --passphrase-file"
        ))
    };
    ask(question).map_err(none).and_then(sound)
}

fn sound(passphrase: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, CliError> {
    if passphrase.is_empty() { Err(CliError::usage("the passphrase is empty")) } else { Ok(passphrase) }
}
