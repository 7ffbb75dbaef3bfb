//! The five steps through the binary.

mod common;

use common::{SCHEMES, Work, demo_images, npy, npy_values};

use serde_json::Value;

/// What files may be shorter than was promised: numbers of varying length, and names.
const MARGIN_BYTES: f64 = 1024.0;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("one JSON object")
}

fn number(object: &Value, name: &str) -> f64 {
    object[name].as_f64().unwrap_or_else(|| panic!("{name} is no number in {object}"))
}

fn length(work: &Work, name: &str) -> f64 {
    work.read(name).len() as f64
}

/// Promises of sizes bound the files, closely.
fn assert_promised(what: &str, promised: f64, real: f64) {
    assert!(real <= promised && promised - real <= MARGIN_BYTES, "{what}: {real} bytes, {promised} were promised");
}

/// What is the same for every model, scheme or file that the demo's model is behind.
fn assert_demo_tensors(object: &Value) {
    assert_eq!(object["input"], serde_json::json!({ "name": "image", "shape": [1, 1, 8, 8] }));
    assert_eq!(object["output"], serde_json::json!({ "name": "logits", "shape": [1, 10] }));
    assert_eq!(object["client_ops"], serde_json::json!([]));
}

/// Layers as (name, shape, activations).
fn layers(object: &Value) -> Vec<(String, Value, u64)> {
    let layer = |layer: &Value| {
        let name = layer["name"].as_str().expect("a name").to_owned();
        (name, layer["shape"].clone(), layer["activations"].as_u64().expect("a count"))
    };
    object["layers"].as_array().expect("layers").iter().map(layer).collect()
}

fn demo_layers() -> Vec<(String, Value, u64)> {
    let layer = |name: &str, shape: &[u64], activations| (name.to_owned(), Value::from(shape), activations);
    vec![layer("conv_relu.low", &[1, 8, 6, 6], 288), layer("dense_relu.low", &[32], 32), layer("logits", &[1, 10], 0)]
}

/// Images of the batch that goes through all five steps.
const SOME: usize = 24;

