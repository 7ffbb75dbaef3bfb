//! `heman batch` through the binary: what it answers, and what it makes of bad items.

#![cfg(unix)]

#[path = "common/clients.rs"]
mod clients;
mod common;

use std::io::Write;

use clients::{Clients, arguments};
use common::SCHEMES;
use serde_json::{Value, json};

#[test]
fn inputs_of_two_keys_are_answered_each_under_its_own() {
    for scheme in SCHEMES {
        let clients = Clients::new(scheme);
        clients.encrypt_each(6);
        clients.encrypt("b", 6, 3, "inputs/more.bin");
        std::fs::create_dir(clients.work.path("inputs/folder")).expect("a folder");
        let report = clients.batch(&[]);
        assert_eq!((&report["items"], &report["done"], &report["inputs"]), (&json!(7), &json!(7), &json!(9)));
        assert_eq!((&report["skipped"], &report["failed"]), (&json!(0), &json!(0)));
        clients.assert_right("b", "outputs/more.bin.out", 6, 3);
        std::fs::remove_file(clients.work.path("outputs/more.bin.out")).expect("an output");
        clients.assert_complete("outputs", 6);
        let again = clients.batch(&[]);
        assert_eq!((&again["done"], &again["skipped"], &again["inputs"]), (&json!(1), &json!(6), &json!(3)));
    }
}

