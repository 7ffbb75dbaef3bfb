//! What is left to the client, several outputs and several inputs, against tract in plaintext.

mod onnx;

use heman_core::model::client_op::ElementKind;
use heman_core::model::client_run::Answer;
use heman_core::model::network::Network;
use heman_import::{PlainModel, import_bytes};
use onnx::Attr::{Float, Int, Ints, Text, Texts};
use onnx::Onnx;

/// Adds the last nodes of a model.
type End = Box<dyn Fn(&mut Onnx)>;

fn samples(network: &Network) -> impl Iterator<Item = Vec<f32>> {
    let length = network.input.len();
    (1..6).map(move |seed| (0..length).map(|i| ((i * 37 + seed * 101) % 97) as f32 / 48.5 - 1.013).collect())
}

fn answers(network: &Network, x: &[f32]) -> Vec<Answer> {
    let (_, decrypted) = network.evaluate(&x.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
    network.client_ops.run(&network.output.shape, &decrypted).expect("the client's program")
}

/// Compares all outputs that are numbers with tract's.
fn check(name: &str, model: &Onnx) -> Network {
    let bytes = model.build();
    let network = import_bytes(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    let plain = PlainModel::from_bytes(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    for x in samples(&network) {
        let want = plain.run_all(&x).unwrap_or_else(|e| panic!("{name}: {e}"));
        let found = answers(&network, &x);
        let numbers = network.client_ops.outputs.iter().zip(&found);
        let numbers: Vec<&Answer> =
            numbers.filter(|(o, _)| !matches!(o.kind, ElementKind::Label(_))).map(|(_, answer)| answer).collect();
        assert_eq!(numbers.len(), want.len(), "{name}");
        for (found, want) in numbers.iter().zip(&want) {
            assert_eq!(found.values.len(), want.len(), "{name}");
            let close = |(f, w): (&f64, &f32)| (*f as f32 - w).abs() <= 1e-4 * (1.0 + w.abs());
            assert!(found.values.iter().zip(want).all(close), "{name}: {:?} instead of {want:?}", found.values);
        }
    }
    network
}

fn stages(network: &Network) -> Vec<usize> {
    network.stages.iter().map(|stage| stage.rows.len()).collect()
}

/// A dense layer from the last output.
fn dense(model: &mut Onnx, from: i64, to: i64) -> String {
    let (w, b) = (model.weights(&[from, to]), model.weights(&[to]));
    let product = model.then_with("MatMul", &[&w], &[]);
    model.node("Add", &[&product, &b], &[])
}

#[test]
fn what_only_the_outputs_read_costs_no_stage() {
    for operator in ["Sigmoid", "Tanh", "Relu", "Exp", "Abs"] {
        let mut model = Onnx::with_free_axes(&[None, Some(6)]);
        dense(&mut model, 6, 5);
        model.then("Relu", &[]);
        dense(&mut model, 5, 3);
        model.then(operator, &[]);
        let network = check(operator, &model);
        assert_eq!((stages(&network), network.output.shape.as_slice()), (vec![5], &[1, 3][..]), "{operator}");
        assert_eq!(network.client_ops.names(), [operator], "{operator}");
    }
}

#[test]
fn functions_before_a_layer_stay_with_the_model() {
    let mut model = Onnx::new(&[1, 6]);
    dense(&mut model, 6, 5);
    let hidden = model.then("Sigmoid", &[]);
    let last = dense(&mut model, 5, 2);
    model.output(&last);
    assert_eq!(stages(&check("mixture of sigmoids", &model)), [5]);
    model.output(&hidden);
    let network = check("hidden values are an output too", &model);
    assert_eq!((stages(&network), network.client_ops.names()), (vec![5], vec![]));
}

#[test]
fn parameters_of_the_model_stay_with_it() {
    let mut model = Onnx::new(&[1, 6]);
    dense(&mut model, 6, 5);
    let slopes = model.floats(&[5], &[0.1, 0.2, 0.3, 0.4, 0.5]);
    model.then_with("PRelu", &[&slopes], &[]);
    let network = check("a slope an element", &model);
    assert_eq!((stages(&network), network.client_ops.names()), (vec![5], vec![]));
    let mut model = Onnx::new(&[1, 6]);
    dense(&mut model, 6, 5);
    let z = model.last();
    let square = model.node("Mul", &[&z, &z], &[]);
    let gains = model.floats(&[5], &[0.5, 1.5, -1.0, 2.0, 3.0]);
    model.node("Mul", &[&square, &gains], &[]);
    let network = check("a gain an element", &model);
    assert_eq!((stages(&network), network.client_ops.names()), (vec![5], vec![]));
    let mut model = Onnx::new(&[1, 6]);
    let means = model.weights(&[6]);
    let difference = model.node("Sub", &["x", &means], &[]);
    let square = model.node("Mul", &[&difference, &difference], &[]);
    let axes = model.integers(&[1]);
    model.node("ReduceSum", &[&square, &axes], &[]);
    let network = check("distance from a secret centre", &model);
    assert_eq!((stages(&network), network.client_ops.names()), (vec![6], vec![]));
}

#[test]
fn probabilities_and_names_of_classes() {
    let mut model = Onnx::with_free_axes(&[None, Some(6)]);
    dense(&mut model, 6, 3);
    let probabilities = model.then("Softmax", &[("axis", Int(1))]);
    let index = model.node("ArgMax", &[&probabilities], &[("axis", Int(1)), ("keepdims", Int(0))]);
    let names = model.texts(&["ant", "bee", "wasp"]);
    let label = model.node("Gather", &[&names, &index], &[("axis", Int(0))]);
    let numbers = model.integers(&[7, -1, 30]);
    let number = model.node("Gather", &[&numbers, &index], &[("axis", Int(0))]);
    let zipped = model.node("ZipMap", &[&probabilities], &[("classlabels_strings", Texts(vec!["ant", "bee", "wasp"]))]);
    for output in [&label, &zipped, &number, &probabilities] {
        model.output(output);
    }
    let bytes = model.build();
    let network = import_bytes(&bytes).expect("a classifier");
    assert_eq!((network.output_rows.len(), network.client_ops.class_axis()), (3, Some(1)), "the scores, once");
    let outputs = &network.client_ops.outputs;
    assert_eq!(outputs.iter().map(|o| &o.name).collect::<Vec<_>>(), [&label, &zipped, &number, &probabilities]);
    assert_eq!(outputs[0].kind, ElementKind::Label(vec!["ant".into(), "bee".into(), "wasp".into()]));
    assert_eq!(outputs[1].columns, ["ant", "bee", "wasp"]);
    assert!(outputs[2].kind == ElementKind::Integer && outputs[3].columns.is_empty());
    for x in samples(&network) {
        let found = answers(&network, &x);
        let p = &found[1].values;
        let class = (0..3).max_by(|&a, &b| p[a].total_cmp(&p[b])).expect("three classes");
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-9 && found[3].values == *p);
        assert_eq!((found[0].values[0], found[0].shape.as_slice()), (class as f64, &[1][..]));
        assert_eq!(found[2].values[0], [7.0, -1.0, 30.0][class]);
    }
}

#[test]
fn a_binary_classifier_decrypts_one_value() {
    let mut model = Onnx::with_free_axes(&[None, Some(6)]);
    dense(&mut model, 6, 1);
    let positive = model.then("Sigmoid", &[]);
    let one = model.floats(&[1], &[1.0]);
    let negative = model.node("Sub", &[&one, &positive], &[]);
    let both = model.node("Concat", &[&negative, &positive], &[("axis", Int(1))]);
    let label = model.node("ArgMax", &[&both], &[("axis", Int(1)), ("keepdims", Int(0))]);
    model.output(&label);
    model.output(&both);
    let network = check("binary", &model);
    assert_eq!((network.output.shape.as_slice(), stages(&network)), (&[1, 1][..], vec![]));
    let decide = |logit: f64| network.client_ops.decision(&[1, 1], &[logit]);
    assert_eq!((decide(0.3), decide(-0.3)), (Some(vec![1]), Some(vec![0])));
}

#[test]
fn several_heads_share_a_layer() {
    let mut model = Onnx::with_free_axes(&[None, Some(6)]);
    dense(&mut model, 6, 5);
    let hidden = model.then("Relu", &[]);
    let head = |model: &mut Onnx, to| {
        let w = model.weights(&[5, to]);
        model.node("MatMul", &[&hidden, &w], &[])
    };
    let (digit, odd) = (head(&mut model, 4), head(&mut model, 1));
    let odd = model.node("Sigmoid", &[&odd], &[]);
    model.output(&digit);
    model.output(&odd);
    let again = model.node("Identity", &[&digit], &[]);
    model.output(&again);
    let network = check("two heads", &model);
    assert_eq!((stages(&network), network.output.shape.as_slice()), (vec![5], &[1, 5][..]));
}

#[test]
fn every_operator_of_the_client() {
    let two = |model: &mut Onnx| model.integers(&[2]);
    let mut ends: Vec<(&str, End)> = Vec::new();
    ends.push((
        "LogSoftmax, then a slice of it",
        Box::new(|model| {
            model.then("LogSoftmax", &[("axis", Int(-1))]);
            let (from, to, axes) = (model.integers(&[1]), model.integers(&[3]), model.integers(&[1]));
            model.then_with("Slice", &[&from, &to, &axes], &[]);
            model.then("Flatten", &[]);
        }),
    ));
    ends.push((
        "ArgMin",
        Box::new(|model| {
            model.then("ArgMin", &[("axis", Int(1)), ("select_last_index", Int(1)), ("keepdims", Int(0))]);
        }),
    ));
    ends.push((
        "Hardmax",
        Box::new(|model| {
            model.then("Hardmax", &[("axis", Int(1))]);
        }),
    ));
    ends.push((
        "Softmax of several axes of an old opset",
        Box::new(|model| {
            let shape = model.integers(&[1, 2, 2]);
            model.then_with("Reshape", &[&shape], &[]);
            model.then("Softmax", &[("axis", Int(-1))]);
            model.then("Transpose", &[("perm", Ints(vec![0, 2, 1]))]);
        }),
    ));
    ends.push((
        "F.normalize",
        Box::new(|model| {
            let z = model.last();
            let norm = model.then("ReduceL2", &[("axes", Ints(vec![1])), ("keepdims", Int(1))]);
            let least = model.floats(&[], &[1e-12]);
            let norm = model.node("Clip", &[&norm, &least], &[]);
            let shape = model.node("Shape", &[&z], &[]);
            let norm = model.node("Expand", &[&norm, &shape], &[]);
            model.node("Div", &[&z, &norm], &[]);
        }),
    ));
    for norm in ["L1", "L2", "MAX"] {
        ends.push((
            "Normalizer",
            Box::new(move |model| {
                model.then("Normalizer", &[("norm", Text(norm))]);
            }),
        ));
    }
    ends.push((
        "Softmax against a threshold",
        Box::new(|model| {
            let p = model.then("Softmax", &[("axis", Int(1))]);
            let (t, zero) = (model.floats(&[1], &[0.25]), model.floats(&[1], &[-1.0]));
            let above = model.node("Greater", &[&p, &t], &[]);
            model.node("Where", &[&above, &p, &zero], &[]);
        }),
    ));
    ends.push((
        "Binarizer",
        Box::new(|model| {
            model.then("Binarizer", &[("threshold", Float(0.1))]);
        }),
    ));
    ends.push((
        "the larger of two functions",
        Box::new(|model| {
            let z = model.last();
            let (a, b) = (model.node("Sigmoid", &[&z], &[]), model.node("Softmax", &[&z], &[]));
            model.node("Max", &[&a, &b], &[]);
        }),
    ));
    for (name, end) in ends {
        let mut model = Onnx::new(&[1, 6]);
        dense(&mut model, 6, 4);
        end(&mut model);
        let network = check(name, &model);
        assert!(network.stages.is_empty(), "{name}: {:?}", stages(&network));
        assert!(!network.client_ops.names().is_empty(), "{name}");
    }
    let mut model = Onnx::new(&[1, 6]);
    let scores = dense(&mut model, 6, 4);
    let count = two(&mut model);
    let top = model.nodes_with_outputs("TopK", &[&scores, &count], &[("axis", Int(1))], 2);
    top.iter().for_each(|output| model.output(output));
    let network = check("TopK", &model);
    assert_eq!(network.client_ops.outputs[1].kind, ElementKind::Integer);
}

#[test]
fn comparisons_are_truth_values() {
    let mut model = Onnx::new(&[1, 6]);
    dense(&mut model, 6, 4);
    let zero = model.floats(&[1], &[0.0]);
    model.then_with("Greater", &[&zero], &[]);
    let network = check("greater", &model);
    assert!(network.stages.is_empty());
    assert_eq!(network.client_ops.outputs[0].kind, ElementKind::Boolean);
    assert_eq!(network.client_ops.decision(&[1, 4], &[0.5, -0.5, 1.0, -1.0]), Some(vec![1, 0, 1, 0]));
}

#[test]
fn several_inputs_stand_one_after_another() {
    let mut model = Onnx::with_free_axes(&[None, Some(2)]);
    model.input("y", &[None, Some(1), Some(3)]);
    let shape = model.integers(&[-1, 3]);
    let y = model.node("Reshape", &["y", &shape], &[]);
    model.node("Concat", &["x", &y], &[("axis", Int(1))]);
    dense(&mut model, 5, 3);
    model.then("Relu", &[]);
    dense(&mut model, 3, 2);
    let network = check("two inputs", &model);
    assert_eq!((network.input.name.as_str(), network.input.shape.as_slice()), ("x, y", &[1, 5][..]));
    assert_eq!(network.inputs[1].shape, [1, 1, 3]);
}

#[test]
fn what_the_client_computes_is_no_input_of_a_layer() {
    let mut model = Onnx::new(&[1, 6]);
    dense(&mut model, 6, 4);
    model.then("Softmax", &[("axis", Int(1))]);
    dense(&mut model, 4, 2);
    let refused = import_bytes(&model.build()).expect_err("not supported").to_string();
    assert!(refused.contains("Softmax") && refused.contains("before other layers"), "{refused}");
}

#[test]
fn texts_are_not_made_of_decrypted_numbers() {
    let mut model = Onnx::new(&[1, 4]);
    model.node("Cast", &["x"], &[("to", Int(8))]);
    let refused = import_bytes(&model.build()).expect_err("not numbers").to_string();
    assert!(refused.contains("Cast") && refused.contains("numbers become texts"), "{refused}");
}
