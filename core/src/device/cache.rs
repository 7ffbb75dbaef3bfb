//! What devices keep on disk between runs: compiled kernels. All of it can be made again.

use std::path::{Path, PathBuf};

/// A file of the user's cache that is named by everything that it depends on; none where the user has no cache.
#[must_use]
pub fn path(stem: &str, depends_on: &[&str], extension: &str) -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let mut hasher = blake3::Hasher::new();
    for part in depends_on {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    Some(base.join("heman").join(format!("{stem}-{}.{extension}", hasher.finalize().to_hex())))
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
