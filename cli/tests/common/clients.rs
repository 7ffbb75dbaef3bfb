//! Inputs of several clients for `heman batch`, and what has to come of them.

#![allow(dead_code, reason = "each test file uses its share")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::common::{Work, npy, npy_values};
use onnx::{Attr, Onnx};

#[path = "../../../import/tests/onnx/mod.rs"]
mod onnx;

/// How far an output may lie from the model's, whose outputs reach from -5 to 8.
const TOLERANCE: f32 = 0.4;
/// Values of an input.
const VALUES: usize = 4;
/// Weights of the first layer, a row an input value, and of the second.
const FIRST: [[f32; 3]; VALUES] = [[1.0, -0.5, 0.25], [0.5, 1.0, -0.75], [-0.25, 0.5, 1.0], [0.75, -1.0, 0.5]];
const SECOND: [[f32; 2]; 3] = [[1.0, -0.5], [-0.75, 1.0], [0.5, 0.25]];

/// Clients' files in a folder.
pub struct Clients {
    pub work: Work,
    scheme: String,
}

/// Values of a sample, between -1 and 1.
fn sample(at: usize) -> [f32; VALUES] {
    std::array::from_fn(|i| ((at * VALUES + i) as f32 * 0.77).sin())
}

/// What a scheme's model answers: each has the function that its keys are small for.
fn answer(scheme: &str, x: [f32; VALUES]) -> [f32; 2] {
    let hidden: [f32; 3] = std::array::from_fn(|to| (0..VALUES).map(|from| x[from] * FIRST[from][to]).sum());
    let f = |x: f32| if scheme == "ckks" { x * x } else { x.max(0.0) };
    std::array::from_fn(|to| (0..3).map(|from| f(hidden[from]) * SECOND[from][to]).sum())
}

fn samples(first: usize, count: usize) -> Vec<u8> {
    npy(&format!("({count}, {VALUES})"), &(first..first + count).flat_map(sample).collect::<Vec<_>>())
}

impl Clients {
    /// Keys `a` and `b` in `keys/`, and no inputs.
    pub fn new(scheme: &str) -> Self {
        let work = Work::new();
        let mut model = Onnx::new(&[1, VALUES as i64]);
        let first = model.floats(&[VALUES as i64, 3], FIRST.as_flattened());
        model.then_with("Gemm", &[&first], &[]);
        let hidden = model.last();
        match scheme {
            "ckks" => model.node("Mul", &[&hidden, &hidden], &[]),
            _ => model.node("Relu", &[&hidden], &[]),
        };
        let second = model.floats(&[3, 2], SECOND.as_flattened());
        model.then_with("Gemm", &[&second], &[("transB", Attr::Int(0))]);
        work.write("model.onnx", &model.build());
        work.write("calibration.npy", &samples(0, 200));
        let options = ["--scheme", scheme, "--task", "regress", "--max-loss", "0.05"];
        let files = ["-m", "model.onnx", "-c", "calibration.npy", "-o", "params.json"];
        work.ok(&[&["keyparams"], &options[..], &files[..]].concat());
        std::fs::create_dir(work.path("keys")).expect("a folder");
        std::fs::create_dir(work.path("inputs")).expect("a folder");
        for key in ["a", "b"] {
            work.ok(&["keygen", "-i", "params.json", "-o", &format!("keys/{key}")]);
        }
        Self { work, scheme: scheme.into() }
    }

    /// Encrypts samples from `first` on under a key.
    pub fn encrypt(&self, key: &str, first: usize, count: usize, to: &str) {
        self.work.write("one.npy", &samples(first, count));
        self.work.ok(&["encrypt", "-k", &format!("keys/{key}"), "-i", "one.npy", "-o", to]);
    }

    /// Encrypts samples one by one to `inputs/000.enc` and so on, under both keys in turn.
    pub fn encrypt_each(&self, count: usize) {
        for at in 0..count {
            self.encrypt(key_of(at), at, 1, &format!("inputs/{at:03}.enc"));
        }
    }

