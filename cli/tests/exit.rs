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
        command.env("HEMAN_DEVICES", work.path("devices.json")).current_dir(work.path(""));
        command.args(args).stdout(out).stderr(std::process::Stdio::null()).status().expect("the binary starts").code()
    };
    if let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") {
        assert_eq!(run(&["inspect", "digits.onnx"], full.into()), Some(4));
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(run(&["inspect", "digits.onnx", "--json"], writer.into()), Some(0));
}
