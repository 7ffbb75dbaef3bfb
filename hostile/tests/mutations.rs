//! Every parser takes mutated files: no panic, no more memory than is stated, no long wait.
//!
//! `HEMAN_MUTATIONS` says how many files of each kind, by default as many as fit into a few seconds.

use std::path::Path;
use std::time::Duration;

use heman_hostile::drive::{MOST_BYTES, MOST_SECONDS, drive};
use heman_hostile::feed;
use heman_hostile::kind::{Kind, OWN};
use heman_hostile::memory::Counting;
use heman_hostile::seeds::seeds;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Files of each kind, and the time for them.
fn wanted() -> (u64, Duration) {
    match std::env::var("HEMAN_MUTATIONS").ok().and_then(|text| text.parse().ok()) {
        Some(runs) => (runs, Duration::MAX),
        None => (20_000, Duration::from_secs(3)),
    }
}

/// One test, because memory is counted for the whole process.
#[test]
fn no_bytes_end_in_a_panic_a_flood_of_memory_or_a_hang() {
    for kind in OWN {
        // Of evaluation keys there are only the beginnings.
        let is_whole = !matches!(kind, Kind::EvaluationKey(_));
        for seed in seeds(kind) {
            assert!(feed(kind, &seed) || !is_whole, "a seed of {} is sound", kind.name());
        }
    }
    let (runs, patience) = wanted();
    let only = std::env::var("HEMAN_KIND").ok();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut failed = Vec::new();
    // Models too, though another's parser reads them first.
    let kinds = OWN.into_iter().chain([Kind::Onnx]);
    for kind in kinds.filter(|kind| only.as_ref().is_none_or(|only| kind.name().contains(only.as_str()))) {
        let tally = drive(kind, 0..runs, patience, Some(folder));
        println!(
            "{:20} {:>9} files, {:>8} taken, slowest {:>8.2} ms, most memory {:>9.2} MiB, {} panics, {} hangs, {} gluttons",
            kind.name(),
            tally.runs,
            tally.taken,
            tally.slowest.as_secs_f64() * 1e3,
            tally.most_bytes as f64 / f64::from(1 << 20),
            tally.panics.len(),
            tally.hangs.len(),
            tally.gluttons.len(),
        );
        if !tally.is_sound() {
            failed.push(format!("{}: {tally:?}", kind.name()));
        }
    }
    assert!(
        failed.is_empty(),
        "files in {} panic, take more than {MOST_SECONDS} s, or more than {MOST_BYTES} bytes:\n{}",
        folder.display(),
        failed.join("\n")
    );
}
