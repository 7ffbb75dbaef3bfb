//! The output folder: files appear in it as a whole, and stay.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use heman_core::files::chunks::Reader;
use heman_core::files::container::{Binding, FormatError, Kind};

use super::names::OWN_PREFIX;
use crate::error::{CliError, one_line};
use crate::io::names::{place_over, sync_folder};
use crate::io::output::widen;
use crate::io::temporaries::{self, Undisturbed};

/// An output folder, and a hidden one in it for what is not finished.
pub struct Store {
    root: PathBuf,
    hidden: PathBuf,
    /// Folders whose entries may not be on the disk yet.
    unsynced: Mutex<BTreeSet<PathBuf>>,
}

/// Where an output goes.
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Whether an encrypted output stands there already.
    pub is_taken: bool,
}

impl Store {
    /// Opens a folder, or makes it.
    ///
    /// # Errors
    /// The file system's, with the folder's name.
    pub fn open(folder: &Path) -> Result<PathBuf, CliError> {
        let fail = |error: io::Error| CliError::bad_file(format!("cannot write to {}: {error}", folder.display()));
        std::fs::create_dir_all(folder).map_err(fail)?;
        std::fs::canonicalize(folder).map_err(fail)
    }

    /// Begins to write to a folder. Whoever calls this holds the lock of the journal of that name: what an interrupted
    /// run left unfinished is removed.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn begin(root: PathBuf, journal: &str) -> Result<Self, CliError> {
        let hidden = root.join(format!("{OWN_PREFIX}{journal}"));
        let cleared = || {
            std::fs::create_dir_all(&hidden)?;
            for entry in std::fs::read_dir(&hidden)? {
                let entry = entry?;
                if entry.file_name().as_encoded_bytes().starts_with(OWN_PREFIX.as_bytes()) {
                    std::fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        cleared()
            .map_err(|error: io::Error| CliError::bad_file(format!("cannot write to {}: {error}", root.display())))?;
        let unsynced = Mutex::new([root.clone()].into());
        Ok(Self { root, hidden, unsynced })
    }

    /// The place of an output, for which folders are made, never out of the output folder.
    ///
    /// # Errors
    /// A sentence for what cannot be written, or would be lost.
    pub fn place(&self, output: &Path) -> Result<Place, String> {
        let path = self.root.join(output);
        let name = one_line(&path.display().to_string());
        let fail = |error: io::Error| format!("cannot write {name}: {error}");
        let folder = path.parent().filter(|folder| *folder != self.root);
        if let Some(folder) = folder {
            self.make(folder).map_err(fail)?;
        }
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place { path, is_taken: false }),
            Err(error) => return Err(fail(error)),
            Ok(metadata) if metadata.is_file() && metadata.len() == 0 => return Ok(Place { path, is_taken: false }),
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(format!("cannot write {name}: something else than a file is there")),
        }
        match Reader::open(&path) {
            Ok(file) if file.header().kind == Kind::Output => Ok(Place { path, is_taken: true }),
            // Outputs that were torn, or of another version, may be replaced.
            Err(FormatError::Checksum | FormatError::Version { .. } | FormatError::Length { .. })
                if kind_byte(&path) == Some(Kind::Output as u8) =>
            {
                Ok(Place { path, is_taken: false })
            }
            Ok(_) | Err(_) => {
                Err(format!("cannot write {name}: a file is there that is no encrypted output, and would be lost"))
            }
        }
    }

    fn make(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        if !std::fs::canonicalize(folder)?.starts_with(&self.root) {
            return Err(io::Error::other("a link leads out of the output folder"));
        }
        let between = folder.ancestors().skip(1).take_while(|ancestor| ancestor.starts_with(&self.root));
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).extend(between.map(Path::to_path_buf));
        Ok(())
    }

    /// The folder for parts of an item.
    ///
    /// # Errors
    /// The file system's.
    pub fn parts(&self, item: u128) -> io::Result<PathBuf> {
        let folder = self.hidden.join(format!("{item:032x}"));
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Removes what parts of an item there are.
    pub fn forget_parts(&self, item: u128) {
        // What cannot be removed takes room, and nothing else.
        let _ = std::fs::remove_dir_all(self.hidden.join(format!("{item:032x}")));
    }

    /// Writes a file beside its place and moves it there as a whole, on the disk but for its name: see [`Store::sync`].
    ///
    /// # Errors
    /// The file system's, with the file's name.
    pub fn write(&self, place: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<u64, CliError> {
        let fail = |error: io::Error| {
            CliError::bad_file(format!("cannot write {}: {error}", one_line(&place.display().to_string())))
        };
        let mut file = temporaries::create(&self.hidden, "".as_ref()).map_err(fail)?;
        let written = || {
            let mut buffer = BufWriter::with_capacity(1 << 16, file.as_file_mut());
            write(&mut buffer)?;
            buffer.flush()?;
            drop(buffer);
            widen(file.as_file())?;
            file.as_file().sync_all()?;
            Ok(file.as_file().metadata()?.len())
        };
        let bytes = { written }().map_err(fail)?;
        let temporary = file.path().to_path_buf();
        let mut undisturbed = Undisturbed::begin();
        place_over(file, place).map_err(fail)?;
        undisturbed.forget(&temporary);
        drop(undisturbed);
        let folder = place.parent().unwrap_or(&self.root).to_path_buf();
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).insert(folder);
        Ok(bytes)
    }

    /// Waits until the names of all files that were written are on the disk.
    ///
    /// # Errors
    /// The file system's.
    pub fn sync(&self) -> io::Result<()> {
        let folders = std::mem::take(&mut *self.unsynced.lock().unwrap_or_else(PoisonError::into_inner));
        for folder in folders {
            match sync_folder(&folder) {
                // Parts are removed once they are joined.
                Err(error) if error.kind() == io::ErrorKind::NotFound && folder.starts_with(&self.hidden) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Removes the hidden folder if nothing is left in it.
    pub fn close(&self) {
        let _ = std::fs::remove_dir(&self.hidden);
    }
}

/// The byte that tells a file's kind, at one place in all versions.
fn kind_byte(path: &Path) -> Option<u8> {
    let mut start = [0; 7];
    io::Read::read_exact(&mut File::open(path).ok()?, &mut start).ok()?;
    Some(start[6])
}

/// Whether an output is not older than its input.
pub fn is_newer(output: &Path, input: &Path) -> bool {
    let time = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified());
    matches!((time(output), time(input)), (Ok(output), Ok(input)) if output >= input)
}

/// The head of an encrypted output, if it is one for these parameters.
pub fn output_of(path: &Path, binding: &Binding) -> Option<Reader<'static>> {
    let file = Reader::open(path).ok()?;
    (file.header().kind == Kind::Output && file.header().binding == *binding).then_some(file)
}
