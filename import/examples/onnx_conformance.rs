//! Runs the operator tests of the ONNX standard, or any folder of cases laid out like them, through the importer.
//!
//! A case is a folder with `model.onnx` and `test_data_set_*/{input,output}_*.pb`. The first input of the model is
//! taken as encrypted and all others become initializers. Each output is imported for itself, the network is
//! evaluated in plaintext, and the result is compared with the expected tensor. Cases whose inputs or outputs are not
//! finite tensors of numbers are counted as not applicable. The process fails if any result is wrong.
//!
//! Arguments: the folder of cases, a part of the names of those to run, the tolerance.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use heman_import::{ImportError, import_bytes, import_file};
use prost::Message;
use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::pb::{ModelProto, TensorProto};
use tract_onnx::tensor::load_tensor;

/// Largest difference from the expected output, as a share of its largest entry, unless another one is given.
const TOLERANCE: f64 = 2e-3;

/// Cases whose expected data disagree with the standard's own text, and with onnxruntime: the mean counts what
/// ceil_mode adds past the padding, and integers wrap around instead of saturating.
const DISPUTED: [&str; 5] = [
    "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True",
    "test_qlinearmatmul_2D_int8_float16",
    "test_qlinearmatmul_2D_int8_float32",
    "test_qlinearmatmul_3D_int8_float16",
    "test_qlinearmatmul_3D_int8_float32",
];

enum Verdict {
    Right,
    Refused(String),
    Wrong(String),
    NotApplicable(String),
}

/// A tensor of a test: its name where it has one, and its numbers.
struct Data {
    proto: TensorProto,
    numbers: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().ok_or("a folder of cases is needed")?);
    let filter = arguments.next().unwrap_or_default();
    let tolerance = arguments.next().map_or(Ok(TOLERANCE), |text| text.parse())?;
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(&root)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    folders.retain(|folder| folder.join("model.onnx").is_file() && folder.to_string_lossy().contains(&filter));
    folders.sort();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for folder in &folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let (kind, text) = match case(folder, tolerance) {
            Ok(Verdict::Right) => ("right", String::new()),
            Ok(Verdict::Refused(text)) => ("refused", text),
            Ok(Verdict::Wrong(text)) if DISPUTED.contains(&&*name) => ("disputed", text),
            Ok(Verdict::Wrong(text)) => ("WRONG", text),
            Ok(Verdict::NotApplicable(text)) => ("not applicable", text),
            Err(error) => ("not applicable", error.to_string()),
        };
        *counts.entry(kind).or_default() += 1;
        println!("{kind:<15} {name:<60} {}", text.replace('\n', " "));
    }
    println!("{} cases: {counts:?}", folders.len());
    if counts.contains_key("WRONG") { Err("some results are wrong".into()) } else { Ok(()) }
}

fn case(folder: &Path, tolerance: f64) -> Result<Verdict, Box<dyn Error>> {
    let path = folder.join("model.onnx");
    let model = ModelProto::decode(std::fs::read(&path)?.as_slice())?;
    let mut sets: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    sets.retain(|set| set.is_dir() && set.to_string_lossy().contains("test_data_set"));
    sets.sort();
    let mut verdict = Verdict::NotApplicable("it has no data".into());
    for set in &sets {
        let inputs = tensors(set, "input")?;
        let outputs = tensors(set, "output")?;
        for (at, expected) in outputs.iter().enumerate() {
            verdict = compare(&path, &model, &inputs, (at, expected), tolerance)?;
            if !matches!(verdict, Verdict::Right) {
                return Ok(verdict);
            }
        }
    }
    Ok(verdict)
}

fn tensors(set: &Path, stem: &str) -> Result<Vec<Data>, Box<dyn Error>> {
    let mut found = Vec::new();
    loop {
        let path = set.join(format!("{stem}_{}.pb", found.len()));
        if !path.is_file() {
            return Ok(found);
        }
        let proto = TensorProto::decode(std::fs::read(path)?.as_slice())?;
        let tensor = load_tensor(&MmapDataResolver, &proto, None)?;
        let numbers = tensor.cast_to::<f64>()?.to_plain_array_view::<f64>()?.iter().copied().collect();
        found.push(Data { proto, numbers });
    }
}

fn compare(
    path: &Path,
    model: &ModelProto,
    inputs: &[Data],
    (output, expected): (usize, &Data),
    tolerance: f64,
) -> Result<Verdict, Box<dyn Error>> {
    let mut model = model.clone();
    let graph = model.graph.as_mut().ok_or("there is no graph")?;
    let fixed = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    let names: Vec<String> = graph.input.iter().map(|i| i.name.clone()).filter(|name| !fixed(name)).collect();
    let (Some(first), false) = (inputs.first(), names.is_empty()) else {
        return Ok(Verdict::NotApplicable("it has no input".into()));
    };
    if first.numbers.is_empty() || !first.numbers.iter().chain(&expected.numbers).all(|v| v.is_finite()) {
        return Ok(Verdict::NotApplicable("a value is not finite, or there is none".into()));
    }
    for (name, data) in names.iter().zip(inputs).skip(1) {
        let mut tensor = data.proto.clone();
        tensor.name.clone_from(name);
        graph.initializer.push(tensor);
        graph.input.retain(|input| input.name != *name);
    }
    let found = graph.output.iter().position(|o| o.name == expected.proto.name).unwrap_or(output);
    let is_whole = graph.output.len() == 1 && names.len() == 1;
    graph.output = vec![graph.output.get(found).ok_or("an expected output has no place")?.clone()];
    let network = if is_whole { import_file(path) } else { import_bytes(&model.encode_to_vec()) };
    let network = match network {
        Ok(network) => network,
        Err(error @ ImportError::NotOnnx(_)) => return Ok(Verdict::Refused(format!("(!) {error}"))),
        Err(error) => return Ok(Verdict::Refused(error.to_string())),
    };
    if network.input.len() != first.numbers.len() {
        return Ok(Verdict::Wrong(format!("{} inputs instead of {}", network.input.len(), first.numbers.len())));
    }
    let (_, decrypted) = network.evaluate(&first.numbers);
    let answers = network.client_ops.run(&network.output.shape, &decrypted)?;
    let got = &answers.first().ok_or("it has no output")?.values;
    if got.len() != expected.numbers.len() {
        return Ok(Verdict::Wrong(format!("{} outputs instead of {}", got.len(), expected.numbers.len())));
    }
    let scale = expected.numbers.iter().fold(1e-3_f64, |largest, v| largest.max(v.abs()));
    for (at, (g, w)) in got.iter().zip(&expected.numbers).enumerate() {
        let is_close = (g - w).abs() <= tolerance * scale;
        if !is_close {
            return Ok(Verdict::Wrong(format!("element {at} of output {output} is {g} instead of {w}")));
        }
    }
    Ok(Verdict::Right)
}
