//! The five steps through the binary.

mod common;

use common::{SCHEMES, Work, demo_images, npy, npy_values};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("one JSON object")
}

#[test]
fn five_steps_classify_a_batch_as_plaintext_does() {
    for scheme in SCHEMES {
        let work = Work::with_keys(scheme);
        let mode = {
            use std::os::unix::fs::PermissionsExt;
            std::fs::metadata(work.path("key")).expect("the key").permissions().mode()
        };
        assert_eq!(mode & 0o777, 0o600, "the secret key is for its owner only");
        work.ok(&["encrypt", "-k", "key", "-i", "samples.npz", "-o", "input.enc"]);
        let report = json(&work.ok(&[
            "inference",
            "-m",
            "params.plan",
            "-k",
            "key.pub",
            "-i",
            "input.enc",
            "-o",
            "output.enc",
            "--json",
            "--device",
            "cpu",
        ]));
        assert_eq!(report["inputs"], 48);
        work.ok(&["decrypt", "-k", "key", "-i", "output.enc", "-o", "output.npy"]);
        let logits = npy_values(&work.read("output.npy"));
        assert_eq!(logits.len(), 480);
        let network = heman_core::import::import_file(&work.path("digits.onnx")).expect("the demo model");
        let images = demo_images(&work);
        let mut same = 0;
        for (got, image) in logits.chunks(10).zip(images.chunks(64)) {
            let (_, want) = network.evaluate(&image.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
            let best = |v: &[f64]| (0..10).fold(0, |b, i| if v[i] > v[b] { i } else { b });
            same += usize::from(best(&want) == best(&got.iter().map(|&x| f64::from(x)).collect::<Vec<_>>()));
        }
        assert!(same >= 46, "{same} of 48 as in plaintext");
        assert!(work.files().iter().all(|name| !name.starts_with(".heman")), "no temporary file is left");
    }
}

#[test]
fn one_input_without_batch_axis_gives_one_result() {
    for scheme in SCHEMES {
        let work = Work::with_keys(scheme);
        work.write("one.npy", &npy("(1, 8, 8)", &[0.5; 64]));
        work.ok(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "one.enc"]);
        work.ok(&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.enc", "-o", "out.enc"]);
        work.ok(&["decrypt", "-k", "key", "-i", "out.enc", "-o", "out.npy"]);
        assert_eq!(npy_values(&work.read("out.npy")).len(), 10);
    }
}

#[test]
fn inspect_says_what_every_file_is() {
    let work = Work::with_keys("tfhe");
    work.ok(&["encrypt", "-k", "key", "-i", "samples.npz", "-o", "input.enc"]);
    for (file, kind) in [
        ("digits.onnx", "model"),
        ("params.json", "parameters"),
        ("params.plan", "plan"),
        ("key", "secret key"),
        ("key.pub", "evaluation key"),
        ("input.enc", "an encrypted input"),
    ] {
        let object = json(&work.ok(&["inspect", file, "--json"]));
        assert_eq!(object["kind"], kind, "{file}");
        assert!(!work.ok(&["inspect", file]).is_empty());
    }
    let (key, input) =
        (json(&work.ok(&["inspect", "key.pub", "--json"])), json(&work.ok(&["inspect", "input.enc", "--json"])));
    assert_eq!((&input["inputs"], &input["key"], &input["binding"]), (&48.into(), &key["key"], &key["binding"]));
    let plan = json(&work.ok(&["inspect", "params.plan", "--json"]));
    for name in [
        "lwe_dimension",
        "grouping_factor",
        "glwe_dimension",
        "polynomial_size",
        "pbs_base_log",
        "pbs_level",
        "ks_base_log",
        "ks_level",
        "lwe_noise_log2_std",
        "glwe_noise_log2_std",
        "security_bits",
        "p_fail_log2",
    ] {
        assert!(plan[name].is_number(), "{name}");
    }
    assert!(plan["security_bits"].as_f64().expect("a number") >= 128.0);
    assert!(work.ok(&["inspect", "params.plan", "--stage", "schedule"]).contains("stage 0: bootstrap, 288 rows"));
}

#[test]
fn inspect_knows_both_schemes() {
    let work = Work::with_keys("ckks");
    work.ok(&["encrypt", "-k", "key", "-i", "samples.npz", "-o", "input.enc"]);
    for (file, kind) in [
        ("params.json", "parameters"),
        ("params.plan", "plan"),
        ("key", "secret key"),
        ("key.pub", "evaluation key"),
        ("input.enc", "an encrypted input"),
    ] {
        let object = json(&work.ok(&["inspect", file, "--json"]));
        assert_eq!(object["kind"], kind, "{file}");
    }
    let plan = json(&work.ok(&["inspect", "params.plan", "--json"]));
    assert_eq!((&plan["scheme"], &plan["packing"]), (&"ckks".into(), &"latency".into()));
    assert!(plan["security_bits"].as_f64() >= Some(128.0));
    assert!(work.ok(&["inspect", "params.plan", "--stage", "schedule"]).contains("diagonals"));
}

#[test]
fn the_schemes_are_compared_and_the_goal_counts() {
    let work = Work::new();
    let keyparams = ["keyparams", "-m", "digits.onnx", "-c", "calibration.npz", "-o", "p.json", "--json"];
    let one = json(&work.ok(&keyparams));
    for name in ["predicted_thread_seconds", "evaluation_key_bytes", "encrypted_input_bytes"] {
        for scheme in SCHEMES {
            assert!(one["compared"][scheme][name].as_f64() > Some(0.0), "{scheme}: {name}");
        }
    }
    let text = work.ok(&keyparams[..7]);
    assert!(text.contains("times faster"), "{text}");
    let many = json(&work.ok(&[&keyparams[..], &["--goal", "throughput"]].concat()));
    assert_eq!((&many["scheme"], &many["packing"]), (&"ckks".into(), &"throughput".into()));
    let few = json(&work.ok(&[&keyparams[..], &["--scheme", "ckks", "--batch", "8"]].concat()));
    assert_eq!((&few["packing"], &few["inputs_per_run"]), (&"latency".into(), &8.into()));
}

#[test]
fn evaluate_reports_accuracy_and_time() {
    let work = Work::new();
    let base = ["evaluate", "-m", "digits.onnx", "-c", "calibration.npz", "-d", "samples.npz", "--json"];
    let simulated = json(&work.ok(&[&base[..], &["--simulate"]].concat()));
    assert_eq!(simulated["inputs"], 48);
    assert!(simulated["accuracy"].as_f64().expect("labels are there") >= 0.93);
    let encrypted = json(&work.ok(&[&base[..], &["-n", "3"]].concat()));
    for name in [
        "scheme",
        "device",
        "inputs",
        "accuracy",
        "plain_accuracy",
        "agreement",
        "max_abs_error",
        "mean_abs_error",
        "seconds_per_input",
        "inputs_per_second",
        "peak_rss_bytes",
    ] {
        assert!(!encrypted[name].is_null(), "{name}");
    }
    let unlabelled = json(&work.ok(&[
        "evaluate",
        "-m",
        "digits.onnx",
        "-c",
        "calibration.npz",
        "-d",
        "calibration.npz",
        "--json",
        "--simulate",
    ]));
    assert!(unlabelled["accuracy"].is_null() && unlabelled["plain_accuracy"].is_null());
}

#[test]
fn the_demo_and_the_device_list_run() {
    let work = Work::new();
    for scheme in SCHEMES {
        let demo = json(&work.ok(&["demo", "-n", "2", "--json", "--scheme", scheme]));
        assert_eq!((&demo["inputs"], demo["digits"].as_array().map(Vec::len)), (&2.into(), Some(2)));
    }
    assert!(json(&work.ok(&["devices", "--json"]))["devices"][0]["usable"] == true);
    assert!(work.ok(&["--help"]).contains("keyparams"));
}

#[test]
fn server_crates_cannot_name_the_client() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for server in ["heman-core", "heman-cuda", "heman-wgpu", "heman-kernels"] {
        let tree = std::process::Command::new(&cargo)
            .args(["tree", "--offline", "-e", "normal,build", "-p", server, "--prefix", "none"])
            .current_dir(&root)
            .output()
            .expect("cargo runs");
        let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
        assert!(tree.contains(server), "{server}: {tree}");
        assert!(!tree.contains("heman-client"), "{server} depends on the client");
    }
}

