//! Lowered models against tract, on the evaluation models where they are at hand.

use std::path::PathBuf;

use heman_import::{PlainModel, import_file};

/// The folder of evaluation data, if it is there.
fn evaluation_data() -> Option<PathBuf> {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/he-man");
    let folder = std::env::var_os("HEMAN_EVAL_DATA").map_or_else(default, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: evaluation data not found");
    None
}

/// Reproducible inputs in 0..1.
fn input(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 24) as f32
        })
        .collect()
}

fn check(path: &std::path::Path) -> (Vec<usize>, usize) {
    let network = import_file(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let plain = PlainModel::from_file(path).expect("runs in plaintext");
    for seed in 0..3 {
        let x = input(network.input.len(), seed);
        let want = plain.run(&x).expect("plaintext output");
        let x: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
        let (_, decrypted) = network.evaluate(&x);
        let answers = network.client_ops.run(&network.output.shape, &decrypted).expect("the client's program");
        let got = &answers[0].values;
        let scale = want.iter().fold(1e-3_f32, |m, v| m.max(v.abs()));
        assert_eq!(got.len(), want.len(), "{}", path.display());
        for (g, w) in got.iter().zip(&want) {
            assert!((*g as f32 - w).abs() <= 1e-4 * scale, "{}: {g} instead of {w}", path.display());
        }
    }
    (network.stages.iter().map(|s| s.rows.len()).collect(), network.output.len())
}

#[test]
fn the_evaluation_models_are_lowered_right() {
    let Some(folder) = evaluation_data() else { return };
    let stages = |name: &str| check(&folder.join("models").join(name)).0;
    assert_eq!(stages("lenet5.onnx"), [4704, 1600, 120, 84]);
    assert_eq!(stages("lenet5_square.onnx"), [4704, 1600, 120, 84]);
    assert_eq!(stages("cryptonets.onnx"), [400, 128]);
    assert_eq!(stages("cryptonets_square.onnx"), [400, 128]);
    assert_eq!(stages("mobilefacenets.onnx"), [0; 0]);
    assert_eq!(stages("mnist_demo_relu.onnx"), stages("mnist_demo_square.onnx"));
}

#[test]
fn the_operator_models_are_lowered_right() {
    let Some(folder) = evaluation_data() else { return };
    let mut count = 0;
    for entry in std::fs::read_dir(folder.join("operators")).expect("operators folder") {
        let path = entry.expect("folder entry").path();
        println!("{}: {:?}", path.display(), check(&path));
        count += 1;
    }
    assert!(count >= 18);
}
