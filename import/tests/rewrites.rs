//! Operators and forms of models that are rewritten before they are lowered, against values worked out by hand.

mod onnx;

use heman_core::model::network::Network;
use heman_import::{ImportError, import_bytes, import_file};
use onnx::Attr::{Float, Floats, Int, Ints, Text};
use onnx::{BOOL, FLOAT16, FLOAT64, INT8, INT64, Onnx, UINT8, damaged};
use prost::Message;
use tract_onnx::pb::ModelProto;

fn import(model: &Onnx) -> Network {
    import_bytes(&model.build()).unwrap_or_else(|error| panic!("{error}"))
}

/// The first output, behind what the client computes.
fn evaluate(network: &Network, x: &[f64]) -> Vec<f64> {
    let (_, decrypted) = network.evaluate(x);
    let answers = network.client_ops.run(&network.output.shape, &decrypted).expect("the client's program");
    answers[0].values.clone()
}

fn outputs(model: &Onnx, x: &[f64]) -> Vec<f64> {
    evaluate(&import(model), x)
}

#[track_caller]
fn assert_close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{got:?} instead of {want:?}");
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() <= 1e-5 * (1.0 + w.abs()), "{got:?} instead of {want:?}");
    }
}

/// Output of one operator on x, with constant inputs of whole numbers.
fn moved(operator: &str, shape: &[i64], constants: &[&[i64]], attributes: &[(&str, onnx::Attr)]) -> Vec<f64> {
    let mut model = Onnx::new(shape);
    let names: Vec<String> = constants.iter().map(|values| model.integers(values)).collect();
    let inputs: Vec<&str> = std::iter::once("x").chain(names.iter().map(String::as_str)).collect();
    model.node(operator, &inputs, attributes);
    let network = import(&model);
    assert!(network.stages.is_empty(), "{operator} is linear");
    let x: Vec<f64> = (1..=network.input.len()).map(|v| v as f64).collect();
    evaluate(&network, &x)
}

#[test]
fn constant_indices_move_elements() {
    assert_close(&moved("CumSum", &[1, 4], &[&[1]], &[]), &[1.0, 3.0, 6.0, 10.0]);
    let exclusive_reverse = [("exclusive", Int(1)), ("reverse", Int(1))];
    assert_close(&moved("CumSum", &[1, 4], &[&[1]], &exclusive_reverse), &[9.0, 7.0, 4.0, 0.0]);
    assert_close(&moved("Trilu", &[2, 2], &[&[0]], &[("upper", Int(0))]), &[1.0, 0.0, 3.0, 4.0]);
    assert_close(&moved("Pad", &[1, 4], &[&[0, -1, 0, 2]], &[]), &[2.0, 3.0, 4.0, 0.0, 0.0]);
    assert_close(
        &moved("Pad", &[1, 3], &[&[0, 2, 0, 1]], &[("mode", Text("reflect"))]),
        &[3.0, 2.0, 1.0, 2.0, 3.0, 2.0],
    );
    assert_close(&moved("Pad", &[1, 3], &[&[0, 1, 0, 1]], &[("mode", Text("wrap"))]), &[3.0, 1.0, 2.0, 3.0, 1.0]);
    assert_close(&moved("CenterCropPad", &[1, 4], &[&[1, 2]], &[]), &[2.0, 3.0]);
    assert_close(&moved("CenterCropPad", &[1, 2], &[&[1, 5]], &[]), &[0.0, 1.0, 2.0, 0.0, 0.0]);
    assert_close(&moved("Compress", &[2, 3], &[&[1, 0, 1]], &[("axis", Int(1))]), &[1.0, 3.0, 4.0, 6.0]);
    let batch_first = [("batch_axis", Int(0)), ("time_axis", Int(1))];
    assert_close(&moved("ReverseSequence", &[2, 3], &[&[2, 3]], &batch_first), &[2.0, 1.0, 3.0, 6.0, 5.0, 4.0]);
}

