//! Files that are wrong in every way: a clear error, status 1, nothing written, nothing lost.

mod common;

use common::{SCHEMES, Work, npy};

/// Every verb with its file arguments; the second element names the file that will be spoilt.
const STEPS: [(&[&str], &str); 8] = [
    (&["keyparams", "-m", "digits.onnx", "-c", "calibration.npz", "-o", "x.json"], "digits.onnx"),
    (&["keyparams", "-m", "digits.onnx", "-c", "calibration.npz", "-o", "x.json"], "calibration.npz"),
    (&["keygen", "-i", "params.json", "-o", "x"], "params.json"),
    (&["encrypt", "-k", "key", "-i", "one.npy", "-o", "x"], "key"),
    (&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.enc", "-o", "x"], "params.plan"),
    (&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.enc", "-o", "x"], "key.pub"),
    (&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.enc", "-o", "x"], "one.enc"),
    (&["decrypt", "-k", "key", "-i", "out.enc", "-o", "x"], "out.enc"),
];

fn complete(scheme: &str) -> Work {
    let work = Work::with_keys(scheme);
    work.write("one.npy", &npy("(1, 8, 8)", &[0.5; 64]));
    work.ok(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "one.enc"]);
    work.ok(&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.enc", "-o", "out.enc"]);
    work
}

#[test]
fn truncated_flipped_swapped_and_missing_files_are_refused() {
    for scheme in SCHEMES {
        let work = complete(scheme);
        let others = ["params.json", "key", "key.pub", "params.plan", "one.enc", "out.enc", "one.npy"];
        for (args, file) in STEPS {
            let sound = work.read(file);
            for cut in [0, 7, sound.len() / 2, sound.len() - 1] {
                work.write(file, &sound[..cut]);
                work.fails(args);
            }
            if ![".onnx", ".npz", ".json"].iter().any(|e| file.ends_with(e)) {
                for at in [3, 6, 7, 20, 45, 60, 90, sound.len() - 1] {
                    let mut bad = sound.clone();
                    bad[at] ^= 0x40;
                    work.write(file, &bad);
                    work.fails(args);
                }
                let mut long = sound.clone();
                long.extend([0; 100]);
                work.write(file, &long);
                work.fails(args);
            }
            // One input alone is calibration data too.
            let sound_too = |other: &str| other == file || (file == "calibration.npz" && other == "one.npy");
            for other in others.iter().filter(|other| !sound_too(other)) {
                work.write(file, &work.read(other));
                work.fails(args);
                work.write(file, &sound);
            }
            std::fs::remove_file(work.path(file)).expect("it was there");
            assert!(work.fails(args).contains(file), "the message names {file}");
            work.write(file, &sound);
        }
    }
}

#[test]
fn the_wrong_kind_of_file_is_named() {
    for scheme in SCHEMES {
        let work = complete(scheme);
        let message = work.fails(&["inference", "-m", "params.plan", "-k", "key", "-i", "one.enc", "-o", "x"]);
        assert!(message.contains("this is a secret key; inference takes key.pub"), "{message}");
        let message = work.fails(&["decrypt", "-k", "key.pub", "-i", "out.enc", "-o", "x"]);
        assert!(message.contains("this is an evaluation key"), "{message}");
    }
}

#[test]
fn files_of_other_versions_are_refused_by_a_sentence_with_both() {
    for scheme in SCHEMES {
        let work = complete(scheme);
        for (args, file) in STEPS.into_iter().skip(3) {
            let sound = work.read(file);
            for version in [2, 12] {
                let mut other = sound.clone();
                other[7] = version;
                work.write(file, &other);
                let sentence = format!("{file}: this file has format version {version}; this build reads version 11");
                for args in [args, &["inspect", file]] {
                    let message = work.fails(args);
                    assert!(message.contains(&sentence), "{message}");
                }
            }
            work.write(file, &sound);
        }
        let text = String::from_utf8(work.read("params.json")).expect("text");
        // Fields of another version do not matter: its number is read first.
        let other = text.replacen("\"version\": 7,", "\"version\": 8, \"unheard_of\": true,", 1);
        work.write("params.json", other.as_bytes());
        let message = work.fails(&["keygen", "-i", "params.json", "-o", "x"]);
        assert!(
            message.contains("params.json: this parameter file has version 8; this build reads version 7"),
            "{message}"
        );
    }
}

#[test]
fn files_of_another_key_for_the_same_parameters_are_refused() {
    for scheme in SCHEMES {
        let work = complete(scheme);
        work.ok(&["keygen", "-i", "params.json", "-o", "other"]);
        let message = work.fails(&["inference", "-m", "params.plan", "-k", "other.pub", "-i", "one.enc", "-o", "x"]);
        let sentence = "one.enc: this input was encrypted with another key than the evaluation key belongs to";
        assert!(message.contains(sentence), "{message}");
        let message = work.fails(&["decrypt", "-k", "other", "-i", "out.enc", "-o", "x"]);
        assert!(message.contains("out.enc: this output was computed for another key than this one"), "{message}");
    }
}

#[test]
fn keys_and_inputs_of_another_plan_are_refused() {
    for scheme in SCHEMES {
        let work = complete(scheme);
        let plan = ["keyparams", "-m", "digits.onnx", "-c", "calibration.npz", "-o", "other.json"];
        work.ok(&[&plan[..], &["--max-loss", "0.3", "--batch", "4", "--scheme", scheme]].concat());
        work.ok(&["keygen", "-i", "other.json", "-o", "other"]);
        let message = work.fails(&["inference", "-m", "params.plan", "-k", "other.pub", "-i", "one.enc", "-o", "x"]);
        assert!(message.contains("other parameters"), "{message}");
        work.ok(&["encrypt", "-k", "other", "-i", "one.npy", "-o", "other.enc"]);
        let message = work.fails(&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "other.enc", "-o", "x"]);
        assert!(message.contains("other parameters"), "{message}");
        assert!(work.fails(&["decrypt", "-k", "other", "-i", "out.enc", "-o", "x"]).contains("other parameters"));
    }
}

#[test]
fn values_that_do_not_belong_are_refused() {
    for scheme in SCHEMES {
        let work = Work::with_keys(scheme);
        let encrypt = ["encrypt", "-k", "key", "-i", "bad.npy", "-o", "x"];
        for bad in [f32::NAN, f32::INFINITY, -1e30, 40.0] {
            let mut values = [0.5; 64];
            values[17] = bad;
            work.write("bad.npy", &npy("(1, 8, 8)", &values));
            assert!(work.fails(&encrypt).contains("value 17"), "{bad}");
        }
        work.write("bad.npy", &npy("(1, 8, 9)", &[0.5; 72]));
        assert!(work.fails(&encrypt).contains("does not fit"));
        work.write("bad.npy", &npy("(99999999999, 1, 8, 8)", &[0.5; 64]));
        assert!(work.fails(&encrypt).contains("promises"));
        work.write("bad.npy", &npy("(2, 1, 8, 8)", &[0.5; 64]));
        work.fails(&encrypt);
        let mut calibration = [0.5; 128];
        calibration[70] = f32::NAN;
        work.write("bad.npy", &npy("(2, 1, 8, 8)", &calibration));
        let message = work.fails(&["keyparams", "-m", "digits.onnx", "-c", "bad.npy", "-o", "x.json"]);
        assert!(message.contains("calibration input 1"), "{message}");
    }
}

#[test]
fn weak_or_absurd_parameters_are_refused_by_the_client() {
    let work = Work::with_keys("tfhe");
    let text = String::from_utf8(work.read("params.json")).expect("text");
    let with = |name: &str, value: &str| {
        let mut object: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        object["tfhe"][name] = value.parse::<u64>().expect("a number").into();
        object.to_string()
    };
    for (name, value, why) in [
        ("lwe_dimension", "400", "security"),
        ("ks_noise_bound_log2", "5", "security"),
        ("pbs_noise_bound_log2", "4", "security"),
        ("lwe_dimension", "4000000000", "lwe_dimension"),
        ("polynomial_size", "300", "power of two"),
        ("grouping_factor", "64", "grouping_factor"),
        ("grouping_factor", "0", "grouping_factor"),
        ("pbs_base_log", "60", "pbs_base_log"),
    ] {
        work.write("weak.json", with(name, value).as_bytes());
        let message = work.fails(&["keygen", "-i", "weak.json", "-o", "x"]);
        assert!(message.contains(why), "{name} = {value}: {message}");
    }
}

#[test]
fn weak_or_absurd_parameters_of_ckks_are_refused_by_the_client() {
    let work = Work::with_keys("ckks");
    let sound: serde_json::Value = serde_json::from_slice(&work.read("params.json")).expect("JSON");
    type Spoil = fn(&mut serde_json::Value);
    let spoilt: [(Spoil, &str); 7] = [
        (|p| p["ckks"]["log2_degree"] = 12.into(), "128 bits"),
        (|p| p["ckks"]["log2_degree"] = 40.into(), "2^12..2^17"),
        (|p| p["ckks"]["primes"][0] = 1_000_000.into(), "not a prime"),
        (|p| p["ckks"]["special_primes"] = serde_json::json!([]), "missing"),
        (|p| p["keys"]["rotation_limbs"]["3"] = 100_000.into(), "key"),
        (|p| p["packing"]["latency"]["input"]["period"] = 4.into(), "layout"),
        (|p| p["packing"]["latency"]["output"]["ring"] = serde_json::json!(1_u64 << 60), "layout"),
    ];
    for (spoil, why) in spoilt {
        let mut object = sound.clone();
        spoil(&mut object);
        work.write("weak.json", object.to_string().as_bytes());
        let message = work.fails(&["keygen", "-i", "weak.json", "-o", "x"]);
        assert!(message.contains(why), "{why}: {message}");
    }
}

#[test]
fn schemes_are_not_mixed() {
    let (tfhe, ckks) = (complete("tfhe"), complete("ckks"));
    for file in ["key.pub", "one.enc"] {
        let sound = tfhe.read(file);
        tfhe.write(file, &ckks.read(file));
        let inference = ["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.enc", "-o", "x"];
        assert!(tfhe.fails(&inference).contains("this file is for CKKS; one for TFHE was expected"));
        tfhe.write(file, &sound);
    }
    ckks.write("out.enc", &tfhe.read("out.enc"));
    assert!(ckks.fails(&["decrypt", "-k", "key", "-i", "out.enc", "-o", "x"]).contains("this file is for TFHE"));
}

#[test]
fn what_is_on_disk_survives() {
    for scheme in SCHEMES {
        let work = complete(scheme);
        let (key, public) = (work.read("key"), work.read("key.pub"));
        assert!(work.fails(&["keygen", "-i", "params.json", "-o", "key"]).contains("--force"));
        assert_eq!((work.read("key"), work.read("key.pub")), (key, public));
        let output = work.read("out.enc");
        work.fails(&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.npy", "-o", "out.enc"]);
        assert_eq!(work.read("out.enc"), output);
        for target in ["no/such/folder/x", "/dev/full/x", "/proc/x", "."] {
            work.fails(&["encrypt", "-k", "key", "-i", "one.npy", "-o", target]);
            work.fails(&["decrypt", "-k", "key", "-i", "out.enc", "-o", target]);
        }
    }
}

/// A limit on file sizes makes the kernel refuse a write half-way, as a full disk does.
#[test]
fn a_full_disk_leaves_what_was_there() {
    for scheme in SCHEMES {
        let work = complete(scheme);
        let steps: [(&[&str], &str); 3] = [
            (&["encrypt", "-k", "key", "-i", "samples.npz", "-o", "one.enc"], "one.enc"),
            (&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.enc", "-o", "out.enc"], "out.enc"),
            (&["keygen", "-i", "params.json", "-o", "key", "--force"], "key"),
        ];
        for (args, file) in steps {
            let (files, before) = (work.files(), work.read(file));
            // Four kilobytes; the signal is ignored, so that the write returns an error.
            let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"";
            let run = std::process::Command::new("sh")
                .args(["-c", script, env!("CARGO_BIN_EXE_heman")])
                .args(args)
                .env_remove("HEMAN_DEVICES")
                .env("XDG_CONFIG_HOME", work.path("config"))
                .current_dir(work.path(""))
                .output()
                .expect("a shell");
            let stderr = String::from_utf8_lossy(&run.stderr);
            assert_eq!(run.status.code(), Some(4), "{args:?}: {stderr}");
            assert!(stderr.starts_with("error: ") && stderr.contains(file), "{args:?}: {stderr}");
            assert_eq!(work.read(file), before, "{args:?}");
            assert_eq!(work.files(), files, "{args:?} left files behind");
        }
    }
}

#[test]
fn what_is_not_built_says_so() {
    let work = complete("ckks");
    let inference = ["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.enc", "-o", "x", "--device"];
    let message = work.fails(&[&inference[..], &["cuda:99"]].concat());
    assert!(message.contains("there is no CUDA device 99") || message.contains("no NVIDIA driver"), "{message}");
    let keyparams = ["keyparams", "-m", "digits.onnx", "-c", "calibration.npz", "-o", "x.json"];
    assert!(work.fails(&[&keyparams[..], &["--scheme", "ckks", "--exact"]].concat()).contains("--exact is for TFHE"));
    assert!(work.fails(&[&keyparams[..], &["--max-loss", "0"]].concat()).contains("--max-loss"));
    assert!(work.fails(&[&keyparams[..], &["--exact"]].concat()).contains("--exact"));
    assert_eq!(work.run(&["inference", "--device", "toaster"]).status.code(), Some(2));
}
