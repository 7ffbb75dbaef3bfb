//! The journal: what became of each item, a JSON object a line, only ever appended to.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use heman_core::files::container::Binding;
use serde_json::{Value, json};

use super::names::digest;
use crate::error::CliError;
use crate::report;
use crate::say::say;
use crate::shard::Shard;

/// Version of the journal's lines.
const VERSION: u32 = 1;
/// Longest line that is read, in bytes: names have at most 4,096 bytes on Linux, and errors tell of few.
const MOST_LINE_BYTES: u64 = 1 << 20;

/// A journal that this process alone appends to.
pub struct Journal {
    file: File,
    path: PathBuf,
    /// Items that are done, by the digest of their name.
    done: HashSet<u128>,
    /// Items that failed.
    failed: HashSet<u128>,
}

/// What earlier runs made of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// Nothing that is known.
    Unknown,
    /// It is done.
    Done,
    /// It failed.
    Failed,
}

/// The name of a shard's journal, without its suffix.
pub fn stem(shard: Option<Shard>) -> String {
    shard.map_or("journal".into(), |shard| format!("journal-{}-of-{}", shard.index, shard.count))
}

/// The first line: what the journal belongs to.
fn head(binding: &Binding, shard: Option<Shard>) -> Value {
    json!({ "heman_batch": VERSION, "binding": report::hex(binding), "shard": shard.map(|shard| shard.to_string()) })
}

