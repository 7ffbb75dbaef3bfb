//! What `cuda/run.sh` does on a GPU host, with stand-ins for the bundle's binaries.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A bundle in a folder of its own.
struct Bundle {
    folder: PathBuf,
}

impl Bundle {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gpu_bundle").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("bin")).expect("writable");
        fs::create_dir_all(folder.join("data")).expect("writable");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cuda/run.sh");
        fs::copy(script, folder.join("run.sh")).expect("the script");
        let bundle = Self { folder };
        bundle.write("commit", "0123\n");
        bundle.write("data/cryptonets.onnx", "");
        bundle.script("heman", "echo \"$*\" >>calls\necho '{ \"agreement\": 0.99, \"hardware\": true }'");
        bundle.script("device_report", "echo \"$HEMAN_CUDA_TRANSFORM $*\" >>calls\necho report");
        bundle.script("bin/nvidia-smi", "echo clocks\nif [[ $* == *loop* ]]; then sleep 600; fi");
        bundle
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).expect("writable");
    }

    fn script(&self, name: &str, body: &str) {
        self.write(name, &format!("#!/usr/bin/env bash\n{body}\n"));
        fs::set_permissions(self.folder.join(name), fs::Permissions::from_mode(0o755)).expect("ours");
    }

    fn run(&self, args: &[&str]) -> Output {
        self.run_within(["300", "300"], args)
    }

    /// Runs with so many seconds a part and a check.
    fn run_within(&self, [part, check]: [&str; 2], args: &[&str]) -> Output {
        let path = format!("{}:{}", self.folder.join("bin").display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command.arg(self.folder.join("run.sh")).args(args).env("PATH", path);
        command.env("HEMAN_PART_SECONDS", part).env("HEMAN_CHECK_SECONDS", check);
        command.output().expect("bash starts")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// Lines of the manifest without their seconds.
    fn manifest(&self) -> Vec<String> {
        let text = self.read("out/manifest.tsv");
        text.lines().map(|line| line.rsplit_once('\t').expect("four fields").0.to_string()).collect()
    }
}

#[test]
fn all_parts_run_in_order_and_pass() {
    let bundle = Bundle::new("all");
    let run = bundle.run(&["./out"]);
    let text = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
    assert!(run.status.success(), "{text}");
    let manifest = bundle.manifest();
    let whole: Vec<&str> = manifest.iter().filter_map(|line| line.strip_suffix("\twhole part\tok")).collect();
    assert_eq!(whole, ["device", "correctness", "tfhe", "exact", "ckks", "compare", "models", "wgpu"], "{text}");
    assert!(!manifest.iter().any(|line| line.contains("FAILED")), "{manifest:#?}");
    assert!(manifest.contains(&"compare\tcompare.txt\tskipped: tfhe-rs's backend is not in this bundle".into()));
    assert!(manifest.contains(&"models\tagreement of tfhe-cryptonets-64.json\tok".into()), "{manifest:#?}");
    assert!(manifest.contains(&"models\ttfhe-lenet5-1.json\tskipped: no data in this bundle".into()));
    assert_eq!(bundle.read("out/tfhe-clocks.csv"), "clocks\n");
    assert_eq!(bundle.read("out/commit.txt"), "0123\n");
    let calls = bundle.read("calls");
    for call in [
        "exact cuda --scheme tfhe --only correctness --json ",
        "doubles cuda --scheme tfhe --only times --json ",
        " cuda --scheme ckks --only times --json ",
        "devices --measure --device cuda",
        "demo --json --scheme ckks --device cuda",
    ] {
        assert!(calls.contains(call), "{call:?} is not among\n{calls}");
    }
}

#[test]
fn what_fails_is_in_the_manifest_and_the_rest_goes_on() {
    let bundle = Bundle::new("fails");
    bundle.script("device_report", "echo wrong >&2\nexit 1");
    bundle.script("heman", "echo '{ \"agreement\": 0.5 }'");
    let run = bundle.run(&["correctness", "compare", "./out"]);
    assert_eq!(run.status.code(), Some(1));
    let manifest = bundle.manifest();
    for line in [
        "correctness\tcorrectness-doubles.txt\tFAILED",
        "correctness\tdemo-tfhe.json\tok",
        "correctness\tagreement of demo-tfhe.json\tFAILED",
        "correctness\twhole part\tFAILED",
        "compare\twhole part\tok",
    ] {
        assert!(manifest.contains(&line.into()), "{line} is not in {manifest:#?}");
    }
    assert_eq!(bundle.read("out/correctness-doubles.txt.err"), "wrong\n");
}

#[test]
fn a_part_that_does_not_end_is_ended() {
    let bundle = Bundle::new("hangs");
    bundle.script("device_report", "echo begun\nexec sleep 600");
    let run = bundle.run_within(["5", "300"], &["exact", "compare", "./out"]);
    assert_eq!(run.status.code(), Some(1));
    let manifest = bundle.manifest();
    assert!(manifest.contains(&"exact\texact.txt\tFAILED: ended with its part".into()), "{manifest:#?}");
    assert!(manifest.contains(&"exact\twhole part\tFAILED: not done in 5 s".into()), "{manifest:#?}");
    assert!(manifest.contains(&"compare\twhole part\tok".into()), "{manifest:#?}");
    assert_eq!(bundle.read("out/exact.txt"), "begun\n");
}

#[test]
fn a_check_that_does_not_end_leaves_time_for_the_next() {
    let bundle = Bundle::new("hanging_check");
    bundle.script("device_report", "if [[ $* == *times* ]]; then exec sleep 600; fi\necho report");
    let run = bundle.run_within(["300", "2"], &["exact", "./out"]);
    assert_eq!(run.status.code(), Some(1));
    let manifest = bundle.manifest();
    assert!(manifest.contains(&"exact\texact.txt\tFAILED: not done in 2 s".into()), "{manifest:#?}");
    assert!(manifest.contains(&"exact\texact-noise.txt\tok".into()), "{manifest:#?}");
    assert_eq!(bundle.read("out/exact-noise.txt"), "report\n");
}

#[test]
fn results_come_as_one_file_where_that_is_asked_for() {
    let bundle = Bundle::new("archive");
    let run = bundle.run(&["exact", "compare", "./out/results.tar.gz"]);
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{text}");
    let out = bundle.folder.join("out");
    let left: Vec<_> =
        fs::read_dir(&out).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(left, ["results.tar.gz"]);
    let mut unpack = Command::new("tar");
    let unpacked = unpack.arg("-xzf").arg(out.join("results.tar.gz")).arg("-C").arg(&out).status();
    assert!(unpacked.expect("tar starts").success());
    assert!(bundle.manifest().contains(&"compare\twhole part\tok".into()), "{:#?}", bundle.manifest());
    assert_eq!(bundle.read("out/exact.txt"), "report\n");
}

#[test]
fn a_part_that_is_none_is_refused_before_anything_runs() {
    let bundle = Bundle::new("unknown");
    let run = bundle.run(&["corectness"]);
    let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.code() == Some(2) && stderr.contains("correctness tfhe exact"), "{stderr}");
    assert!(bundle.read("calls").is_empty() && !bundle.folder.join("corectness").exists());
}
