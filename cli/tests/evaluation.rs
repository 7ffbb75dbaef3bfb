//! What `heman evaluate` reports for each kind of output, and what it refuses.

mod common;
#[path = "../../import/tests/onnx/mod.rs"]
mod onnx;

use std::io::Write;

use common::{Work, npy};
use onnx::{Attr, Onnx};
use serde_json::Value;

const WEIGHTS: [f32; 4] = [1.0, -2.0, 0.5, 0.25];
const COUNT: usize = 60;

/// Inputs of four values in -1..1 whose weighted sum is not close to 0.
fn inputs(seed: u32) -> Vec<[f32; 4]> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let all = std::iter::repeat_with(|| [next(), next(), next(), next()]);
    all.filter(|x| weighted(x).abs() > 0.1).take(COUNT).collect()
}

fn weighted(x: &[f32; 4]) -> f32 {
    x.iter().zip(WEIGHTS).map(|(x, w)| x * w).sum()
}

/// A linear model of one output, and its calibration data.
fn one_output() -> Work {
    let work = Work::new();
    let mut model = Onnx::new(&[1, 4]);
    let w = model.floats(&[1, 4], &WEIGHTS);
    model.then_with("Gemm", &[&w], &[("transB", Attr::Int(1))]);
    work.write("model.onnx", &model.build());
    work.write("calibration.npy", &npy(&format!("({COUNT}, 4)"), &inputs(1).concat()));
    work
}

/// An archive of inputs and of a `labels.npy`.
fn archive(work: &Work, inputs: &[[f32; 4]], labels: &[u8]) {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut archive = zip::ZipWriter::new(&mut bytes);
    let images = npy(&format!("({}, 4)", inputs.len()), &inputs.concat());
    for (name, content) in [("images.npy", images.as_slice()), ("labels.npy", labels)] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).expect("an entry");
        archive.write_all(content).expect("memory");
    }
    archive.finish().expect("an archive");
    work.write("test.npz", &bytes.into_inner());
}

fn evaluate(work: &Work, more: &[&str]) -> Value {
    let base = ["evaluate", "-m", "model.onnx", "-c", "calibration.npy", "-d", "test.npz", "--simulate", "--json"];
    serde_json::from_str(&work.ok(&[&base[..], more].concat())).expect("JSON")
}

#[test]
fn one_output_with_labels_of_two_values_is_a_decision() {
    let work = one_output();
    let test = inputs(2);
    // Every tenth label is wrong.
    let sign = |(at, x): (usize, &[f32; 4])| weighted(x).signum() * if at % 10 == 0 { -1.0 } else { 1.0 };
    let labels: Vec<f32> = test.iter().enumerate().map(sign).collect();
    archive(&work, &test, &npy(&format!("({COUNT},)"), &labels));
    let found = evaluate(&work, &[]);
    assert_eq!(found["output_kind"], "decision");
    assert!(found["labels"].as_str().is_some_and(|said| said.starts_with("-1 and 1")), "{found}");
    assert_eq!((&found["accuracy"], &found["plain_accuracy"]), (&0.9.into(), &0.9.into()));
    assert_eq!(
        (&found["agreement"], &found["changed_decisions"], &found["loss"]),
        (&1.0.into(), &0.into(), &0.0.into())
    );
    // No change in 60 leaves 1 - 0.025^(1/60) open.
    let low = found["agreement_interval_95"][0].as_f64().expect("a bound");
    assert!((low - 0.025_f64.powf(1.0 / 60.0)).abs() < 1e-9, "{low}");
}

#[test]
fn one_output_with_numbers_is_a_target() {
    let work = one_output();
    let test = inputs(3);
    let labels: Vec<f32> = test.iter().map(|x| weighted(x) + 0.25).collect();
    archive(&work, &test, &npy(&format!("({COUNT},)"), &labels));
    let found = evaluate(&work, &[]);
    assert_eq!((&found["output_kind"], &found["agreement"]), (&"targets".into(), &Value::Null));
    let target = &found["targets"][0];
    let of = |name: &str| target[name].as_f64().expect("a number");
    let mean = labels.iter().map(|&y| f64::from(y)).sum::<f64>() / COUNT as f64;
    let variance = labels.iter().map(|&y| (f64::from(y) - mean).powi(2)).sum::<f64>() / COUNT as f64;
    assert!((of("plain_r2_labels") - (1.0 - 0.0625 / variance)).abs() < 1e-5, "{found}");
    assert!(of("r2") > 0.9999 && of("relative_error") <= 0.005, "{found}");
    assert!((found["loss"].as_f64().expect("a loss") / of("relative_error") - 1.0).abs() < 1e-12, "{found}");
    let decided = evaluate(&work_with_signs(&test), &["--task", "classify"]);
    assert_eq!((&decided["output_kind"], &decided["accuracy"]), (&"decision".into(), &1.0.into()));
}