    /// Asserts that an output decrypts to the answers for the samples from `first` on.
    pub fn assert_right(&self, key: &str, output: &str, first: usize, count: usize) {
        self.work.ok(&["decrypt", "-k", &format!("keys/{key}"), "-i", output, "-o", "got.npy"]);
        let got = npy_values(&self.work.read("got.npy"));
        assert_eq!(got.len(), 2 * count, "{output}");
        for (got, at) in got.chunks_exact(2).zip(first..) {
            let wanted = answer(&self.scheme, sample(at));
            let is_right = got.iter().zip(wanted).all(|(got, wanted)| (got - wanted).abs() < TOLERANCE);
            assert!(is_right, "{output}, sample {at}: {got:?} instead of {wanted:?}");
        }
    }

    /// Asserts that all outputs of [`Clients::encrypt_each`] are there and right, and nothing else but journals.
    pub fn assert_complete(&self, outputs: &str, count: usize) {
        let files: Vec<String> = self.list(outputs).into_iter().filter(|name| !name.starts_with("journal")).collect();
        let wanted: Vec<String> = (0..count).map(|at| format!("{at:03}.out")).collect();
        assert_eq!(files, wanted);
        for at in 0..count {
            self.assert_right(key_of(at), &format!("{outputs}/{at:03}.out"), at, 1);
        }
    }

    /// Names in a folder, hidden ones too.
    pub fn list(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.work.path(folder)).expect("a folder").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Whole items of a journal: how many lines each has by status.
    pub fn journal(&self, path: &str) -> BTreeMap<(String, String), usize> {
        let text = String::from_utf8(self.work.read(path)).expect("a journal in UTF-8");
        let mut lines = BTreeMap::new();
        for line in text.lines().skip(1) {
            let line: Value = serde_json::from_str(line).expect("a JSON object a line");
            if line.get("first").is_none() {
                let text = |name: &str| line[name].as_str().expect("text").to_owned();
                *lines.entry((text("item"), text("status"))).or_default() += 1;
            }
        }
        lines
    }

    /// Asserts that a journal says once of each item that it is done, and nothing else.
    pub fn assert_journal(&self, path: &str, count: usize) {
        let lines = self.journal(path);
        let wanted = (0..count).map(|at| ((format!("{at:03}.enc"), "done".to_owned()), 1)).collect();
        assert_eq!(lines, wanted);
    }

    /// Runs `heman batch` on the folder of inputs and returns its report.
    pub fn batch(&self, more: &[&str]) -> Value {
        let text = self.work.ok(&[&arguments("inputs", "outputs")[..], more].concat());
        serde_json::from_str(&text).expect("one JSON object")
    }

    /// The same on other inputs, with the exit status and what it said.
    pub fn batch_of(&self, input: &str, output: &str, more: &[&str]) -> (Option<i32>, Value, String) {
        let ended = self.work.run(&[&arguments(input, output)[..], more].concat());
        let report = serde_json::from_slice(&ended.stdout).unwrap_or_default();
        (ended.status.code(), report, String::from_utf8_lossy(&ended.stderr).into_owned())
    }

    /// Starts `heman batch` on the folder of inputs.
    pub fn start(&self, more: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heman"));
        command
            .env_remove("HEMAN_DEVICES")
            .env("XDG_CONFIG_HOME", self.work.path("config"))
            .current_dir(self.work.path(""));
        command.args(arguments("inputs", "outputs")).args(more);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts")
    }
}

/// The key of an input of [`Clients::encrypt_each`].
pub fn key_of(at: usize) -> &'static str {
    ["a", "b"][at % 2]
}

/// `heman batch` with all keys on the host.
pub fn arguments<'a>(input: &'a str, output: &'a str) -> [&'a str; 12] {
    let options = ["batch", "--json", "--device", "cpu", "-m", "params.plan", "-k", "keys", "-i", input, "-o", output];
    assert!(Path::new(output).is_relative());
    options
}
