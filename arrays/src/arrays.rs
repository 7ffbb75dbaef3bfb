//! Arrays in files: one `.npy`, an archive of them (`.npz`, `.zip`), or a folder. Names and headers are read first,
//! data when they are asked for, all in bounded memory.
//!
//! Order: names that carry numbers are in the order of these numbers ([`crate::order`]); those of an archive without
//! numbers stay as they are in the archive, those of a folder are in the order of their bytes.

use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use crate::error::ArrayError;
use crate::labels::is_labels;
use crate::npy::Header;
use crate::numbers::Numbers;
use crate::order::{is_hidden, is_npy, natural, sort_numbered};

/// Most bytes of array data that one argument may hold or unpack to.
pub const MAX_BYTES: u64 = 2 << 30;
/// Most files of an archive or a folder.
const MAX_FILES: usize = 1 << 20;
/// Up to so many bytes an archive may unpack to whatever its own size is.
const UNSUSPICIOUS_BYTES: u64 = 64 << 20;
/// Beyond, so many times its own size: arrays of measured data do not shrink to less.
const MOST_EXPANSION: u64 = 200;

trait Source: Read + Seek {}
impl<S: Read + Seek> Source for S {}

/// Arrays whose names and headers are known.
pub struct Arrays {
    name: String,
    entries: Vec<Entry>,
    held: Held,
    /// Bytes of the archive; none outside of archives.
    archive_bytes: Option<u64>,
}

/// One array.
#[derive(Clone)]
pub struct Entry {
    /// Its name, without the archive's or folder's.
    pub name: String,
    /// Shape and element type.
    pub header: Header,
    at: At,
}

#[derive(Clone)]
enum At {
    /// What is left of the one file.
    Here,
    /// A number in the archive.
    Index(usize),
    /// A file of the folder.
    Path(PathBuf),
}

enum Held {
    One(Box<dyn Read>),
    Archive(ZipArchive<Box<dyn Source>>),
    Folder,
}

impl Entry {
    /// The last component of the name, without `.npy`.
    #[must_use]
    pub fn stem(&self) -> &str {
        let file = self.name.rsplit('/').next().unwrap_or(&self.name);
        if is_npy(file) { &file[..file.len() - ".npy".len()] } else { file }
    }
}

impl Arrays {
    /// Opens a file or a folder, and reads the headers of the arrays in it.
    ///
    /// # Errors
    /// A sentence with the file's name for everything that is no such file.
    pub fn open(path: &Path) -> Result<Self, ArrayError> {
        if path.is_dir() {
            return Self::of_folder(path);
        }
        let fail = ArrayError::read(path);
        let mut file = File::open(path).map_err(&fail)?;
        let mut start = Vec::new();
        file.by_ref().take(2).read_to_end(&mut start).map_err(&fail)?;
        if start != b"PK" {
            return Self::of_one(path.display().to_string(), Box::new(Cursor::new(start).chain(file)));
        }
        let metadata = file.metadata().map_err(&fail)?;
        if metadata.is_file() {
            return Self::of_archive(path.display().to_string(), Box::new(file), metadata.len());
        }
        // A stream cannot be sought in.
        let mut bytes = start;
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(&fail)?;
        Self::of_bytes(&path.display().to_string(), bytes)
    }

    /// The same for a file in memory.
    ///
    /// # Errors
    /// As [`Arrays::open`].
    pub fn of_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, ArrayError> {
        let length = bytes.len() as u64;
        if bytes.starts_with(b"PK") {
            Self::of_archive(name.into(), Box::new(Cursor::new(bytes)), length)
        } else {
            Self::of_one(name.into(), Box::new(Cursor::new(bytes)))
        }
    }

    fn of_one(name: String, mut file: Box<dyn Read>) -> Result<Self, ArrayError> {
        let header = Header::read(&mut file).map_err(|reason| ArrayError::content(name.clone(), reason))?;
        let entries = vec![Entry { name: name.clone(), header, at: At::Here }];
        Ok(Self { name, entries, held: Held::One(file), archive_bytes: None })
    }

