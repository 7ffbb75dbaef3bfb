//! Threads and memory: what is asked for beyond what there is.

mod common;

use common::{SCHEMES, Work, npy};
use heman_core::either::params::Params;

const INFERENCE: [&str; 9] = ["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.enc", "-o", "out.enc"];

fn with_input(scheme: &str) -> Work {
    let work = Work::with_keys(scheme);
    work.write("one.npy", &npy("(1, 8, 8)", &[0.5; 64]));
    work.ok(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "one.enc"]);
    work
}

#[test]
fn threads_beyond_the_cores_are_not_started() {
    let cores = std::thread::available_parallelism().expect("a number of cores");
    for scheme in SCHEMES {
        let work = with_input(scheme);
        let many = [&INFERENCE[..], &["--threads", "100000", "--json"]].concat();
        for (args, variables, who) in [
            (&many[..], &[][..], "--threads"),
            (&[&INFERENCE[..], &["--json"]].concat(), &[("RAYON_NUM_THREADS", "100000")], "RAYON_NUM_THREADS"),
        ] {
            let output = work.run_with(args, variables);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{stderr}");
            let warning = format!("warning: {who} asks for 100000 threads; {cores} are started");
            assert_eq!(stderr.matches(&warning).count(), 1, "{stderr}");
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
            let device = report["device"].as_str().expect("a device");
            assert!(device.starts_with(&format!("CPU, {cores} threads")), "{device}");
        }
    }
}

#[test]
fn what_is_no_number_of_threads_is_refused() {
    let work = with_input("ckks");
    for threads in ["0", "-1", "many", "1.5", ""] {
        let output = work.run(&[&INFERENCE[..], &["--threads", threads]].concat());
        assert_eq!(output.status.code(), Some(2), "--threads {threads:?}");
        assert!(!work.path("out.enc").exists());
    }
    for threads in ["0", "-1", "many", "99999999999999999999"] {
        let output = work.run_with(&INFERENCE, &[("RAYON_NUM_THREADS", threads)]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{threads}: {stderr}");
        assert!(stderr.starts_with("error: RAYON_NUM_THREADS is "), "{stderr}");
    }
    assert!(work.run_with(&INFERENCE, &[("RAYON_NUM_THREADS", "")]).status.success(), "empty is not set");
}

#[test]
fn an_instruction_set_that_nobody_knows_is_refused() {
    let work = with_input("ckks");
    for (forced, status) in
        [("avx1024", Some(2)), ("AVX2", Some(2)), ("scalar", Some(0)), ("avx2", Some(0)), ("", Some(0))]
    {
        let run = work.run_with(&INFERENCE, &[("HEMAN_CPU_SIMD", forced)]);
        let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), status, "{forced:?}: {stderr}");
        let is_named = stderr.contains("HEMAN_CPU_SIMD is ") && stderr.contains("one of scalar, avx2, avx512");
        assert_eq!(is_named, status == Some(2), "{stderr}");
    }
}

/// Keys of several gibibytes are made for nobody who did not ask for them.
#[test]
fn parameters_cannot_ask_a_client_for_gigabytes() {
    let work = Work::with_keys("tfhe");
    let mut object: serde_json::Value = serde_json::from_slice(&work.read("params.json")).expect("JSON");
    let set = [("polynomial_size", 16384), ("glwe_dimension", 4), ("lwe_dimension", 1800), ("grouping_factor", 1)];
    for (name, value) in set.into_iter().chain([("pbs_level", 6), ("pbs_base_log", 5)]) {
        object["tfhe"][name] = value.into();
    }
    work.write("large.json", object.to_string().as_bytes());
    let bytes = match Params::from_json(&work.read("large.json")).expect("sound parameters") {
        Params::Tfhe(params) => heman_core::tfhe::files::evaluation_key::SeededEvaluationKey::file_bytes(&params.tfhe),
        Params::Ckks(_) => 0,
    };
    assert!(bytes > 1 << 30, "the key would take {bytes} bytes");
    let message = work.fails(&["keygen", "-i", "large.json", "-o", "x"]);
    assert!(message.contains("made unasked") && message.contains("--allow-large"), "{message}");
}

