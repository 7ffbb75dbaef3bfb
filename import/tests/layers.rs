//! Layers that move or become values of their own, so that fewer terms or bootstraps are needed.

mod onnx;

use heman_core::model::function::Function;
use heman_core::model::network::Network;
use heman_import::{PlainModel, import_bytes};
use onnx::Attr::{Int, Ints};
use onnx::Onnx;

/// Compares the lowered model with tract on one input around zero.
fn check(model: &Onnx) -> Network {
    let bytes = model.build();
    let network = import_bytes(&bytes).unwrap_or_else(|e| panic!("{e}"));
    let plain = PlainModel::from_bytes(&bytes).unwrap_or_else(|e| panic!("{e}"));
    let x: Vec<f32> = (0..network.input.len()).map(|i| ((i * 37) % 97) as f32 / 48.0 - 1.013).collect();
    let want = plain.run(&x).unwrap_or_else(|e| panic!("{e}"));
    let (_, decrypted) = network.evaluate(&x.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
    let got = &network.client_ops.run(&network.output.shape, &decrypted).expect("the client's program")[0].values;
    let scale = want.iter().fold(0.1_f32, |m, v| m.max(v.abs()));
    assert_eq!(got.len(), want.len());
    assert!(got.iter().zip(&want).all(|(g, w)| (*g as f32 - w).abs() <= 1e-3 * scale));
    network
}

fn rows(network: &Network) -> Vec<usize> {
    network.stages.iter().map(|stage| stage.rows.len()).collect()
}

fn pooled(activation: &str, stride: i64) -> Network {
    let mut model = Onnx::new(&[1, 2, 6, 6]);
    let w = model.weights(&[2, 2, 1, 1]);
    model.node("Conv", &["x", &w], &[]);
    model.then(activation, &[]);
    model.then("MaxPool", &[("kernel_shape", Ints(vec![2, 2])), ("strides", Ints(vec![stride, stride]))]);
    let w = model.weights(&[2, 2, 1, 1]);
    model.then_with("Conv", &[&w], &[]);
    check(&model)
}

#[test]
fn functions_that_never_fall_move_behind_a_maximum() {
    // Nine windows of two channels: two comparisons, one more, and the function.
    assert_eq!(rows(&pooled("Relu", 2)), [36, 18, 18]);
    assert_eq!(rows(&pooled("Sigmoid", 2)), [36, 18, 18]);
    assert_eq!(rows(&pooled("Abs", 2)), [72, 36, 18]);
    let mut model = Onnx::new(&[1, 2, 6, 6]);
    let slope = model.weights(&[2, 1, 1]);
    model.node("PRelu", &["x", &slope], &[]);
    model.then("MaxPool", &[("kernel_shape", Ints(vec![2, 2])), ("strides", Ints(vec![2, 2]))]);
    check(&model);
}

#[test]
fn what_is_read_elsewhere_is_computed_before_the_maximum() {
    let mut model = Onnx::new(&[1, 1, 4, 4]);
    model.node("Relu", &["x"], &[]);
    let relu = model.last();
    model.then("MaxPool", &[("kernel_shape", Ints(vec![2, 2])), ("strides", Ints(vec![2, 2]))]);
    let pool = model.last();
    let (w, v) = (model.weights(&[1, 1, 2, 2]), model.weights(&[1, 1, 1, 1]));
    model.node("Conv", &[&relu, &w], &[("strides", Ints(vec![2, 2]))]);
    let conv = model.last();
    model.node("Add", &[&pool, &conv], &[]);
    model.then_with("Conv", &[&v], &[]);
    assert_eq!(rows(&check(&model)), [16, 8, 4]);
}

#[test]
fn layers_that_make_rows_too_long_are_values_of_their_own() {
    let channels = 64;
    let mut model = Onnx::new(&[1, channels, 16, 16]);
    let mut last = "x".to_string();
    for _ in 0..3 {
        let depthwise = model.weights(&[channels, 1, 3, 3]);
        model.node("Conv", &[&last, &depthwise], &[("group", Int(channels)), ("pads", Ints(vec![1; 4]))]);
        let pointwise = model.weights(&[channels, channels, 1, 1]);
        model.then_with("Conv", &[&pointwise], &[]);
        last = model.last();
    }
    model.then("Relu", &[]);
    let last = model.weights(&[1, channels, 16, 16]);
    model.then_with("Conv", &[&last], &[]);
    let network = check(&model);
    assert!(network.stages.len() > 1);
    let (relu, lines) = network.stages.split_last().expect("there are stages");
    assert!(lines.iter().all(|stage| stage.functions.iter().all(|function| *function == Function::X)));
    assert!(relu.functions.iter().all(|function| *function != Function::X));
    let all = network.stages.iter().flat_map(|stage| &stage.rows);
    assert!(all.map(|row| row.taps.len()).sum::<usize>() < 1 << 24);
}
