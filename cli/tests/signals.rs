//! What is left when a process is told to end in the middle of its work: nothing.

#![cfg(unix)]

mod common;

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{SCHEMES, Work};

/// Longer than anything here takes on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn unfinished(work: &Work) -> usize {
    work.files().iter().filter(|name| name.starts_with(".heman-")).count()
}

/// A key generation that has written both keys beside their places and waits for the lock of their folder.
fn waiting_keygen(work: &Work, nohup: bool) -> (Child, File) {
    let folder = File::open(work.path("keys")).expect("a folder");
    folder.lock().expect("a file system with locks");
    let heman = env!("CARGO_BIN_EXE_heman");
    // Whoever started the tests may have told them to ignore a hangup.
    let mut command = Command::new(if nohup { "nohup" } else { "env" });
    if !nohup {
        command.arg("--default-signal=HUP");
    }
    command.args([heman, "keygen", "-i", "params.json", "-o", "keys/key"]).current_dir(work.path(""));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let secret = || {
        let files = std::fs::read_dir(work.path("keys")).expect("a folder").flatten();
        files.filter(|file| std::fs::read(file.path()).is_ok_and(|bytes| bytes.get(6) == Some(&2))).count() == 1
    };
    // The kind of a secret key is written at byte 6.
    wait_until("a secret key beside its place", secret);
    (child, folder)
}

fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

fn left_in(work: &Work, folder: &str) -> Vec<String> {
    let files = std::fs::read_dir(work.path(folder)).expect("a folder").flatten();
    files.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn signals_leave_no_half_made_key() {
    for scheme in SCHEMES {
        let work = Work::with_keys(scheme);
        std::fs::create_dir(work.path("keys")).expect("a folder");
        for (signal, status) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129), ("-QUIT", 131), ("-XCPU", 152)] {
            let (mut child, folder) = waiting_keygen(&work, false);
            send(signal, &child);
            let ended = child.wait().expect("it ends");
            assert_eq!(ended.code(), Some(status), "{scheme}, {signal}");
            assert_eq!(left_in(&work, "keys"), Vec::<String>::new(), "{scheme}, {signal}");
            drop(folder);
        }
        assert_eq!(unfinished(&work), 0);
    }
}

/// A file beyond the process's limit (SIGXFSZ) and a reader that went away (SIGPIPE) are errors of the write.
#[test]
fn limits_and_broken_pipes_leave_nothing() {
    for scheme in SCHEMES {
        let work = Work::with_keys(scheme);
        let before = work.files();
        let heman = env!("CARGO_BIN_EXE_heman");
        let shell = |script: String| {
            let run =
                Command::new("bash").arg("-c").arg(&script).current_dir(work.path("")).output().expect("bash runs");
            let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
            assert!(stderr.starts_with("error: cannot write "), "{script}: {stderr}");
            assert_eq!(run.status.code(), Some(4), "{script}");
            assert_eq!(work.files(), before, "{script}");
        };
        // Blocks of 1024 bytes: the secret key fits, key.pub does not.
        shell(format!("ulimit -f 40; exec {heman} keygen -i params.json -o new"));
        shell(format!("set -o pipefail; {heman} encrypt -k key -i samples.npz -o - | true"));
    }
}

#[test]
fn a_hangup_that_was_ignored_stays_ignored() {
    let work = Work::with_keys("ckks");
    std::fs::create_dir(work.path("keys")).expect("a folder");
    let (mut child, folder) = waiting_keygen(&work, true);
    send("-HUP", &child);
    drop(folder);
    assert!(child.wait().expect("it ends").success(), "nohup keeps it running");
    let mut left = left_in(&work, "keys");
    left.sort();
    assert_eq!(left, ["key", "key.pub"]);
}
