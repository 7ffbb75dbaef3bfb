//! A model with two inputs, and with the class's name and the probabilities as outputs, through all five steps.

mod common;
#[path = "../../import/tests/onnx/mod.rs"]
mod onnx;

use std::io::{Cursor, Read, Write};

use common::{SCHEMES, Work, npy, npy_values};
use onnx::Attr::{Int, Texts};
use onnx::Onnx;
use serde_json::{Value, json};

const NAMES: [&str; 3] = ["ant", "bee", "wasp"];
/// Weights of the two values of input x and the one of y, for three classes.
const WEIGHTS: [f32; 9] = [2.0, -1.0, 0.0, -0.5, 1.5, -1.0, 0.25, -2.0, 1.75];

fn model() -> Vec<u8> {
    let mut model = Onnx::with_free_axes(&[None, Some(2)]);
    model.input("y", &[None, Some(1)]);
    let both = model.node("Concat", &["x", "y"], &[("axis", Int(1))]);
    let weights = model.floats(&[3, 3], &WEIGHTS);
    let scores = model.node("MatMul", &[&both, &weights], &[]);
    let probabilities = model.node("Softmax", &[&scores], &[("axis", Int(1))]);
    let index = model.node("ArgMax", &[&probabilities], &[("axis", Int(1)), ("keepdims", Int(0))]);
    let names = model.texts(&NAMES);
    let label = model.node("Gather", &[&names, &index], &[("axis", Int(0))]);
    let zipped = model.node("ZipMap", &[&probabilities], &[("classlabels_strings", Texts(NAMES.to_vec()))]);
    model.output(&label);
    model.output(&zipped);
    model.build()
}

fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).expect("memory");
        archive.write_all(bytes).expect("memory");
    }
    archive.finish().expect("memory").into_inner()
}

fn entry(archive: &[u8], name: &str) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(Cursor::new(archive)).expect("an archive");
    let mut bytes = Vec::new();
    archive.by_name(&format!("{name}.npy")).expect("the output").read_to_end(&mut bytes).expect("readable");
    bytes
}

fn data(count: usize) -> (Vec<f32>, Vec<f32>) {
    let value = |i: usize| ((i * 61 + 17) % 101) as f32 / 50.0 - 1.0;
    ((0..2 * count).map(value).collect(), (0..count).map(|i| value(3 * i + 7)).collect())
}

fn probabilities(x: &[f32], y: f32) -> Vec<f64> {
    let values = [x[0], x[1], y];
    let score = |class: usize| (0..3).map(|i| f64::from(values[i] * WEIGHTS[3 * i + class])).sum::<f64>().exp();
    let scores: Vec<f64> = (0..3).map(score).collect();
    let sum: f64 = scores.iter().sum();
    scores.iter().map(|score| score / sum).collect()
}

fn object(text: &str) -> Value {
    serde_json::from_str(text).expect("one JSON object")
}

