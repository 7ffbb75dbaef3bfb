//! What processes left behind that were ended without a chance to remove it (SIGKILL, a crash of the system).
//!
//! A pair of keys is put in its place by two renames, the secret key first. If the process ended between them, the
//! evaluation key still waits beside its place, and is moved there. Everything else that nobody holds is removed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};

use heman_core::files::chunks::Reader;
use heman_core::files::container::{Fingerprint, Kind};

use super::names::sync_folder;
use super::place::{Found, Place};
use super::temporaries::{PREFIX, RANDOM, SUFFIX, take_over};

/// Deals with the leftovers in a folder. Does nothing while somebody puts files that belong together in their places
/// there; what cannot be dealt with stays.
pub fn settle(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let unfinished = |name: &OsString| {
        let bytes = name.as_encoded_bytes();
        bytes.starts_with(PREFIX.as_bytes()) && bytes.ends_with(SUFFIX.as_bytes())
    };
    let mut names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).filter(unfinished).collect();
    if names.is_empty() {
        return;
    }
    let Ok(lock) = File::open(folder) else { return };
    if lock.try_lock().is_err() {
        return;
    }
    names.sort();
    for name in names {
        settle_one(folder, &name);
    }
    // Whether it is on the disk yet is the next one's concern: it would be done again.
    let _ = sync_folder(folder);
}

fn settle_one(folder: &Path, name: &OsStr) {
    let path = folder.join(name);
    if !std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
        return;
    }
    let Some(_held) = take_over(&path) else { return };
    if let Some(place) = place_of(folder, name)
        && completes(&path, &place)
        && std::fs::rename(&path, &place).is_ok()
    {
        return;
    }
    let _ = std::fs::remove_file(&path);
}

/// The place that an unfinished file is for, by its name.
fn place_of(folder: &Path, name: &OsStr) -> Option<PathBuf> {
    let name = name.to_str()?.strip_prefix(PREFIX)?.get(RANDOM..)?.strip_prefix('.')?.strip_suffix(SUFFIX)?;
    (!name.is_empty()).then(|| folder.join(name))
}

/// Whether an unfinished file is the evaluation key of the secret key beside its place, which has none of its own.
fn completes(path: &Path, place: &Path) -> bool {
    let Some(secret) = place.to_str().and_then(|name| name.strip_suffix(".pub")) else { return false };
    let is_replaceable = match Place::File(place.to_path_buf()).found_kind() {
        Ok(Found::Nothing) => !place.exists(),
        Ok(Found::EvaluationKey) => true,
        _ => false,
    };
    let own = fingerprint(path, Kind::EvaluationKey);
    is_replaceable
        && own.is_some()
        && own == secret_fingerprint(Path::new(secret))
        && own != fingerprint(place, Kind::EvaluationKey)
}

/// The key that a file belongs to, if it is of that kind and as long as it says.
pub fn fingerprint(path: &Path, kind: Kind) -> Option<Fingerprint> {
    let file = Reader::open(path).ok()?;
    (file.header().kind == kind).then_some(file.header().fingerprint)
}

/// The fingerprint of a secret key, protected by a passphrase or not.
pub fn secret_fingerprint(path: &Path) -> Option<Fingerprint> {
    fingerprint(path, Kind::SecretKey).or_else(|| fingerprint(path, Kind::ProtectedKey))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::temporaries;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("a folder").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_living_process_writes_stays_and_what_a_dead_one_left_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = temporaries::create(folder.path(), "out".as_ref()).expect("a file");
        std::fs::write(folder.path().join(".heman-abcdefghijkl.out.part"), b"half").expect("writable");
        std::fs::write(folder.path().join("out.part"), b"somebody's").expect("writable");
        settle(folder.path());
        let left = held.path().file_name().expect("a name").to_string_lossy().into_owned();
        assert_eq!(names(folder.path()), [left, "out.part".into()]);
    }

    #[test]
    fn nothing_is_touched_while_files_are_put_in_their_places() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(".heman-abcdefghijkl.out.part"), b"half").expect("writable");
        let lock = File::open(folder.path()).expect("a folder");
        lock.lock().expect("a file system with locks");
        settle(folder.path());
        assert_eq!(names(folder.path()).len(), 1);
        drop(lock);
        settle(folder.path());
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }

    #[test]
    fn names_say_which_place_a_file_is_for() {
        let place = |name: &str| place_of(Path::new("f"), name.as_ref());
        assert_eq!(place(".heman-abcdefghijkl.key.pub.part"), Some("f/key.pub".into()));
        assert_eq!(place(".heman-abcdefghijkl..part"), None);
        assert_eq!(place(".heman-short.part"), None);
    }
}