impl Journal {
    /// Opens the journal of a plan and a shard, or begins it. A last line that was not written to its end is cut off.
    ///
    /// # Errors
    /// One that another process appends to, that belongs to another plan or shard, or that is none.
    pub fn open(path: &Path, binding: &Binding, shard: Option<Shard>) -> Result<Self, CliError> {
        let fail =
            |error: io::Error| CliError::bad_file(format!("cannot keep the journal {}: {error}", path.display()));
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CliError::file(
                    path,
                    "another heman batch works with this journal; wait until it has ended",
                ));
            }
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                say(&format!("warning: the file system has no locks; nothing else must work with {}", path.display()));
            }
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        let mut journal = Self { file, path: path.to_path_buf(), done: HashSet::new(), failed: HashSet::new() };
        let head = format!("{}\n", head(binding, shard));
        if journal.read(&head)? == 0 {
            journal.append(&head).map_err(fail)?;
        }
        Ok(journal)
    }

    /// Reads all whole lines, and cuts off what follows; returns their bytes.
    fn read(&mut self, head: &str) -> Result<u64, CliError> {
        let refuse = |what: &str| Err(CliError::file(&self.path, what));
        let fail = |error: io::Error| CliError::file(&self.path, error);
        let mut source = BufReader::new(self.file.try_clone().map_err(fail)?);
        let (mut line, mut whole, mut unreadable) = (Vec::new(), 0, 0);
        loop {
            line.clear();
            let read = source.by_ref().take(MOST_LINE_BYTES).read_until(b'\n', &mut line).map_err(fail)? as u64;
            let is_whole = line.last() == Some(&b'\n');
            if whole == 0 && line != head.as_bytes() {
                if is_whole {
                    return refuse(&other_head(&line, head));
                }
                if !head.as_bytes().starts_with(&line) {
                    return refuse("this is no journal of heman batch; give another output folder");
                }
            }
            if !is_whole {
                break;
            }
            if whole > 0 {
                unreadable += u64::from(!note(&mut self.done, &mut self.failed, &line));
            }
            whole += read;
        }
        if unreadable > 0 {
            say(&format!("warning: {}: {unreadable} line(s) cannot be read and are passed over", self.path.display()));
        }
        if !line.is_empty() {
            self.file.set_len(whole).and_then(|()| self.file.sync_all()).map_err(fail)?;
        }
        Ok(whole)
    }

    /// What earlier lines say of an item.
    pub fn past(&self, item: u128) -> Past {
        if self.done.contains(&item) {
            Past::Done
        } else if self.failed.contains(&item) {
            Past::Failed
        } else {
            Past::Unknown
        }
    }

    /// Appends whole lines, and waits until they are on the disk.
    ///
    /// # Errors
    /// The file system's.
    pub fn append(&mut self, lines: &str) -> io::Result<()> {
        self.file.write_all(lines.as_bytes())?;
        self.file.sync_data()
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Takes note of a line; false if it is none. Lines about parts of an item say nothing of the item.
fn note(done: &mut HashSet<u128>, failed: &mut HashSet<u128>, line: &[u8]) -> bool {
    let Ok(line) = serde_json::from_slice::<Value>(line) else { return false };
    let (Some(item), Some(status)) = (line["item"].as_str(), line["status"].as_str()) else { return false };
    if line.get("first").is_some() {
        return true;
    }
    let item = digest(item);
    if status == "done" {
        failed.remove(&item);
        done.insert(item);
    } else if !done.contains(&item) {
        failed.insert(item);
    }
    true
}

/// Why a first line is not the one that was expected.
fn other_head(line: &[u8], head: &str) -> String {
    let found: Value = serde_json::from_slice(line).unwrap_or_default();
    let wanted: Value = serde_json::from_str(head).unwrap_or_default();
    let text = |value: &Value| value["shard"].as_str().map_or("no shard".into(), |shard| format!("shard {shard}"));
    if found["heman_batch"].is_null() {
        "this is no journal of heman batch; give another output folder".into()
    } else if found["heman_batch"] != wanted["heman_batch"] {
        format!("this journal has version {}; this build reads version {VERSION}", found["heman_batch"])
    } else if found["binding"] != wanted["binding"] {
        "this journal belongs to another plan; give another output folder".into()
    } else {
        format!("this journal is of {}, not of {}", text(&found), text(&wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDING: Binding = [7; 32];

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a temporary folder"))
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("journal.jsonl")
        }

        fn open(&self) -> Result<Journal, String> {
            Journal::open(&self.path(), &BINDING, None).map_err(|error| error.to_string())
        }

        fn add(&self, bytes: &[u8]) {
            let mut file = OpenOptions::new().append(true).open(self.path()).expect("a journal");
            file.write_all(bytes).expect("writable");
        }
    }

    fn past(journal: &Journal, name: &str) -> Past {
        journal.past(digest(name))
    }

    #[test]
    fn the_last_line_about_an_item_counts() {
        let folder = Folder::new();
        let mut journal = folder.open().expect("a new one");
        let line = |item: &str, status: &str| format!("{}\n", json!({ "item": item, "status": status }));
        let part = format!("{}\n", json!({ "item": "c", "first": 0, "status": "done" }));
        let lines = [line("a", "done"), line("b", "failed"), line("d", "failed"), line("d", "done"), part].concat();
        journal.append(&lines).expect("writable");
        drop(journal);
        let journal = folder.open().expect("its own");
        let all = ["a", "b", "c", "d"].map(|name| past(&journal, name));
        assert_eq!(all, [Past::Done, Past::Failed, Past::Unknown, Past::Done]);
    }

    #[test]
    fn a_torn_line_is_cut_off_wherever_it_was_torn() {
        let folder = Folder::new();
        drop(folder.open().expect("a new one"));
        folder.add(b"{\"item\":\"a\",\"status\":\"done\"}\n{\"item\":\"b\",\"status\":\"done\"}\n");
        let bytes = std::fs::read(folder.path()).expect("a journal");
        for cut in 0..bytes.len() {
            std::fs::write(folder.path(), &bytes[..cut]).expect("writable");
            let journal = folder.open().expect("torn");
            let lines = bytes[..cut].iter().filter(|&&byte| byte == b'\n').count();
            let known = ["a", "b"].iter().filter(|name| past(&journal, name) == Past::Done).count();
            assert_eq!(known, lines.saturating_sub(1), "cut at {cut}");
            drop(journal);
            let left = std::fs::read(folder.path()).expect("a journal");
            assert!(left.ends_with(b"\n") && bytes.starts_with(&left), "cut at {cut}");
        }
    }

    #[test]
    fn lines_that_cannot_be_read_are_passed_over() {
        let folder = Folder::new();
        drop(folder.open().expect("a new one"));
        folder.add(b"\0\0\0\0\n{\"item\":3}\n{\"item\":\"a\",\"status\":\"done\"}\n");
        assert_eq!(past(&folder.open().expect("damaged"), "a"), Past::Done);
    }

    #[test]
    fn journals_of_others_are_refused() {
        let folder = Folder::new();
        let journal = folder.open().expect("a new one");
        let busy = folder.open().err().expect("locked");
        assert!(busy.contains("another heman batch works with this journal"), "{busy}");
        drop(journal);
        let refused = |binding: &Binding, shard| {
            let error = Journal::open(&folder.path(), binding, shard).err().expect("another's");
            error.to_string()
        };
        assert!(refused(&[8; 32], None).contains("belongs to another plan"));
        let shard = Some(Shard { index: 1, count: 4 });
        assert!(refused(&BINDING, shard).ends_with("is of no shard, not of shard 1/4"));
        for text in ["my notes\n", "my notes", "{}\n"] {
            std::fs::write(folder.path(), text).expect("writable");
            let error = folder.open().err().expect("no journal");
            assert!(error.contains("no journal of heman batch"), "{error}");
            assert_eq!(std::fs::read(folder.path()).expect("still there"), text.as_bytes());
        }
    }

    #[test]
    fn a_spoilt_line_leaves_the_others_readable() {
        use heman_hostile::{json as spoil, random::Random};
        let folder = Folder::new();
        let path = folder.path();
        let sound = json!({ "item": "b", "status": "done", "inputs": 3 }).to_string();
        for seed in 0..2000 {
            let mut line =
                json!({ "item": "a", "status": "failed", "first": 7, "error": "x" }).to_string().into_bytes();
            spoil::mutate(&mut line, &mut Random::new(seed));
            let head = head(&BINDING, None).to_string();
            let text = [head.as_bytes(), b"\n", &line, b"\n", sound.as_bytes(), b"\n"].concat();
            std::fs::write(&path, text).expect("writable");
            let journal = Journal::open(&path, &BINDING, None).unwrap_or_else(|error| panic!("{seed}: {error}"));
            assert_eq!(journal.past(digest("b")), Past::Done, "{seed}");
        }
    }
}
