//! HE-MAN's own operator models and face embeddings under encryption, where the evaluation data are at hand.

mod common;

use std::path::PathBuf;

use common::{SCHEMES, Work, npy, npy_values};
use heman_import::{PlainModel, import_file};

fn evaluation_data() -> Option<PathBuf> {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/he-man");
    let folder = std::env::var_os("HEMAN_EVAL_DATA").map_or_else(default, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: evaluation data not found");
    None
}

/// Reproducible values in -1..1, a multiple of `step` each.
fn values(count: usize, seed: usize, step: f32) -> Vec<f32> {
    (0..count).map(|i| ((((i * 37 + seed * 101) % 97) as f32 / 48.0 - 1.0) / step).round() * step).collect()
}

fn shape_text(shape: &[usize]) -> String {
    format!("({},)", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
}

/// What is decrypted of an input file under new keys for `p.json` and its plan.
fn encrypted(work: &Work, input: &str) -> Vec<f32> {
    work.ok(&["keygen", "-i", "p.json", "-o", "k", "--force"]);
    work.ok(&["encrypt", "-k", "k", "-i", input, "-o", "i.enc"]);
    work.ok(&["inference", "-m", "p.plan", "-k", "k.pub", "-i", "i.enc", "-o", "o.enc"]);
    work.ok(&["decrypt", "-k", "k", "-i", "o.enc", "-o", "o.npy"]);
    npy_values(&work.read("o.npy"))
}

/// All five steps for one model; returns the encrypted result and the plaintext one.
fn five_steps(work: &Work, model: &std::path::Path, extra: &[&str], step: f32) -> (Vec<f32>, Vec<f32>) {
    let network = import_file(model).expect("imports");
    let (len, shape) = (network.input.len(), &network.input.shape);
    let count = 40;
    let mut batch = vec![count];
    batch.extend(shape.iter().skip(usize::from(shape.first() == Some(&1))));
    let calibration: Vec<f32> = (0..count).flat_map(|seed| values(len, seed + 2, step)).collect();
    work.write("calibration.npy", &npy(&shape_text(&batch), &calibration));
    let model_name = model.to_str().expect("a path in UTF-8");
    // Single operators decide nothing: their numbers count.
    let budget = ["--task", "regress", "--max-loss", "0.02"];
    let keyparams = ["keyparams", "-m", model_name, "-c", "calibration.npy", "-o", "p.json"];
    work.ok(&[&keyparams[..], &budget, extra].concat());
    let input = values(len, 5, step);
    work.write("i.npy", &npy(&shape_text(shape), &input));
    let plain = PlainModel::from_file(model).expect("runs in plaintext");
    (encrypted(work, "i.npy"), plain.run(&input).expect("runs in plaintext"))
}

#[test]
fn operator_models_run_encrypted() {
    let Some(folder) = evaluation_data() else { return };
    let work = Work::new();
    for entry in std::fs::read_dir(folder.join("operators")).expect("a folder") {
        let model = entry.expect("an entry").path();
        // Polynomials do not fit every function here: auto takes CKKS where they do.
        for scheme in ["tfhe", "auto"] {
            let (got, want) = five_steps(&work, &model, &["--scheme", scheme], 1e-6);
            assert_eq!(got.len(), want.len());
            let power = want.iter().map(|w| w * w).sum::<f32>().sqrt();
            let error = got.iter().zip(&want).map(|(g, w)| (g - w) * (g - w)).sum::<f32>().sqrt();
            println!("{}, {scheme}: relative error {:.5}", model.display(), error / power);
            assert!(error <= 0.05 * power, "{}, {scheme}: relative error {}", model.display(), error / power);
        }
    }
}

#[test]
fn exact_mode_gives_exact_integers() {
    let Some(folder) = evaluation_data() else { return };
    let work = Work::new();
    for name in ["3-bit-int-model.onnx", "relu.onnx", "add.onnx", "avgpool2d.onnx", "power2-plus-power4.onnx"] {
        let (got, want) =
            five_steps(&work, &folder.join("operators").join(name), &["--exact", "--p-fail", "2^-30"], 0.25);
        for (g, w) in got.iter().zip(&want) {
            assert!((g - w).abs() < 1e-4 * (1.0 + w.abs()), "{name}: {g} instead of {w}");
        }
    }
}

fn entry(archive: &std::path::Path, name: &str) -> Vec<u8> {
    let file = std::fs::File::open(archive).expect("evaluation data");
    let mut archive = zip::ZipArchive::new(file).expect("an archive");
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut archive.by_name(name).expect("an array"), &mut bytes).expect("readable");
    bytes
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn face_pairs_get_the_decisions_of_plaintext() {
    let Some(folder) = evaluation_data() else { return };
    let work = Work::new();
    let model = folder.join("models/mobilefacenets.onnx");
    let calibration = folder.join("lfw_calibration.npz");
    let (model_name, calibration) = (model.to_str().expect("UTF-8"), calibration.to_str().expect("UTF-8"));
    let pairs = folder.join("lfw_pairs.npz");
    work.write("left.npy", &entry(&pairs, "left.npy"));
    for scheme in SCHEMES {
        work.ok(&["keyparams", "-m", model_name, "-c", calibration, "-o", "p.json", "--scheme", scheme]);
        let (got, right) = (encrypted(&work, "left.npy"), npy_values(&entry(&pairs, "right_embedding.npy")));
        let left = npy_values(&work.read("left.npy"));
        let plain = PlainModel::from_file(&model).expect("runs in plaintext");
        let (mut largest, mut embedding): (f32, f32) = (0.0, 0.0);
        for ((input, got), right) in left.chunks(320 * 49).zip(got.chunks(128)).zip(right.chunks(128)) {
            let want = plain.run(input).expect("runs in plaintext");
            let (encrypted, exact) = (cosine(got, right), cosine(&want, right));
            assert_eq!(encrypted > 0.3, exact > 0.3, "cosine {encrypted} instead of {exact}");
            largest = largest.max((encrypted - exact).abs());
            embedding = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(embedding, f32::max);
        }
        println!("{scheme}: largest cosine error {largest:.6}, largest error of an embedding {embedding:.6}");
        assert!(largest < 0.01);
        assert!(scheme == "tfhe" || embedding < 1e-3);
    }
}

#[test]
fn features_as_they_are_and_boosted_trees_run_encrypted() {
    let Some(folder) = evaluation_data() else { return };
    let cases = folder.join("../../cases");
    if !cases.is_dir() {
        println!("skipped: cases not found");
        return;
    }
    let work = Work::new();
    // Logits between -30 and 30, whose errors are a few hundredths of their deviation; probabilities of trees, of which
    // one that meets a value next to its constant may answer with another leaf, which is worth a few hundredths.
    let each = [("raw_features", "calibration.npy", 2.0), ("gradient_boosting_base_values", "calib.npy", 0.1)];
    for (case, calibration, most) in each {
        let folder = cases.join(case);
        let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_string();
        let values = |name: &str| npy_values(&std::fs::read(path(name)).expect("a case's array"));
        let plan = work.ok(&["keyparams", "-m", &path("model.onnx"), "-c", &path(calibration), "-o", "p.json"]);
        assert!(plan.contains("at a scale of its own"), "{plan}");
        let inputs = values("input.npy");
        work.write("i.npy", &npy("(2, 30)", &inputs[..60]));
        let got = encrypted(&work, "i.npy");
        let plain = PlainModel::from_file(&folder.join("model.onnx")).expect("runs in plaintext");
        let want: Vec<f32> = inputs[..60].chunks(30).flat_map(|input| plain.run(input).expect("runs")).collect();
        for (g, w) in got.iter().zip(&want) {
            assert!((g - w).abs() < most, "{case}: {got:?} instead of {want:?}");
        }
    }
}
