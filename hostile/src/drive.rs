//! Runs mutated files through the parsers, and counts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::feed;
use crate::kind::Kind;
use crate::memory;
use crate::mutation::mutated;
use crate::random::Random;
use crate::seeds::seeds;

/// Bytes that a parser may hold at one time beside the file, whatever is in it. The mutated files are small.
pub const MOST_BYTES: u64 = 256 << 20;
/// Seconds that a parser may take, whatever is in the file.
pub const MOST_SECONDS: f64 = 10.0;

/// What became of the files of a kind.
#[derive(Debug, Default)]
pub struct Tally {
    /// Files.
    pub runs: u64,
    /// Files that were taken.
    pub taken: u64,
    /// Longest time for one.
    pub slowest: Duration,
    /// Most memory for one, in bytes; 0 where nobody counts.
    pub most_bytes: u64,
    /// Numbers of the runs that ended in a panic.
    pub panics: Vec<u64>,
    /// Numbers of the runs that took too long.
    pub hangs: Vec<u64>,
    /// Numbers of the runs that took too much memory.
    pub gluttons: Vec<u64>,
}

impl Tally {
    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.panics.is_empty() && self.hangs.is_empty() && self.gluttons.is_empty()
    }
}

/// The file of a run: every number has its own, the same in every process as long as the seeds are.
#[must_use]
pub fn file(kind: Kind, seeds: &[Vec<u8>], run: u64) -> Vec<u8> {
    let name = kind.name().bytes().fold(run, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte) << 32));
    mutated(kind, seeds, &mut Random::new(name))
}

/// Feeds the seeds of a kind, then so many mutated files, until the time is over.
///
/// Files that go wrong are written to the folder, if one is given.
pub fn drive(kind: Kind, runs: std::ops::Range<u64>, patience: Duration, folder: Option<&Path>) -> Tally {
    let (seeds, begin) = (seeds(kind), Instant::now());
    let mut tally = Tally::default();
    for seed in &seeds {
        one(kind, seed, u64::MAX, &mut tally, folder);
    }
    for run in runs {
        if begin.elapsed() > patience {
            break;
        }
        let file = file(kind, &seeds, run);
        one(kind, &file, run, &mut tally, folder);
        tally.runs += 1;
    }
    tally
}

fn one(kind: Kind, file: &[u8], run: u64, tally: &mut Tally, folder: Option<&Path>) {
    let (start, held) = (Instant::now(), memory::begin());
    let taken = catch_unwind(AssertUnwindSafe(|| feed(kind, file))).ok();
    let (took, bytes) = (start.elapsed(), memory::most_since(held));
    tally.taken += u64::from(taken == Some(true));
    tally.slowest = tally.slowest.max(took);
    tally.most_bytes = tally.most_bytes.max(bytes);
    let mut is_bad = false;
    for (list, is_so) in [
        (&mut tally.panics, taken.is_none()),
        (&mut tally.hangs, took.as_secs_f64() > MOST_SECONDS),
        (&mut tally.gluttons, bytes > MOST_BYTES),
    ] {
        if is_so {
            list.push(run);
            is_bad = true;
        }
    }
    if let Some(folder) = folder.filter(|_| is_bad) {
        let path = folder.join(format!("{}-{run}", kind.name()));
        if let Err(error) = std::fs::write(&path, file) {
            eprintln!("cannot write {}: {error}", path.display());
        }
    }
}
