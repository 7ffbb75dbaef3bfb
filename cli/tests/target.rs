//! `--target`: plans for the device that will run them.

mod common;

use common::Work;
use serde_json::{Value, json};

const KEYPARAMS: [&str; 8] = ["keyparams", "-m", "digits.onnx", "-c", "calibration.npz", "--scheme", "tfhe", "--json"];

fn planned(work: &Work, name: &str, more: &[&str]) -> Value {
    let file = format!("{name}.json");
    serde_json::from_str(&work.ok(&[&KEYPARAMS[..], &["-o", &file], more].concat())).expect("JSON")
}

/// A profile of one GPU that runs TFHE alone, with so many bootstraps a second at one and at two levels.
fn profile(work: &Work, file: &str, name: &str, [one, two]: [f64; 2]) {
    let ring = |glwe_dimension: u32, polynomial_size: u32, pbs_level: u32, rate: f64| {
        json!({
            "glwe_dimension": glwe_dimension,
            "polynomial_size": polynomial_size,
            "pbs_level": pbs_level,
            "grouping_factor": 1,
            "bootstraps_per_second": rate,
        })
    };
    let device = json!({
        "name": name,
        "measured": "2026-11-26",
        "tfhe": { "threads": 100.0, "rows": 64 },
        "ckks": null,
        "step_seconds": 1e-5,
        "rings": [ring(4, 512, 1, one), ring(2, 1024, 2, two)],
    });
    work.write_profile(file, &json!([device]));
}

#[test]
fn the_rates_of_a_device_choose_the_ring() {
    let work = Work::new();
    profile(&work, "one.json", "Fast at one level (sm_90)", [1e5, 1e3]);
    profile(&work, "two.json", "Fast at two levels (sm_90)", [1e3, 1e6]);
    let one = planned(&work, "p1", &["--target", "one.json"]);
    let two = planned(&work, "p2", &["--target", "two.json"]);
    assert_eq!((&one["pbs_level"], &two["pbs_level"]), (&json!(1), &json!(2)));
    assert_eq!(one["target"]["name"], "Fast at one level (sm_90)");
    assert_eq!((&one["target"]["measured"], &one["target"]["inputs"]), (&json!("2026-11-26"), &json!(1)));
    let seconds = |object: &Value| object["target"]["predicted_seconds"].as_f64().expect("a time");
    let inspected = |plan: &str, target: &str| -> Value {
        serde_json::from_str(&work.ok(&["inspect", plan, "--json", "--target", target])).expect("JSON")
    };
    // Each is the faster one where it was planned for.
    assert!(seconds(&one) < seconds(&inspected("p2.plan", "one.json")));
    assert!(seconds(&two) < seconds(&inspected("p1.plan", "two.json")));
    assert_eq!(seconds(&inspected("p1.plan", "one.json")), seconds(&one));
    let text = work.ok(&["inspect", "p1.plan", "--target", "one.json"]);
    assert!(text.contains("target        Fast at one level (sm_90), rates measured 2026-11-26: "), "{text}");
}

#[test]
fn the_host_is_the_target_where_none_is_named() {
    let work = Work::new();
    let (default, cpu) = (planned(&work, "a", &[]), planned(&work, "b", &["--target", "cpu"]));
    assert_eq!(work.read("a.plan"), work.read("b.plan"));
    assert_eq!(default["target"], cpu["target"]);
    let name = default["target"]["name"].as_str().expect("a name");
    assert!(name.starts_with("CPU, ") && default["target"]["measured"].is_null(), "{name}");
}

#[test]
fn a_card_that_is_not_here_is_planned_for_by_predictions() {
    let work = Work::new();
    let card = planned(&work, "p", &["--target", "h100"]);
    assert_eq!((&card["target"]["name"], &card["target"]["measured"]), (&json!("NVIDIA H100 (sm_90)"), &Value::Null));
    assert!(card["security_bits"].as_f64() >= Some(128.0), "{card}");
    assert!(card["polynomial_size"].as_u64() <= Some(4096), "it has kernels for these rings");
}

#[test]
fn targets_that_are_none_are_refused_with_what_there_is() {
    let work = Work::new();
    let run = work.run(&[&KEYPARAMS[..], &["-o", "p.json", "--target", "h1000"]].concat());
    let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("h100, h200") && stderr.contains("cpu") && stderr.contains("devices.json"), "{stderr}");
    let fails = |more: &[&str]| work.fails(&[&KEYPARAMS[..5], &["-o", "p.json"], more].concat());
    assert!(fails(&["--target", "none.json"]).contains("there is no file none.json"));
    let run = work.run(&[&KEYPARAMS[..5], &["-o", "p.json", "--target", "none.json"]].concat());
    assert_eq!(run.status.code(), Some(4), "a file that cannot be used");
    work.write("broken.json", b"{}");
    assert!(fails(&["--target", "broken.json"]).contains("this is no device profile"));
    profile(&work, "gpu.json", "GPU (sm_90)", [1e5, 1e4]);
    let message = fails(&["--target", "gpu.json", "--scheme", "ckks"]);
    assert!(message.contains("GPU (sm_90) does not run CKKS"), "{message}");
}
