//! What devices keep on disk between runs: compiled kernels. All of it can be made again.

use std::path::{Path, PathBuf};

/// A file of the user's cache that is named by everything that it depends on; none where the user has no cache.
#[must_use]
pub fn path(stem: &str, depends_on: &[&str], extension: &str) -> Option<PathBuf> {
    // A relative path would put kernels below the working folder, where others may have put some.
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|base| base.is_absolute());
    let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let mut hasher = blake3::Hasher::new();
    for part in depends_on {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    Some(base.join("heman").join(format!("{stem}-{}.{extension}", hasher.finalize().to_hex())))
}

/// A file that [`keep_checked`] wrote; none if it is not there, not whole, longer than `most` bytes or no plain file.
#[must_use]
pub fn read_checked(path: &Path, most: u64) -> Option<Vec<u8>> {
    let meta = std::fs::metadata(path).ok()?;
    if !meta.is_file() || meta.len() > most {
        return None;
    }
    let mut bytes = std::fs::read(path).ok()?;
    let (digest, content) = bytes.split_at_checked(blake3::OUT_LEN)?;
    if blake3::hash(content).as_bytes() != digest {
        return None;
    }
    bytes.drain(..blake3::OUT_LEN);
    Some(bytes)
}

/// As [`keep`], with a digest in front, for bytes that nobody else checks.
pub fn keep_checked(path: &Path, bytes: &[u8]) {
    keep(path, &[blake3::hash(bytes).as_bytes(), bytes].concat());
}

/// Keeps a file, all of it or nothing. Without a cache the next start compiles again: slower, not wrong; so a failure
/// is nobody's error.
pub fn keep(path: &Path, bytes: &[u8]) {
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = written.and_then(|()| std::fs::write(&partial, bytes));
    if written.and_then(|()| std::fs::rename(&partial, path)).is_err() {
        let _ = std::fs::remove_file(partial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_or_too_long_is_not_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("below").join("kernels");
        keep_checked(&path, b"kernels");
        assert_eq!(read_checked(&path, 100).as_deref(), Some(&b"kernels"[..]));
        assert_eq!(read_checked(&path, 10), None, "longer than it may be");
        assert_eq!(read_checked(folder.path(), 1 << 20), None, "a folder");
        let mut bytes = std::fs::read(&path).expect("it is there");
        *bytes.last_mut().expect("not empty") ^= 1;
        std::fs::write(&path, &bytes).expect("writable");
        assert_eq!(read_checked(&path, 100), None, "damaged");
        std::fs::write(&path, b"short").expect("writable");
        assert_eq!(read_checked(&path, 100), None, "cut off");
    }
}
