//! Outputs: nothing that somebody needs is replaced, and what cannot be written is said before the work begins.

#![cfg(unix)]

mod common;

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::process::{Command, Output, Stdio};

use common::{SCHEMES, Work, npy, npy_values};

const ENCRYPT: [&str; 6] = ["encrypt", "-k", "key", "-i", "one.npy", "-o"];
const INFERENCE: [&str; 8] = ["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.enc", "-o"];
const DECRYPT: [&str; 6] = ["decrypt", "-k", "key", "-i", "out.enc", "-o"];
const KEYPARAMS: [&str; 6] = ["keyparams", "-m", "digits.onnx", "-c", "calibration.npz", "-o"];
const KEYGEN: [&str; 4] = ["keygen", "-i", "params.json", "-o"];

/// A folder after all five steps.
fn complete(scheme: &str) -> Work {
    let work = Work::with_keys(scheme);
    work.write("one.npy", &npy("(1, 8, 8)", &[0.5; 64]));
    work.ok(&[&ENCRYPT[..], &["one.enc"]].concat());
    work.ok(&[&INFERENCE[..], &["out.enc"]].concat());
    work.ok(&[&DECRYPT[..], &["out.npy"]].concat());
    work
}

fn command(work: &Work, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heman"));
    command.args(args).current_dir(work.path("")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a verb that must fail, and checks that a file is as it was.
fn keeps(work: &Work, args: &[&str], target: &str, file: &str) -> String {
    let before = work.read(file);
    let message = work.fails(&[args, &[target]].concat());
    assert_eq!(work.read(file), before, "{args:?} {target} changed {file}");
    message
}

#[test]
fn inputs_of_the_same_command_are_never_replaced() {
    for scheme in SCHEMES {
        let work = complete(scheme);
        for (args, inputs) in [
            (&ENCRYPT[..], &["one.npy"][..]),
            (&INFERENCE, &["params.plan", "key.pub", "one.enc"]),
            (&DECRYPT, &["out.enc"]),
            (&KEYPARAMS, &["digits.onnx", "calibration.npz"]),
        ] {
            for input in inputs {
                let message = keeps(&work, args, input, input);
                assert!(message.contains("would replace the input"), "{message}");
                // The same file by another spelling, a link, and a second name.
                keeps(&work, args, &format!("./{input}"), input);
                symlink(work.path(input), work.path("link")).expect("a link");
                keeps(&work, args, "link", input);
                std::fs::remove_file(work.path("link")).expect("the link");
                std::fs::hard_link(work.path(input), work.path("link")).expect("a second name");
                keeps(&work, args, "link", input);
                std::fs::remove_file(work.path("link")).expect("the second name");
            }
        }
        let message = keeps(&work, &[&KEYPARAMS[..], &["x.json", "--plan"]].concat(), "digits.onnx", "digits.onnx");
        assert!(message.contains("would replace the input"), "{message}");
        std::fs::create_dir(work.path("folder")).expect("a folder");
        std::fs::rename(work.path("one.npy"), work.path("folder/one.npy")).expect("moved");
        let encrypt = ["encrypt", "-k", "key", "-i", "folder", "-o"];
        let message = keeps(&work, &encrypt, "folder/one.npy", "folder/one.npy");
        assert!(message.contains("would replace the input"), "{message}");
    }
}

/// The files that a model keeps its weights in are inputs, too.
#[test]
fn weights_beside_a_model_are_never_replaced() {
    let work = Work::new();
    let entry = b"\x0a\x08location\x12\x0bweights.bin".to_vec();
    work.write("external.onnx", &entry);
    work.write("weights.bin", b"precious");
    let message = keeps(&work, &["keyparams", "-m", "external.onnx", "-c", "x", "-o"], "weights.bin", "weights.bin");
    assert!(message.contains("would replace the input weights.bin"), "{message}");
}

#[test]
fn secret_keys_are_never_replaced_whatever_their_name() {
    for scheme in SCHEMES {
        let work = complete(scheme);
        std::fs::copy(work.path("key"), work.path("harmless.npy")).expect("a copy");
        symlink("harmless.npy", work.path("link.npy")).expect("a link");
        for args in [&ENCRYPT[..], &INFERENCE, &DECRYPT, &KEYPARAMS, &[&KEYPARAMS[..], &["x", "--plan"]].concat()] {
            for target in ["harmless.npy", "link.npy"] {
                let message = keeps(&work, args, target, "harmless.npy");
                assert!(message.contains("is a secret key, which would be lost"), "{message}");
            }
        }
        for args in [&ENCRYPT[..], &DECRYPT] {
            keeps(&work, args, "key", "key");
        }
        // A key of an older format, or a damaged one, is somebody's key too.
        let mut old = work.read("key");
        old[7] = 1;
        old.truncate(1000);
        work.write("old", &old);
        assert!(keeps(&work, &DECRYPT, "old", "old").contains("is a secret key"));
    }
}

#[test]
fn keygen_replaces_only_key_pairs_and_only_when_forced() {
    let work = complete("ckks");
    let pair = (work.read("key"), work.read("key.pub"));
    assert!(work.fails(&[&KEYGEN[..], &["key"]].concat()).contains("--force replaces it"));
    for (force, target, file) in [
        // One file of the pair is there already: the other is not made.
        (false, "other", "other.pub"),
        (true, "one.npy", "one.npy"),
        (true, "params.json", "params.json"),
        // The evaluation key would take a secret key's place.
        (true, "swapped", "swapped.pub"),
    ] {
        work.write("other.pub", &pair.1);
        work.write("swapped.pub", &pair.0);
        let force: &[&str] = if force { &["keygen", "--force"] } else { &["keygen"] };
        keeps(&work, &[force, &KEYGEN[1..]].concat(), target, file);
        assert!(!work.path("other").exists() && !work.path("swapped").exists());
    }
    work.ok(&["keygen", "--force", "-i", "params.json", "-o", "key"]);
    assert!(work.read("key") != pair.0 && work.read("key.pub") != pair.1, "both are new");
    let mode = std::fs::metadata(work.path("key")).expect("the key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn key_pairs_made_at_the_same_time_are_never_mixed() {
    for force in [&[][..], &["--force"]] {
        let work = Work::with_keys("ckks");
        let target = if force.is_empty() { "new" } else { "key" };
        let args = [&KEYGEN[..], &[target], force].concat();
        let running: Vec<_> = (0..4).map(|_| command(&work, &args).spawn().expect("the binary starts")).collect();
        let outputs: Vec<Output> = running.into_iter().map(|run| run.wait_with_output().expect("it ends")).collect();
        let won = outputs.iter().filter(|output| output.status.success()).count();
        assert_eq!(won, if force.is_empty() { 1 } else { 4 });
        for lost in outputs.iter().filter(|output| !output.status.success()) {
            assert!(stderr(lost).contains("exists already"), "{}", stderr(lost));
        }
        work.write("one.npy", &npy("(1, 8, 8)", &[0.5; 64]));
        work.ok(&["encrypt", "-k", target, "-i", "one.npy", "-o", "one.enc"]);
        let public = format!("{target}.pub");
        work.ok(&["inference", "-m", "params.plan", "-k", &public, "-i", "one.enc", "-o", "out.enc"]);
        assert!(!work.files().iter().any(|name| name.starts_with('.')), "{:?}", work.files());
    }
}

#[test]
fn devices_and_fifos_are_written_to_and_stay() {
    let work = complete("ckks");
    for args in [&ENCRYPT[..], &INFERENCE, &DECRYPT] {
        work.ok(&[args, &["/dev/null"]].concat());
    }
    let null = std::fs::metadata("/dev/null").expect("the null device");
    assert!(null.file_type().is_char_device());
    for target in ["/dev/stdout", "-", "/dev/fd/1"] {
        let output = command(&work, &[&DECRYPT[..], &[target]].concat()).output().expect("it runs");
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(output.stdout, work.read("out.npy"), "{target}: the file and nothing else");
        assert!(stderr(&output).contains("wrote"), "the report is on stderr");
    }
    let made = Command::new("mkfifo").arg(work.path("fifo")).status().expect("mkfifo runs");
    assert!(made.success());
    let running = command(&work, &[&DECRYPT[..], &["fifo"]].concat()).spawn().expect("it starts");
    let mut bytes = Vec::new();
    std::fs::File::open(work.path("fifo")).expect("a FIFO").read_to_end(&mut bytes).expect("readable");
    assert!(running.wait_with_output().expect("it ends").status.success());
    assert_eq!(bytes, work.read("out.npy"));
    assert!(std::fs::metadata(work.path("fifo")).expect("still there").file_type().is_fifo());
    for target in ["/dev/null", "fifo"] {
        assert!(work.fails(&[&["keygen", "--force"], &KEYGEN[1..], &[target]].concat()).contains("is no file"));
    }
    assert!(work.fails(&[&KEYPARAMS[..], &["/dev/null"]].concat()).contains("--plan"));
    assert!(work.fails(&[&KEYPARAMS[..], &["-"]].concat()).contains("two files"));
}

#[test]
fn standard_input_is_read() {
    let work = complete("ckks");
    for (args, file) in [
        (["encrypt", "-k", "key", "-i", "-", "-o", "x"], "one.npy"),
        (["decrypt", "-k", "key", "-i", "-", "-o", "x"], "out.enc"),
        (["keygen", "-i", "-", "-o", "y", "--force", "--json"], "params.json"),
    ] {
        let mut running = command(&work, &args).stdin(Stdio::piped()).spawn().expect("it starts");
        std::io::Write::write_all(&mut running.stdin.take().expect("a pipe"), &work.read(file)).expect("it reads");
        let output = running.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    }
    assert_eq!(npy_values(&work.read("x")), npy_values(&work.read("out.npy")));
    assert!(work.fails(&["inspect", "-"]).contains("name a file"));
}

#[test]
fn links_are_followed() {
    let work = complete("ckks");
    std::fs::create_dir(work.path("elsewhere")).expect("a folder");
    symlink("elsewhere/result.npy", work.path("link.npy")).expect("a link");
    // A link to nothing makes the file, one to a file replaces it.
    for _ in 0..2 {
        work.ok(&[&DECRYPT[..], &["link.npy"]].concat());
        assert!(std::fs::symlink_metadata(work.path("link.npy")).expect("a link").is_symlink());
        assert_eq!(work.read("elsewhere/result.npy"), work.read("out.npy"));
    }
    symlink("loop", work.path("loop")).expect("a link");
    work.fails(&[&DECRYPT[..], &["loop"]].concat());
}

/// The inputs are not there either, or are no files of ours: the output is named all the same.
#[test]
fn outputs_are_checked_before_the_work_begins() {
    let work = Work::new();
    work.write("file", b"");
    for target in ["no/such/x", "file/x", "/proc/x", ".", "..", "new/"] {
        for args in [
            &["keyparams", "-m", "missing", "-c", "missing", "-o"][..],
            &["keygen", "-i", "missing", "-o"],
            &["encrypt", "-k", "missing", "-i", "missing", "-o"],
            &["inference", "-m", "missing", "-k", "missing", "-i", "missing", "-o"],
            &["decrypt", "-k", "missing", "-i", "missing", "-o"],
        ] {
            let message = work.fails(&[args, &[target]].concat());
            assert!(message.starts_with("error: cannot write "), "{args:?} {target}: {message}");
            assert!(!message.contains("missing"), "{args:?} {target}: {message}");
        }
    }
    let message = work.fails(&["decrypt", "-k", "missing", "-i", "missing", "-o", "no/such/x"]);
    assert!(message.contains("the folder no/such does not exist"), "{message}");
}

#[test]
fn a_plan_keeps_the_whole_name_of_its_parameters() {
    let work = Work::new();
    for (params, plan) in [("par_v1.0", "par_v1.0.plan"), ("a.b.json", "a.b.plan")] {
        work.ok(&[&KEYPARAMS[..], &[params]].concat());
        assert!(work.path(params).is_file() && work.path(plan).is_file(), "{:?}", work.files());
    }
    assert!(work.fails(&[&KEYPARAMS[..], &["x.plan"]].concat()).contains("--plan"));
    symlink("x.json", work.path("x.plan")).expect("a link");
    assert!(work.fails(&[&KEYPARAMS[..], &["x.json"]].concat()).contains("the same file"));
}

#[test]
fn names_that_are_no_utf_8_work_everywhere() {
    let work = complete("ckks");
    let name = OsStr::from_bytes(b"r\xe9sultat");
    for json in [&[][..], &["--json"]] {
        for args in [&KEYPARAMS[..], &KEYGEN, &ENCRYPT, &INFERENCE, &DECRYPT] {
            let target = work.path("").join(name);
            let output = command(&work, &[json, args].concat()).arg(&target).output().expect("it runs");
            assert!(output.status.success(), "{args:?}: {}", stderr(&output));
            assert!(target.is_file());
            if !json.is_empty() {
                let object: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
                let file = ["output", "params", "secret_key"].iter().find_map(|field| object[field].as_str());
                assert!(file.is_some_and(|file| file.ends_with("r\u{fffd}sultat")), "{object}");
            }
            for made in [target.clone(), work.path("").join(OsStr::from_bytes(b"r\xe9sultat.pub"))] {
                let _ = std::fs::remove_file(made);
            }
        }
    }
    let input = work.path("").join(OsStr::from_bytes(b"\xff.npy"));
    std::fs::copy(work.path("one.npy"), &input).expect("a copy");
    let output = command(&work, &["encrypt", "-k", "key", "-o", "x", "-i"]).arg(&input).output().expect("it runs");
    assert!(output.status.success(), "{}", stderr(&output));
}
