//! `--device cuda` through the binary, on the emulated driver: kernels, host code and executor are the real ones.

mod common;

use std::path::Path;

use common::{Work, demo_images, npy_values};
use heman_testing::cuda_emulation;

/// The folder to put on the library path, or nothing where the emulation cannot be built.
fn library_path() -> Option<String> {
    match cuda_emulation::library(Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(library) => Some(library.parent().expect("a folder").display().to_string()),
        Err(reason) => {
            println!("skipped: {reason}");
            None
        }
    }
}

#[test]
fn a_batch_on_cuda_decrypts_as_on_the_cpu_and_missing_devices_are_errors() {
    let Some(library_path) = library_path() else { return };
    let emulated = ("LD_LIBRARY_PATH", library_path.as_str());
    let work = Work::with_keys("tfhe");
    let images: Vec<f32> = demo_images(&work)[..2 * 64].to_vec();
    work.write("two.npy", &common::npy("(2, 1, 8, 8)", &images));
    work.ok(&["encrypt", "-k", "key", "-i", "two.npy", "-o", "input.enc"]);
    let inference = |device: &str, output: &str, variables: &[(&str, &str)]| {
        let args = [
            "inference",
            "-m",
            "params.plan",
            "-k",
            "key.pub",
            "-i",
            "input.enc",
            "--json",
            "--device",
            device,
            "-o",
            output,
        ];
        let run = work.run_with(&args, variables);
        let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success(), "{device}: {stderr}");
        work.ok(&["decrypt", "-k", "key", "-i", output, "-o", "output.npy"]);
        let report: serde_json::Value = serde_json::from_slice(&run.stdout).expect("JSON");
        (npy_values(&work.read("output.npy")), report["device"].as_str().unwrap_or_default().to_string(), stderr)
    };
    let (want, _, _) = inference("cpu", "cpu.enc", &[]);
    let close = |got: &[f32]| {
        let best = |v: &[f32]| (0..10).fold(0, |b, i| if v[i] > v[b] { i } else { b });
        let largest = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
        let scale = want.iter().fold(0.0_f32, |m, w| m.max(w.abs()));
        assert!(largest < 0.2 * scale, "largest difference {largest} of {scale}");
        assert!(got.chunks(10).zip(want.chunks(10)).all(|(g, w)| best(g) == best(w)), "{got:?} {want:?}");
    };
    // Memory for the keys and a few inputs; `auto` takes the device that is said to be fast.
    let memory = ("HEMAN_EMULATION_MEMORY", "260000000");
    let file = work.path("devices.json").display().to_string();
    let profile = ("HEMAN_DEVICES", file.as_str());
    let listed: serde_json::Value = serde_json::from_str(&work.ok(&["devices", "--json"])).expect("JSON");
    let device = |name: &str, threads: f64| {
        serde_json::json!({
            "name": name,
            "measured": "2026-11-26",
            "tfhe": { "threads": threads, "rows": 1 },
            "ckks": null,
            "step_seconds": 1e-6,
        })
    };
    let host = listed["devices"][0]["name"].as_str().expect("a name");
    let devices = [device(host, 1e-3), device("CUDA emulation (sm_90)", 1e3)];
    work.write_profile("devices.json", &serde_json::json!(devices));
    let (got, device, stderr) = inference("auto", "cuda.enc", &[emulated, memory, profile]);
    assert!(device.starts_with("CUDA 0, CUDA emulation (sm_90)"), "{device}");
    assert!(stderr.starts_with("cuda:0 is used: ") && stderr.contains(" on the CPU (measured)"), "{stderr}");
    close(&got);
    // Keys that do not fit are the host's in the end.
    let short = ("HEMAN_EMULATION_MEMORY", "10000000");
    let (got, device, stderr) = inference("auto", "host.enc", &[emulated, short, profile]);
    assert!(device.starts_with("CPU, "), "{device}");
    assert!(stderr.contains("cuda:0 is not used: ") && stderr.contains("the CPU is used"), "{stderr}");
    close(&got);
    // So is a plan whose kernels do not load, and the reason is said.
    let none = ("HEMAN_EMULATION_NO_IMAGES", "1");
    let (got, device, stderr) = inference("auto", "unloaded.enc", &[emulated, none, profile]);
    assert!(device.starts_with("CPU, "), "{device}");
    assert!(stderr.contains("cuda:0 is not used: CUDA emulation cannot run the embedded kernels"), "{stderr}");
    assert!(stderr.contains("CUDA_ERROR_INVALID_IMAGE") && stderr.contains("the CPU is used"), "{stderr}");
    close(&got);
    let (got, device, _) = inference("cuda:1,0", "both.enc", &[emulated, ("HEMAN_EMULATION_DEVICES", "2")]);
    assert!(device.starts_with("CUDA 1, ") && device.contains(" and CUDA 0, "), "{device}");
    close(&got);

    let fails = |device: &str, variables: &[(&str, &str)]| {
        let args = [
            "inference",
            "-m",
            "params.plan",
            "-k",
            "key.pub",
            "-i",
            "input.enc",
            "--device",
            device,
            "-o",
            "none.enc",
        ];
        let run = work.run_with(&args, &[&[emulated], variables].concat());
        assert_eq!(run.status.code(), Some(5));
        assert!(!work.files().contains(&"none.enc".to_string()));
        String::from_utf8_lossy(&run.stderr).into_owned()
    };
    assert!(fails("cuda:1", &[]).contains("there is no CUDA device 1; 1 found"));
    assert!(fails("cuda", &[("HEMAN_EMULATION_DEVICES", "0")]).contains("CUDA_ERROR_NO_DEVICE"));
    assert!(fails("cuda", &[none]).contains("cannot run the embedded kernels"));
    // Nothing is planned for a device whose kernels do not load.
    let inspected = |target: &str, variables: &[(&str, &str)]| {
        let args = ["inspect", "params.plan", "--json", "--target", target];
        work.run_with(&args, &[&[emulated, profile], variables].concat())
    };
    let planned: serde_json::Value = serde_json::from_slice(&inspected("auto", &[]).stdout).expect("JSON");
    assert_eq!(planned["target"]["name"], "CUDA emulation (sm_90)");
    let planned: serde_json::Value = serde_json::from_slice(&inspected("auto", &[none]).stdout).expect("JSON");
    assert_eq!(planned["target"]["name"], host);
    let refused = String::from_utf8_lossy(&inspected("cuda", &[none]).stderr).into_owned();
    assert!(refused.contains("cuda:0 is passed over: CUDA emulation cannot run"), "{refused}");
    let cramped = fails("cuda", &[("HEMAN_EMULATION_MEMORY", "10000000")]);
    assert!(cramped.contains("do not fit into the memory of CUDA 0"), "{cramped}");
    let listed = work.run_with(&["devices"], &[emulated]);
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        text.contains("cuda:0   CUDA emulation (sm_90") && text.contains("embedded machine code for sm_90"),
        "{text}"
    );
}

