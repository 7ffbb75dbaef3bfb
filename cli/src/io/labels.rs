//! Labels beside inputs: `labels` in an archive, `labels.npy` in a folder; numbers or strings.

use std::io::{Cursor, Read};
use std::path::Path;

use npyz::{NpyFile, NpyHeader, Order};

use super::samples::read_bounded;
use crate::error::CliError;

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
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// The first `count`.
    pub fn truncate(&mut self, count: usize) {
        match self {
            Self::Numbers(values) => values.truncate(count),
            Self::Texts(values) => values.truncate(count),
        }
    }
}

/// Reads the labels beside inputs, if there are any.
pub fn read_labels(path: &Path) -> Result<Option<Labels>, CliError> {
    let fail = |error: &dyn std::fmt::Display| CliError::bad_file(format!("cannot read {}: {error}", path.display()));
    if path.is_dir() {
        let file = path.join("labels.npy");
        if !file.is_file() {
            return Ok(None);
        }
        let labels = parse(&read_bounded(&file, MOST_BYTES)?);
        return labels.map(Some).map_err(|error| CliError::file(&file, error));
    }
    let mut file = std::fs::File::open(path).map_err(|error| fail(&error))?;
    let mut start = Vec::new();
    (&mut file).take(4).read_to_end(&mut start).map_err(|error| fail(&error))?;
    if !start.starts_with(b"PK") {
        return Ok(None);
    }
    let mut archive = zip::ZipArchive::new(file).map_err(|error| fail(&error))?;
    let is_labels = |name: &&str| name.rsplit('/').next() == Some("labels.npy") && !name.starts_with("__MACOSX/");
    let Some(name) = archive.file_names().find(is_labels).map(str::to_string) else { return Ok(None) };
    let mut bytes = Vec::new();
    let entry = archive.by_name(&name).map_err(|error| fail(&error))?;
    entry.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| fail(&error))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(CliError::file(path, format!("{name} has more than {MOST_BYTES} bytes")));
    }
    parse(&bytes).map(Some).map_err(|error| CliError::file(path, format!("{name}: {error}")))
}

fn parse(bytes: &[u8]) -> Result<Labels, String> {
    let mut rest = Cursor::new(bytes);
    let header = NpyHeader::from_reader(&mut rest).map_err(|error| format!("not a .npy file: {error}"))?;
    let count = header.shape().iter().try_fold(1_usize, |product, &d| product.checked_mul(usize::try_from(d).ok()?));
    // One byte an element at the least: a header cannot promise more than the file holds.
    let count = count.filter(|&count| count <= bytes.len()).ok_or("its header promises more than the file holds")?;
    if header.order() == Order::Fortran && header.shape().iter().filter(|&&d| d > 1).count() > 1 {
        return Err("labels with several axes must be in C order".into());
    }
    let kind = header.dtype().descr();
    let name = kind.trim_matches(|c| c == '\'' || c == '"');
    let data = &bytes[(rest.position() as usize).min(bytes.len())..];
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
        _ => numbers(bytes).map_err(|error| error.unwrap_or_else(|| format!("labels of type {kind} are not known"))),
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

/// Numbers of any width; no sentence where the type is not one of numbers.
fn numbers(bytes: &[u8]) -> Result<Labels, Option<String>> {
    let file = NpyFile::new(bytes).map_err(|error| Some(format!("not a .npy file: {error}")))?;
    macro_rules! read_as {
        ($file:ident, $($kind:ty: $convert:expr),*) => {
            $(let $file = match $file.try_data::<$kind>() {
                Ok(data) => {
                    let values: std::io::Result<Vec<f64>> = data.map(|item| item.map($convert)).collect();
                    let values = values.map_err(|error| Some(format!("truncated: {error}")))?;
                    if values.iter().any(|value| !value.is_finite()) {
                        return Err(Some("a label is not finite".into()));
                    }
                    return Ok(Labels::Numbers(values));
                }
                Err(file) => file,
            };)*
        };
    }
    read_as!(file, f32: f64::from, f64: |v| v, i64: |v| v as f64, i32: f64::from, u8: f64::from, i8: f64::from,
        u16: f64::from, i16: f64::from, u32: f64::from, u64: |v| v as f64, bool: |v| f64::from(u8::from(v)));
    drop(file);
    Err(None)
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
