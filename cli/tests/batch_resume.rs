//! `heman batch` that is ended in the middle, and begun again.

#![cfg(unix)]

#[path = "common/clients.rs"]
mod clients;
mod common;

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clients::{Clients, arguments};
use common::SCHEMES;
use serde_json::json;

/// Items of a run that is ended.
const ITEMS: usize = 24;

/// How often a run is ended: `HEMAN_KILLS`, or a few times.
fn kills() -> u32 {
    std::env::var("HEMAN_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// Numbers that look random (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
struct SplitMix(u64);

impl SplitMix {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Ends runs at random moments until enough were ended, and finishes the last one. Returns how many were ended.
fn end_at_random(clients: &Clients, moments: &mut SplitMix, most: u32, whole: Duration) -> u32 {
    for ended in 0..most {
        let mut child = clients.start(&[]);
        std::thread::sleep(whole.mul_f64(moments.share()));
        if child.try_wait().expect("a child").is_some() {
            return ended;
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it has ended");
    }
    most
}

#[test]
fn kill_9_at_any_moment_loses_nothing_and_does_nothing_twice() {
    for scheme in SCHEMES {
        let clients = Clients::new(scheme);
        clients.encrypt_each(ITEMS);
        let start = Instant::now();
        clients.batch(&[]);
        let whole = start.elapsed();
        let mut moments = SplitMix(std::process::id().into());
        let (mut left, mut rounds) = (kills(), 0);
        while left > 0 {
            std::fs::remove_dir_all(clients.work.path("outputs")).expect("outputs");
            left -= end_at_random(&clients, &mut moments, left, whole).min(left);
            clients.batch(&[]);
            clients.assert_journal("outputs/journal.jsonl", ITEMS);
            clients.assert_complete("outputs", ITEMS);
            rounds += 1;
        }
        println!("{scheme}: {} ends in {rounds} runs of {whole:?}", kills());
    }
}

#[test]
fn a_torn_line_costs_no_work_and_another_plan_is_refused() {
    let clients = Clients::new("ckks");
    clients.encrypt_each(4);
    clients.batch(&[]);
    let work = &clients.work;
    let journal = work.read("outputs/journal.jsonl");
    work.write("outputs/journal.jsonl", &journal[..journal.len() - 20]);
    let report = clients.batch(&[]);
    assert_eq!((&report["done"], &report["skipped"]), (&json!(0), &json!(4)), "the output is there and sound");
    clients.assert_journal("outputs/journal.jsonl", 4);

    work.write("outputs/journal.jsonl", &journal[..journal.len() - 20]);
    let name = unjournaled(&clients);
    let mut bytes = work.read(&name);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    work.write(&name, &bytes);
    let report = clients.batch(&[]);
    assert_eq!((&report["done"], &report["skipped"]), (&json!(1), &json!(3)), "an unsound output is made again");
    clients.assert_complete("outputs", 4);

    let files = ["-m", "digits.onnx", "-c", "calibration.npz", "-o", "params.json", "--scheme", "tfhe"];
    work.ok(&[&["keyparams"], &files[..]].concat());
    work.ok(&["keygen", "-i", "params.json", "-o", "keys/c"]);
    let (status, _, stderr) = clients.batch_of("inputs", "outputs", &[]);
    assert!(status == Some(4) && stderr.contains("this journal belongs to another plan"), "{stderr}");
}

/// The output of which the journal has no whole line.
fn unjournaled(clients: &Clients) -> String {
    let text = String::from_utf8(clients.work.read("outputs/journal.jsonl")).expect("UTF-8");
    let known: String = text.rsplit_once('\n').map(|(whole, _)| whole.to_owned()).unwrap_or_default();
    let missing = (0..4).find(|at| !known.contains(&format!("{at:03}.enc"))).expect("one was torn off");
    format!("outputs/{missing:03}.out")
}

#[test]
fn a_second_process_is_refused_while_the_first_works() {
    let clients = Clients::new("ckks");
    clients.encrypt_each(1);
    std::fs::create_dir(clients.work.path("outputs")).expect("a folder");
    let journal = OpenOptions::new().append(true).create(true).open(clients.work.path("outputs/journal.jsonl"));
    let journal = journal.expect("writable");
    journal.lock().expect("a file system with locks");
    let (status, _, stderr) = clients.batch_of("inputs", "outputs", &[]);
    assert!(status == Some(4) && stderr.contains("another heman batch works with this journal"), "{stderr}");
    let (status, report, _) = clients.batch_of("inputs", "outputs", &["--shard", "0/1"]);
    assert_eq!((status, &report["done"]), (Some(0), &json!(1)), "another journal");
    drop(journal);
    assert_eq!(clients.batch(&[])["skipped"], json!(1));
}

#[test]
fn one_file_of_many_inputs_is_answered_in_parts_that_survive() {
    let clients = Clients::new("tfhe");
    clients.encrypt("b", 0, 48, "all.enc");
    let (status, report, stderr) = clients.batch_of("all.enc", "whole", &[]);
    assert_eq!((status, &report["done"], &report["inputs"]), (Some(0), &json!(1), &json!(48)), "{stderr}");
    clients.assert_right("b", "whole/all.out", 0, 48);
    assert_eq!(clients.list("whole"), ["all.out", "journal.jsonl"], "parts are gone");
    let journal = String::from_utf8(clients.work.read("whole/journal.jsonl")).expect("UTF-8");
    assert!(journal.lines().filter(|line| line.contains("\"first\":")).count() > 1, "{journal}");

    std::fs::rename(clients.work.path("all.enc"), clients.work.path("inputs/all.enc")).expect("a folder");
    let mut computed = 0;
    for ended in 1..=2 {
        let mut child = clients.start(&[]);
        // Each run is ended once it has written down a part more.
        let parts = || {
            let journal = std::fs::read_to_string(clients.work.path("outputs/journal.jsonl")).unwrap_or_default();
            journal.lines().filter(|line| line.contains("\"first\":")).count()
        };
        while parts() < ended && child.try_wait().expect("our own child").is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it has ended");
    }
    computed += clients.batch(&[])["inputs"].as_u64().expect("a count");
    assert!(computed < 48, "parts of ended runs are kept");
    clients.assert_right("b", "outputs/all.out", 0, 48);
    assert_eq!(clients.list("outputs"), ["all.out", "journal.jsonl"]);
}

#[test]
fn what_cannot_be_written_ends_a_run_that_waits_for_more_names() {
    let clients = Clients::new("ckks");
    clients.encrypt_each(1);
    let work = &clients.work;
    let mut command = Command::new(env!("CARGO_BIN_EXE_heman"));
    command.args(arguments("-", "outputs")).current_dir(work.path("")).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.stdout(Stdio::null()).spawn().expect("it starts");
    let hidden = work.path("outputs/.heman-journal");
    while !hidden.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::fs::remove_dir(&hidden).expect("an empty folder");
    let mut pipe = child.stdin.take().expect("a pipe");
    pipe.write_all(b"inputs/000.enc\n").expect("it reads");
    let ended = child.wait_with_output().expect("it ends though the pipe is open");
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && stderr.contains("cannot write"), "{stderr}");
    drop(pipe);
    assert_eq!(clients.batch(&[])["done"], json!(1));
}

#[test]
fn memory_does_not_grow_with_the_number_of_items() {
    let clients = Clients::new("ckks");
    let work = &clients.work;
    clients.encrypt("a", 0, 1, "inputs/000.enc");
    let peak = |count: usize, output: &str| {
        for at in 1..count {
            let to = work.path(&format!("inputs/{at:03}.enc"));
            if !to.exists() {
                std::fs::hard_link(work.path("inputs/000.enc"), to).expect("a second name");
            }
        }
        let (status, report, stderr) = clients.batch_of("inputs", output, &[]);
        assert_eq!((status, &report["done"]), (Some(0), &json!(count)), "{stderr}");
        report["peak_rss_bytes"].as_u64().expect("a count")
    };
    let (few, many) = (peak(50, "few"), peak(400, "many"));
    let item = (work.read("inputs/000.enc").len() + work.read("few/000.out").len()) as u64;
    assert!(many < few + (16 << 20), "{few} bytes for 50 items of {item} bytes, {many} for 400");
}