/// Word for word.
#[test]
fn ckks_on_cuda_gives_the_words_of_the_host() {
    let Some(library_path) = library_path() else { return };
    let emulated = ("LD_LIBRARY_PATH", library_path.as_str());
    let work = Work::with_keys("ckks");
    work.write("two.npy", &common::npy("(2, 1, 8, 8)", &demo_images(&work)[..2 * 64]));
    work.ok(&["encrypt", "-k", "key", "-i", "two.npy", "-o", "input.enc"]);
    let inference = |device: &str, output: &str, variables: &[(&str, &str)]| {
        let args = ["inference", "-m", "params.plan", "-k", "key.pub", "-i", "input.enc", "-o", output, "--json"];
        let run = work.run_with(&[&args[..], &["--device", device]].concat(), variables);
        let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success(), "{device}: {stderr}");
        let report: serde_json::Value = serde_json::from_slice(&run.stdout).expect("JSON");
        report["device"].as_str().unwrap_or_default().to_string()
    };
    inference("cpu", "cpu.enc", &[]);
    for (device, output) in [("cuda", "cuda.enc"), ("cuda:1,0", "both.enc")] {
        let name = inference(device, output, &[emulated, ("HEMAN_EMULATION_DEVICES", "2")]);
        assert!(name.starts_with("CUDA ") && name.contains("CUDA emulation (sm_90)"), "{name}");
        assert_eq!(work.read(output), work.read("cpu.enc"), "{device}");
    }
}

/// A job of four files, shared by the host and two queues of a device, and with a device whose memory is short.
#[test]
fn a_job_is_shared_by_the_host_and_a_device_word_for_word() {
    let Some(library_path) = library_path() else { return };
    let emulated = ("LD_LIBRARY_PATH", library_path.as_str());
    let work = Work::with_keys("ckks");
    std::fs::create_dir(work.path("inputs")).expect("a folder");
    for (at, image) in demo_images(&work).chunks(64).take(4).enumerate() {
        work.write("one.npy", &common::npy("(1, 1, 8, 8)", image));
        work.ok(&["encrypt", "-k", "key", "-i", "one.npy", "-o", &format!("inputs/{at}.enc")]);
    }
    let batch = |output: &str, devices: &[&str], variables: &[(&str, &str)]| {
        let args = ["batch", "-m", "params.plan", "-k", "key.pub", "-i", "inputs", "-o", output, "--json"];
        let devices: Vec<&str> = devices.iter().flat_map(|device| ["--device", device]).collect();
        let run = work.run_with(&[&args[..], &devices].concat(), variables);
        let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success(), "{devices:?}: {stderr}");
        let report: serde_json::Value = serde_json::from_slice(&run.stdout).expect("JSON");
        assert_eq!(report["done"], 4, "{report}");
        let queues = report["queues"].as_array().expect("queues").clone();
        queues.iter().map(|queue| queue["queue"].as_str().expect("a name").to_string()).collect::<Vec<_>>()
    };
    batch("host", &["cpu"], &[]);
    let queues = batch("device", &["cuda"], &[emulated]);
    assert!(queues.len() == 2 && queues.iter().all(|queue| queue.starts_with("CUDA 0, ")), "{queues:?}");
    let queues = batch("both", &["cuda", "cpu"], &[emulated]);
    assert!(queues.iter().any(|queue| queue.starts_with("CPU, ")), "{queues:?}");
    let queues = batch("short", &["cuda", "cpu"], &[emulated, ("HEMAN_EMULATION_MEMORY", "10000000")]);
    assert!(queues.iter().all(|queue| queue.starts_with("CPU, ")), "{queues:?}");
    for output in ["device", "both", "short"] {
        for at in 0..4 {
            assert_eq!(work.read(&format!("{output}/{at}.out")), work.read(&format!("host/{at}.out")), "{output}");
        }
    }
}