#[test]
fn parameters_that_cannot_be_true_are_refused() {
    let work = Work::with_keys("tfhe");
    let sound: serde_json::Value = serde_json::from_slice(&work.read("params.json")).expect("JSON");
    type Spoil = fn(&mut serde_json::Value);
    let spoilt: [(Spoil, &str); 5] = [
        (|p| p["prediction"]["security_bits"] = 9999.0.into(), "more bits of security are stated"),
        (|p| p["input"]["turns_per_unit"] = 1e308.into(), "its scale is none"),
        (|p| p["input"]["turns_per_unit"] = 1e99.into(), "does not fit the torus"),
        (|p| p["output"]["turns_per_unit"][0] = 5e-324.into(), "a scale is none"),
        (|p| p["input"]["low"] = (-1e300).into(), "does not fit the torus"),
    ];
    for (spoil, why) in spoilt {
        let mut object = sound.clone();
        spoil(&mut object);
        work.write("bad.json", object.to_string().as_bytes());
        for args in [&["keygen", "-i", "bad.json", "-o", "x"][..], &["inspect", "bad.json"]] {
            let message = work.fails(args);
            assert!(message.contains(why), "{message}");
        }
    }
}

/// Whoever writes the parameters cannot write the client's terminal with them.
#[test]
fn names_in_parameters_are_of_one_line_and_steer_no_terminal() {
    let work = Work::with_keys("tfhe");
    let sound: serde_json::Value = serde_json::from_slice(&work.read("params.json")).expect("JSON");
    let named = |name: &str| {
        let mut object = sound.clone();
        object["input"]["tensor"]["name"] = name.into();
        object["input"]["parts"][0]["name"] = name.into();
        work.write("names.json", object.to_string().as_bytes());
    };
    for name in ["\u{1b}]0;title\u{7}\u{1b}[2J", "image\nwrote key\nerror: none", "a\u{2028}b"] {
        named(name);
        for args in [&["inspect", "names.json"][..], &["keygen", "-i", "names.json", "-o", "x"]] {
            let message = work.fails(args);
            assert!(message.contains("a name has control characters"), "{message}");
            assert!(!message.trim_end().chars().any(char::is_control), "{message:?} is more than a line");
        }
    }
    named("a\u{202e}b\u{ad}c");
    for args in [&["inspect", "names.json"][..], &["inspect", "names.json", "--json"]] {
        let text = work.ok(args);
        assert!(text.contains("a\\u202eb\\u00adc"), "{text:?}");
        assert!(!text.contains(['\u{202e}', '\u{ad}']), "{text:?}");
    }
    let mut object = sound;
    object["input"]["a\nwrote key"] = 0.into();
    work.write("names.json", object.to_string().as_bytes());
    let message = work.fails(&["inspect", "names.json"]);
    assert!(message.contains("unknown field") && message.lines().count() == 1, "{message:?}");
}

/// The estimate is of the size of what the process holds, and no less but for the program and its libraries.
#[test]
fn the_need_of_an_inference_is_known_beforehand() {
    let program = 64 << 20;
    for scheme in SCHEMES {
        let work = with_input(scheme);
        // Without the drivers that are loaded to choose a device.
        let run = work.ok(&[&INFERENCE[..], &["--json", "--device", "cpu"]].concat());
        let report: serde_json::Value = serde_json::from_str(&run).expect("JSON");
        let of = |name: &str| report[name].as_u64().expect("a number of bytes");
        let (needed, held) = (of("needed_bytes"), of("peak_rss_bytes"));
        assert!(needed + program >= held && needed <= 2 * held, "{scheme}: {needed} for {held}");
    }
}