    fn of_folder(path: &Path) -> Result<Self, ArrayError> {
        let (fail, folder) = (ArrayError::read(path), path.display().to_string());
        let mut files: Vec<(String, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(path).map_err(&fail)? {
            let entry = entry.map_err(&fail)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_npy(&name) && !is_hidden(&name) {
                files.push((name, entry.path()));
            }
            if files.len() > MAX_FILES {
                return Err(ArrayError::content(folder, format!("it holds more than {MAX_FILES} files")));
            }
        }
        files.sort_by(|(one, _), (other, _)| natural(one, other));
        let mut entries = Vec::with_capacity(files.len());
        for (name, file) in files {
            let header = open_regular(&file).and_then(|mut open| Header::read(&mut open));
            if header.is_err() && is_labels(&name) {
                continue;
            }
            let header = header.map_err(|reason| ArrayError::content(file.display().to_string(), reason))?;
            entries.push(Entry { name, header, at: At::Path(file) });
        }
        Ok(Self { name: folder, entries, held: Held::Folder, archive_bytes: None })
    }

    fn of_archive(own: String, source: Box<dyn Source>, length: u64) -> Result<Self, ArrayError> {
        let wrong = |reason: String| ArrayError::content(own.clone(), reason);
        let fail = |error: String| wrong(format!("not a sound archive: {error}"));
        let mut archive = ZipArchive::new(source).map_err(|error| fail(error.to_string()))?;
        if archive.len() > MAX_FILES {
            return Err(fail(format!("more than {MAX_FILES} files")));
        }
        let mut entries = Vec::new();
        for index in 0..archive.len() {
            let mut file = match archive.name_for_index(index) {
                Some(name) if is_npy(name) && !is_hidden(name) => {
                    archive.by_index(index).map_err(|error| fail(error.to_string()))?
                }
                _ => continue,
            };
            let name = file.name().to_string();
            let header = Header::read(&mut file);
            if header.is_err() && is_labels(&name) {
                continue;
            }
            let header = header.map_err(|error| wrong(format!("{name}: {error}")))?;
            if file.size() < header.data_bytes() {
                let (promised, declared) = (header.data_bytes(), file.size());
                return Err(wrong(format!(
                    "{name}: its header promises {promised} bytes, and the archive says that it has {declared}"
                )));
            }
            entries.push(Entry { name, header, at: At::Index(index) });
        }
        sort_numbered(&mut entries, |entry| &entry.name);
        Ok(Self { name: own, entries, held: Held::Archive(archive), archive_bytes: Some(length) })
    }

    /// The arrays, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The file's or folder's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there are several files, so that each may be one input.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        matches!(self.held, Held::Folder)
    }

    /// Whether it is an archive.
    #[must_use]
    pub fn is_archive(&self) -> bool {
        matches!(self.held, Held::Archive(_))
    }

    /// The name of an array, with the archive's or folder's.
    #[must_use]
    pub fn full_name(&self, entry: &Entry) -> String {
        match &entry.at {
            At::Here => self.name.clone(),
            At::Index(_) => format!("{}: {}", self.name, entry.name),
            At::Path(path) => path.display().to_string(),
        }
    }

    /// Refuses to read arrays that hold more than one argument may, or that an archive of this size cannot hold
    /// honestly.
    ///
    /// # Errors
    /// A sentence with both sizes.
    pub fn check_size(&self, entries: &[Entry]) -> Result<(), ArrayError> {
        let bytes = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.header.data_bytes()));
        if bytes > MAX_BYTES {
            return Err(ArrayError::content(
                self.name.clone(),
                format!("what it promises takes {bytes} bytes; at most {MAX_BYTES} are read"),
            ));
        }
        match self.archive_bytes {
            Some(own) if bytes > UNSUSPICIOUS_BYTES && bytes / MOST_EXPANSION > own => Err(ArrayError::content(
                self.name.clone(),
                format!("an archive of {own} bytes that unpacks to {bytes} is not read; give the arrays unpacked"),
            )),
            _ => Ok(()),
        }
    }

    /// Reads the data of one array, in C order.
    ///
    /// # Errors
    /// A sentence with the array's name for data that are not what its header says.
    pub fn read(&mut self, entry: &Entry) -> Result<Numbers, ArrayError> {
        let values = match (&mut self.held, &entry.at) {
            (Held::One(file), _) => entry.header.read_numbers(file),
            (Held::Archive(archive), At::Index(index)) => archive
                .by_index(*index)
                .map_err(|error| error.to_string())
                .and_then(|mut file| same_header(&mut file, &entry.header)?.read_numbers(&mut file)),
            (_, At::Path(path)) => {
                open_regular(path).and_then(|mut file| same_header(&mut file, &entry.header)?.read_numbers(&mut file))
            }
            _ => Err("there is no such array".into()),
        };
        values.map_err(|reason| ArrayError::content(self.full_name(entry), reason))
    }
}

fn same_header<'a>(file: &mut dyn Read, known: &'a Header) -> Result<&'a Header, String> {
    if Header::read(file)? == *known { Ok(known) } else { Err("it changed while it was read".into()) }
}

fn open_regular(path: &Path) -> Result<std::io::BufReader<File>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("it is no file".into());
    }
    File::open(path).map(std::io::BufReader::new).map_err(|error| format!("cannot be read: {error}"))
}