#[test]
fn five_steps_classify_a_batch_as_plaintext_does() {
    for scheme in SCHEMES {
        let work = Work::with_keys(scheme);
        let mode = {
            use std::os::unix::fs::PermissionsExt;
            std::fs::metadata(work.path("key")).expect("the key").permissions().mode()
        };
        assert_eq!(mode & 0o777, 0o600, "the secret key is for its owner only");
        let images = demo_images(&work);
        work.write("some.npy", &npy(&format!("({SOME}, 1, 8, 8)"), &images[..64 * SOME]));
        let report = json(&work.ok(&["encrypt", "-k", "key", "-i", "some.npy", "-o", "input.enc", "--json"]));
        assert_eq!((&report["inputs"], &report["output"]), (&SOME.into(), &"input.enc".into()));
        assert_eq!(number(&report, "bytes"), length(&work, "input.enc"));
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
        assert_eq!((&report["inputs"], &report["output"]), (&SOME.into(), &"output.enc".into()));
        assert_eq!(number(&report, "bytes"), length(&work, "output.enc"));
        assert!(report["device"].as_str().is_some_and(|name| name.starts_with("CPU, ")), "{report}");
        assert!((SOME as f64 * number(&report, "seconds_per_input") / number(&report, "seconds") - 1.0).abs() < 1e-9);
        let report = json(&work.ok(&["decrypt", "-k", "key", "-i", "output.enc", "-o", "output.npy", "--json"]));
        assert_eq!((&report["inputs"], &report["shape"]), (&SOME.into(), &serde_json::json!([SOME, 10])));
        let logits = npy_values(&work.read("output.npy"));
        assert_eq!(logits.len(), 10 * SOME);
        let network = heman_import::import_file(&work.path("digits.onnx")).expect("the demo model");
        let mut same = 0;
        for (got, image) in logits.chunks(10).zip(images.chunks(64)) {
            let (_, want) = network.evaluate(&image.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
            let best = |v: &[f64]| (0..10).fold(0, |b, i| if v[i] > v[b] { i } else { b });
            same += usize::from(best(&want) == best(&got.iter().map(|&x| f64::from(x)).collect::<Vec<_>>()));
        }
        assert!(same + 1 >= SOME, "{same} of {SOME} as in plaintext");
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
        let report = json(&work.ok(&["decrypt", "-k", "key", "-i", "out.enc", "-o", "out.npy", "--json"]));
        assert_eq!((&report["inputs"], &report["shape"]), (&1.into(), &serde_json::json!([1, 10])));
        assert_eq!(npy_values(&work.read("out.npy")).len(), 10);
        let promised = json(&work.ok(&["inspect", "params.json", "--json"]));
        for (name, file) in [
            ("evaluation_key_bytes", "key.pub"),
            ("encrypted_input_bytes", "one.enc"),
            ("encrypted_output_bytes", "out.enc"),
        ] {
            assert_promised(&format!("{scheme}, {file}"), number(&promised, name), length(&work, file));
        }
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
        let text = work.ok(&["inspect", file]);
        assert!(text.starts_with(kind), "{file}: {text}");
    }
    let model = json(&work.ok(&["inspect", "digits.onnx", "--json"]));
    assert_demo_tensors(&model);
    assert_eq!((&model["activations"], layers(&model)), (&320.into(), demo_layers()));
    let terms: Vec<u64> =
        model["layers"].as_array().expect("layers").iter().filter_map(|l| l["terms"].as_u64()).collect();
    assert_eq!(terms, [288 * 9, 32 * 288, 10 * 32], "a convolution of 3 x 3, and two dense layers");

    let plan = json(&work.ok(&["inspect", "params.plan", "--json"]));
    assert_demo_tensors(&plan);
    assert_eq!((&plan["scheme"], &plan["bootstraps_per_input"]), (&"tfhe".into(), &320.into()));
    assert_eq!(layers(&plan), demo_layers());
    let within = |name: &str, low: f64, high: f64| {
        let value = number(&plan, name);
        assert!((low..=high).contains(&value), "{name} is {value}, not in {low} to {high}");
        value
    };
    let size = within("polynomial_size", 256.0, 4096.0);
    assert_eq!(size.log2().fract(), 0.0);
    let group = within("grouping_factor", 1.0, 3.0);
    assert_eq!(within("lwe_dimension", 400.0, 1200.0) % group, 0.0);
    within("glwe_dimension", 1.0, 4096.0 / size * 2.0);
    assert!(within("pbs_base_log", 1.0, 32.0) * within("pbs_level", 1.0, 8.0) <= 64.0);
    assert!(within("ks_base_log", 1.0, 16.0) * within("ks_level", 1.0, 16.0) <= 32.0);
    within("lwe_noise_log2_std", -32.0, -8.0);
    within("glwe_noise_log2_std", -62.0, -20.0);
    within("security_bits", 128.0, 160.0);
    within("p_fail_log2", -1000.0, -8.0);
    within("predicted_disagreement", 0.0, 0.005);
    // The calibration data reach from 0 to 1; their range is widened by a quarter on both sides.
    assert_eq!((number(&plan, "input_low"), number(&plan, "input_high")), (-0.25, 1.25));
    assert_eq!((&plan["ciphertext_modulus_log2"], &plan["bootstrapping_key_modulus_log2"]), (&32.into(), &64.into()));
    let of_key = json(&work.ok(&["inspect", "key.pub", "--json"]));
    let of_input = json(&work.ok(&["inspect", "input.enc", "--json"]));
    let of_params = json(&work.ok(&["inspect", "params.json", "--json"]));
    let of_secret = json(&work.ok(&["inspect", "key", "--json"]));
    for (name, value) in of_key.as_object().expect("an object") {
        if !["kind", "bytes", "binding", "key"].contains(&name.as_str()) {
            for (file, other) in [("params.plan", &plan), ("params.json", &of_params), ("key", &of_secret)] {
                assert_eq!(&other[name], value, "{name} in {file} and in the evaluation key");
            }
        }
    }
    assert_eq!(of_key["binding"], of_input["binding"], "key and input belong to the same parameters");
    assert_eq!(of_key["key"], of_input["key"], "the input was encrypted with the key's secret");
    assert_eq!(number(&of_key, "bytes"), length(&work, "key.pub"));
    assert_eq!((&of_input["inputs"], number(&of_input, "bytes")), (&48.into(), length(&work, "input.enc")));
    assert!(work.ok(&["inspect", "params.plan", "--stage", "schedule"]).contains("stage 0: bootstrap, 288 rows"));
    let timeline = ["inspect", "params.plan", "--stage", "timeline", "--inputs", "10", "--target", "h100"];
    assert!(work.ok(&timeline).contains("10 inputs in "));
    let timeline = json(&work.ok(&[&timeline[..], &["--json"]].concat()))["timeline"].clone();
    let spans = timeline["spans"].as_array().expect("spans");
    let rows = spans.iter().filter(|span| span["kind"] == "bootstrap").map(|span| number(span, "rows"));
    assert_eq!(rows.sum::<f64>(), 10.0 * 320.0, "every bootstrap of every input");
    let ends = spans.iter().map(|span| number(span, "end"));
    assert!((ends.fold(0.0, f64::max) / number(&timeline, "seconds") - 1.0).abs() < 1e-9);
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
    assert_demo_tensors(&plan);
    assert_eq!(layers(&plan), demo_layers());
    assert_eq!((&plan["scheme"], &plan["packing"]), (&"ckks".into(), &"latency".into()));
    assert_eq!((&plan["inputs_per_run"], number(&plan, "security_bits")), (&1.into(), 128.0));
    let primes = |name: &str| -> Vec<u64> {
        plan[name].as_array().expect("primes").iter().map(|p| p.as_u64().expect("a prime")).collect()
    };
    let (degree, all) = (number(&plan, "polynomial_size"), [primes("primes"), primes("special_primes")].concat());
    assert_eq!(degree, number(&plan, "log2_degree").exp2());
    assert!(all.iter().all(|p| p % (2 * degree as u64) == 1 && *p < 1 << 30), "{all:?}");
    let bits: f64 = all.iter().map(|&p| (p as f64).log2()).sum();
    assert!((number(&plan, "modulus_bits") - bits).abs() < 1e-9);
    // The table of ePrint 2024/463 for 128 bits.
    let most = [(12.0, 106.0), (13.0, 214.0), (14.0, 430.0), (15.0, 868.0)]
        .into_iter()
        .find(|(log2, _)| *log2 == degree.log2());
    assert!(most.is_some_and(|(_, most)| bits <= most), "{bits} bits at N = {degree}");
    assert!([2, 3, 4, 6].map(Value::from).contains(&plan["polynomial_degree"]), "{plan}");
    // The calibration data reach from 0 to 1; their range is widened by a twentieth on both sides.
    assert!((number(&plan, "input_low") + 0.05).abs() < 1e-9 && (number(&plan, "input_high") - 1.05).abs() < 1e-9);
    let (of_key, of_input) =
        (json(&work.ok(&["inspect", "key.pub", "--json"])), json(&work.ok(&["inspect", "input.enc", "--json"])));
    assert_eq!(of_key["binding"], of_input["binding"], "key and input belong to the same parameters");
    assert_eq!(of_key["key"], of_input["key"], "the input was encrypted with the key's secret");
    assert_eq!(
        of_key["rotations"].as_array().map(Vec::len),
        plan["rotation_keys"].as_u64().map(|count| count as usize)
    );
    assert_eq!(number(&of_key, "bytes"), length(&work, "key.pub"));
    assert_eq!((&of_input["inputs"], number(&of_input, "bytes")), (&48.into(), length(&work, "input.enc")));
    assert!(work.ok(&["inspect", "params.plan", "--stage", "schedule"]).contains("diagonals"));
}

#[test]
fn the_schemes_are_compared_and_the_goal_counts() {
    let work = Work::new();
    let keyparams = ["keyparams", "-m", "digits.onnx", "-c", "calibration.npz", "-o", "p.json", "--json"];
    let one = json(&work.ok(&keyparams));
    assert_demo_tensors(&one);
    assert_eq!(layers(&one), demo_layers());
    assert_eq!((&one["params"], &one["plan"]), (&"p.json".into(), &"p.plan".into()));
    assert_eq!(number(&one, "plan_bytes"), length(&work, "p.plan"));
    assert_eq!(one["compared"]["batch"], 1);
    let seconds = SCHEMES.map(|scheme| number(&one["compared"][scheme], "predicted_thread_seconds"));
    let [tfhe, ckks] = seconds;
    assert!(ckks > 0.0 && ckks < tfhe && one["scheme"] == "ckks", "the faster one is taken: {seconds:?}");
    let taken = &one["compared"]["ckks"];
    assert_eq!(taken["predicted_thread_seconds"], one["predicted_thread_seconds_per_run"]);
    for name in [
        "predicted_disagreement",
        "predicted_relative_error",
        "evaluation_key_bytes",
        "encrypted_input_bytes",
        "encrypted_output_bytes",
    ] {
        assert_eq!(taken[name], one[name], "{name}");
    }
    for scheme in SCHEMES {
        assert!(number(&one["compared"][scheme], "expected_loss") <= 0.005, "{scheme} keeps to the default loss");
    }
    let other = json(&work.ok(&[&keyparams[..], &["--scheme", "tfhe"]].concat()));
    assert!(other["compared"].is_null(), "nothing is compared where a scheme is asked for");
    for name in ["evaluation_key_bytes", "encrypted_input_bytes", "encrypted_output_bytes"] {
        assert_eq!(one["compared"]["tfhe"][name], other[name], "{name}");
    }
    let text = work.ok(&keyparams[..7]);
    let [tfhe, ckks] = SCHEMES.map(|scheme| number(&one["compared"][scheme], "waited_seconds"));
    let key = number(&one["compared"]["ckks"], "evaluation_key_bytes");
    assert!((ckks - seconds[1] - key / 25e6).abs() < 1e-9, "keys are waited for too");
    assert!(text.contains(&format!("CKKS is predicted to answer {:.1} times sooner", tfhe / ckks)), "{text}");
    let many = json(&work.ok(&[&keyparams[..], &["--goal", "throughput"]].concat()));
    assert_eq!((&many["scheme"], &many["packing"]), (&"ckks".into(), &"throughput".into()));
    let slots = slots(&many);
    assert_eq!((number(&many, "inputs_per_run"), number(&many["compared"], "batch")), (slots, slots));
    assert_eq!(many["rotation_keys"], 0, "one slot an input needs no rotation");
    let per_run = number(&many, "predicted_thread_seconds_per_run");
    assert!((number(&many, "predicted_thread_seconds_per_input") * slots / per_run - 1.0).abs() < 1e-9);
    let few = json(&work.ok(&[&keyparams[..], &["--scheme", "ckks", "--batch", "8"]].concat()));
    assert_eq!((&few["packing"], &few["inputs_per_run"]), (&"latency".into(), &8.into()));
}

#[test]
fn evaluate_reports_accuracy_and_time() {
    let work = Work::new();
    let base = ["evaluate", "-m", "digits.onnx", "-c", "calibration.npz", "-d", "samples.npz", "--json"];
    let simulated = json(&work.ok(&[&base[..], &["--simulate"]].concat()));
    assert_eq!((&simulated["inputs"], &simulated["simulated"]), (&48.into(), &true.into()));
    assert_eq!(simulated["device"], "noise model");
    assert_eq!(number(&simulated, "plain_accuracy"), 1.0, "the demo's samples are those that the model gets right");
    assert!(number(&simulated, "accuracy") >= 0.95 && number(&simulated, "agreement") >= 0.95, "{simulated}");
    let encrypted = json(&work.ok(&[&base[..], &["-n", "3"]].concat()));
    assert_demo_tensors(&encrypted);
    assert_eq!((&encrypted["inputs"], &encrypted["simulated"]), (&3.into(), &false.into()));
    assert_eq!(encrypted["scheme"], "ckks");
    assert!(encrypted["device"].as_str().is_some_and(|name| name.starts_with("CPU, ")), "{encrypted}");
    for name in ["accuracy", "plain_accuracy", "agreement"] {
        assert_eq!(number(&encrypted, name), 1.0, "{name}");
    }
    let of = |name: &str| number(&encrypted, name);
    assert!(0.0 < of("mean_abs_error") && of("mean_abs_error") < of("max_abs_error"), "{encrypted}");
    // Logits reach some tens; the polynomials change them by a few, encryption by less than a thousandth.
    assert!(of("max_abs_error") < 10.0 && of("min_cosine") > 0.9 && of("min_cosine") <= of("mean_cosine"));
    assert!(of("max_abs_error_against_polynomials") < 0.01, "{encrypted}");
    let noise = of("measured_noise") / of("predicted_noise");
    assert!((0.1..2.0).contains(&noise), "noise is {noise} of the prediction");
    assert_promised("evaluation key", of("evaluation_key_bytes"), of("measured_evaluation_key_bytes"));
    assert!(of("evaluation_peak_bytes") <= of("predicted_memory_bytes"), "{encrypted}");
    assert!((of("seconds_per_input") * 3.0 / of("seconds") - 1.0).abs() < 1e-9);
    assert!((of("inputs_per_second") * of("seconds") / 3.0 - 1.0).abs() < 1e-9);
    assert!((1e7..8e9).contains(&of("peak_rss_bytes")), "{encrypted}");
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
    assert!(number(&unlabelled, "agreement") >= 0.95, "{unlabelled}");
}

#[test]
fn the_demo_and_the_device_list_run() {
    let work = Work::new();
    for scheme in SCHEMES {
        let demo = json(&work.ok(&["demo", "-n", "2", "--json", "--scheme", scheme]));
        assert_eq!((&demo["inputs"], &demo["right"], number(&demo, "agreement")), (&2.into(), &2.into(), 1.0));
        let digits = demo["digits"].as_array().expect("digits");
        let read = |name: &str| -> Vec<u64> { digits.iter().filter_map(|digit| digit[name].as_u64()).collect() };
        assert_eq!([read("label"), read("plaintext"), read("encrypted")], [[4, 6], [4, 6], [4, 6]]);
        let seconds: f64 = digits.iter().map(|digit| number(digit, "seconds")).sum();
        assert!((seconds / 2.0 / number(&demo, "seconds_per_input") - 1.0).abs() < 1e-9);
    }
    let devices = json(&work.ok(&["devices", "--json"]));
    let threads = std::thread::available_parallelism().expect("a number of cores");
    let (device, name) = (&devices["devices"][0], format!("CPU, {threads} threads, "));
    assert_eq!((&device["device"], &device["usable"]), (&"cpu".into(), &true.into()));
    assert!(device["name"].as_str().is_some_and(|found| found.starts_with(&name)), "{devices}");
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

/// Numbers that a ciphertext of CKKS holds.
fn slots(report: &Value) -> f64 {
    let degree = number(report, "polynomial_size");
    if report["ring"] == "real" { degree } else { degree / 2.0 }
}

#[test]
fn ckks_evaluates_all_samples_in_one_batch() {
    let work = Work::new();
    let base = ["evaluate", "-m", "digits.onnx", "-c", "calibration.npz", "-d", "samples.npz", "--scheme", "ckks"];
    let base = [&base[..], &["--goal", "throughput"]].concat();
    let report = json(&work.ok(&[&base[..], &["--json"]].concat()));
    let of = |name: &str| number(&report, name);
    assert_eq!((report["scheme"].as_str(), report["inputs"].as_u64()), (Some("ckks"), Some(48)));
    assert!(of("agreement") >= 0.95 && of("accuracy") >= 0.95, "{report}");
    assert_eq!(of("plain_accuracy"), 1.0, "the demo's samples are those that the model gets right");
    // What noise does differs from value to value, as slopes do.
    assert!(of("max_abs_error_against_polynomials") < 10.0 * of("predicted_noise"), "{report}");
    // Noise may be a sixteenth of what polynomials miss anyway, on inputs that nothing was fitted to.
    assert!(of("predicted_noise") < 0.1 * number(&report["all_numbers"], "rms_error"), "{report}");
    assert!(of("modulus_bits") <= 430.0 && of("log2_degree") <= 14.0, "{report}");
    assert_eq!((of("inputs_per_run"), of("rotation_keys")), (slots(&report), 0.0));
    assert_eq!(of("seconds_per_run"), of("seconds"), "all samples fit one run");
    assert!((of("inputs_per_second_full_runs") * of("seconds") / of("inputs_per_run") - 1.0).abs() < 1e-9);
    assert_promised("evaluation key", of("evaluation_key_bytes"), of("measured_evaluation_key_bytes"));
    let simulated = json(&work.ok(&[&base[..], &["--json", "--simulate"]].concat()));
    assert_eq!(simulated["agreement"], report["agreement"], "the polynomials decide, not the noise");
    assert!(work.fails(&[&base[..], &["--exact"]].concat()).contains("--exact is for TFHE"));
}
