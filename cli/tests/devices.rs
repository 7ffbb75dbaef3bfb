//! `heman devices`, what it measures, and inferences on whatever adapter there is, a software one as well. With
//! `HEMAN_REQUIRE=wgpu` a missing driver is a failure.

mod common;

use common::{Work, demo_images, npy};
use heman_testing::required::is_required;
use serde_json::{Value, json};

/// The file that devices are measured to, in the test's own folder.
fn profile(work: &Work) -> String {
    work.path("devices.json").display().to_string()
}

fn listed(work: &Work, args: &[&str]) -> Value {
    let file = profile(work);
    let run = work.run_with(&[&["devices", "--json"], args].concat(), &[("HEMAN_DEVICES", &file)]);
    let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{args:?}: {stderr}");
    serde_json::from_slice(&run.stdout).expect("JSON")
}

/// The row of a device.
fn row(listed: &Value, device: &str) -> Option<Value> {
    let rows = listed["devices"].as_array().expect("rows");
    rows.iter().find(|row| row["device"] == device).cloned()
}

/// Whether there is an adapter that can run kernels.
fn has_adapter(work: &Work) -> bool {
    let found = row(&listed(work, &[]), "wgpu:0").is_some_and(|row| row["usable"] == true);
    assert!(found || !is_required("wgpu"), "no adapter can be used");
    if !found {
        println!("skipped: no adapter can be used");
    }
    found
}

#[test]
fn every_device_says_what_it_can_do_and_how_fast() {
    let work = Work::new();
    work.write_profile("devices.json", &json!([]));
    let devices = listed(&work, &[]);
    assert_eq!((&devices["profile_error"], &devices["measured"]), (&Value::Null, &Value::Null));
    assert_eq!(devices["profile"], profile(&work));
    for row in devices["devices"].as_array().expect("rows") {
        for name in ["device", "usable", "reason", "speed", "measured", "tfhe", "ckks", "step_seconds"] {
            assert!(row.get(name).is_some(), "{row} lacks {name}");
        }
    }
    let cpu = row(&devices, "cpu").expect("a host");
    assert_eq!((&cpu["usable"], &cpu["speed"], &cpu["measured"]), (&json!(true), &json!("predicted"), &Value::Null));
    assert!(cpu["tfhe"]["threads"].as_f64() > Some(0.0) && cpu["ckks"]["rows"].as_u64() > Some(0), "{cpu}");
    if let Some(adapter) = row(&devices, "wgpu:0") {
        assert!(adapter["hardware"].is_boolean() && adapter["interface"].is_string(), "{adapter}");
    }
}

#[test]
fn what_is_measured_is_written_and_listed() {
    let work = Work::new();
    let devices = listed(&work, &["--measure", "--device", "cpu"]);
    let cpu = row(&devices, "cpu").expect("a host");
    assert_eq!((&devices["measured"], &cpu["speed"]), (&json!([cpu["name"]]), &json!("measured")));
    let file: Value = serde_json::from_slice(&work.read("devices.json")).expect("JSON");
    assert_eq!((&file["version"], &file["devices"][0]["name"]), (&json!(3), &cpu["name"]));
    for name in ["tfhe", "ckks", "measured", "step_seconds"] {
        assert_eq!(file["devices"][0][name], cpu[name], "{name}");
    }
    if has_adapter(&work) {
        let devices = listed(&work, &["--measure", "--device", "wgpu"]);
        let adapter = row(&devices, "wgpu:0").expect("it was measured");
        assert_eq!(adapter["speed"], "measured");
        assert!(adapter["tfhe"]["threads"].as_f64() > Some(0.0), "{adapter}");
        assert!(adapter["ckks"]["threads"].as_f64() > Some(0.0), "{adapter}");
        assert_eq!(row(&devices, "cpu"), Some(cpu), "what was measured before stays");
    }
}

#[test]
fn devices_that_are_not_there_are_not_measured() {
    let work = Work::new();
    let file = profile(&work);
    let run = work.run_with(&["devices", "--measure", "--device", "wgpu:99"], &[("HEMAN_DEVICES", &file)]);
    let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("there is no wgpu adapter 99") || stderr.contains("no graphics adapter"), "{stderr}");
    assert!(!work.path("devices.json").exists());
}

#[test]
fn a_profile_that_is_named_must_be_there() {
    let work = Work::with_keys("ckks");
    work.write("one.npy", &npy("(1, 8, 8)", &[0.5; 64]));
    work.ok(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "in.enc"]);
    let named = [("HEMAN_DEVICES", "nowhere.json")];
    for (device, status) in [("auto", Some(4)), ("cpu", Some(0))] {
        let run = work.run_with(&[&INFERENCE[..], &["out.enc", "--device", device]].concat(), &named);
        let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), status, "{device}: {stderr}");
        assert_eq!(
            stderr.contains("HEMAN_DEVICES names nowhere.json, which is not there"),
            device == "auto",
            "{stderr}"
        );
    }
    let run = work.run_with(&["devices", "--json"], &named);
    let listed: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    assert!(listed["profile_error"].as_str().is_some_and(|error| error.contains("nowhere.json")), "{listed}");
}

const INFERENCE: [&str; 8] = ["inference", "-m", "params.plan", "-k", "key.pub", "-i", "in.enc", "-o"];

#[test]
fn an_adapter_gives_the_words_of_the_host() {
    let work = Work::with_keys("ckks");
    if !has_adapter(&work) {
        return;
    }
    work.write("one.npy", &npy("(1, 8, 8)", &demo_images(&work)[..64]));
    work.ok(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "in.enc"]);
    let run = |device: &str, output: &str| {
        let report = work.ok(&[&INFERENCE[..], &[output, "--json", "--device", device]].concat());
        serde_json::from_str::<Value>(&report).expect("JSON")
    };
    run("cpu", "cpu.enc");
    let report = run("wgpu", "wgpu.enc");
    assert!(report["device"].as_str().is_some_and(|name| name.starts_with("wgpu 0, ")), "{report}");
    assert_eq!(report["needed_bytes"], Value::Null, "the host evaluates nothing");
    assert_eq!(work.read("wgpu.enc"), work.read("cpu.enc"));
}

#[test]
fn adapters_that_are_not_there_are_errors_and_a_broken_profile_is_none() {
    let work = Work::with_keys("ckks");
    work.write("one.npy", &npy("(1, 8, 8)", &[0.5; 64]));
    work.ok(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "in.enc"]);
    let message = work.fails(&[&INFERENCE[..], &["out.enc", "--device", "wgpu:99"]].concat());
    assert!(message.contains("there is no wgpu adapter 99") || message.contains("no graphics adapter"), "{message}");

    work.write("devices.json", b"{\"version\": 3, \"devices\": [], \"more\": 0}");
    let file = profile(&work);
    for (device, said) in [("cpu", false), ("auto", true)] {
        let args = [&INFERENCE[..], &["out.enc", "--device", device]].concat();
        let run = work.run_with(&args, &[("HEMAN_DEVICES", &file)]);
        let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success(), "{stderr}");
        let named = stderr.contains(&file) && stderr.contains("unknown field `more`");
        assert_eq!(named, said, "{device}: {stderr}");
    }
    let listed = listed(&work, &[]);
    assert!(listed["profile_error"].as_str().is_some_and(|error| error.contains(&file)), "{listed}");
}
