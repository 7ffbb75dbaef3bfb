//! Where items come from: a folder, a list, or one file.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use heman_core::files::container::MAGIC;

use super::names::{Item, digest, key};
use crate::error::{CliError, one_line};
use crate::shard::Shard;

/// Longest line of a list, in bytes.
const MOST_LINE_BYTES: u64 = 1 << 16;

/// How a list may begin that some editors have written: UTF-8's byte order mark.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Lines of a stream that are read ahead.
const AHEAD: usize = 64;
/// Time between two looks whether a stream is still wanted.
const PATIENCE: Duration = Duration::from_millis(200);

/// Items, one after the other.
pub type Items<'a> = Box<dyn Iterator<Item = Result<Found, CliError>> + Send + 'a>;

/// Where items come from.
pub enum Source {
    /// A folder, and the names of its files in order.
    Folder(PathBuf, Vec<OsString>),
    /// A list in a file, whose paths begin at its folder.
    List(PathBuf, PathBuf),
    /// A list that can be read only once, and the folder at which its paths begin, which is the current one.
    Stream(Stream, PathBuf),
    /// One encrypted input.
    One(Item),
}

/// What can be read only once.
#[derive(Clone)]
pub enum Stream {
    /// Standard input.
    Stdin,
    /// A pipe or a device of that name.
    Named(PathBuf),
}

/// What is known of a source before anything runs.
#[derive(Debug, PartialEq, Eq)]
pub struct Survey {
    /// Items, counted as often as they are named; none of a stream.
    pub items: Option<u64>,
    /// Whether each item is named once and has an output of its own; false of a stream, where nobody knows.
    pub is_unique: bool,
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
            return std::env::current_dir().map(|root| Self::Stream(Stream::Stdin, root)).map_err(fail);
        }
        let metadata = std::fs::metadata(name).map_err(fail)?;
        if metadata.is_dir() {
            return names_in(name).map(|names| Self::Folder(name.to_path_buf(), names)).map_err(fail);
        }
        if !metadata.is_file() {
            let stream = Stream::Named(name.to_path_buf());
            return std::env::current_dir().map(|root| Self::Stream(stream, root)).map_err(fail);
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

    /// Looks all items over before anything runs, and counts those of a shard; a stream is left alone.
    ///
    /// # Errors
    /// Two items whose outputs would have one name, and lists that are none.
    pub fn survey(&self, shard: Option<Shard>) -> Result<Survey, CliError> {
        if matches!(self, Self::Stream(..)) {
            return Ok(Survey { items: None, is_unique: false });
        }
        let (mut outputs, mut count, mut is_unique) = (HashMap::new(), 0, true);
        for found in self.items(&Arc::default())? {
            let key = match found? {
                Found::Unusable(name, _) => digest(&name),
                Found::Item(item) => {
                    let key = digest(&item.name);
                    match outputs.insert(digest(&item.output.to_string_lossy()), key) {
                        None => {}
                        Some(other) if other == key => is_unique = false,
                        Some(_) => {
                            let (name, output) = (one_line(&item.name), item.output.display().to_string());
                            let text = format!("{name}: another input has the same output {}", one_line(&output));
                            return Err(CliError::refusal(text));
                        }
                    }
                    key
                }
            };
            count += u64::from(shard.is_none_or(|shard| shard.holds(key)));
        }
        Ok(Survey { items: Some(count), is_unique })
    }

    /// All items, of a stream only once; it is not waited for any more once `is_stopped`.
    ///
    /// # Errors
    /// A list that cannot be opened; items are errors where it cannot be read on.
    pub fn items(&self, is_stopped: &Arc<AtomicBool>) -> Result<Items<'_>, CliError> {
        Ok(match self {
            Self::Folder(folder, names) => Box::new(names.iter().map(|name| {
                Ok(match name.to_str() {
                    Some(name) => Found::Item(Item::in_folder(folder, name)),
                    None => Found::Unusable(key(name.as_encoded_bytes()), "its name is not UTF-8".into()),
                })
            })),
            Self::List(name, root) => {
                let file = File::open(name).map_err(|error| CliError::file(name, error))?;
                Box::new(Lines::new(name.clone(), root.clone(), BufReader::new(file)))
            }
            Self::Stream(stream, root) => Box::new(Polled::new(stream.clone(), root.clone(), Arc::clone(is_stopped))),
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
    is_begun: bool,
}

impl<R> Lines<R> {
    fn new(name: PathBuf, root: PathBuf, source: R) -> Self {
        Self { name, root, source, is_begun: false }
    }
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
            let is_first = !std::mem::replace(&mut self.is_begun, true);
            let line = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| is_first).unwrap_or(line);
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
                Err(why) => Found::Unusable(key(text.as_bytes()), why),
            }));
        }
    }
}

/// A list that is a stream, read by a thread of its own: nothing can end a read that waits, or the opening of a pipe.
struct Polled {
    items: Receiver<Result<Found, CliError>>,
    is_stopped: Arc<AtomicBool>,
}

impl Polled {
    fn new(stream: Stream, root: PathBuf, is_stopped: Arc<AtomicBool>) -> Self {
        let (send, items) = sync_channel(AHEAD);
        std::thread::spawn(move || {
            let (name, source): (_, Box<dyn Read>) = match stream {
                Stream::Stdin => ("standard input".into(), Box::new(io::stdin())),
                Stream::Named(name) => match File::open(&name) {
                    Ok(file) => (name, Box::new(file)),
                    Err(error) => {
                        // Whoever asked may have gone.
                        let _ = send.send(Err(CliError::file(&name, error)));
                        return;
                    }
                },
            };
            for item in Lines::new(name, root, BufReader::new(source)) {
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
        let lines = Lines::new("list".into(), "/in".into(), bytes);
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
    fn a_byte_order_mark_is_no_part_of_the_first_name() {
        let names = list(b"\xef\xbb\xbfa.enc\n\xef\xbb\xbfb.enc\n");
        assert_eq!(names, ["a.enc", "\u{feff}b.enc"].map(|name| Ok(name.to_owned())));
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
        let survey = |names: &[&str]| source(names).survey(None).map(|survey| (survey.items, survey.is_unique));
        assert_eq!(survey(&["a.enc", "b", "b.bin"]).expect("three outputs"), (Some(3), true));
        assert_eq!(survey(&["a.enc", "b", "a.enc"]).expect("one named twice"), (Some(3), false));
        let error = survey(&["a", "a.enc"]).expect_err("one output").to_string();
        assert!(error.contains("a.enc: another input has the same output a.out"), "{error}");
    }

    #[test]
    fn a_survey_counts_the_items_of_a_shard() {
        let names = (0..1000).map(|at| OsString::from(format!("{at}.enc"))).collect();
        let source = Source::Folder("in".into(), names);
        let of = |index| source.survey(Some(Shard { index, count: 3 })).expect("sound names").items.expect("a folder");
        let counts = [of(0), of(1), of(2)];
        assert_eq!(counts.iter().sum::<u64>(), 1000);
        assert!(counts.iter().all(|&count| count > 250), "{counts:?}");
    }
}
