//! Where items come from: a folder, a list, or one file.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use heman_core::files::container::MAGIC;

use super::names::{Item, digest};
use crate::error::CliError;
use crate::shard::Shard;

/// Longest line of a list, in bytes.
const MOST_LINE_BYTES: u64 = 1 << 16;

/// Lines of standard input that are read ahead.
const AHEAD: usize = 64;
/// Time between two looks whether standard input is still wanted.
const PATIENCE: Duration = Duration::from_millis(200);

/// Items, one after the other.
pub type Items<'a> = Box<dyn Iterator<Item = Result<Found, CliError>> + Send + 'a>;

/// Where items come from.
pub enum Source {
    /// A folder, and the names of its files in order.
    Folder(PathBuf, Vec<OsString>),
    /// A list in a file, whose paths begin at its folder.
    List(PathBuf, PathBuf),
    /// A list on standard input, whose paths begin at the current folder.
    Stdin(PathBuf),
    /// One encrypted input.
    One(Item),
}

/// What a source gives.
pub enum Found {
    /// An item.
    Item(Item),
    /// A name that cannot be one, and why.
    Unusable(String, String),
}

impl Source {
    /// Finds out what a name stands for.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn of(name: &Path) -> Result<Self, CliError> {
        let fail = |error: io::Error| CliError::bad_file(format!("cannot read {}: {error}", name.display()));
        if name == Path::new("-") {
            return std::env::current_dir().map(Self::Stdin).map_err(fail);
        }
        if std::fs::metadata(name).map_err(fail)?.is_dir() {
            return names_in(name).map(|names| Self::Folder(name.to_path_buf(), names)).map_err(fail);
        }
        let whole = std::path::absolute(name).map_err(fail)?;
        let root = whole.parent().unwrap_or(Path::new("/")).to_path_buf();
        let mut start = Vec::new();
        File::open(name).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start)).map_err(fail)?;
        if start != MAGIC {
            return Ok(Self::List(name.to_path_buf(), root));
        }
        let file = whole.file_name().and_then(|file| file.to_str());
        let file = file.ok_or_else(|| CliError::file(name, "its name is not UTF-8"))?;
        Ok(Self::One(Item::in_folder(&root, file)))
    }

    /// Looks all items over before anything runs, and counts those of a shard; none for standard input, which is read
    /// only once.
    ///
    /// # Errors
    /// Two items whose outputs would have one name, and lists that are none.
    pub fn survey(&self, shard: Option<Shard>) -> Result<Option<u64>, CliError> {
        if matches!(self, Self::Stdin(_)) {
            return Ok(None);
        }
        let (mut outputs, mut count) = (HashSet::new(), 0);
        for found in self.items(&Arc::default())? {
            let name = match found? {
                Found::Unusable(name, _) => name,
                Found::Item(item) => {
                    if !outputs.insert(digest(&item.output.to_string_lossy())) {
                        let text =
                            format!("{}: another input has the same output {}", item.name, item.output.display());
                        return Err(CliError::refusal(text));
                    }
                    item.name
                }
            };
            count += u64::from(shard.is_none_or(|shard| shard.holds(digest(&name))));
        }
        Ok(Some(count))
    }

    /// All items; standard input is not waited for any more once `is_stopped`.
    ///
    /// # Errors
    /// A list that cannot be opened; items are errors where it cannot be read on.
    pub fn items(&self, is_stopped: &Arc<AtomicBool>) -> Result<Items<'_>, CliError> {
        Ok(match self {
            Self::Folder(folder, names) => Box::new(names.iter().map(|name| {
                Ok(match name.to_str() {
                    Some(name) => Found::Item(Item::in_folder(folder, name)),
                    None => Found::Unusable(name.to_string_lossy().into_owned(), "its name is not UTF-8".into()),
                })
            })),
            Self::List(name, root) => {
                let file = File::open(name).map_err(|error| CliError::file(name, error))?;
                Box::new(Lines { name: name.clone(), root: root.clone(), source: BufReader::new(file) })
            }
            Self::Stdin(root) => Box::new(Polled::new(root.clone(), Arc::clone(is_stopped))),
            Self::One(item) => Box::new(std::iter::once(Ok(Found::Item(item.clone())))),
        })
    }
}

