//! Files of decrypted outputs: `.npy` for one, `.npz` with an array a name for several.

use std::collections::HashSet;
use std::io::{Cursor, Write};

use heman_client::{Output, Tensor, TensorData};
use zip::write::SimpleFileOptions;

use super::samples::npy_bytes;
use crate::error::CliError;

/// The bytes of the file.
pub fn answer_bytes(outputs: &[Output]) -> Result<Vec<u8>, CliError> {
    if let [only] = outputs {
        return tensor_bytes(&only.tensor);
    }
    let fail = |error: String| CliError::new(format!("cannot encode the result: {error}"));
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut taken = HashSet::new();
    for output in outputs {
        let mut name = entry_name(&output.name);
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        archive.start_file(format!("{name}.npy"), options).map_err(|e| fail(e.to_string()))?;
        archive.write_all(&tensor_bytes(&output.tensor)?).map_err(|e| fail(e.to_string()))?;
    }
    Ok(archive.finish().map_err(|e| fail(e.to_string()))?.into_inner())
}

/// The name of an output within an archive. Names come from whoever made the parameters: none may lead out of the
/// folder that the archive is unpacked in.
fn entry_name(name: &str) -> String {
    let is_plain = |part: &&str| !part.is_empty() && *part != "." && *part != "..";
    let visible: String = name.chars().map(|c| if c.is_control() || c == '\\' { '_' } else { c }).collect();
    let parts: Vec<&str> = visible.split('/').filter(is_plain).collect();
    if parts.is_empty() { "output".into() } else { parts.join("/") }
}

fn tensor_bytes(tensor: &Tensor) -> Result<Vec<u8>, CliError> {
    match &tensor.data {
        TensorData::Real(values) => npy_bytes(&tensor.shape, values),
        TensorData::Index(values) => npy_bytes(&tensor.shape, values),
        TensorData::Boolean(values) => npy_bytes(&tensor.shape, values),
        TensorData::Text(values) => Ok(text_bytes(&tensor.shape, values)),
    }
}

/// A `.npy` file of strings: code points of four bytes, all as many as the longest has.
fn text_bytes(shape: &[usize], values: &[String]) -> Vec<u8> {
    let width = values.iter().map(|value| value.chars().count()).max().unwrap_or(0).max(1);
    let lengths: String = shape.iter().map(|length| format!("{length}, ")).collect();
    let tuple = if shape.len() == 1 { lengths.trim_end() } else { lengths.trim_end_matches(", ") };
    let mut header = format!("{{'descr': '<U{width}', 'fortran_order': False, 'shape': ({tuple}), }}");
    // Magic, version and length take ten bytes; the data begins at a multiple of 64.
    let padding = 64 - (header.len() + 11) % 64;
    header.extend(std::iter::repeat_n(' ', padding % 64));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    for value in values {
        let characters = value.chars().map(|c| c as u32).chain(std::iter::repeat(0)).take(width);
        bytes.extend(characters.flat_map(u32::to_le_bytes));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn strings_are_an_array_of_code_points() {
        let bytes = text_bytes(&[2], &["bee".into(), "é".into()]);
        let header = std::str::from_utf8(&bytes[10..bytes.len() - 24]).expect("a header");
        assert!(header.starts_with("{'descr': '<U3', 'fortran_order': False, 'shape': (2,), }"), "{header}");
        assert_eq!((bytes.len() - 24) % 64, 0);
        assert_eq!(&bytes[bytes.len() - 24..][..4], [b'b', 0, 0, 0]);
        assert_eq!(&bytes[bytes.len() - 12..], [0xe9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(text_bytes(&[1, 2], &["a".into(), "b".into()]).windows(6).any(|part| part == b"(1, 2)"));
        assert!(text_bytes(&[], &["a".into()]).windows(4).any(|part| part == b"(), "));
    }

    #[test]
    fn names_stay_within_the_archive() {
        let named = ["/fc/Gemm_output_0", "../../etc/passwd", "a\\..\\b", "label:0", "..", "x\n"].map(entry_name);
        assert_eq!(named, ["fc/Gemm_output_0", "etc/passwd", "a_.._b", "label:0", "output", "x_"]);
    }

    #[test]
    fn several_outputs_are_an_archive_of_arrays() {
        let output = |name: &str, data| Output {
            name: name.into(),
            columns: Vec::new(),
            tensor: Tensor { shape: vec![2], data },
        };
        let outputs =
            [output("label:0", TensorData::Index(vec![4, -1])), output("sure", TensorData::Boolean(vec![true, false]))];
        let bytes = answer_bytes(&outputs).expect("encodes");
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("an archive");
        let mut entry = Vec::new();
        archive.by_name("label:0.npy").expect("the label").read_to_end(&mut entry).expect("reads");
        assert_eq!(entry, npy_bytes(&[2], &[4_i64, -1]).expect("encodes"));
        assert_eq!(archive.len(), 2);
        let alike = [output("/y", TensorData::Index(vec![1, 2])), output("y", TensorData::Index(vec![3, 4]))];
        let archive = zip::ZipArchive::new(Cursor::new(answer_bytes(&alike).expect("encodes"))).expect("an archive");
        let mut names: Vec<&str> = archive.file_names().collect();
        names.sort_unstable();
        assert_eq!(names, ["y.npy", "y_.npy"]);
        assert_eq!(answer_bytes(&outputs[..1]).expect("encodes"), npy_bytes(&[2], &[4_i64, -1]).expect("encodes"));
    }
}
