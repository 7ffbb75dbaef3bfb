//! Names of inputs, and what their outputs are called.

use std::path::{Component, Path, PathBuf};

/// Suffix of an encrypted input, which its output's name does not keep.
const INPUT_SUFFIX: &str = ".enc";
/// Suffix of an encrypted output.
const OUTPUT_SUFFIX: &str = ".out";
/// How names begin that are kept for unfinished files.
pub const OWN_PREFIX: &str = ".heman-";

/// An input, and where its output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What the journal calls it: the [`key`] of its path from the folder of inputs or the list on, or of the whole
    /// path of an input that lies elsewhere, with `/` between folders.
    pub name: String,
    /// Where it is read.
    pub path: PathBuf,
    /// Where its output goes, from the output folder on; never out of it.
    pub output: PathBuf,
}

/// A digest of a name, the same on every machine: 128 bits of BLAKE3.
pub fn digest(name: &str) -> u128 {
    let hash = blake3::hash(name.as_bytes());
    u128::from_le_bytes(std::array::from_fn(|at| hash.as_bytes()[at]))
}

/// What the journal calls a name, different for different names. Nearly every name stands for itself. In one that is
/// not UTF-8 each byte that is none becomes `\xNN`, and each backslash is doubled; so it is in a name that holds such
/// a `\xNN` as text.
pub fn key(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(text) if !has_escape(name) => text.into(),
        _ => name.utf8_chunks().fold(String::new(), |mut key, chunk| {
            key += &chunk.valid().replace('\\', r"\\");
            key.extend(chunk.invalid().iter().map(|byte| format!(r"\x{byte:02x}")));
            key
        }),
    }
}

/// Whether a name holds a `\xNN` that could stand for a byte; bytes that are not UTF-8 are 0x80 or more.
fn has_escape(name: &[u8]) -> bool {
    name.windows(4).any(|part| matches!(part, [b'\\', b'x', b'8'..=b'9' | b'a'..=b'f', b'0'..=b'9' | b'a'..=b'f']))
}

impl Item {
    /// A file of a folder.
    pub fn in_folder(folder: &Path, name: &str) -> Self {
        Self { name: key(name.as_bytes()), path: folder.join(name), output: output_name(name).into() }
    }

    /// A line of a list that lies in `root`, an absolute path. `..` is resolved by the names alone, and the path of an
    /// input outside of `root` is kept as a whole under the output folder.
    ///
    /// # Errors
    /// A sentence for what names no file, or what would be confused with unfinished files.
    pub fn listed(root: &Path, line: &str) -> Result<Self, String> {
        let path = root.join(line);
        let (root, whole) = (resolved(root), resolved(&path));
        let inside = whole.strip_prefix(&root).unwrap_or(&whole);
        let names: Option<Vec<&str>> = inside
            .components()
            .filter(|component| matches!(component, Component::Normal(_)))
            .map(|component| component.as_os_str().to_str())
            .collect();
        let names = names.ok_or("its name is not UTF-8")?;
        let Some((file, folders)) = names.split_last() else { return Err("it names a folder".into()) };
        if names.iter().any(|name| name.starts_with(OWN_PREFIX)) {
            return Err(format!("names that begin with {OWN_PREFIX} are kept for unfinished files"));
        }
        let output = folders.iter().collect::<PathBuf>().join(output_name(file));
        let is_inside = inside.as_os_str().len() < whole.as_os_str().len();
        let name = if is_inside { names.join("/") } else { format!("/{}", names.join("/")) };
        Ok(Self { name: key(name.as_bytes()), path, output })
    }
}

/// `x.enc` becomes `x.out`, and any other name gets `.out` appended.
fn output_name(name: &str) -> String {
    let stem = name.strip_suffix(INPUT_SUFFIX).filter(|stem| !stem.is_empty()).unwrap_or(name);
    format!("{stem}{OUTPUT_SUFFIX}")
}

/// A path without `.` and `..`.
fn resolved(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                whole.pop();
            }
            other => whole.push(other),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(line: &str) -> Result<(String, String), String> {
        let item = Item::listed(Path::new("/jobs/today"), line)?;
        Ok((item.name, item.output.to_string_lossy().into_owned()))
    }

    #[test]
    fn outputs_are_called_after_their_inputs() {
        for (name, output) in [("x.enc", "x.out"), ("x", "x.out"), ("x.bin", "x.bin.out"), (".enc", ".enc.out")] {
            assert_eq!(Item::in_folder(Path::new("in"), name).output, Path::new(output));
        }
    }

    #[test]
    fn listed_paths_stay_under_the_output_folder() {
        let both = |name: &str, output: &str| Ok((name.to_owned(), output.to_owned()));
        assert_eq!(listed("a/b.enc"), both("a/b.enc", "a/b.out"));
        assert_eq!(listed("./a//b.enc"), both("a/b.enc", "a/b.out"));
        assert_eq!(listed("/jobs/today/a.enc"), both("a.enc", "a.out"));
        assert_eq!(listed("../other/a.enc"), both("/jobs/other/a.enc", "jobs/other/a.out"));
        assert_eq!(listed("../../../../etc/a.enc"), both("/etc/a.enc", "etc/a.out"));
        assert_eq!(listed("/data/a.enc"), both("/data/a.enc", "data/a.out"));
        assert_eq!(listed("a/../b.enc"), both("b.enc", "b.out"));
    }

    #[test]
    fn keys_of_different_names_differ() {
        let names: [&[u8]; 8] =
            [b"\xff", b"\xfe", br"\xff", br"\\xff", b"\\\xff", "\u{fffd}".as_bytes(), b"\xff\xfe", br"a\x41\b"];
        let keys = names.map(key);
        let wanted = [r"\xff", r"\xfe", r"\\xff", r"\\\\xff", r"\\\xff", "\u{fffd}", r"\xff\xfe", r"a\x41\b"];
        assert_eq!(keys, wanted);
    }

    #[test]
    fn what_names_no_file_is_refused() {
        for line in [".", "", "/", "a/..", ".heman-journal/a.enc", "a/.heman-1.enc"] {
            assert!(listed(line).is_err(), "{line}");
        }
    }
}
