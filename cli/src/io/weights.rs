//! Files that a model keeps its weights in, beside itself: inputs too, though nobody names them on the command line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use heman_import::MAX_FILE_BYTES;

use super::samples::read_bounded;

/// What stands before the name of such a file: the entry `location` of a tensor's external data (ONNX's
/// `StringStringEntryProto`: field 1 is the key, field 2 the value).
const LOCATION: &[u8] = b"\x0a\x08location\x12";

/// The files that a model names; none if it cannot be read, which is an error elsewhere.
pub fn files_of_model(model: &Path) -> Vec<PathBuf> {
    let folder = model.parent().unwrap_or(Path::new(""));
    // A model in a stream is read only once.
    let bytes = if model.is_file() { read_bounded(model, MAX_FILE_BYTES).unwrap_or_default() } else { Vec::new() };
    locations(&bytes).into_iter().map(|location| folder.join(location)).collect()
}

fn locations(mut bytes: &[u8]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    while let Some(at) = bytes.windows(LOCATION.len()).position(|window| window == LOCATION) {
        bytes = &bytes[at + LOCATION.len()..];
        let (length, value) = match *bytes {
            // Lengths have seven bits a byte, the highest bit set but in the last.
            [low, high, ref value @ ..] if low > 127 && high < 128 => {
                (usize::from(low & 127) | usize::from(high) << 7, value)
            }
            [length, ref value @ ..] if length < 128 => (usize::from(length), value),
            _ => continue,
        };
        found.extend(value.get(..length).and_then(|name| String::from_utf8(name.to_vec()).ok()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_length_are_found_once() {
        let entry = |name: &str| {
            let length = name.len();
            let prefix = if length < 128 { vec![length as u8] } else { vec![length as u8 | 128, (length >> 7) as u8] };
            [LOCATION, &prefix, name.as_bytes(), b"\x0a\x06offset"].concat()
        };
        let long = "w".repeat(300);
        let bytes = [b"model".to_vec(), entry("weights.bin"), entry(&long), entry("weights.bin")].concat();
        assert_eq!(locations(&bytes), BTreeSet::from(["weights.bin".to_string(), long]));
        for cut in 0..bytes.len() {
            assert!(locations(&bytes[..cut]).len() <= 2);
        }
    }
}
