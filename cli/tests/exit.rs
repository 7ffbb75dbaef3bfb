//! Exit statuses: one case of each kind.

mod common;

use common::{Work, npy};

/// Runs and gives the status, and what stands on stderr.
fn status(work: &Work, args: &[&str]) -> (Option<i32>, String) {
    let run = work.run(args);
    (run.status.code(), String::from_utf8_lossy(&run.stderr).into_owned())
}

#[track_caller]
fn expect(work: &Work, want: i32, args: &[&str]) {
    let (code, stderr) = status(work, args);
    assert_eq!(code, Some(want), "heman {args:?}: {stderr}");
}

const KEYPARAMS: [&str; 5] = ["keyparams", "-m", "digits.onnx", "-c", "calibration.npz"];

#[test]
fn what_is_done_is_0() {
    expect(&Work::new(), 0, &["inspect", "digits.onnx"]);
}

#[test]
fn what_says_nothing_that_can_be_done_is_2() {
    let work = Work::new();
    expect(&work, 2, &["inference", "--device", "toaster"]);
    expect(&work, 2, &[&KEYPARAMS[..], &["-o", "p.json", "--max-loss", "7"]].concat());
    let run = work.run_with(&["inspect", "digits.onnx"], &[("HEMAN_LOG", "heman=loud")]);
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.code() == Some(2) && stderr.starts_with("error: HEMAN_LOG is "), "{stderr}");
}

#[test]
fn what_is_understood_and_not_done_is_3() {
    let work = Work::with_keys("tfhe");
    expect(&work, 3, &[&KEYPARAMS[..], &["-o", "p.json", "--scheme", "ckks", "--max-loss", "1e-9"]].concat());
    work.write("far.npy", &npy("(1, 1, 8, 8)", &[1e6; 64]));
    expect(&work, 3, &["encrypt", "-k", "key", "-i", "far.npy", "-o", "x"]);
    expect(&work, 3, &["keygen", "-i", "params.json", "-o", "key"]);
    expect(&work, 3, &["inspect", "params.json", "--trace", "params.plan"]);
}

#[test]
fn a_file_that_cannot_be_used_is_4() {
    let work = Work::with_keys("ckks");
    expect(&work, 4, &["inspect", "missing"]);
    expect(&work, 4, &["decrypt", "-k", "key.pub", "-i", "key", "-o", "x"]);
    expect(&work, 4, &["inspect", "params.plan", "--trace", "no/such/folder.json"]);
    let mut plan = work.read("params.plan");
    *plan.last_mut().expect("a plan") ^= 1;
    work.write("damaged.plan", &plan);
    expect(&work, 4, &["inspect", "damaged.plan"]);
    work.write("broken.onnx", b"no model");
    expect(&work, 4, &["inspect", "broken.onnx"]);
}

#[test]
fn a_device_that_is_not_there_is_5() {
    expect(&Work::new(), 5, &["demo", "-n", "1", "--device", "wgpu:99"]);
}

#[test]
fn a_report_that_cannot_be_written_is_4_and_a_reader_that_went_away_is_0() {
    let run = |args: &[&str], out: std::process::Stdio| {
        let work = Work::new();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_heman"));
        command.env_remove("HEMAN_DEVICES").env("XDG_CONFIG_HOME", work.path("config")).current_dir(work.path(""));
        command.args(args).stdout(out).stderr(std::process::Stdio::null()).status().expect("the binary starts").code()
    };
    if let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") {
        assert_eq!(run(&["inspect", "digits.onnx"], full.into()), Some(4));
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(run(&["inspect", "digits.onnx", "--json"], writer.into()), Some(0));
}

#[test]
fn errors_for_machines_are_one_object() {
    let work = Work::new();
    let cases: [(i32, &str, &[&str]); 3] = [
        (4, "file", &["inspect", "missing\u{1b}[2J", "--json"]),
        (2, "usage", &["inspect", "--json"]),
        (2, "usage", &["inference", "--device", "toaster", "--json"]),
    ];
    for (status, kind, args) in cases {
        let (code, stderr) = self::status(&work, args);
        let object: serde_json::Value = serde_json::from_str(stderr.trim()).expect("one JSON object");
        assert_eq!(code, Some(status), "{stderr}");
        assert_eq!((&object["error"]["kind"], &object["error"]["status"]), (&kind.into(), &status.into()), "{stderr}");
        assert!(!stderr.contains('\u{1b}') && object["error"]["message"].as_str().is_some_and(|text| text.len() > 10));
    }
}

