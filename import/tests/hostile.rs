//! Small files that ask for much work, memory or stack, and files that contradict themselves: each is answered with a
//! sentence, or read, within seconds.

mod onnx;

use std::time::{Duration, Instant};

use heman_core::deadline::Deadline;
use heman_import::{ImportError, PlainModel, import_bytes, import_file_with};
use onnx::Attr::{Int, Ints};
use onnx::Onnx;
use prost::Message;
use tract_onnx::pb::ModelProto;

/// The most that a file may take here: tests run on busy machines, without optimisation of the graph library.
const MOST: Duration = Duration::from_secs(60);

fn refusal(what: &str, model: &Onnx) -> String {
    let start = Instant::now();
    let result = import_bytes(&model.build());
    assert!(start.elapsed() < MOST, "{what} took {:?}", start.elapsed());
    match result {
        Ok(_) => panic!("{what} was read"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn doubling_a_tensor_again_and_again_ends_with_a_sentence() {
    let mut model = Onnx::new(&[1, 16]);
    for _ in 0..60 {
        let last = model.last();
        model.node("Concat", &[&last, &last], &[("axis", Int(1))]);
    }
    let error = refusal("a chain of Concat", &model);
    assert!(error.contains("keep tensors below"), "{error}");
}

#[test]
fn doubling_a_constant_again_and_again_ends_with_a_sentence() {
    let mut model = Onnx::new(&[1, 1]);
    let mut constant = model.weights(&[1]);
    for _ in 0..60 {
        constant = model.node("Concat", &[&constant, &constant], &[("axis", Int(0))]);
    }
    let largest = model.node("ReduceMax", &[&constant], &[("keepdims", Int(0))]);
    model.node("Add", &["x", &largest], &[]);
    let error = refusal("a chain of Concat on constants", &model);
    assert!(error.contains("keep tensors below"), "{error}");
}

#[test]
fn a_sum_that_is_repeated_and_scaled_does_not_multiply_its_terms() {
    let mut model = Onnx::new(&[1, 4096]);
    let sum = model.node("ReduceSum", &["x"], &[("keepdims", Int(1))]);
    let to = model.integers(&[1, 1 << 20]);
    let wide = model.node("Expand", &[&sum, &to], &[]);
    let scales = model.weights(&[1, 1 << 20]);
    model.node("Mul", &[&wide, &scales], &[]);
    // A product of matrices is not the client's, and neither is what stands before it.
    let matrix = model.weights(&[1 << 20, 1]);
    model.then_with("MatMul", &[&matrix], &[]);
    let error = refusal("a sum that is repeated", &model);
    assert!(error.contains("steps to lower"), "{error}");
}

#[test]
fn axes_that_a_tensor_does_not_have_are_refused() {
    for operator in ["LayerNormalization", "Softmax", "Flatten", "ArgMax", "Concat", "CumSum"] {
        for axis in [9, -9, i64::MAX, i64::MIN] {
            let mut model = Onnx::new(&[1, 16]);
            let scale = model.weights(&[16]);
            let inputs = if operator == "LayerNormalization" { vec!["x", &scale] } else { vec!["x"] };
            model.node(operator, &inputs, &[("axis", Int(axis))]);
            let error = refusal(operator, &model);
            assert!(!error.contains("inconsistent"), "{operator} on axis {axis}: {error}");
        }
    }
    let mut model = Onnx::new(&[1, 16]);
    model.node("Transpose", &["x"], &[("perm", Ints(vec![0, 0]))]);
    assert!(refusal("a wrong order", &model).contains("no order of axes"));
}

#[test]
fn long_chains_are_read_or_refused_at_once() {
    for (length, is_read) in [(2000, true), (100_000, false)] {
        let mut model = Onnx::new(&[1, 4]);
        for _ in 0..length {
            model.then("Neg", &[]);
        }
        let start = Instant::now();
        let result = import_bytes(&model.build());
        assert!(start.elapsed() < MOST, "{length} nodes took {:?}", start.elapsed());
        assert_eq!(result.is_ok(), is_read, "{length} nodes");
    }
}

#[test]
fn a_model_that_takes_longer_than_it_may_is_refused_at_once() {
    let mut model = Onnx::new(&[1, 4]);
    for _ in 0..4000 {
        model.then("Neg", &[]);
    }
    let file = std::env::temp_dir().join(format!("heman-late-{}.onnx", std::process::id()));
    std::fs::write(&file, model.build()).expect("a temporary file");
    let read = |allowed: Duration| {
        let start = Instant::now();
        (import_file_with(&file, &[], Deadline::after(allowed)), start.elapsed())
    };
    let (in_time, _) = read(MOST);
    assert!(in_time.is_ok(), "{:?}", in_time.err());
    let (late, took) = read(Duration::from_millis(1));
    assert!(matches!(late, Err(ImportError::Late(_))), "{:?}", late.err());
    // Nobody waits for the thread that is at it.
    assert!(took < Duration::from_secs(1), "{took:?}");
    std::fs::remove_file(&file).expect("our own file");
}

/// A small xorshift generator: the files are the same in every run.
struct Bits(u64);

impl Bits {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }

    fn number(&mut self) -> i64 {
        const EDGES: [i64; 14] =
            [0, 1, -1, 2, 3, 7, 64, -64, 1 << 16, 1 << 31, -(1 << 31), 1 << 40, i64::MAX, i64::MIN];
        EDGES[self.next(EDGES.len())]
    }
}

/// Changes one number or name of a model.
fn mutate(model: &mut ModelProto, bits: &mut Bits) {
    let Some(graph) = model.graph.as_mut() else { return };
    let (nodes, constants) = (graph.node.len(), graph.initializer.len());
    match bits.next(8) {
        0 if constants > 0 => {
            let dims = &mut graph.initializer[bits.next(constants)].dims;
            match dims.len() {
                0 => dims.push(bits.number()),
                rank => dims[bits.next(rank)] = bits.number(),
            }
        }
        1 if constants > 0 => graph.initializer[bits.next(constants)].data_type = bits.next(24) as i32,
        2 if constants > 0 => {
            let values = [0_u8, 1, 127, 128, 255];
            let data = &mut graph.initializer[bits.next(constants)].raw_data;
            match data.len() {
                0 => data.push(1),
                length if bits.next(4) == 0 => data.truncate(bits.next(length)),
                length => data[bits.next(length)] = values[bits.next(values.len())],
            }
        }
        3 | 4 if nodes > 0 => {
            let node = &mut graph.node[bits.next(nodes)];
            if node.attribute.is_empty() {
                return;
            }
            let at = bits.next(node.attribute.len());
            let attribute = &mut node.attribute[at];
            match attribute.ints.len() {
                0 => attribute.i = bits.number(),
                length if bits.next(5) == 0 => attribute.ints.truncate(bits.next(length)),
                length => attribute.ints[bits.next(length)] = bits.number(),
            }
        }
        5 if nodes > 0 => {
            let other = graph.node[bits.next(nodes)].op_type.clone();
            graph.node[bits.next(nodes)].op_type = other;
        }
        6 if nodes > 0 => {
            let from = graph.node[bits.next(nodes)].output.first().cloned().unwrap_or_default();
            let node = &mut graph.node[bits.next(nodes)];
            if !node.input.is_empty() {
                let at = bits.next(node.input.len());
                node.input[at] = from;
            }
        }
        _ if nodes > 0 => {
            let node = &mut graph.node[bits.next(nodes)];
            if bits.next(2) == 0 {
                node.input.pop();
            } else {
                node.input.push("x".into());
            }
        }
        _ => {}
    }
}

/// Models of many operators, each small.
fn seeds() -> Vec<Onnx> {
    let mut convolutions = Onnx::new(&[1, 2, 6, 6]);
    let kernel = convolutions.weights(&[3, 2, 3, 3]);
    let x = "x".to_string();
    convolutions.node("Conv", &[&x, &kernel], &[("pads", Ints(vec![1, 1, 1, 1])), ("strides", Ints(vec![1, 1]))]);
    convolutions.then("Relu", &[]);
    convolutions.then("MaxPool", &[("kernel_shape", Ints(vec![2, 2])), ("strides", Ints(vec![2, 2]))]);
    convolutions.then("AveragePool", &[("kernel_shape", Ints(vec![2, 2])), ("pads", Ints(vec![1, 1, 1, 1]))]);
    convolutions.then("Flatten", &[("axis", Int(1))]);
    convolutions.then("Softmax", &[("axis", Int(1))]);
    let mut moves = Onnx::new(&[1, 4, 4]);
    moves.then("Transpose", &[("perm", Ints(vec![0, 2, 1]))]);
    let shape = moves.integers(&[2, 8]);
    moves.then_with("Reshape", &[&shape], &[]);
    let (starts, ends, axes) = (moves.integers(&[0]), moves.integers(&[6]), moves.integers(&[1]));
    moves.then_with("Slice", &[&starts, &ends, &axes], &[]);
    let repeats = moves.integers(&[1, 2]);
    moves.then_with("Tile", &[&repeats], &[]);
    let pads = moves.integers(&[0, 1, 0, 1]);
    moves.then_with("Pad", &[&pads], &[]);
    let index = moves.integers(&[0, 1]);
    moves.then_with("Gather", &[&index], &[("axis", Int(1))]);
    moves.then("ReduceMean", &[("keepdims", Int(1))]);
    let mut dense = Onnx::new(&[1, 6]);
    let w = dense.weights(&[6, 4]);
    dense.then_with("MatMul", &[&w], &[]);
    dense.then("Sigmoid", &[]);
    let scale = dense.weights(&[4]);
    dense.then_with("LayerNormalization", &[&scale], &[("axis", Int(-1))]);
    let last = dense.last();
    dense.node("Concat", &[&last, &last], &[("axis", Int(1))]);
    dense.then("ArgMax", &[("axis", Int(1)), ("keepdims", Int(0))]);
    vec![convolutions, moves, dense]
}

#[test]
fn mutated_models_are_read_or_refused() {
    let mut bits = Bits(0x9e37_79b9_7f4a_7c15);
    let (mut read, mut refused) = (0, 0);
    for seed in seeds() {
        let seed = ModelProto::decode(seed.build().as_slice()).expect("a model");
        for _ in 0..700 {
            let mut model = seed.clone();
            for _ in 0..1 + bits.next(3) {
                mutate(&mut model, &mut bits);
            }
            let bytes = model.encode_to_vec();
            let start = Instant::now();
            match import_bytes(&bytes) {
                Ok(_) => read += 1,
                Err(error) => {
                    assert!(!matches!(error, ImportError::Read { .. }), "{error}");
                    refused += 1;
                }
            }
            let _ = PlainModel::from_bytes(&bytes);
            assert!(start.elapsed() < MOST, "took {:?}: {:?}", start.elapsed(), model.graph);
        }
    }
    assert!(read > 100 && refused > 100, "{read} were read and {refused} refused");
}

#[test]
fn truncated_and_flipped_bytes_are_read_or_refused() {
    let mut bits = Bits(7);
    for seed in seeds() {
        let bytes = seed.build();
        for _ in 0..300 {
            let mut bytes = bytes.clone();
            if bits.next(3) == 0 {
                bytes.truncate(bits.next(bytes.len()));
            } else {
                let at = bits.next(bytes.len());
                bytes[at] ^= 1 << bits.next(8);
            }
            let start = Instant::now();
            let _ = import_bytes(&bytes);
            assert!(start.elapsed() < MOST, "took {:?}", start.elapsed());
        }
    }
}
