//! Every operator, with odd attributes, against tract in plaintext.

mod onnx;

use heman_core::model::network::Network;
use heman_import::{ImportError, PlainModel, import_bytes};
use onnx::Attr::{Float, Int, Ints, Text};
use onnx::{Onnx, damaged};

/// Name, input shape, kernel shape, attributes.
type ConvCase<'a> = (&'a str, Vec<i64>, Vec<i64>, Vec<(&'a str, onnx::Attr)>);

/// Compares the lowered model with tract on inputs in (0.05, 1) and, unless `positive`, around zero.
fn check(name: &str, model: &Onnx, positive: bool) -> Network {
    let bytes = model.build();
    let network = import_bytes(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    let plain = PlainModel::from_bytes(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    for seed in 1..4 {
        let x: Vec<f32> = (0..network.input.len())
            .map(|i| {
                let v = ((i * 37 + seed * 101) % 97) as f32 / 97.0;
                if positive { 0.05 + 0.95 * v } else { 2.0 * v - 1.013 }
            })
            .collect();
        let want = plain.run(&x).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (_, decrypted) = network.evaluate(&x.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
        let answers = network.client_ops.run(&network.output.shape, &decrypted).expect("the client's program");
        let got = &answers[0].values;
        assert_eq!(got.len(), want.len(), "{name}");
        let scale = want.iter().fold(0.1_f32, |m, v| m.max(v.abs()));
        for (i, (g, w)) in got.iter().zip(&want).enumerate() {
            assert!((*g as f32 - w).abs() <= 2e-4 * scale, "{name}: element {i} is {g} instead of {w}");
        }
    }
    network
}

/// A dense layer over the last axis: with it behind them, functions are not the client's.
fn then_dense(model: &mut Onnx, length: i64) {
    let w = model.weights(&[length, 2]);
    model.then_with("MatMul", &[&w], &[]);
}

fn activations(network: &Network) -> Vec<usize> {
    network.stages.iter().map(|stage| stage.rows.len()).collect()
}

#[test]
fn convolutions_of_every_kind() {
    let ints = |v: &[i64]| Ints(v.to_vec());
    let cases: Vec<ConvCase<'_>> = vec![
        ("1d", vec![1, 2, 9], vec![3, 2, 3], vec![]),
        ("1d stride pad", vec![1, 2, 9], vec![3, 2, 3], vec![("strides", ints(&[2])), ("pads", ints(&[2, 1]))]),
        (
            "2d asymmetric",
            vec![1, 2, 7, 6],
            vec![4, 2, 3, 2],
            vec![("pads", ints(&[1, 0, 2, 1])), ("strides", ints(&[2, 1]))],
        ),
        ("2d dilated", vec![1, 1, 9, 9], vec![2, 1, 3, 3], vec![("dilations", ints(&[2, 3]))]),
        ("2d groups", vec![1, 4, 5, 5], vec![6, 2, 3, 3], vec![("group", Int(2))]),
        ("depthwise", vec![1, 3, 5, 5], vec![3, 1, 3, 3], vec![("group", Int(3)), ("pads", ints(&[1, 1, 1, 1]))]),
        (
            "same upper",
            vec![1, 1, 6, 7],
            vec![2, 1, 3, 4],
            vec![("auto_pad", Text("SAME_UPPER")), ("strides", ints(&[2, 2]))],
        ),
        (
            "same lower",
            vec![1, 1, 6, 7],
            vec![2, 1, 3, 4],
            vec![("auto_pad", Text("SAME_LOWER")), ("strides", ints(&[2, 2]))],
        ),
        ("1x1", vec![1, 5, 3, 3], vec![2, 5, 1, 1], vec![]),
        ("3d", vec![1, 2, 4, 4, 4], vec![2, 2, 2, 3, 2], vec![("pads", ints(&[0, 1, 0, 1, 0, 1]))]),
    ];
    for (name, input, kernel, attributes) in cases {
        let mut model = Onnx::new(&input);
        let (w, b) = (model.weights(&kernel), model.weights(&[kernel[0]]));
        model.node("Conv", &["x", &w, &b], &attributes);
        assert!(check(name, &model, false).stages.is_empty());
    }
    for (name, kernel, attributes) in [
        ("plain", vec![2, 3, 3, 3], vec![]),
        ("stride 2", vec![2, 3, 3, 3], vec![("strides", ints(&[2, 2])), ("pads", ints(&[1, 1, 1, 1]))]),
        (
            "output padding",
            vec![2, 3, 3, 3],
            vec![("strides", ints(&[2, 2])), ("output_padding", ints(&[1, 1])), ("pads", ints(&[1, 0, 1, 0]))],
        ),
        ("groups", vec![2, 2, 2, 2], vec![("group", Int(2)), ("strides", ints(&[2, 2]))]),
        ("dilated", vec![2, 1, 2, 2], vec![("dilations", ints(&[2, 2]))]),
    ] {
        let mut model = Onnx::new(&[1, 2, 4, 5]);
        let w = model.weights(&kernel);
        model.node("ConvTranspose", &["x", &w], &attributes);
        check(&format!("ConvTranspose {name}"), &model, false);
    }
}

#[test]
fn dense_layers_and_broadcasts() {
    let mut model = Onnx::new(&[1, 6]);
    let (w, b) = (model.weights(&[4, 6]), model.weights(&[4]));
    model.node("Gemm", &["x", &w, &b], &[("transB", Int(1)), ("alpha", Float(0.5)), ("beta", Float(2.0))]);
    check("Gemm", &model, false);
    let mut model = Onnx::new(&[1, 3, 4]);
    let w = model.weights(&[4, 5]);
    model.node("MatMul", &["x", &w], &[]);
    check("MatMul right", &model, false);
    let mut model = Onnx::new(&[1, 3, 4]);
    let w = model.weights(&[2, 3]);
    model.node("MatMul", &[&w, "x"], &[]);
    check("MatMul left", &model, false);
    for operator in ["Add", "Sub", "Mul", "Div"] {
        for (shape, first) in [(vec![1], false), (vec![3, 1], false), (vec![2, 3, 4], false), (vec![4], true)] {
            let mut model = Onnx::new(&[2, 3, 4]);
            let c =
                model.floats(&shape, &(1..=shape.iter().product::<i64>()).map(|v| v as f32 * 0.3).collect::<Vec<_>>());
            let inputs = if first { [c.as_str(), "x"] } else { ["x", c.as_str()] };
            model.node(operator, &inputs, &[]);
            let network = check(&format!("{operator} {shape:?}"), &model, true);
            assert_eq!(network.stages.is_empty(), !(first && operator == "Div"), "{operator} {shape:?}");
        }
    }
    let mut model = Onnx::new(&[1, 2, 3, 3]);
    let (s, b, m) = (model.weights(&[2]), model.weights(&[2]), model.weights(&[2]));
    let v = model.floats(&[2], &[0.5, 2.0]);
    model.node("BatchNormalization", &["x", &s, &b, &m, &v], &[("epsilon", Float(1e-3))]);
    assert!(check("BatchNormalization", &model, false).stages.is_empty());
}

#[test]
fn pooling_and_reductions() {
    let ints = |v: &[i64]| Ints(v.to_vec());
    for (name, attributes) in [
        ("2x2", vec![("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))]),
        ("padded", vec![("kernel_shape", ints(&[3, 3])), ("strides", ints(&[2, 2])), ("pads", ints(&[1, 1, 1, 1]))]),
        (
            "padded, counted",
            vec![("kernel_shape", ints(&[3, 3])), ("pads", ints(&[1, 1, 1, 1])), ("count_include_pad", Int(1))],
        ),
        ("ceil", vec![("kernel_shape", ints(&[2, 3])), ("strides", ints(&[2, 2])), ("ceil_mode", Int(1))]),
    ] {
        for operator in ["AveragePool", "MaxPool"] {
            if operator == "MaxPool" && name.contains("counted") {
                continue;
            }
            let mut model = Onnx::new(&[1, 2, 7, 6]);
            model.node(operator, &["x"], &attributes);
            let network = check(&format!("{operator} {name}"), &model, false);
            assert_eq!(network.stages.is_empty(), operator == "AveragePool");
        }
    }
    for operator in ["GlobalAveragePool", "GlobalMaxPool"] {
        let mut model = Onnx::new(&[1, 2, 3, 4]);
        model.node(operator, &["x"], &[]);
        check(operator, &model, false);
    }
    for operator in ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare"] {
        for keep in [0, 1] {
            let mut model = Onnx::new(&[1, 2, 3, 4]);
            model.node(operator, &["x"], &[("axes", ints(&[-1, 1])), ("keepdims", Int(keep))]);
            check(operator, &model, false);
        }
    }
    let mut model = Onnx::new(&[1, 2, 3, 4]);
    let axes = model.integers(&[2]);
    model.node("ReduceSum", &["x", &axes], &[]);
    assert!(check("ReduceSum", &model, false).stages.is_empty());
}

#[test]
fn data_movement_is_free() {
    let ints = |v: &[i64]| Ints(v.to_vec());
    let mut cases: Vec<(&str, Onnx)> = Vec::new();
    let mut case = |name: &'static str, shape: &[i64], build: &dyn Fn(&mut Onnx)| {
        let mut model = Onnx::new(shape);
        build(&mut model);
        cases.push((name, model));
    };
    case("Flatten", &[1, 2, 3, 4], &|m| drop(m.node("Flatten", &["x"], &[])));
    case("Reshape", &[1, 2, 6], &|m| {
        let s = m.integers(&[0, -1, 3]);
        m.node("Reshape", &["x", &s], &[]);
    });
    case("Transpose", &[1, 2, 3, 4], &|m| drop(m.node("Transpose", &["x"], &[("perm", ints(&[0, 3, 1, 2]))])));
    case("Squeeze", &[1, 2, 1, 4], &|m| {
        let a = m.integers(&[2]);
        m.node("Squeeze", &["x", &a], &[]);
    });
    case("Unsqueeze", &[1, 2, 4], &|m| {
        let a = m.integers(&[-1, 1]);
        m.node("Unsqueeze", &["x", &a], &[]);
    });
    case("Concat", &[1, 2, 4], &|m| {
        let c = m.weights(&[1, 3, 4]);
        m.node("Concat", &["x", &c, "x"], &[("axis", Int(-2))]);
    });
    case("Slice", &[1, 6, 5], &|m| {
        let (s, e) = (m.integers(&[4, 1]), m.integers(&[0, 5]));
        let (a, t) = (m.integers(&[1, 2]), m.integers(&[-2, 3]));
        m.node("Slice", &["x", &s, &e, &a, &t], &[]);
    });
    case("Gather", &[1, 6, 5], &|m| {
        let i = m.integers(&[5, 0, 0, 2]);
        m.node("Gather", &["x", &i], &[("axis", Int(1))]);
    });
    case("Identity", &[1, 3], &|m| drop(m.node("Identity", &["x"], &[])));
    case("Dropout", &[1, 3], &|m| drop(m.node("Dropout", &["x"], &[])));
    case("Cast", &[1, 3], &|m| drop(m.node("Cast", &["x"], &[("to", Int(1))])));
    case("Expand", &[1, 3, 1], &|m| {
        let s = m.integers(&[1, 3, 4]);
        m.node("Expand", &["x", &s], &[]);
    });
    case("Pad constant", &[1, 2, 4, 5], &|m| {
        let (p, v) = (m.integers(&[0, 0, 1, 2, 0, 0, 3, 1]), m.floats(&[], &[0.75]));
        m.node("Pad", &["x", &p, &v], &[("mode", Text("constant"))]);
    });
    for (name, mode) in [("Pad edge", "edge"), ("Pad reflect", "reflect")] {
        case(name, &[1, 2, 4, 5], &|m| {
            let p = m.integers(&[0, 0, 1, 2, 0, 0, 3, 1]);
            m.node("Pad", &["x", &p], &[("mode", Text(mode))]);
        });
    }
    case("Split", &[1, 6, 2], &|m| {
        let parts = m.integers(&[2, 4]);
        let outputs = m.nodes_with_outputs("Split", &["x", &parts], &[("axis", Int(1))], 2);
        m.node("Concat", &[&outputs[1], &outputs[0]], &[("axis", Int(1))]);
    });
    for (name, model) in cases {
        let network = check(name, &model, false);
        assert!(network.stages.is_empty(), "{name} costs no bootstrap");
    }
}

#[test]
fn every_univariate_function_is_one_table() {
    let around_zero: Vec<(&str, Vec<(&str, onnx::Attr)>)> = vec![
        ("Relu", vec![]),
        ("LeakyRelu", vec![("alpha", Float(0.2))]),
        ("Sigmoid", vec![]),
        ("HardSigmoid", vec![("alpha", Float(0.3)), ("beta", Float(0.4))]),
        ("HardSwish", vec![]),
        ("Tanh", vec![]),
        ("Softplus", vec![]),
        ("Softsign", vec![]),
        ("Elu", vec![("alpha", Float(0.7))]),
        ("Selu", vec![]),
        ("Celu", vec![("alpha", Float(0.8))]),
        ("ThresholdedRelu", vec![("alpha", Float(0.3))]),
        ("Mish", vec![]),
        ("Erf", vec![]),
        ("Exp", vec![]),
        ("Abs", vec![]),
        ("Sign", vec![]),
        ("Floor", vec![]),
        ("Ceil", vec![]),
        ("Round", vec![]),
        ("Sin", vec![]),
        ("Cos", vec![]),
        ("Tan", vec![]),
        ("Sinh", vec![]),
        ("Cosh", vec![]),
        ("Atan", vec![]),
        ("Asinh", vec![]),
    ];
    for (operator, attributes) in around_zero {
        let mut model = Onnx::new(&[1, 2, 3]);
        model.node(operator, &["x"], &attributes);
        assert_eq!(activations(&check(operator, &model, false)), [6], "{operator}");
    }
    for operator in ["Log", "Sqrt", "Reciprocal"] {
        let mut model = Onnx::new(&[1, 6]);
        model.node(operator, &["x"], &[]);
        assert_eq!(activations(&check(operator, &model, true)), [6], "{operator}");
    }
    for (operator, constant) in [("Pow", 2.0), ("Pow", 3.0), ("Pow", 0.5), ("Max", 0.2), ("Min", 0.3)] {
        let mut model = Onnx::new(&[1, 6]);
        let c = model.floats(&[], &[constant]);
        model.node(operator, &["x", &c], &[]);
        assert_eq!(activations(&check(operator, &model, true)), [6], "{operator} {constant}");
    }
    let mut model = Onnx::new(&[1, 6]);
    let (low, high) = (model.floats(&[], &[-0.4]), model.floats(&[], &[0.5]));
    model.node("Clip", &["x", &low, &high], &[]);
    assert_eq!(activations(&check("Clip", &model, false)), [6]);
    let mut model = Onnx::new(&[1, 3, 2, 2]);
    let slope = model.floats(&[3, 1, 1], &[0.1, 0.5, -0.2]);
    model.node("PRelu", &["x", &slope], &[]);
    let network = check("PRelu", &model, false);
    assert_eq!((activations(&network), network.stages[0].functions.len()), (vec![12], 3));
}

#[test]
fn chains_and_spelled_out_functions_fuse_to_one_table() {
    let mut model = Onnx::new(&[1, 5]);
    let (w, half, root, one) = (
        model.weights(&[5, 4]),
        model.floats(&[], &[0.5]),
        model.floats(&[], &[std::f32::consts::SQRT_2]),
        model.floats(&[], &[1.0]),
    );
    let z = model.node("MatMul", &["x", &w], &[]);
    let scaled = model.node("Div", &[&z, &root], &[]);
    let erf = model.node("Erf", &[&scaled], &[]);
    let plus = model.node("Add", &[&erf, &one], &[]);
    let product = model.node("Mul", &[&z, &plus], &[]);
    model.node("Mul", &[&product, &half], &[]);
    then_dense(&mut model, 4);
    assert_eq!(activations(&check("gelu spelled out", &model, false)), [4]);

    let mut model = Onnx::new(&[1, 5]);
    let s = model.node("Sigmoid", &["x"], &[]);
    model.node("Mul", &["x", &s], &[]);
    assert_eq!(activations(&check("swish spelled out", &model, false)), [5]);

    let mut model = Onnx::new(&[1, 2, 3]);
    let c = model.floats(&[2, 1], &[0.5, 2.0]);
    model.node("Tanh", &["x"], &[]);
    model.then_with("Mul", &[&c], &[]);
    model.then("Exp", &[]);
    model.then("Relu", &[]);
    assert_eq!(activations(&check("chain", &model, false)), [6]);

    let mut model = Onnx::new(&[1, 4]);
    model.node("Mul", &["x", "x"], &[]);
    assert_eq!(activations(&check("square", &model, false)), [4]);
}

#[test]
fn two_encrypted_tensors() {
    for (operator, stages) in [("Add", 0), ("Sub", 0), ("Mul", 1), ("Max", 1), ("Min", 1)] {
        let mut model = Onnx::new(&[1, 6]);
        let (a, b) = (model.weights(&[6, 4]), model.weights(&[6, 4]));
        let (y, z) = (model.node("MatMul", &["x", &a], &[]), model.node("MatMul", &["x", &b], &[]));
        model.node(operator, &[&y, &z], &[]);
        then_dense(&mut model, 4);
        assert_eq!(check(operator, &model, false).stages.len(), stages, "{operator}");
    }
    let mut model = Onnx::new(&[1, 3, 4]);
    let (a, b) = (model.weights(&[4, 5]), model.weights(&[4, 5]));
    let (keys, queries) = (model.node("MatMul", &["x", &a], &[]), model.node("MatMul", &["x", &b], &[]));
    let queries = model.node("Tanh", &[&queries], &[]);
    let keys = model.node("Transpose", &[&keys], &[("perm", Ints(vec![0, 2, 1]))]);
    model.node("MatMul", &[&queries, &keys], &[]);
    model.then("Relu", &[]);
    then_dense(&mut model, 3);
    assert_eq!(activations(&check("product of matrices", &model, false)), [15, 45, 9]);
    let mut model = Onnx::new(&[1, 3, 4, 4]);
    let mean = model.node("GlobalAveragePool", &["x"], &[]);
    let gate = model.node("Sigmoid", &[&mean], &[]);
    model.node("Mul", &["x", &gate], &[]);
    then_dense(&mut model, 4);
    let network = check("gated channels", &model, false);
    assert_eq!((activations(&network), network.stages[1].functions.len()), (vec![3, 48], 3));
    let mut model = Onnx::new(&[1, 3, 5, 5]);
    let (w, v) = (model.weights(&[3, 3, 3, 3]), model.weights(&[3, 3, 3, 3]));
    let pads = || vec![("pads", Ints(vec![1, 1, 1, 1]))];
    let first = model.node("Conv", &["x", &w], &pads());
    let active = model.node("Relu", &[&first], &[]);
    let second = model.node("Conv", &[&active, &v], &pads());
    let sum = model.node("Add", &[&second, "x"], &[]);
    model.node("Relu", &[&sum], &[]);
    then_dense(&mut model, 5);
    assert_eq!(activations(&check("residual block", &model, false)), [75, 75]);
}

#[test]
fn trailing_softmax_and_argmax_are_for_the_client() {
    let mut model = Onnx::with_free_axes(&[None, Some(6)]);
    let w = model.weights(&[6, 4]);
    model.node("MatMul", &["x", &w], &[]);
    model.then("Softmax", &[("axis", Int(-1))]);
    let network = check("softmax", &model, false);
    assert_eq!((network.client_ops.names(), network.output.shape), (vec!["Softmax".to_string()], vec![1, 4]));
    let mut model = Onnx::new(&[1, 6]);
    model.node("ArgMax", &["x"], &[("axis", Int(1)), ("keepdims", Int(0))]);
    assert_eq!(check("argmax", &model, false).client_ops.names(), ["ArgMax"]);
}

fn refusal(model: &Onnx) -> String {
    import_bytes(&model.build()).expect_err("not supported").to_string()
}

#[test]
fn what_is_not_supported_is_refused_with_every_node() {
    let mut model = Onnx::new(&[1, 6]);
    model.node("Softmax", &["x"], &[("axis", Int(1))]);
    then_dense(&mut model, 6);
    assert!(refusal(&model).contains("before other layers"));

    let mut model = Onnx::new(&[1, 6]);
    model.node("NoSuchOperator", &["x"], &[]);
    model.then("AnotherOne", &[]);
    let text = refusal(&model);
    assert!(text.contains("2 nodes") && text.contains("NoSuchOperator") && text.contains("AnotherOne"), "{text}");

    let mut model = Onnx::new(&[1, 4, 4]);
    let y = model.node("MatMul", &["x", "x"], &[]);
    let z = model.node("CumSum", &["x", "axis"], &[]);
    model.node("Add", &[&y, &z], &[]);
    assert!(import_bytes(&model.build()).is_err());

    let mut model = Onnx::new(&[1, 4, 4]);
    let y = model.node("MatMul", &["x", "x"], &[]);
    let a = model.node("Relu", &[&y], &[]);
    let b = model.node("Relu", &["x"], &[]);
    let c = model.node("Div", &[&b, "x"], &[]);
    model.node("Pow", &[&c, &a], &[]);
    then_dense(&mut model, 4);
    let text = refusal(&model);
    assert!(text.contains("Pow") && text.contains("two encrypted tensors"), "{text}");

    let model = Onnx::with_free_axes(&[Some(1), None]);
    let mut model = model;
    model.node("Relu", &["x"], &[]);
    assert!(refusal(&model).contains("free axes"));

    let mut model = Onnx::new(&[1, 2]);
    let c = model.floats(&[2], &[f32::NAN, 1.0]);
    model.node("Mul", &["x", &c], &[]);
    assert!(refusal(&model).contains("not a finite number"));
}

#[test]
fn damaged_files_are_errors_not_panics() {
    let mut model = Onnx::new(&[1, 1, 6, 6]);
    let w = model.weights(&[2, 1, 3, 3]);
    model.node("Conv", &["x", &w], &[("pads", Ints(vec![1, 1, 1, 1]))]);
    model.then("Relu", &[]);
    model.then("MaxPool", &[("kernel_shape", Ints(vec![2, 2]))]);
    let sound = model.build();
    for bad in damaged(&sound, 1) {
        let _ = import_bytes(&bad);
    }
    assert!(matches!(import_bytes(b"not a model"), Err(ImportError::NotOnnx(_))));
}
