//! `device_report` on the emulated driver: that it ends, and that what it says can be read as figures.

use std::path::Path;
use std::process::Command;

use heman_testing::cuda_emulation;
use serde_json::Value;

/// The report of the first CUDA device, or nothing where the emulation cannot be built.
fn report(name: &str, args: &[&str]) -> Option<(Value, String)> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = match cuda_emulation::library(folder) {
        Ok(library) => library,
        Err(reason) => {
            println!("skipped: {reason}");
            return None;
        }
    };
    let json = folder.join(format!("device_report_{name}.json"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_device_report"));
    command.env("LD_LIBRARY_PATH", library.parent().expect("a folder"));
    let run = command.args(args).arg("--json").arg(&json).output().expect("the binary starts");
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{text}{}", String::from_utf8_lossy(&run.stderr));
    let written = std::fs::read(&json).expect("a file that was written");
    Some((serde_json::from_slice(&written).expect("JSON"), text))
}

/// Names of steps, each of whose figures is positive and finite; JSON has null for those that are not.
fn steps(rows: &Value) -> Vec<&str> {
    let rows = rows.as_array().expect("a list");
    for (key, value) in rows.iter().filter_map(Value::as_object).flatten() {
        let figures = if value.is_array() { value.as_array().expect("a list").clone() } else { vec![value.clone()] };
        for figure in figures.iter().filter(|figure| !figure.is_string()) {
            assert!(figure.as_f64().is_some_and(|figure| figure > 0.0), "{key}: {figure} in {rows:#?}");
        }
    }
    rows.iter().filter_map(|row| row["step"].as_str()).collect()
}

#[test]
fn times_of_both_schemes_and_both_transforms_are_figures() {
    for transform in ["doubles", "exact"] {
        let args = ["cuda", "--quick", "--only", "times", "--transform", transform];
        let Some((report, text)) = report(transform, &args) else { return };
        assert_eq!(report["device"], "CUDA 0, CUDA emulation (sm_90)");
        assert_eq!(report["failures"], serde_json::json!([]));
        let bootstraps = ["keyswitch", "bootstrap", "keyswitch+bootstrap"];
        assert_eq!(steps(&report["times"]), [&bootstraps[..], &bootstraps, &["linear"]].concat());
        assert_eq!(steps(&report["ckks_times"]), ["product, rescaled", "rotation", "chain"]);
        steps(&report["waves"]);
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}

/// Two multiprocessors with 64 multiply-adds of doubles a clock, at 1 GHz, and 4096 of bytes.
#[test]
fn bounds_are_those_of_the_rates_that_the_driver_reports() {
    let Some((report, _)) = report("bounds", &["cuda", "--quick", "--scheme", "tfhe", "--only", "times"]) else {
        return;
    };
    assert_eq!(report["rates"]["doubles"], 128e9);
    let row = |step: &str| {
        let rows = report["times"].as_array().expect("a list");
        rows.iter().find(|row| row["step"] == step && row["batch"] == 5).expect("five rows were measured")
    };
    // Of n = 11, k = 4, N = 512: 2048 words of seven digits make 12 words out of four byte products each.
    let keyswitches = 5.0 * 4.0 * f64::from(2048 * 7 * 12) / 8192e9;
    let bound = |step: &str| row(step)["bound_seconds"].as_f64().expect("a number");
    assert!((bound("keyswitch") / keyswitches - 1.0).abs() < 1e-9, "{} {keyswitches}", bound("keyswitch"));
    assert!((bound("keyswitch+bootstrap") - bound("keyswitch") - bound("bootstrap")).abs() < 1e-15);
}
