//! Kills and failing system calls in every verb, at every call in turn: nothing is lost, mixed or left behind.
//!
//! `faults/shim.c` counts the calls that files depend on and spoils one of them. A sample of so many calls a verb and
//! fault is taken, spread over the run, and as many of the last ones, which put files in their places: `HEMAN_FAULTS`
//! says how many, or `all`. `HEMAN_KILLS` says how many processes are killed at random moments (`just faults`).

#![cfg(target_os = "linux")]

mod common;
#[path = "faults/suite.rs"]
mod suite;

use suite::{Fault, Suite};

/// How many calls of each verb are spoilt in each way, unless all are.
const SAMPLE: usize = 3;

#[test]
fn no_fault_loses_mixes_or_leaves_anything() {
    let Some(shim) = suite::shim() else { return };
    let asked = std::env::var("HEMAN_FAULTS").unwrap_or_default();
    let is_all = asked == "all";
    let sample: usize = asked.parse().unwrap_or(SAMPLE);
    let schemes: &[&str] = if is_all { &common::SCHEMES } else { &["ckks"] };
    let (mut kills, mut terms, mut errors) = (0, 0, 0);
    for scheme in schemes {
        let suite = Suite::new(scheme, &shim);
        for verb in suite.verbs() {
            let calls = suite.count(&verb);
            assert!(calls > 10, "{}: {calls} calls", verb.name);
            for fault in [Fault::Kill, Fault::Term, Fault::NoSpace, Fault::Io] {
                // The last calls put files in their places.
                let step = if is_all { 1 } else { (calls / sample).max(1) };
                let last = calls.saturating_sub(if is_all { 0 } else { sample });
                let chosen: Vec<usize> = (1..=last).step_by(step).chain(last + 1..=calls).collect();
                for at in chosen {
                    suite.spoil(&verb, fault, at);
                    match fault {
                        Fault::Kill => kills += 1,
                        Fault::Term => terms += 1,
                        Fault::NoSpace | Fault::Io => errors += 1,
                    }
                }
            }
        }
    }
    println!("{kills} kills, {terms} terminations and {errors} failed calls: nothing lost, mixed or left behind");
}

/// Kills at random moments, and several processes on one pair.
#[test]
fn pairs_survive_several_processes_and_kills_at_any_moment() {
    let asked = std::env::var("HEMAN_KILLS").ok().and_then(|value| value.parse().ok());
    let rounds = asked.unwrap_or(50) / 2;
    let mut kills = 0;
    for forced in [true, false] {
        kills += suite::race(rounds, forced);
    }
    println!("{kills} kills among {} pairs of processes: nothing lost, mixed or left behind", 2 * rounds);
    assert!(kills > rounds / 2, "{kills} of the processes were killed before they ended");
}