#[test]
fn names_and_probabilities_of_two_inputs() {
    for scheme in SCHEMES {
        let work = Work::new();
        work.write("model.onnx", &model());
        let (x, y) = data(100);
        work.write("calibration.npz", &npz(&[("x", npy("(100, 2)", &x)), ("y", npy("(100, 1)", &y))]));
        let files = ["-m", "model.onnx", "-c", "calibration.npz", "-o", "params.json", "--json"];
        let planned = object(&work.ok(&[&["keyparams", "--scheme", scheme], &files[..]].concat()));
        assert_eq!(planned["client_ops"], json!(["Softmax", "ArgMax"]));
        assert_eq!(planned["inputs"][1], json!({ "name": "y", "shape": [1, 1] }));
        assert_eq!(
            (&planned["outputs"][0]["labels"], &planned["outputs"][1]["columns"]),
            (&json!(NAMES), &json!(NAMES))
        );
        assert_eq!(object(&work.ok(&["inspect", "params.json", "--json"]))["outputs"], planned["outputs"]);
        work.ok(&["keygen", "-i", "params.json", "-o", "key"]);

        work.write("x.npy", &npy("(5, 2)", &x[..10]));
        work.write("y.npy", &npy("(5, 1)", &y[..5]));
        let refused = work.fails(&["encrypt", "-k", "key", "-i", "x.npy", "-o", "input.enc"]);
        assert!(refused.contains("x [1, 2], y [1, 1]"), "{refused}");
        let refused = work.fails(&["encrypt", "-k", "key", "-i", "x=x.npy", "-o", "input.enc"]);
        assert!(refused.contains("--input y=FILE"), "{refused}");
        work.ok(&["encrypt", "-k", "key", "-i", "y=y.npy", "-i", "x=x.npy", "-o", "input.enc"]);
        work.ok(&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "input.enc", "-o", "output.enc"]);
        let report = object(&work.ok(&["decrypt", "-k", "key", "-i", "output.enc", "-o", "out.npz", "--json"]));
        let named = |at: usize| report["outputs"][at]["name"].as_str().expect("a name").to_string();
        let archive = work.read("out.npz");
        let found = npy_values(&entry(&archive, &named(1)));
        let label = entry(&archive, &named(0));
        let text = String::from_utf8_lossy(&label);
        let width = text.split("'<U").nth(1).and_then(|rest| rest.split('\'').next()).expect("an array of strings");
        let width: usize = width.parse().expect("a number of characters");
        let labels: Vec<u32> = label[label.len() - 5 * 4 * width..]
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        for (at, (found, label)) in found.chunks(3).zip(labels.chunks(width)).enumerate() {
            let want = probabilities(&x[2 * at..][..2], y[at]);
            assert!(found.iter().zip(&want).all(|(f, w)| (f64::from(*f) - w).abs() < 0.02), "{found:?}, not {want:?}");
            let class = (0..3).max_by(|&a, &b| want[a].total_cmp(&want[b])).expect("three classes");
            let name: String = label.iter().filter_map(|&c| char::from_u32(c)).filter(|&c| c != '\0').collect();
            assert_eq!(name, NAMES[class], "{scheme}, sample {at}: {want:?}");
        }
    }
}

#[test]
fn a_trailing_sigmoid_is_the_clients() {
    let work = Work::new();
    let mut model = Onnx::with_free_axes(&[None, Some(2)]);
    let weights = model.floats(&[2, 2], &WEIGHTS[..4]);
    model.node("MatMul", &["x", &weights], &[]);
    model.then("Sigmoid", &[]);
    work.write("model.onnx", &model.build());
    let (x, _) = data(100);
    work.write("calibration.npy", &npy("(100, 2)", &x));
    let planned =
        object(&work.ok(&["keyparams", "-m", "model.onnx", "-c", "calibration.npy", "-o", "p.json", "--json"]));
    assert_eq!((&planned["client_ops"], &planned["outputs"][0]["shape"]), (&json!(["Sigmoid"]), &json!([1, 2])));
    let layers = planned["layers"].as_array().expect("layers");
    assert!(layers.iter().all(|layer| layer["activations"] == 0), "no function is encrypted: {layers:?}");
    work.write("one.npy", &npy("(2,)", &x[2..4]));
    work.ok(&["keygen", "-i", "p.json", "-o", "key"]);
    work.ok(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "input.enc"]);
    work.ok(&["inference", "-m", "p.plan", "-k", "key.pub", "-i", "input.enc", "-o", "output.enc"]);
    work.ok(&["decrypt", "-k", "key", "-i", "output.enc", "-o", "out.npy"]);
    let found = npy_values(&work.read("out.npy"));
    let logit = |class: usize| x[2] * WEIGHTS[class] + x[3] * WEIGHTS[2 + class];
    let want: Vec<f32> = (0..2).map(|class| 1.0 / (1.0 + (-logit(class)).exp())).collect();
    assert!(found.iter().zip(&want).all(|(f, w)| (f - w).abs() < 0.01), "{found:?} instead of {want:?}");
}