#[test]
fn scattering_and_gathering_by_constant_indices() {
    let mut model = Onnx::new(&[1, 3]);
    let indices = model.constant(&[1, 2], INT64, &[2_i64, -3].map(i64::to_le_bytes).concat());
    let updates = model.floats(&[1, 2], &[10.0, 20.0]);
    model.node("ScatterElements", &["x", &indices, &updates], &[("axis", Int(1))]);
    assert_close(&outputs(&model, &[1.0, 2.0, 3.0]), &[20.0, 2.0, 10.0]);
    model.node("ScatterElements", &["x", &indices, &updates], &[("axis", Int(1)), ("reduction", Text("add"))]);
    assert_close(&outputs(&model, &[1.0, 2.0, 3.0]), &[21.0, 2.0, 13.0]);
    model.node("GatherElements", &["x", &indices], &[("axis", Int(1))]);
    assert_close(&outputs(&model, &[1.0, 2.0, 3.0]), &[3.0, 1.0]);
    let mut model = Onnx::new(&[2, 2]);
    let indices = model.constant(&[2, 1], INT64, &[1_i64, 0].map(i64::to_le_bytes).concat());
    model.node("GatherND", &["x", &indices], &[]);
    assert_close(&outputs(&model, &[1.0, 2.0, 3.0, 4.0]), &[3.0, 4.0, 1.0, 2.0]);
    let row = model.floats(&[1, 2], &[7.0, 8.0]);
    let first = model.constant(&[1, 1], INT64, &1_i64.to_le_bytes());
    model.node("ScatterND", &["x", &first, &row], &[]);
    assert_close(&outputs(&model, &[1.0, 2.0, 3.0, 4.0]), &[1.0, 2.0, 7.0, 8.0]);
}

#[test]
fn resizing_interpolates_by_the_standard() {
    let resized = |shape: &[i64], scales: &[f32], attributes: &[(&str, onnx::Attr)], x: &[f64]| {
        let mut model = Onnx::new(shape);
        let scales = model.floats(&[scales.len() as i64], scales);
        model.node("Resize", &["x", "", &scales], attributes);
        outputs(&model, x)
    };
    let square = [1.0, 2.0, 3.0, 4.0];
    let twice = [1.0, 1.0, 2.0, 2.0];
    let nearest = [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 3.0, 3.0, 4.0, 4.0];
    let by_floor = [("coordinate_transformation_mode", Text("asymmetric")), ("nearest_mode", Text("floor"))];
    assert_close(&resized(&[1, 1, 2, 2], &twice, &by_floor, &square), &nearest);
    let linear = [1.0, 1.25, 1.75, 2.0, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3.0, 3.25, 3.75, 4.0];
    assert_close(&resized(&[1, 1, 2, 2], &twice, &[("mode", Text("linear"))], &square), &linear);
    let corners = [("mode", Text("linear")), ("coordinate_transformation_mode", Text("align_corners"))];
    assert_close(
        &resized(&[1, 1, 4], &[1.0, 1.0, 1.75], &corners, &[1.0, 2.0, 3.0, 4.0]),
        &[1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0],
    );
    // Half way between two places the weights of a = -3/4 are -3/32, 19/32, 19/32, -3/32, ends repeated.
    let cubic = [("mode", Text("cubic")), ("coordinate_transformation_mode", Text("asymmetric"))];
    let got = resized(&[1, 1, 4], &[1.0, 1.0, 2.0], &cubic, &[1.0, 0.0, 0.0, 0.0]);
    assert_close(&got, &[1.0, 0.5, 0.0, -0.09375, 0.0, 0.0, 0.0, 0.0]);
    let mut old = Onnx::new(&[1, 1, 2]).of_opset(7);
    old.node("Upsample", &["x"], &[("scales", Floats(vec![1.0, 1.0, 2.0]))]);
    assert_close(&outputs(&old, &[5.0, 6.0]), &[5.0, 5.0, 6.0, 6.0]);
}

#[test]
fn a_constant_grid_samples_an_image() {
    let mut model = Onnx::new(&[1, 1, 1, 3]);
    let grid = model.floats(&[1, 1, 3, 2], &[-1.0, 0.0, 0.0, 0.0, 0.5, 0.0]);
    model.node("GridSample", &["x", &grid], &[("mode", Text("bilinear")), ("align_corners", Int(1))]);
    assert_close(&outputs(&model, &[10.0, 20.0, 30.0]), &[10.0, 20.0, 25.0]);
}

