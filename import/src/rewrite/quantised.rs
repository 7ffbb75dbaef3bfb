//! Quantised models, as what they mean: real numbers.
//!
//! Between a QuantizeLinear and the DequantizeLinear behind it a tensor is taken as the real values that it stands for.
//! Weights keep their quantised values. The rounding of activations is dropped, because it only imitates integer
//! arithmetic, and so is the clamp, which calibration placed beyond the values that occur; where the zero point lies
//! at the lower end of the range, quantising cuts negative values off and takes the place of a Relu, and a Relu it
//! becomes. A QuantizeLinear whose integers the graph itself uses stays an affine map with rounding and clamp.

use std::collections::{HashMap, HashSet};

use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};
use tract_onnx::tensor::load_tensor;

use super::classical::inner;
use super::graph::{attribute, encrypted, floats, int, named_after, node, with_int};

/// Operators that pass quantised values on as they are.
const PASSING: [&str; 13] = [
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Pad",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// Operators whose output has no negative values.
const NEVER_NEGATIVE: [&str; 6] = ["Abs", "Exp", "Relu", "Sigmoid", "Softmax", "Sqrt"];

/// Operators whose output has no negative values where their input has none.
const AVERAGING: [&str; 4] = ["AveragePool", "DequantizeLinear", "GlobalAveragePool", "QuantizeLinear"];

/// Lowest and highest value of an integer type.
fn range(kind: i32) -> Option<(f64, f64)> {
    match DataType::try_from(kind).ok()? {
        DataType::Uint8 => Some((0.0, 255.0)),
        DataType::Int8 => Some((-128.0, 127.0)),
        DataType::Uint16 => Some((0.0, 65535.0)),
        DataType::Int16 => Some((-32768.0, 32767.0)),
        _ => None,
    }
}

/// Whether a constant may be a scale or a zero point.
fn is_short(tensor: &&TensorProto) -> bool {
    tensor.dims.iter().fold(1_i64, |product, &d| product.saturating_mul(d)) <= 1 << 16
}

struct Pass {
    /// Scales, zero points and other short constants.
    constants: HashMap<String, TensorProto>,
    encrypted: HashSet<String>,
    /// Readers of each tensor: operator and, for passing ones, their outputs.
    readers: HashMap<String, Vec<usize>>,
    producers: HashMap<String, usize>,
    nodes: Vec<NodeProto>,
    outputs: HashSet<String>,
    /// Tensors that stand for their real values.
    real: HashSet<String>,
    made: Vec<TensorProto>,
}

/// Rewrites all quantised operators on encrypted tensors.
pub(super) fn rewrite(graph: &mut GraphProto) {
    let is_quantised = |node: &NodeProto| {
        node.op_type.starts_with('Q') || node.op_type.contains("uantize") || node.op_type.ends_with("Integer")
    };
    if !graph.node.iter().any(is_quantised) {
        return;
    }
    let nodes = std::mem::take(&mut graph.node);
    let mut constants: HashMap<String, TensorProto> =
        graph.initializer.iter().filter(is_short).map(|tensor| (tensor.name.clone(), tensor.clone())).collect();
    let (mut readers, mut producers) = (HashMap::<String, Vec<usize>>::new(), HashMap::new());
    for (at, node) in nodes.iter().enumerate() {
        if let (Some(value), "Constant", Some(output)) =
            (attribute(node, "value").and_then(|a| a.t.as_ref()), node.op_type.as_str(), node.output.first())
        {
            constants.insert(output.clone(), value.clone());
        }
        node.input.iter().for_each(|input| readers.entry(input.clone()).or_default().push(at));
        producers.extend(node.output.iter().map(|output| (output.clone(), at)));
    }
    graph.node = nodes;
    let encrypted = encrypted(graph);
    let nodes = std::mem::take(&mut graph.node);
    let outputs = graph.output.iter().map(|output| output.name.clone()).collect();
    let mut pass =
        Pass { constants, encrypted, readers, producers, nodes, outputs, real: HashSet::new(), made: Vec::new() };
    let mut rewritten = Vec::with_capacity(pass.nodes.len());
    for at in 0..pass.nodes.len() {
        let node = pass.nodes[at].clone();
        match pass.node(&node) {
            Some(replaced) => rewritten.extend(named_after(&node, replaced)),
            None => rewritten.push(node),
        }
    }
    graph.node = rewritten;
    graph.initializer.extend(pass.made);
}

impl Pass {
    /// What a node becomes; `None` where it stays.
    fn node(&mut self, node: &NodeProto) -> Option<Vec<NodeProto>> {
        let input = |slot: usize| node.input.get(slot).map_or("", String::as_str);
        let output = node.output.first().map_or("", String::as_str);
        let is_encrypted = node.input.iter().any(|input| self.encrypted.contains(input));
        if !is_encrypted {
            return None;
        }
        let of_domain = |operator: &str, inputs: &[&str]| self::node(operator, inputs, output);
        match node.op_type.as_str() {
            "QuantizeLinear" => {
                let is_positive = self.is_never_negative(input(0));
                self.quantize(input(0), input(1), input(2), output, is_positive)
            }
            "DequantizeLinear" if self.real.contains(input(0)) => Some(vec![of_domain("Identity", &[input(0)])]),
            "DequantizeLinear" => {
                let mut nodes = Vec::new();
                let value = self.real_value(input(0), input(1), input(2), int(node, "axis", 1), output, &mut nodes)?;
                nodes.push(of_domain("Identity", &[&value]));
                Some(nodes)
            }
            "DynamicQuantizeLinear" if self.meets_only_integer_products(node) => {
                let mut nodes = vec![of_domain("Identity", &[input(0)])];
                self.real.insert(output.into());
                for (slot, value) in [(1, 1.0), (2, 0.0)] {
                    if let Some(name) = node.output.get(slot).filter(|name| !name.is_empty()) {
                        let constant = inner(name, "constant");
                        self.made.push(floats(&constant, &[], &[value]));
                        self.encrypted.remove(name);
                        nodes.push(self::node("Identity", &[&constant], name));
                    }
                }
                Some(nodes)
            }
            "MatMulInteger" | "ConvInteger" => {
                let mut nodes = Vec::new();
                let x = self.centred(input(0), input(2), None, output, "x", &mut nodes);
                let columns = (node.op_type == "ConvInteger").then_some(0);
                let w = self.centred(input(1), input(3), columns, output, "w", &mut nodes);
                let mut product = of_domain(node.op_type.trim_end_matches("Integer"), &[&x, &w]);
                product.attribute.clone_from(&node.attribute);
                nodes.push(product);
                Some(nodes)
            }
            operator if PASSING.contains(&operator) => {
                if node.input.iter().any(|input| self.real.contains(input)) {
                    self.real.extend(node.output.iter().cloned());
                }
                None
            }
            operator if operator.starts_with('Q') => self.operator(node),
            _ => None,
        }
    }

    /// A QLinear operator on real values, its output quantised again.
    fn operator(&mut self, node: &NodeProto) -> Option<Vec<NodeProto>> {
        let input = |slot: usize| node.input.get(slot).map_or("", String::as_str).to_string();
        let output = node.output.first()?.clone();
        let result = inner(&output, "real");
        let mut nodes = Vec::new();
        let mut real = |slot: usize, axis: i64, nodes: &mut Vec<NodeProto>| {
            self.real_value(
                &input(slot),
                &input(slot + 1),
                &input(slot + 2),
                axis,
                &inner(&output, &slot.to_string()),
                nodes,
            )
        };
        let (made, scale) = match node.op_type.as_str() {
            "QLinearConv" => {
                let (x, w) = (real(0, 1, &mut nodes)?, real(3, 0, &mut nodes)?);
                let mut inputs = vec![x, w];
                if !input(8).is_empty() {
                    inputs.push(self.bias(&input(8), &input(1), &input(4), &output, &mut nodes));
                }
                (("Conv", inputs), 6)
            }
            "QLinearMatMul" => (("MatMul", vec![real(0, -1, &mut nodes)?, real(3, -1, &mut nodes)?]), 6),
            "QGemm" => {
                let (a, b) =
                    (real(0, -1, &mut nodes)?, real(3, if int(node, "transB", 0) != 0 { 0 } else { 1 }, &mut nodes)?);
                let mut inputs = vec![a, b];
                if !input(6).is_empty() {
                    inputs.push(self.bias(&input(6), &input(1), &input(4), &output, &mut nodes));
                }
                (("Gemm", inputs), 7)
            }
            "QLinearAdd" => (("Add", vec![real(0, 1, &mut nodes)?, real(3, 1, &mut nodes)?]), 6),
            "QLinearMul" => (("Mul", vec![real(0, 1, &mut nodes)?, real(3, 1, &mut nodes)?]), 6),
            "QLinearSigmoid" => (("Sigmoid", vec![real(0, 1, &mut nodes)?]), 3),
            "QLinearLeakyRelu" => (("LeakyRelu", vec![real(0, 1, &mut nodes)?]), 3),
            "QLinearSoftmax" => (("Softmax", vec![real(0, 1, &mut nodes)?]), 3),
            "QLinearAveragePool" => (("AveragePool", vec![real(0, 1, &mut nodes)?]), 3),
            "QLinearGlobalAveragePool" => (("GlobalAveragePool", vec![real(0, 1, &mut nodes)?]), 3),
            "QLinearConcat" => {
                let mut inputs = Vec::new();
                for slot in (2..node.input.len()).step_by(3) {
                    inputs.push(real(slot, 1, &mut nodes)?);
                }
                (("Concat", inputs), 0)
            }
            _ => return None,
        };
        let inputs: Vec<&str> = made.1.iter().map(String::as_str).collect();
        let mut operator = self::node(made.0, &inputs, &result);
        operator.attribute.clone_from(&node.attribute);
        operator.attribute.retain(|attribute| !["opset", "channels_last"].contains(&attribute.name.as_str()));
        nodes.push(operator);
        self.encrypted.insert(result.clone());
        if input(scale).is_empty() {
            // QGemm without a scale of its output gives real numbers.
            nodes.push(self::node("Identity", &[&result], &output));
            return Some(nodes);
        }
        let is_positive = NEVER_NEGATIVE.contains(&made.0);
        nodes.extend(self.quantize(&result, &input(scale), &input(scale + 1), &output, is_positive)?);
        Some(nodes)
    }

    /// A bias of integers times the scales of both operands.
    fn bias(&mut self, bias: &str, x_scale: &str, w_scale: &str, output: &str, nodes: &mut Vec<NodeProto>) -> String {
        let [number, scale, real] = ["bias", "bias_scale", "bias_real"].map(|what| inner(output, what));
        nodes.push(with_int(node("Cast", &[bias], &number), "to", 1));
        nodes.push(node("Mul", &[x_scale, w_scale], &scale));
        nodes.push(node("Mul", &[&number, &scale], &real));
        real
    }

    /// The tensor of integers as real numbers: `(x - zero) * scale`.
    fn real_value(
        &mut self,
        x: &str,
        scale: &str,
        zero: &str,
        axis: i64,
        output: &str,
        nodes: &mut Vec<NodeProto>,
    ) -> Option<String> {
        if self.real.contains(x) {
            return Some(x.into());
        }
        let real = inner(output, "dequantised");
        if !self.encrypted.contains(x) {
            let inputs: Vec<&str> = [x, scale, zero].into_iter().filter(|input| !input.is_empty()).collect();
            nodes.push(with_int(node("DequantizeLinear", &inputs, &real), "axis", axis.max(0)));
            return Some(real);
        }
        if self.number(scale)?.len() != 1 {
            return None;
        }
        let centred = self.centred(x, zero, None, output, "integers", nodes);
        nodes.push(node("Mul", &[&centred, scale], &real));
        Some(real)
    }

    /// `x - zero` in floating point; for a zero point of each channel, its axis.
    fn centred(
        &mut self,
        x: &str,
        zero: &str,
        axis: Option<i64>,
        output: &str,
        what: &str,
        nodes: &mut Vec<NodeProto>,
    ) -> String {
        let (number, point, centred) =
            (inner(output, what), inner(output, &format!("{what}_zero")), inner(output, &format!("{what}_centred")));
        nodes.push(with_int(node("Cast", &[x], &number), "to", 1));
        if zero.is_empty() || self.real.contains(x) {
            return number;
        }
        nodes.push(with_int(node("Cast", &[zero], &point), "to", 1));
        let channels = self.number(zero).map_or(1, |values| values.len());
        if axis == Some(0) && channels > 1 {
            let (shape, column) = (inner(output, "zero_shape"), inner(output, "zero_column"));
            self.made.push(super::graph::integers(&shape, &[-1, 1, 1, 1]));
            nodes.push(node("Reshape", &[&point, &shape], &column));
            nodes.push(node("Sub", &[&number, &column], &centred));
        } else {
            nodes.push(node("Sub", &[&number, &point], &centred));
        }
        centred
    }

    fn number(&self, name: &str) -> Option<Vec<f64>> {
        let tensor = load_tensor(&MmapDataResolver, self.constants.get(name)?, None).ok()?;
        let cast = tensor.cast_to::<f64>().ok()?;
        Some(cast.to_plain_array_view::<f64>().ok()?.iter().copied().collect())
    }

    /// QuantizeLinear of a tensor of real numbers.
    fn quantize(
        &mut self,
        x: &str,
        scale: &str,
        zero: &str,
        output: &str,
        is_positive: bool,
    ) -> Option<Vec<NodeProto>> {
        let scales = self.number(scale)?;
        let (zeros, kind) = match self.constants.get(zero) {
            Some(tensor) => (self.number(zero)?, tensor.data_type),
            None => (vec![0.0], DataType::Uint8 as i32),
        };
        let (low, high) = range(kind)?;
        if self.meets_only_quantised(output) {
            self.real.insert(output.into());
            let cuts = zeros.iter().all(|&zero| zero == low) && !is_positive;
            return Some(vec![node(if cuts { "Relu" } else { "Identity" }, &[x], output)]);
        }
        if scales.len() != 1 || zeros.len() != 1 {
            return None;
        }
        let [divided, rounded, point, moved, bottom, top] =
            ["divided", "rounded", "point", "moved", "low", "high"].map(|what| inner(output, what));
        self.made.push(floats(&point, &[], &[zeros[0] as f32]));
        self.made.push(floats(&bottom, &[], &[low as f32]));
        self.made.push(floats(&top, &[], &[high as f32]));
        let clipped = inner(output, "clipped");
        Some(vec![
            node("Div", &[x, scale], &divided),
            node("Round", &[&divided], &rounded),
            node("Add", &[&rounded, &point], &moved),
            node("Max", &[&moved, &bottom], &clipped),
            node("Min", &[&clipped, &top], output),
        ])
    }

    /// Whether only integer products read what a DynamicQuantizeLinear quantised; its scale may go anywhere.
    fn meets_only_integer_products(&self, node: &NodeProto) -> bool {
        let readers = |tensor: &String| self.readers.get(tensor).map_or(&[][..], Vec::as_slice);
        let is_product = |&reader: &usize| self.nodes[reader].op_type.ends_with("Integer");
        let output = node.output.first();
        let is_output = node.output.iter().any(|output| self.outputs.contains(output));
        !is_output && output.is_some_and(|output| !readers(output).is_empty() && readers(output).iter().all(is_product))
    }

    /// Whether all readers of a quantised tensor take it for its real values.
    fn meets_only_quantised(&self, tensor: &str) -> bool {
        let (mut open, mut seen) = (vec![tensor], HashSet::new());
        while let Some(tensor) = open.pop() {
            if !seen.insert(tensor) {
                continue;
            }
            let Some(readers) = self.readers.get(tensor) else { return false };
            if self.outputs.contains(tensor) {
                return false;
            }
            for &reader in readers {
                let node = &self.nodes[reader];
                match node.op_type.as_str() {
                    "DequantizeLinear" | "QGemm" => {}
                    operator if operator.starts_with("QLinear") => {}
                    operator if PASSING.contains(&operator) => open.extend(node.output.iter().map(String::as_str)),
                    _ => return false,
                }
            }
        }
        true
    }

    /// Whether a tensor is known to have no negative values: an input of the graph counts, since its data were
    /// quantised without a sign.
    fn is_never_negative(&self, tensor: &str) -> bool {
        let (mut open, mut seen) = (vec![tensor], HashSet::new());
        while let Some(tensor) = open.pop() {
            if !seen.insert(tensor) {
                continue;
            }
            let Some(&producer) = self.producers.get(tensor) else {
                if self.encrypted.contains(tensor) {
                    continue;
                }
                return false;
            };
            let node = &self.nodes[producer];
            match node.op_type.as_str() {
                "QLinearSigmoid" | "QLinearSoftmax" => {}
                operator if NEVER_NEGATIVE.contains(&operator) => {}
                "QuantizeLinear" if self.is_lowest(node.input.get(2)) => {}
                "Concat" => open.extend(node.input.iter().map(String::as_str)),
                operator if PASSING.contains(&operator) || AVERAGING.contains(&operator) => {
                    open.extend(node.input.first().map(String::as_str));
                }
                _ => return false,
            }
        }
        true
    }

    /// Whether a zero point lies at the lower end of its type.
    fn is_lowest(&self, zero: Option<&String>) -> bool {
        let Some(zero) = zero else { return false };
        let (Some(zeros), Some(tensor)) = (self.number(zero), self.constants.get(zero)) else { return false };
        range(tensor.data_type).is_some_and(|(low, _)| zeros.iter().all(|&zero| zero == low))
    }
}
