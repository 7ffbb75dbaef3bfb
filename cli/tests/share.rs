//! `heman decrypt --share`: noise of the size that is promised, counted values, or a refusal.

mod common;
#[path = "../../import/tests/onnx/mod.rs"]
mod onnx;

use common::{Work, npy, npy_values};
use onnx::Onnx;
use serde_json::Value;
use std::process::Command;

/// Values of a result.
const VALUES: usize = 2;
const SHARE: [&str; 8] = ["decrypt", "-k", "key", "-i", "out.enc", "-o", "shared.npy", "--share"];

/// A linear model whose outputs lie around `offset`, a key, and an encrypted output of one input.
fn complete(scheme: &str, offset: f32, spoil: fn(&mut Value)) -> Work {
    let work = Work::new();
    let mut model = Onnx::new(&[1, 4]);
    let weights = model.floats(&[4, 2], &[1.0, -0.5, 0.25, 0.5, 1.0, -0.75, -0.25, 0.5]);
    let product = model.node("MatMul", &["x", &weights], &[]);
    let bias = model.floats(&[2], &[offset, -offset]);
    model.node("Add", &[&product, &bias], &[]);
    work.write("model.onnx", &model.build());
    let samples: Vec<f32> = (0..400).map(|at| (at as f32 * 0.77).sin()).collect();
    work.write("calibration.npy", &npy("(100, 4)", &samples));
    let options = ["--scheme", scheme, "--task", "regress", "--max-loss", "0.05"];
    work.ok(&[&["keyparams", "-m", "model.onnx", "-c", "calibration.npy", "-o", "params.json"], &options[..]].concat());
    let mut params: Value = serde_json::from_slice(&work.read("params.json")).expect("JSON");
    spoil(&mut params);
    work.write("spoilt.json", params.to_string().as_bytes());
    work.ok(&["keygen", "-i", "params.json", "-o", "key"]);
    work.write("one.npy", &npy("(1, 4)", &samples[..4]));
    work.ok(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "one.enc"]);
    work.ok(&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.enc", "-o", "out.enc"]);
    work
}

fn sound(_: &mut Value) {}

fn trusting<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SHARE[..], &["--trust-evaluation"], more].concat()
}

#[test]
fn nothing_is_shared_of_an_output_from_anywhere() {
    for offset in [0.0, 1e7] {
        let work = complete("ckks", offset, sound);
        let message = work.fails(&SHARE);
        assert!(
            message.contains("any function of the secret key") && message.contains("--trust-evaluation"),
            "{message}"
        );
        assert!(!work.path("key.shared").exists(), "nothing was shared");
    }
    assert!(complete("tfhe", 0.0, sound).fails(&SHARE).contains("--share is for CKKS"));
}

#[test]
fn what_the_noise_would_drown_is_refused() {
    let work = complete("ckks", 0.0, sound);
    let message = work.fails(&[&SHARE[..], &["--trust-evaluation"]].concat());
    assert!(message.contains("share the decision only"), "{message}");
}

/// A server that states no noise would otherwise switch the protection off.
#[test]
fn parameters_that_state_no_noise_share_nothing_without_it() {
    let work = complete("ckks", 0.0, |params| params["output"]["noise"] = 0.0.into());
    work.ok(&["keygen", "-i", "spoilt.json", "-o", "key", "--force"]);
    work.ok(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "one.enc"]);
    // The plan belongs to other parameters now; what it would have answered is told to belong to these.
    let mut output = work.read("out.enc");
    let key = work.read("key");
    output[9..57].copy_from_slice(&key[9..57]);
    let checksum = blake3::hash(&output[..65]);
    output[65..97].copy_from_slice(checksum.as_bytes());
    let body = output.len() - 97 - 32;
    let mut hasher = blake3::Hasher::new_keyed(checksum.as_bytes());
    hasher.update(&output[97..97 + body]).update(&0_u64.to_le_bytes());
    let end = output.len();
    output[end - 32..].copy_from_slice(hasher.finalize().as_bytes());
    work.write("out.enc", &output);
    work.ok(&["decrypt", "-k", "key", "-i", "out.enc", "-o", "all.npy"]);
    for vouch in [&[][..], &["--trust-evaluation"]] {
        work.fails(&[&SHARE[..], vouch].concat());
    }
}

#[test]
fn values_are_counted_over_all_files_of_a_key() {
    let work = complete("ckks", 1e7, sound);
    let beside = ["decrypt", "-k", "key", "-i", "out.enc", "-o", "key.shared", "--share", "--trust-evaluation"];
    assert!(work.fails(&beside).contains("key.shared is where the values shared under this key are counted"));
    std::fs::copy(work.path("key"), work.path("-")).expect("a copy");
    for from in ["- < key", "/dev/fd/3 3< key"] {
        let script =
            format!("{} decrypt --share --trust-evaluation -i out.enc -o x -k {from}", env!("CARGO_BIN_EXE_heman"));
        let run = Command::new("bash").args(["-c", &script]).current_dir(work.path("")).output().expect("bash runs");
        let message = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(message.contains("the key must be a file"), "{message}");
    }
    std::fs::remove_file(work.path("-")).expect("the copy");
    work.ok(&trusting(&["--shares", "5"]));
    // Neither this verb nor another replaces the count, of this key or of others.
    assert!(work.fails(&beside).contains("counts what was"));
    assert!(work.fails(&["decrypt", "-k", "key", "-i", "out.enc", "-o", "key.shared"]).contains("counts what was"));
    assert!(work.fails(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "key.shared"]).contains("counts what was"));
    let shared = npy_values(&work.read("shared.npy"));
    assert_eq!(shared.len(), VALUES);
    assert!((shared[0] - 1e7).abs() < 1e6 && (shared[1] + 1e7).abs() < 1e6, "{shared:?}");
    // The same result again is shared again: its noise could be averaged away.
    work.ok(&trusting(&[]));
    let count: Value = serde_json::from_slice(&work.read("key.shared")).expect("JSON");
    assert_eq!((&count["shared_values"], &count["most_values"]), (&4.into(), &5.into()));
    let message = work.fails(&trusting(&[]));
    assert!(message.contains("1 are left"), "{message}");
    assert!(work.fails(&trusting(&["--shares", "1000"])).contains("cannot be changed"));
    std::fs::rename(work.path("key.shared"), work.path("kept")).expect("it was there");
    work.write("key.shared", b"{}");
    assert!(work.fails(&trusting(&[])).contains("nothing is shared without it"));
    // A new key begins anew.
    std::fs::rename(work.path("kept"), work.path("key.shared")).expect("it was kept");
    work.ok(&["keygen", "-i", "params.json", "-o", "key", "--force"]);
    work.ok(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "one.enc"]);
    work.ok(&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.enc", "-o", "out.enc"]);
    work.ok(&trusting(&[]));
}