/// Names of files in a folder, in order; folders and hidden files are left out.
fn names_in(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && !entry.path().is_dir() {
            names.push(entry.file_name());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Items of a list.
struct Lines<R> {
    name: PathBuf,
    root: PathBuf,
    source: R,
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Found, CliError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut line = Vec::new();
            match self.source.by_ref().take(MOST_LINE_BYTES).read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(CliError::file(&self.name, error))),
            }
            let ended = line.strip_suffix(b"\n").unwrap_or(&line);
            let line = ended.strip_suffix(b"\r").unwrap_or(ended);
            let text = std::str::from_utf8(line).ok().filter(|text| !text.contains('\0'));
            let Some(text) = text.filter(|text| (text.len() as u64) < MOST_LINE_BYTES - 2) else {
                let what = "this is neither an encrypted input nor a list of paths, one a line, in UTF-8";
                return Some(Err(CliError::file(&self.name, what)));
            };
            if text.is_empty() {
                continue;
            }
            return Some(Ok(match Item::listed(&self.root, text) {
                Ok(item) => Found::Item(item),
                Err(why) => Found::Unusable(text.into(), why),
            }));
        }
    }
}

/// A list on standard input, read by a thread of its own: nothing can end a read that waits.
struct Polled {
    items: Receiver<Result<Found, CliError>>,
    is_stopped: Arc<AtomicBool>,
}

impl Polled {
    fn new(root: PathBuf, is_stopped: Arc<AtomicBool>) -> Self {
        let (send, items) = sync_channel(AHEAD);
        std::thread::spawn(move || {
            let source = BufReader::new(io::stdin());
            for item in (Lines { name: "standard input".into(), root, source }) {
                if send.send(item).is_err() {
                    return;
                }
            }
        });
        Self { items, is_stopped }
    }
}

impl Iterator for Polled {
    type Item = Result<Found, CliError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_stopped.load(Ordering::Relaxed) {
            match self.items.recv_timeout(PATIENCE) {
                Ok(item) => return Some(item),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(bytes: &[u8]) -> Vec<Result<String, String>> {
        let lines = Lines { name: "list".into(), root: "/in".into(), source: bytes };
        let name = |found| match found {
            Ok(Found::Item(item)) => Ok(item.name),
            Ok(Found::Unusable(name, why)) => Err(format!("{name}: {why}")),
            Err(error) => Err(CliError::to_string(&error)),
        };
        lines.take(10).map(name).collect()
    }

    #[test]
    fn lists_have_a_path_a_line() {
        let names = list(b"a.enc\r\n\nb c.enc\n  d\nlast");
        assert_eq!(names, ["a.enc", "b c.enc", "  d", "last"].map(|name| Ok(name.to_owned())));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for bytes in [&b"\x89PNG\n"[..], b"a\0b\n", &[b'a'; 1 << 17]] {
            assert!(list(bytes)[0].as_ref().is_err_and(|error| error.contains("neither")));
        }
    }

    #[test]
    fn two_inputs_of_one_output_are_refused() {
        let folder = Path::new("in").to_path_buf();
        let source = |names: &[&str]| Source::Folder(folder.clone(), names.iter().map(OsString::from).collect());
        assert_eq!(source(&["a.enc", "b", "b.bin"]).survey(None).expect("three outputs"), Some(3));
        let error = source(&["a", "a.enc"]).survey(None).expect_err("one output").to_string();
        assert!(error.contains("a.enc: another input has the same output a.out"), "{error}");
    }

    #[test]
    fn a_survey_counts_the_items_of_a_shard() {
        let names = (0..1000).map(|at| OsString::from(format!("{at}.enc"))).collect();
        let source = Source::Folder("in".into(), names);
        let of = |index| source.survey(Some(Shard { index, count: 3 })).expect("sound names").expect("a folder");
        let counts = [of(0), of(1), of(2)];
        assert_eq!(counts.iter().sum::<u64>(), 1000);
        assert!(counts.iter().all(|&count| count > 250), "{counts:?}");
    }
}