/// The same model with 0 and 1 as labels.
fn work_with_signs(test: &[[f32; 4]]) -> Work {
    let work = one_output();
    let labels: Vec<f32> = test.iter().map(|x| f32::from(u8::from(weighted(x) > 0.0))).collect();
    archive(&work, test, &npy(&format!("({COUNT},)"), &labels));
    work
}

#[test]
fn inputs_that_judge_are_new_to_the_model_and_judge_alone() {
    let work = one_output();
    let with = |values: &[[f32; 4]]| work.write("judge.npy", &npy(&format!("({}, 4)", values.len()), &values.concat()));
    for scheme in ["tfhe", "ckks"] {
        let derive = ["keyparams", "-m", "model.onnx", "-c", "calibration.npy", "-o", "p.json", "--task", "classify"];
        let derive = [&derive[..], &["--scheme", scheme, "--judge", "judge.npy"]].concat();
        with(&inputs(1)[..30]);
        let sentence = work.fails(&derive);
        assert!(sentence.contains("none of the inputs that are to judge the loss is new"), "{sentence}");
        with(&[[0.5, f32::NAN, 0.5, 0.5]]);
        let sentence = work.fails(&derive);
        assert!(sentence.contains("judge.npy") && sentence.contains("input 0 is not finite"), "{sentence}");
        let doubt = |values: &[[f32; 4]]| {
            with(values);
            let found: Value = serde_json::from_str(&work.ok(&[&derive[..], &["--json"]].concat())).expect("JSON");
            found["doubt"].clone()
        };
        assert_eq!(doubt(&inputs(5)), Value::Null);
        // The calibration inputs have both answers, those that judge one.
        let one_answer: Vec<[f32; 4]> = inputs(5).into_iter().filter(|x| weighted(x) > 0.0).collect();
        assert_eq!(doubt(&one_answer), "one_answer");
    }
}

#[test]
fn labels_that_do_not_fit_are_refused() {
    let work = one_output();
    let test = inputs(4);
    let refused = |labels: &[u8], more: &[&str]| {
        archive(&work, &test, labels);
        let base = ["evaluate", "-m", "model.onnx", "-c", "calibration.npy", "-d", "test.npz", "--simulate"];
        work.fails(&[&base[..], more].concat())
    };
    let numbers: Vec<f32> = (0..COUNT).map(|at| at as f32).collect();
    let sentence = refused(&npy(&format!("({COUNT},)"), &numbers), &["--task", "classify"]);
    assert!(sentence.contains("labels are 0, 1, 2, 3, ..., and the output decides between two"), "{sentence}");
    let sentence = refused(&npy("(7,)", &[0.0; 7]), &[]);
    assert!(sentence.contains("7 labels for 60 inputs"), "{sentence}");
}

#[test]
fn simulation_refuses_what_encryption_refuses() {
    let work = one_output();
    let mut test = inputs(5);
    test[3][1] = 9.5;
    work.write("input.npy", &npy(&format!("({COUNT}, 4)"), &test.concat()));
    for scheme in common::SCHEMES {
        let planning = ["-m", "model.onnx", "-c", "calibration.npy", "--scheme", scheme];
        work.ok(&[&["keyparams", "-o", "p.json"], &planning[..]].concat());
        work.ok(&["keygen", "-i", "p.json", "-o", "key", "--force"]);
        let encrypted = work.fails(&["encrypt", "-k", "key", "-i", "input.npy", "-o", "input.enc"]);
        let simulated = work.fails(&[&["evaluate", "-d", "input.npy", "--simulate"], &planning[..]].concat());
        assert!(encrypted.contains("input 3, value 1 lies outside"), "{encrypted}");
        assert_eq!(simulated, encrypted);
        let base = ["evaluate", "-d", "input.npy", "--simulate", "--skip-outside", "--json"];
        let kept: Value = serde_json::from_str(&work.ok(&[&base, &planning[..]].concat())).expect("JSON");
        assert_eq!((&kept["inputs"], &kept["inputs_outside"]), (&(COUNT - 1).into(), &1.into()));
    }
}