/// Runs with stdout and stderr given.
#[cfg(target_os = "linux")]
fn run_into(work: &Work, args: &[&str], stdout: std::process::Stdio, stderr: std::process::Stdio) -> Option<i32> {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_heman"));
    let run = command.args(args).current_dir(work.path("")).stdout(stdout).stderr(stderr).status();
    run.expect("it starts").code()
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_stdout_is_an_error_and_a_full_stderr_is_none() {
    use std::process::Stdio;
    let work = Work::new();
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").expect("a full device"));
    for args in [&["inspect", "digits.onnx"][..], &["inspect", "digits.onnx", "--json"], &["--help"], &["man"]] {
        assert_eq!(run_into(&work, args, full(), Stdio::null()), Some(4), "{args:?}");
    }
    assert_eq!(run_into(&work, &["inspect", "missing"], Stdio::null(), full()), Some(4));
    assert_eq!(run_into(&work, &["inspect", "missing", "--json"], full(), full()), Some(4));
    assert_eq!(run_into(&work, &["inspect"], Stdio::null(), full()), Some(2));
    let many = [&KEYPARAMS[..], &["-o", "p.json", "-v"]].concat();
    assert_eq!(run_into(&work, &many, Stdio::null(), full()), Some(0), "what is told on the way is not the work");
}

/// A result that nobody gets is lost, whatever became of who should have.
#[test]
#[cfg(target_os = "linux")]
fn a_result_that_standard_output_does_not_take_is_an_error() {
    use std::process::{Command, Stdio};
    let work = Work::with_keys("ckks");
    work.write("one.npy", &npy("(1, 8, 8)", &[0.5; 64]));
    let encrypt = ["encrypt", "-k", "key", "-i", "one.npy", "-o", "-"];
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(run_into(&work, &encrypt, writer.into(), Stdio::null()), Some(4), "a reader that went away");
    assert_eq!(run_into(&work, &encrypt, Stdio::null(), Stdio::null()), Some(0), "the null device takes everything");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" >&-", env!("CARGO_BIN_EXE_heman")]).args(encrypt);
    let run = shell.current_dir(work.path("")).output().expect("a shell");
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.code() == Some(4) && stderr.contains("cannot write -: standard output is closed"), "{stderr}");
}

/// Nobody knows the names that files have until they are whole.
#[test]
#[cfg(target_os = "linux")]
fn errors_name_the_file_that_was_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let work = Work::with_keys("ckks");
    work.write("one.npy", &npy("(1, 8, 8)", &[0.5; 64]));
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_heman"), "encrypt", "-k", "key", "-i", "one.npy", "-o", "in.enc"]);
    let run = shell.current_dir(work.path("")).output().expect("a shell");
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(stderr.starts_with("error: cannot write in.enc: ") && !stderr.contains(".heman-"), "{stderr}");
    let closed = |mode| std::fs::set_permissions(work.path("closed"), std::fs::Permissions::from_mode(mode));
    std::fs::create_dir(work.path("closed")).expect("a folder");
    closed(0o500).expect("the test's own folder");
    // Whoever may write everywhere is told nothing here.
    if std::fs::write(work.path("closed/x"), b"").is_err() {
        let message = work.fails(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "closed/in.enc"]);
        assert!(
            message.starts_with("error: cannot write closed/in.enc: ") && !message.contains(".heman-"),
            "{message}"
        );
    }
    closed(0o700).expect("the test's own folder");
}

#[test]
#[cfg(unix)]
fn a_name_that_is_no_text_is_printed_and_used() {
    use std::os::unix::ffi::OsStrExt;
    let work = Work::new();
    let name = std::ffi::OsStr::from_bytes(b"a\xff\x1b.onnx");
    std::fs::copy(work.path("digits.onnx"), work.path("").join(name)).expect("a file");
    let run = |args: &[&std::ffi::OsStr]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_heman"));
        command.args(args).current_dir(work.path("")).output().expect("it runs")
    };
    let inspected = run(&["inspect".as_ref(), name]);
    assert_eq!(inspected.status.code(), Some(0), "{}", String::from_utf8_lossy(&inspected.stderr));
    assert!(!inspected.stdout.contains(&0x1b));
    let missing = run(&["inspect".as_ref(), std::ffi::OsStr::from_bytes(b"\xff\x1b")]);
    assert_eq!(missing.status.code(), Some(4));
    assert!(!missing.stderr.contains(&0x1b));
}

#[test]
fn odd_numbers_of_threads_are_refused_or_used() {
    let work = Work::new();
    for (threads, status) in
        [("0", 2), ("-1", 2), ("many", 2), ("99999999999999999999999", 2), ("1", 0), ("9999", 0), ("", 0)]
    {
        let run = work.run_with(&["inspect", "digits.onnx"], &[("RAYON_NUM_THREADS", threads)]);
        assert_eq!(run.status.code(), Some(status), "{threads:?}: {}", String::from_utf8_lossy(&run.stderr));
    }
}