#[test]
fn ckks_evaluates_all_samples_in_one_batch() {
    let work = Work::new();
    let base = ["evaluate", "-m", "digits.onnx", "-c", "calibration.npz", "-d", "samples.npz", "--scheme", "ckks"];
    let base = [&base[..], &["--goal", "throughput"]].concat();
    let report = json(&work.ok(&[&base[..], &["--json"]].concat()));
    let number = |name: &str| report[name].as_f64().expect("a number");
    assert_eq!((report["scheme"].as_str(), report["inputs"].as_u64()), (Some("ckks"), Some(48)));
    assert!(number("agreement") >= 0.95 && number("accuracy") >= 0.95, "{report}");
    assert!(number("max_abs_error_against_polynomials") < 0.01, "{report}");
    assert!(number("modulus_bits") <= 430.0 && number("log2_degree") <= 14.0, "{report}");
    let simulated = json(&work.ok(&[&base[..], &["--json", "--simulate"]].concat()));
    assert_eq!(simulated["agreement"], report["agreement"], "the polynomials decide, not the noise");
    assert!(work.fails(&[&base[..], &["--device", "cuda"]].concat()).contains("CPU only so far"));
    assert!(work.fails(&[&base[..], &["--exact"]].concat()).contains("--exact is for TFHE"));
}
