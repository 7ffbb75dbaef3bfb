//! How many values were shared under a key: a file beside it, `key.shared`.

use std::fs::File;
use std::path::{Path, PathBuf};

use heman_core::files::container::Fingerprint;
use serde_json::{Value, json};

use super::output::{Access, Replace, Target};
use super::place::names_open_file;
use super::samples::read_bounded;
use crate::error::CliError;
use crate::report::hex;

const FORMAT: &str = "heman-shared";
const VERSION: u64 = 1;
/// Far more than the file has.
const MOST_BYTES: u64 = 1 << 12;

/// The count of a key's shared values. Nobody else changes it while this lives: the key's file is locked.
pub struct Ledger {
    target: Target,
    key: String,
    /// Values that may be shared in all; none before the first were.
    most: Option<u64>,
    shared: u64,
    _lock: File,
}

impl Ledger {
    /// Reads the count beside a key, or begins with none. Waits for others who share results of this key.
    ///
    /// # Errors
    /// Keys that are no files, which nothing can stand beside; locks that the file system does not have; a count that
    /// cannot be read, which is not taken for none.
    pub fn open(key: &Path, of: Fingerprint) -> Result<Self, CliError> {
        let is_given = names_open_file(key);
        let key_file = std::fs::canonicalize(key).ok().filter(|path| path.is_file() && !is_given);
        let Some(path) = key_file else {
            return Err(CliError::refusal("--share counts in a file beside the key, so that the key must be a file"));
        };
        let lock = File::open(&path).and_then(|file| file.lock().map(|()| file));
        let lock = lock.map_err(|error| CliError::file(key, format!("it cannot be locked to count: {error}")))?;
        let mut name = path.into_os_string();
        name.push(".shared");
        let place = PathBuf::from(name);
        let key = hex(&of.0);
        let (most, shared) = match std::fs::symlink_metadata(&place) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (None, 0),
            _ => read(&place, &key)?,
        };
        let target = Target::claim_for(&place, Access::Owner, Replace::Count, &[])?;
        Ok(Self { target, key, most, shared, _lock: lock })
    }

    /// Whether an output would stand in the place of the count.
    pub fn is_place_of(&self, output: &Target) -> bool {
        self.target.is_same(output)
    }

    /// Values that may be shared under the key in all: what was said the first time, or what is asked for now.
    ///
    /// # Errors
    /// Another number than the first time, whose noise was made for that; more values than are left.
    pub fn most(&self, asked: Option<u64>, values: u64) -> Result<u64, CliError> {
        let most = self.most.or(asked).unwrap_or(values);
        if asked.is_some_and(|asked| asked != most) {
            return Err(CliError::refusal(format!(
                "the noise of what was shared under this key was made for {most} values in all, which cannot be changed"
            )));
        }
        let left = most.saturating_sub(self.shared);
        if values > left {
            return Err(CliError::refusal(format!(
                "the result has {values} values, and of the {most} that may be shared under this key {left} are left; \
                 make a new key"
            )));
        }
        Ok(most)
    }

    /// Counts values before they are written anywhere: what ends the process afterwards never lowers the count.
    ///
    /// # Errors
    /// The file system's; nothing may be shared then.
    pub fn count(self, most: u64, values: u64) -> Result<(), CliError> {
        let shared = self.shared.saturating_add(values);
        let object = json!({
            "format": FORMAT, "version": VERSION, "key": self.key, "most_values": most, "shared_values": shared,
        });
        let text = format!("{object}\n");
        self.target.write_with(|out| out.write_all(text.as_bytes()).map(|()| text.len() as u64)).map(|_| ())
    }
}

/// The values that may be shared under a key and those that were; none of a file that is another key's, which this one
/// has replaced.
fn read(place: &Path, key: &str) -> Result<(Option<u64>, u64), CliError> {
    let bytes = read_bounded(place, MOST_BYTES)?;
    let object: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let number = |name: &str| object[name].as_u64();
    let is_ours = object["format"] == FORMAT && number("version") == Some(VERSION);
    match (object["key"].as_str(), number("most_values"), number("shared_values")) {
        (Some(of), Some(most), Some(shared)) if is_ours => Ok(if of == key { (Some(most), shared) } else { (None, 0) }),
        _ => Err(CliError::file(
            place,
            "this is not the count of values that were shared, and nothing is shared without it",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::place::COUNT_START;

    const OF: Fingerprint = Fingerprint([7; 16]);

    fn key() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("key");
        std::fs::write(&key, b"a key").expect("writable");
        (folder, key)
    }

    fn share(key: &Path, asked: Option<u64>, values: u64) -> Result<u64, CliError> {
        let ledger = Ledger::open(key, OF)?;
        let most = ledger.most(asked, values)?;
        ledger.count(most, values).map(|()| most)
    }

    #[test]
    fn values_of_all_files_are_counted_against_the_first_promise() {
        let (_folder, key) = key();
        assert_eq!(share(&key, Some(100), 60).expect("100 are left"), 100);
        assert_eq!(share(&key, None, 30).expect("40 are left"), 100);
        let error = share(&key, None, 11).expect_err("10 are left").to_string();
        assert!(error.contains("10 are left"), "{error}");
        assert!(share(&key, Some(1000), 1).expect_err("another promise").to_string().contains("100 values"));
        assert_eq!(share(&key, Some(100), 10).expect("10 are left"), 100);
        assert!(share(&key, None, 1).is_err());
    }

    #[test]
    fn a_new_key_begins_anew() {
        let (_folder, key) = key();
        share(&key, Some(1), 1).expect("the first");
        let other = Ledger::open(&key, Fingerprint([8; 16])).expect("another key in the same place");
        assert_eq!(other.most(None, 5).expect("none were shared"), 5);
    }

    #[test]
    fn a_count_that_cannot_be_read_is_not_taken_for_none() {
        for text in ["", "{}", "{\"format\":\"heman-shared\",\"version\":2}", "nonsense"] {
            let (folder, key) = key();
            std::fs::write(folder.path().join("key.shared"), text).expect("writable");
            assert!(share(&key, None, 1).is_err(), "{text:?}");
        }
    }

    /// A count that another verb would not know for one could be replaced.
    #[test]
    fn a_count_is_known_by_its_first_bytes() {
        let (_folder, key) = key();
        share(&key, None, 1).expect("the first");
        let place = key.with_extension("shared");
        let start = std::fs::read(&place).expect("it was written");
        assert!(start.starts_with(COUNT_START.as_bytes()), "{}", String::from_utf8_lossy(&start));
        let error = Target::claim(&place, Access::Owner, &[]).err().expect("it would be lost").to_string();
        assert!(error.contains("counts what was shared"), "{error}");
    }

    #[test]
    fn a_key_that_is_no_file_shares_nothing() {
        assert!(Ledger::open(Path::new("/dev/null"), OF).is_err());
    }

    #[test]
    fn several_at_once_never_share_more_than_was_promised() {
        let (_folder, key) = key();
        let key = &key;
        let granted = std::thread::scope(|scope| {
            let all: Vec<_> = (0..16).map(|_| scope.spawn(move || share(key, Some(30), 3).is_ok())).collect();
            all.into_iter().map(|one| one.join().expect("no panic")).filter(|&won| won).count()
        });
        assert_eq!(granted, 10);
    }
}