#[test]
fn lines_of_the_journal_say_what_an_item_took() {
    let clients = Clients::new("ckks");
    clients.encrypt_each(1);
    clients.batch(&[]);
    let text = String::from_utf8(clients.work.read("outputs/journal.jsonl")).expect("UTF-8");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((lines.len(), &lines[0]["heman_batch"], &lines[0]["shard"]), (2, &json!(1), &Value::Null));
    let line = &lines[1];
    assert_eq!((&line["item"], &line["status"]), (&json!("000.enc"), &json!("done")));
    assert_eq!((&line["inputs"], &line["attempts"], &line["together"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(line["bytes"], json!(clients.work.read("outputs/000.out").len()));
    assert!(line["queue"].as_str().is_some_and(|queue| queue.starts_with("CPU, ")), "{line}");
    assert!(line["seconds_computing"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(line["seconds_waiting"].as_f64().is_some_and(|seconds| seconds >= 0.0));
    let started = line["started"].as_str().expect("a time");
    assert!(started.len() == "2026-01-01T00:00:00.000Z".len() && started.ends_with('Z'), "{started}");
}

#[test]
fn bad_items_are_reported_and_passed_over_and_tried_again_only_if_asked() {
    let clients = Clients::new("ckks");
    clients.encrypt_each(4);
    let other = Clients::new("tfhe");
    other.encrypt("a", 0, 1, "inputs/other.enc");
    let work = &clients.work;
    work.write("inputs/001.enc", b"no such file");
    let mut torn = work.read("inputs/002.enc");
    let middle = torn.len() / 2;
    torn[middle] ^= 1;
    let sound = work.read("inputs/002.enc");
    work.write("inputs/002.enc", &torn);
    work.write("inputs/other.enc", &other.work.read("inputs/other.enc"));
    work.write("keys/other.pub", &other.work.read("keys/a.pub"));
    work.ok(&["keygen", "-i", "params.json", "-o", "stranger"]);
    work.ok(&["encrypt", "-k", "stranger", "-i", "one.npy", "-o", "inputs/stranger.enc"]);
    let (status, report, stderr) = clients.batch_of("inputs", "outputs", &[]);
    assert_eq!(status, Some(1));
    assert_eq!((&report["done"], &report["failed"]), (&json!(2), &json!(4)));
    for name in
        ["001.enc: ", "002.enc: the file is corrupt", "other.enc: ", "stranger.enc: it was encrypted with a key"]
    {
        assert!(stderr.contains(&format!("failed: {name}")), "{name}: {stderr}");
    }
    assert!(stderr.contains("left out: keys/other.pub: "), "{stderr}");
    assert!(stderr.contains("4 of 6 item(s) failed; see "), "{stderr}");
    assert_eq!(clients.list("outputs"), ["000.out", "003.out", "journal.jsonl"]);

    work.write("inputs/002.enc", &sound);
    let (status, report, _) = clients.batch_of("inputs", "outputs", &[]);
    assert_eq!((status, &report["done"], &report["skipped"]), (Some(1), &json!(0), &json!(2)));
    assert_eq!(report["failed_before"], json!(4));
    let (status, report, _) = clients.batch_of("inputs", "outputs", &["--retry-failed"]);
    assert_eq!((status, &report["done"], &report["failed"]), (Some(1), &json!(1), &json!(3)));
    clients.assert_right("a", "outputs/002.out", 2, 1);
}

#[test]
fn shards_are_disjoint_and_complete() {
    let clients = Clients::new("ckks");
    clients.encrypt_each(12);
    let mut done = 0;
    for shard in ["0/3", "1/3", "2/3"] {
        let report = clients.batch(&["--shard", shard]);
        assert_eq!(report["skipped"], json!(0), "another shard has done it");
        done += report["done"].as_u64().expect("a count");
    }
    assert_eq!(done, 12);
    clients.assert_complete("outputs", 12);
    let mut items: Vec<String> = Vec::new();
    for shard in 0..3 {
        let journal = clients.journal(&format!("outputs/journal-{shard}-of-3.jsonl"));
        items.extend(journal.into_keys().map(|(item, _)| item));
    }
    items.sort();
    assert_eq!(items, (0..12).map(|at| format!("{at:03}.enc")).collect::<Vec<_>>());
    let whole = clients.batch(&[]);
    assert_eq!((&whole["done"], &whole["skipped"]), (&json!(0), &json!(12)), "outputs are known without a line");
}

#[test]
fn lists_keep_folders_and_never_leave_the_output_folder() {
    let clients = Clients::new("ckks");
    let work = &clients.work;
    std::fs::create_dir_all(work.path("lists/sub")).expect("a folder");
    clients.encrypt("a", 0, 1, "lists/sub/x.enc");
    clients.encrypt("b", 1, 1, "inputs/y.enc");
    let absolute = std::fs::canonicalize(work.path("inputs")).expect("a folder").join("y.enc");
    let inside = absolute.strip_prefix("/").expect("absolute").with_extension("out");
    let list = "sub/x.enc\n./sub/../../inputs/y.enc\nnowhere.enc\n.heman-journal/z.enc\n";
    work.write("lists/list", list.as_bytes());
    let (status, report, stderr) = clients.batch_of("lists/list", "outputs", &[]);
    assert_eq!((status, &report["done"], &report["failed"]), (Some(1), &json!(2), &json!(2)), "{stderr}");
    clients.assert_right("a", "outputs/sub/x.out", 0, 1);
    clients.assert_right("b", &format!("outputs/{}", inside.display()), 1, 1);

    work.write("lists/both", b"sub/x.enc\nsub/x\n");
    let (status, _, stderr) = clients.batch_of("lists/both", "both", &[]);
    assert!(status == Some(3) && stderr.contains("sub/x: another input has the same output sub/x.out"), "{stderr}");
    assert!(!work.path("both").exists(), "nothing has begun");

    work.write("lists/twice", b"\xef\xbb\xbfsub/x.enc\nsub/./x.enc\n");
    let (status, report, stderr) = clients.batch_of("lists/twice", "twice", &[]);
    assert_eq!((status, &report["done"], &report["skipped"]), (Some(0), &json!(1), &json!(1)), "{stderr}");
    clients.assert_right("a", "twice/sub/x.out", 0, 1);

    std::os::unix::fs::symlink(work.path("lists"), work.path("outputs/link")).expect("a link");
    work.write("lists/leads", b"link/x.enc\n");
    let (_, _, stderr) = clients.batch_of("lists/leads", "outputs", &[]);
    assert!(stderr.contains("a link leads out of the output folder"), "{stderr}");
}

#[test]
fn a_list_on_standard_input_is_taken_as_it_comes() {
    let clients = Clients::new("ckks");
    clients.encrypt_each(3);
    let work = &clients.work;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_heman"));
    command.args(arguments("-", "outputs")).current_dir(work.path(""));
    let pipes = [std::process::Stdio::piped(), std::process::Stdio::piped(), std::process::Stdio::piped()];
    let [stdin, stdout, stderr] = pipes;
    let mut child = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().expect("it starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    pipe.write_all(b"inputs/000.enc\ninputs/000.enc\n").expect("it reads");
    let first = work.path("outputs/inputs/000.out");
    while !first.exists() {
        assert!(child.try_wait().expect("a child").is_none(), "it waits for more");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    pipe.write_all(b"inputs/001.enc\ninputs/002.enc\n").expect("it reads");
    drop(pipe);
    let ended = child.wait_with_output().expect("it ends");
    let report: Value = serde_json::from_slice(&ended.stdout).expect("one JSON object");
    assert!(ended.status.success());
    assert_eq!((&report["done"], &report["skipped"]), (&json!(3), &json!(1)));
    clients.assert_complete("outputs/inputs", 3);
}

#[test]
fn a_list_in_a_named_pipe_is_read_once_and_whole() {
    let clients = Clients::new("ckks");
    clients.encrypt_each(2);
    let work = &clients.work;
    assert!(std::process::Command::new("mkfifo").arg(work.path("list")).status().expect("mkfifo runs").success());
    let list = work.path("list");
    let writer = std::thread::spawn(move || std::fs::write(list, "inputs/000.enc\ninputs/001.enc\n"));
    let (status, report, stderr) = clients.batch_of("list", "outputs", &[]);
    assert_eq!((status, &report["items"], &report["done"]), (Some(0), &json!(2), &json!(2)), "{stderr}");
    writer.join().expect("no panic").expect("it was read");
    clients.assert_complete("outputs/inputs", 2);
}

#[test]
fn hostile_names_and_places_lose_nothing() {
    use std::os::unix::ffi::OsStrExt;
    let clients = Clients::new("ckks");
    let work = &clients.work;
    clients.encrypt("a", 0, 1, "inputs/x.enc");
    let bytes = work.read("inputs/x.enc");
    let long = "n".repeat(255);
    for name in ["line\nbreak.enc", "\u{1b}[2Jclear.enc", "-o.enc", "journal.jsonl", ".hidden.enc", long.as_str()] {
        work.write(&format!("inputs/{name}"), &bytes);
    }
    for name in [b"\xfe.enc", b"\xff.enc"] {
        std::fs::write(work.path("inputs").join(std::ffi::OsStr::from_bytes(name)), &bytes).expect("writable");
    }
    std::fs::create_dir(work.path("outputs")).expect("a folder");
    work.write("outputs/-o.out", b"my notes");
    let (status, report, stderr) = clients.batch_of("inputs", "outputs", &[]);
    assert_eq!((status, &report["done"], &report["failed"]), (Some(1), &json!(4), &json!(4)), "{stderr}");
    assert_eq!(work.read("outputs/-o.out"), b"my notes");
    let journal = clients.journal("outputs/journal.jsonl");
    for name in [r"\xfe.enc", r"\xff.enc"] {
        assert_eq!(journal.get(&(name.into(), "failed".into())), Some(&1), "{name}");
    }
    assert!(stderr.contains("its name is not UTF-8") && stderr.contains("would be lost"), "{stderr}");
    assert!(!stderr.contains('\u{1b}'), "names do not steer the terminal");
    for name in ["x.out", "line\nbreak.out", "\u{1b}[2Jclear.out", "journal.jsonl.out"] {
        clients.assert_right("a", &format!("outputs/{name}"), 0, 1);
    }
    let (status, _, stderr) = clients.batch_of("inputs", "inputs", &[]);
    assert!(status == Some(2) && stderr.contains("holds the inputs"), "{stderr}");
}
