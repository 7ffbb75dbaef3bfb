//! Labels beside inputs: `labels` in an archive, `labels.npy` in a folder; numbers or strings.

use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::Path;

use crate::error::ArrayError;
use crate::npy::{Header, Start};

/// Most bytes of labels.
const MOST_BYTES: u64 = 1 << 28;
/// Most characters of one label.
const MOST_CHARACTERS: usize = 1 << 12;

/// Labels as they stand in the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Labels {
    /// Numbers in row-major order.
    Numbers(Vec<f64>),
    /// Strings in row-major order.
    Texts(Vec<String>),
}

impl Labels {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first `count`.
    pub fn truncate(&mut self, count: usize) {
        match self {
            Self::Numbers(values) => values.truncate(count),
            Self::Texts(values) => values.truncate(count),
        }
    }
}

/// Whether an array holds labels, which may be strings.
pub(crate) fn is_labels(name: &str) -> bool {
    name.rsplit('/').next() == Some("labels.npy")
}

/// Reads the labels beside inputs, if there are any.
///
/// # Errors
/// [`ArrayError`] for files that cannot be read, and for labels that are neither numbers nor strings.
pub fn read_labels(path: &Path) -> Result<Option<Labels>, ArrayError> {
    if path.is_dir() {
        let file = path.join("labels.npy");
        if !file.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let read = File::open(&file).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
        read.map_err(ArrayError::read(&file))?;
        let labels = bounded(&bytes).and_then(parse);
        return labels.map(Some).map_err(|reason| ArrayError::content(file.display().to_string(), reason));
    }
    let fail = ArrayError::read(path);
    let mut file = File::open(path).map_err(&fail)?;
    let mut start = Vec::new();
    (&mut file).take(4).read_to_end(&mut start).map_err(&fail)?;
    if !start.starts_with(b"PK") {
        return Ok(None);
    }
    of_archive(file).map_err(|reason| ArrayError::content(path.display().to_string(), reason))
}

/// Reads the labels of an archive in memory, if there are any.
///
/// # Errors
/// As [`read_labels`].
pub fn labels_of_bytes(name: &str, bytes: &[u8]) -> Result<Option<Labels>, ArrayError> {
    if !bytes.starts_with(b"PK") {
        return Ok(None);
    }
    of_archive(Cursor::new(bytes)).map_err(|reason| ArrayError::content(name, reason))
}

fn of_archive(source: impl Read + Seek) -> Result<Option<Labels>, String> {
    let mut archive = zip::ZipArchive::new(source).map_err(|error| format!("not a sound archive: {error}"))?;
    let wanted = |name: &&str| is_labels(name) && !name.starts_with("__MACOSX/");
    let Some(name) = archive.file_names().find(wanted).map(str::to_string) else { return Ok(None) };
    let mut bytes = Vec::new();
    let entry = archive.by_name(&name).map_err(|error| error.to_string())?;
    entry.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
    bounded(&bytes).and_then(parse).map(Some).map_err(|reason| format!("{name}: {reason}"))
}

fn bounded(bytes: &[u8]) -> Result<&[u8], String> {
    if bytes.len() as u64 > MOST_BYTES { Err(format!("it has more than {MOST_BYTES} bytes")) } else { Ok(bytes) }
}

fn parse(bytes: &[u8]) -> Result<Labels, String> {
    let mut data = bytes;
    let Start { descr, shape, len: count, is_fortran } = Start::read(&mut data)?;
    // One byte an element at the least: a header cannot promise more than the file holds.
    if count > bytes.len() {
        return Err("its header promises more than the file holds".into());
    }
    if is_fortran && shape.iter().filter(|&&length| length > 1).count() > 1 {
        return Err("labels with several axes must be in C order".into());
    }
    let name = descr.ok_or("labels are records; save them as numbers or strings")?;
    let width = |letter: char| -> Option<usize> { name.split_once(letter)?.1.parse().ok() };
    match name.trim_start_matches(['<', '>', '=', '|']).chars().next() {
        Some('U') => texts(data, count, width('U'), 4, |unit| {
            let unit: [u8; 4] = unit.try_into().unwrap_or_default();
            let code = if name.starts_with('>') { u32::from_be_bytes(unit) } else { u32::from_le_bytes(unit) };
            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
        }),
        Some('S') => texts(data, count, width('S'), 1, |unit| char::from(unit[0])),
        Some('O') => {
            Err("labels are Python objects; save them as numbers or strings, as with labels.astype(str)".into())
        }
        _ => numbers(bytes),
    }
}

/// Strings of a fixed number of characters each, padded with zeros.
fn texts(
    data: &[u8],
    count: usize,
    characters: Option<usize>,
    unit_bytes: usize,
    decode: impl Fn(&[u8]) -> char,
) -> Result<Labels, String> {
    let characters = characters.filter(|&n| n > 0 && n <= MOST_CHARACTERS).ok_or("labels of no length")?;
    let each = characters * unit_bytes;
    if data.len() / each < count {
        return Err("its header promises more than the file holds".into());
    }
    let text = |bytes: &[u8]| -> String {
        let text: String = bytes.chunks_exact(unit_bytes).map(&decode).collect();
        text.trim_end_matches('\0').to_string()
    };
    Ok(Labels::Texts(data.chunks_exact(each).take(count).map(text).collect()))
}

fn numbers(bytes: &[u8]) -> Result<Labels, String> {
    let mut rest = bytes;
    let values = Header::read(&mut rest).and_then(|header| header.read_doubles(&mut rest))?;
    if values.iter().all(|value| value.is_finite()) {
        Ok(Labels::Numbers(values))
    } else {
        Err("a label is not finite".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(descr: &str, count: usize, data: &[u8]) -> Vec<u8> {
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({count},), }}");
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn strings_of_either_kind_are_read() {
        let wide: Vec<u8> = "ja\0né\0".chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        assert_eq!(parse(&file("<U3", 2, &wide)), Ok(Labels::Texts(vec!["ja".into(), "né".into()])));
        assert_eq!(parse(&file("|S3", 2, b"no\0yes")), Ok(Labels::Texts(vec!["no".into(), "yes".into()])));
    }

    #[test]
    fn numbers_and_booleans_are_read() {
        assert_eq!(parse(&file("|b1", 2, &[1, 0])), Ok(Labels::Numbers(vec![1.0, 0.0])));
        assert_eq!(parse(&file("|i1", 2, &[255, 3])), Ok(Labels::Numbers(vec![-1.0, 3.0])));
        assert_eq!(parse(&file("<f4", 1, &1.5_f32.to_le_bytes())), Ok(Labels::Numbers(vec![1.5])));
    }

    #[test]
    fn lies_and_objects_are_refused() {
        for (descr, count, data) in
            [("<U4", 2, &[0; 16][..]), ("|O", 1, &[0; 8]), ("<f4", 900_000, &[0; 8]), ("<U", 1, &[])]
        {
            assert!(parse(&file(descr, count, data)).is_err(), "{descr}");
        }
        assert!(parse(&file("<f4", 1, &f32::NAN.to_le_bytes())).is_err());
    }
}