#[test]
fn transforms_and_blocks_are_linear() {
    let spectrum = moved("DFT", &[1, 4, 1], &[], &[("axis", Int(1))]);
    assert_close(&spectrum, &[10.0, 0.0, -2.0, 2.0, -2.0, 0.0, -2.0, -2.0]);
    // Two overlapping columns of two pixels each in a row of three: 1, 3 and 2, 4.
    let overlapped = moved("Col2Im", &[1, 2, 2], &[&[1, 3], &[1, 2]], &[]);
    assert_close(&overlapped, &[1.0, 2.0 + 3.0, 4.0]);
    let mut model = Onnx::new(&[1, 2, 3]);
    model.node("Einsum", &["x"], &[("equation", Text("nij->nji"))]);
    assert_close(&outputs(&model, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}

#[test]
fn number_formats_become_single_precision() {
    let mut half = Onnx::new(&[1, 2]).of_kind(FLOAT16);
    let w = half.constant(&[2], FLOAT16, &[0x00, 0x3e, 0x00, 0xc0]); // 1.5 and -2
    half.node("Mul", &["x", &w], &[]);
    assert_close(&outputs(&half, &[2.0, 3.0]), &[3.0, -6.0]);
    let mut double = Onnx::new(&[1, 2]).of_kind(FLOAT64);
    let w = double.constant(&[2], FLOAT64, &[1.5_f64, -2.0].map(f64::to_le_bytes).concat());
    double.node("Mul", &["x", &w], &[]);
    double.then("Cast", &[("to", Int(FLOAT64))]);
    assert_close(&outputs(&double, &[2.0, 3.0]), &[3.0, -6.0]);
    let mut whole = Onnx::new(&[1, 2]).of_kind(INT64);
    whole.node("Cast", &["x"], &[("to", Int(1))]);
    let w = whole.floats(&[2], &[1.5, -2.0]);
    whole.then_with("Mul", &[&w], &[]);
    let network = import(&whole);
    assert!(network.stages.is_empty());
    assert_close(&evaluate(&network, &[2.0, 3.0]), &[3.0, -6.0]);
    let mut stale = Onnx::with_free_axes(&[None, Some(2)]);
    let y = stale.node("Relu", &["x"], &[]);
    stale.declare(&y, &[None, Some(7)]);
    stale.then("Neg", &[]);
    assert_close(&outputs(&stale, &[2.0, -3.0]), &[-2.0, 0.0]);
}

#[test]
fn operators_before_opset_7_broadcast_from_an_axis() {
    let mut model = Onnx::new(&[1, 2, 2]).of_opset(6);
    let slopes = model.floats(&[2], &[0.5, 0.25]);
    model.node("PRelu", &["x", &slopes], &[]);
    assert_close(&outputs(&model, &[-4.0, 1.0, -4.0, 2.0]), &[-2.0, 1.0, -1.0, 2.0]);
    let mut model = Onnx::new(&[1, 2, 3]).of_opset(6);
    let rows = model.floats(&[2], &[10.0, 20.0]);
    model.node("Add", &["x", &rows], &[("broadcast", Int(1)), ("axis", Int(1))]);
    assert_close(&outputs(&model, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), &[11.0, 12.0, 13.0, 24.0, 25.0, 26.0]);
}

#[test]
fn logic_is_arithmetic_of_zero_and_one() {
    for (operator, table) in
        [("And", [0.0, 0.0, 0.0, 1.0]), ("Or", [0.0, 1.0, 1.0, 1.0]), ("Xor", [0.0, 1.0, 1.0, 0.0])]
    {
        let mut model = Onnx::new(&[1, 2]).of_kind(BOOL);
        let halves = model.integers(&[1, 1]);
        let parts = model.nodes_with_outputs("Split", &["x", &halves], &[("axis", Int(1))], 2);
        model.node(operator, &[&parts[0], &parts[1]], &[]);
        let network = import(&model);
        for (case, want) in table.into_iter().enumerate() {
            assert_close(&evaluate(&network, &[(case / 2) as f64, (case % 2) as f64]), &[want]);
        }
    }
    let mut model = Onnx::new(&[1, 3]);
    let zero = model.floats(&[1], &[0.0]);
    model.node("Greater", &["x", &zero], &[]);
    model.then("Not", &[]);
    model.then("Cast", &[("to", Int(1))]);
    assert_close(&outputs(&model, &[-1.0, 0.0, 1.0]), &[1.0, 1.0, 0.0]);
    let mut model = Onnx::new(&[1, 2]);
    let parts = model.nodes_with_outputs("Split", &["x"], &[("axis", Int(1))], 2);
    let less = model.node("Less", &[&parts[0], &parts[1]], &[]);
    let double = model.node("Add", &[&parts[1], &parts[1]], &[]);
    model.node("Where", &[&less, &parts[0], &double], &[]);
    let network = import(&model);
    assert_close(&evaluate(&network, &[1.0, 2.0]), &[1.0]);
    assert_close(&evaluate(&network, &[3.0, 2.0]), &[4.0]);
}

#[test]
fn whole_numbers_are_rounded_compared_and_looked_up() {
    let mut model = Onnx::new(&[1, 3]);
    let three = model.floats(&[1], &[3.0]);
    model.node("Mod", &["x", &three], &[("fmod", Int(1))]);
    assert_close(&outputs(&model, &[7.5, -4.0, 2.0]), &[1.5, -1.0, 2.0]);
    let mut model = Onnx::new(&[1, 3]).of_kind(INT64);
    let three = model.integers(&[3]);
    model.node("Mod", &["x", &three], &[]);
    assert_close(&outputs(&model, &[7.0, -4.0, 3.0]), &[1.0, 2.0, 0.0]);
    let mut model = Onnx::new(&[1, 3]).of_kind(INT64);
    let two = model.integers(&[2]);
    model.node("Div", &["x", &two], &[]);
    assert_close(&outputs(&model, &[7.0, -7.0, 4.0]), &[3.0, -3.0, 2.0]);
    let mut model = Onnx::new(&[1, 3]);
    model.node("Cast", &["x"], &[("to", Int(INT64))]);
    model.then("Cast", &[("to", Int(1))]);
    assert_close(&outputs(&model, &[1.9, -1.9, 0.0]), &[1.0, -1.0, 0.0]);
    let mut model = Onnx::new(&[1, 3]).of_kind(INT64);
    let two = model.integers(&[2]);
    model.node("Equal", &["x", &two], &[]);
    assert_close(&outputs(&model, &[2.0, 2.2, 3.0]), &[1.0, 1.0, 0.0]);
    let mut model = Onnx::new(&[1, 2]).of_kind(INT64);
    let table = model.floats(&[3, 2], &[10.0, 11.0, 20.0, 21.0, 30.0, 31.0]);
    model.node("Gather", &[&table, "x"], &[]);
    assert_close(&outputs(&model, &[2.0, 0.0]), &[30.0, 31.0, 10.0, 11.0]);
    assert_close(&outputs(&model, &[-1.0, 1.1]), &[30.0, 31.0, 20.0, 21.0]);
    let mut model = Onnx::new(&[2]).of_kind(INT64);
    let depth = model.integers(&[3]);
    let values = model.floats(&[2], &[-1.0, 5.0]);
    model.node("OneHot", &["x", &depth, &values], &[]);
    assert_close(&outputs(&model, &[1.0, -1.0]), &[-1.0, 5.0, -1.0, -1.0, -1.0, 5.0]);
}

#[test]
fn quotients_and_layer_norms_of_encrypted_values() {
    let mut model = Onnx::new(&[1, 2]);
    let parts = model.nodes_with_outputs("Split", &["x"], &[("axis", Int(1))], 2);
    model.node("Div", &[&parts[0], &parts[1]], &[]);
    assert_close(&outputs(&model, &[3.0, -4.0]), &[-0.75]);
    // Mean 2, variance 2/3.
    let normal = (3.0_f64 / 2.0).sqrt();
    for last in [-1, 1] {
        let mut model = Onnx::new(&[1, 3]);
        let (scale, bias) = (model.floats(&[3], &[1.0, 2.0, 3.0]), model.floats(&[3], &[0.0, 0.0, 1.0]));
        model.node("LayerNormalization", &["x", &scale, &bias], &[("axis", Int(last)), ("epsilon", Float(0.0))]);
        // Before another layer, so that it is not the client's.
        let same = model.floats(&[3, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        model.then_with("MatMul", &[&same], &[]);
        let network = import(&model);
        assert_eq!(network.stages.iter().map(|stage| stage.rows.len()).collect::<Vec<_>>(), [3, 1, 3]);
        assert_close(&evaluate(&network, &[1.0, 2.0, 3.0]), &[-normal, 0.0, 3.0 * normal + 1.0]);
    }
}

#[test]
fn linear_models_of_scikit_learn_are_matrix_products() {
    let mut model = Onnx::new(&[1, 2]);
    model.node("Scaler", &["x"], &[("offset", Floats(vec![1.0, 2.0])), ("scale", Floats(vec![0.5, 2.0]))]);
    let coefficients = Floats(vec![1.0, 2.0, 3.0, 4.0]);
    let regressor = [("coefficients", coefficients), ("intercepts", Floats(vec![0.5, -0.5])), ("targets", Int(2))];
    model.then("LinearRegressor", &regressor);
    let network = import(&model);
    assert!(network.stages.is_empty());
    assert_close(&evaluate(&network, &[3.0, 3.0]), &[1.0 + 4.0 + 0.5, 3.0 + 8.0 - 0.5]);
}

/// The scores of a classifier for three inputs, one after the other.
fn scores(operator: &str, attributes: &[(&str, onnx::Attr)]) -> Vec<f64> {
    let mut model = Onnx::new(&[1, 2]);
    let both = model.nodes_with_outputs(operator, &["x"], attributes, 2);
    model.node("Identity", &[&both[1]], &[]);
    let network = import(&model);
    [[1.0, 2.0], [-1.0, 0.5], [0.2, -0.3]].iter().flat_map(|x| evaluate(&network, x)).collect()
}

#[test]
fn classifiers_have_the_scores_that_onnxruntime_gives() {
    let one_row = |transform| {
        [
            ("coefficients", Floats(vec![0.5, -1.0])),
            ("intercepts", Floats(vec![0.25])),
            ("classlabels_ints", Ints(vec![3, 7])),
            ("post_transform", Text(transform)),
        ]
    };
    let two_rows = [
        ("coefficients", Floats(vec![-0.5, 1.0, 0.5, -1.0])),
        ("intercepts", Floats(vec![-0.25, 0.25])),
        ("classlabels_ints", Ints(vec![3, 7])),
        ("post_transform", Text("LOGISTIC")),
    ];
    assert_close(&scores("LinearClassifier", &one_row("NONE")), &[2.25, -1.25, 1.75, -0.75, 0.35, 0.65]);
    let logistic = [0.777_299_9, 0.222_700_1, 0.679_178_7, 0.320_821_3, 0.342_989_5, 0.657_010_4];
    assert_close(&scores("LinearClassifier", &one_row("LOGISTIC")), &logistic);
    assert_close(&scores("LinearClassifier", &two_rows), &logistic);
    let machine = |kernel, is_probable: bool| {
        let mut attributes = vec![
            ("kernel_type", Text(kernel)),
            ("kernel_params", Floats(vec![0.5, 0.0, 3.0])),
            ("support_vectors", Floats(vec![1.0, 0.0, 0.0, 1.0, -1.0, -1.0])),
            ("coefficients", Floats(vec![0.7, 0.3, -1.0])),
            ("rho", Floats(vec![0.1])),
            ("vectors_per_class", Ints(vec![2, 1])),
            ("classlabels_ints", Ints(vec![3, 7])),
        ];
        if is_probable {
            attributes.extend([("prob_a", Floats(vec![-1.2])), ("prob_b", Floats(vec![0.3]))]);
        }
        scores("SVMClassifier", &attributes)
    };
    assert_close(&machine("LINEAR", false), &[-4.4, 4.4, 0.95, -0.95, -0.05, 0.05]);
    let decisions = [-0.303_595_1, 0.303_595_1, -0.019_529_0, 0.019_529_0, -0.331_269_9, 0.331_269_9];
    assert_close(&machine("RBF", false), &decisions);
    let probabilities = [0.516_072_4, 0.483_927_5, 0.431_100_5, 0.568_899_5, 0.524_358_9, 0.475_640_9];
    // onnxruntime's iteration over pairs of classes ends before it converges.
    for (got, want) in machine("RBF", true).iter().zip(probabilities) {
        assert!((got - want).abs() < 3e-4, "{got} instead of {want}");
    }
}

#[test]
fn support_vectors_with_the_rbf_kernel() {
    let mut model = Onnx::new(&[1, 2]);
    let attributes = [
        ("kernel_type", Text("RBF")),
        ("kernel_params", Floats(vec![0.5, 0.0, 3.0])),
        ("support_vectors", Floats(vec![1.0, 0.0, -1.0, -1.0])),
        ("coefficients", Floats(vec![2.0, -3.0])),
        ("rho", Floats(vec![0.25])),
        ("n_supports", Int(2)),
    ];
    model.node("SVMRegressor", &["x"], &attributes);
    let kernel = |a: f64, b: f64| (-0.5 * (a * a + b * b)).exp();
    let want = 2.0 * kernel(0.5 - 1.0, 0.25) - 3.0 * kernel(1.5, 1.25) + 0.25;
    assert_close(&outputs(&model, &[0.5, 0.25]), &[want]);
}

#[test]
fn quantised_weights_keep_their_values_and_activations_are_not_rounded() {
    let mut model = Onnx::new(&[1, 2]);
    let scale = model.floats(&[], &[0.1]);
    let (middle, low) = (model.constant(&[], UINT8, &[128]), model.constant(&[], UINT8, &[0]));
    let weights = model.constant(&[2, 1], INT8, &[10, 0_u8.wrapping_sub(20)]);
    let (half, zero) = (model.floats(&[], &[0.5]), model.constant(&[], INT8, &[0]));
    let w = model.node("DequantizeLinear", &[&weights, &half, &zero], &[]);
    let q = model.node("QuantizeLinear", &["x", &scale, &middle], &[]);
    let x = model.node("DequantizeLinear", &[&q, &scale, &middle], &[]);
    model.node("MatMul", &[&x, &w], &[]);
    model.then_with("QuantizeLinear", &[&scale, &low], &[]);
    model.then_with("DequantizeLinear", &[&scale, &low], &[]);
    let network = import(&model);
    assert_eq!(network.client_ops.names().len(), 1, "the last zero point cuts negative values off");
    assert_close(&evaluate(&network, &[3.33, 1.0]), &[5.0 * 3.33 - 10.0]);
    assert_close(&evaluate(&network, &[1.0, 1.0]), &[0.0]);
    let mut dynamic = Onnx::new(&[1, 2]);
    let parts = dynamic.nodes_with_outputs("DynamicQuantizeLinear", &["x"], &[], 3);
    let weights = dynamic.constant(&[2, 1], INT8, &[10, 20]);
    let one = dynamic.constant(&[], INT8, &[1]);
    dynamic.node("MatMulInteger", &[&parts[0], &weights, &parts[2], &one], &[]);
    dynamic.then("Cast", &[("to", Int(1))]);
    dynamic.then_with("Mul", &[&parts[1]], &[]);
    assert_close(&outputs(&dynamic, &[0.25, -1.0]), &[0.25 * 9.0 - 19.0]);
    let mut integers = Onnx::new(&[1, 3]);
    let (scale, zero) = (integers.floats(&[], &[2.0]), integers.constant(&[], UINT8, &[3]));
    integers.node("QuantizeLinear", &["x", &scale, &zero], &[]);
    assert_close(&outputs(&integers, &[5.1, -100.0, 1000.0]), &[6.0, 0.0, 255.0]);
}

#[test]
fn damaged_models_are_errors_not_panics() {
    let mut model = Onnx::new(&[1, 1, 4]).of_kind(UINT8);
    model.node("Cast", &["x"], &[("to", Int(1))]);
    let scales = model.floats(&[3], &[1.0, 1.0, 1.5]);
    let last = model.last();
    model.node("Resize", &[&last, "", &scales], &[("mode", Text("linear"))]);
    let (scale, zero) = (model.floats(&[], &[0.5]), model.constant(&[], UINT8, &[3]));
    model.then_with("QuantizeLinear", &[&scale, &zero], &[]);
    model.then_with("DequantizeLinear", &[&scale, &zero], &[]);
    let shape = model.integers(&[1, 6]);
    model.then_with("Reshape", &[&shape], &[]);
    let machine = [
        ("kernel_type", Text("RBF")),
        ("kernel_params", Floats(vec![0.5])),
        ("support_vectors", Floats(vec![0.5; 12])),
        ("coefficients", Floats(vec![2.0, -3.0])),
        ("rho", Floats(vec![0.25])),
        ("n_supports", Int(2)),
    ];
    model.then("SVMRegressor", &machine);
    let sound = model.build();
    assert_eq!(import_bytes(&sound).expect("imports").output.shape, [1, 1]);
    for bad in damaged(&sound, 7) {
        let _ = import_bytes(&bad);
    }
}

#[test]
fn long_chains_of_functions_are_cut() {
    let mut model = Onnx::new(&[1, 2]);
    model.node("Sin", &["x"], &[]);
    (0..63).for_each(|_| drop(model.then("Sin", &[])));
    // What is cut off behind the last stage is the client's.
    assert_eq!(import(&model).stages.len(), 1);
    let want = [0.5_f64, -2.0].map(|x| (0..64).fold(x, |x, _| x.sin()));
    assert_close(&outputs(&model, &[0.5, -2.0]), &want);
    let mut model = Onnx::new(&[1, 2]);
    model.node("Sigmoid", &["x"], &[]);
    for _ in 0..24 {
        let last = model.last();
        model.node("Mul", &[&last, &last], &[]);
    }
    let got = outputs(&model, &[20.0, 0.0]);
    assert_close(&got, &[(2.0_f64.powi(24) * (1.0 / (1.0 + (-20.0_f64).exp())).ln()).exp(), 0.0]);
}

#[test]
fn windows_far_larger_than_the_image_are_seen_at_once() {
    let mut model = Onnx::new(&[1, 1, 2, 2]);
    let window = |length: i64| Ints(vec![length; 2]);
    let pads = Ints(vec![(1 << 15) - 1; 4]);
    model.node("MaxPool", &["x"], &[("kernel_shape", window(1 << 16)), ("pads", pads)]);
    assert_close(&outputs(&model, &[1.0, 5.0, -2.0, 3.0]), &[5.0]);
    let mut model = Onnx::new(&[1, 1, 2, 2]);
    model.node("MaxPool", &["x"], &[("kernel_shape", window(5)), ("pads", Ints(vec![2; 4]))]);
    assert_close(&outputs(&model, &[1.0, 5.0, -2.0, 3.0]), &[5.0; 4]);
}

#[test]
fn weights_lie_in_files_beside_the_model() {
    let folder = std::env::temp_dir().join(format!("heman-import-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut model = Onnx::new(&[1, 2]);
    let w = model.external(&[2], "weights.bin");
    model.node("Mul", &["x", &w], &[]);
    std::fs::write(folder.join("model.onnx"), model.build()).expect("a file");
    std::fs::write(folder.join("weights.bin"), [1.5_f32, -2.0].map(f32::to_le_bytes).concat()).expect("a file");
    let network = import_file(&folder.join("model.onnx")).expect("imports");
    assert_close(&evaluate(&network, &[2.0, 3.0]), &[3.0, -6.0]);
    let without = import_bytes(&model.build()).expect_err("no folder");
    assert!(matches!(without, ImportError::Weights(_)), "{without}");
    std::fs::remove_dir_all(&folder).expect("removes");
}

#[test]
fn refusals_name_the_operator_and_the_reason() {
    let refusal = |model: &Onnx| import_bytes(&model.build()).expect_err("not supported").to_string();
    let mut trees = Onnx::new(&[1, 2]);
    trees.node("TreeEnsemble", &["x"], &[]);
    let text = refusal(&trees);
    assert!(text.contains("TreeEnsemble") && text.contains("export TreeEnsembleClassifier"), "{text}");
    let mut gather = Onnx::new(&[1, 2]);
    let indices = gather.node("Cast", &["x"], &[("to", Int(INT64))]);
    gather.node("GatherElements", &["x", &indices], &[("axis", Int(1))]);
    let text = refusal(&gather);
    assert!(text.contains("GatherElements") && text.contains("depends on encrypted values"), "{text}");
    let mut eight = Onnx::new(&[1, 3]);
    let w = eight.constant(&[3], 17, &[1, 2, 3]);
    eight.node("Mul", &["x", &w], &[]);
    assert!(refusal(&eight).contains("number format 17"));
    let mut mixed = Onnx::new(&[1, 3]);
    let w = mixed.floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    mixed.node("MatMul", &["x", &w], &[]);
    let text = refusal(&mixed);
    assert!(text.contains("MatMul") && !text.contains("not a valid ONNX model"), "{text}");
}

#[test]
fn nodes_of_one_name_are_told_apart() {
    let mut model = Onnx::new(&[1, 6]);
    model.then("Flatten", &[("axis", Int(1))]);
    let shape = model.integers(&[1, 2, 3]);
    model.then_with("Reshape", &[&shape], &[]);
    // No axis of the first node, whose tensor has two.
    model.then("Flatten", &[("axis", Int(3))]);
    let mut proto = ModelProto::decode(&*model.build()).expect("a model");
    for node in &mut proto.graph.as_mut().expect("a graph").node {
        node.name = "n".into();
    }
    let network = import_bytes(&proto.encode_to_vec()).unwrap_or_else(|error| panic!("{error}"));
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    assert_close(&evaluate(&network, &x), &x);
}
