//! Builds small ONNX files: a protobuf writer for the handful of messages that they need.

#![allow(dead_code, reason = "each test file uses its share")]

/// An attribute of a node.
#[derive(Clone)]
pub enum Attr {
    Int(i64),
    Float(f32),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Text(&'static str),
    Texts(Vec<&'static str>),
}

/// float16 among the element types of ONNX.
pub const FLOAT16: i64 = 10;
/// float64.
pub const FLOAT64: i64 = 11;
/// int64.
pub const INT64: i64 = 7;
/// bool.
pub const BOOL: i64 = 9;
/// int8.
pub const INT8: i64 = 3;
/// uint8.
pub const UINT8: i64 = 2;

/// A model in the making; its first input is `x`, its output the last node's unless others are named.
pub struct Onnx {
    nodes: Vec<Vec<u8>>,
    initializers: Vec<Vec<u8>>,
    input: Vec<Option<i64>>,
    more_inputs: Vec<Vec<u8>>,
    outputs: Vec<String>,
    kind: i64,
    opset: i64,
    value_info: Vec<Vec<u8>>,
    last: String,
    fresh: u32,
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn int(field: u64, value: i64, out: &mut Vec<u8>) {
    varint(field << 3, out);
    varint(value.cast_unsigned(), out);
}

fn bytes(field: u64, value: &[u8], out: &mut Vec<u8>) {
    varint(field << 3 | 2, out);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn float(field: u64, value: f32, out: &mut Vec<u8>) {
    varint(field << 3 | 5, out);
    out.extend_from_slice(&value.to_le_bytes());
}

fn tensor(name: &str, dims: &[i64], kind: i64, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for &d in dims {
        int(1, d, &mut out);
    }
    int(2, kind, &mut out);
    bytes(8, name.as_bytes(), &mut out);
    bytes(9, raw, &mut out);
    out
}

fn value_info(name: &str, kind: i64, shape: Option<&[Option<i64>]>) -> Vec<u8> {
    let mut tensor_type = Vec::new();
    int(1, kind, &mut tensor_type);
    if let Some(shape) = shape {
        let mut dims = Vec::new();
        for (axis, d) in shape.iter().enumerate() {
            let mut dim = Vec::new();
            match d {
                Some(d) => int(1, *d, &mut dim),
                None => bytes(2, format!("d{axis}").as_bytes(), &mut dim),
            }
            bytes(1, &dim, &mut dims);
        }
        bytes(2, &dims, &mut tensor_type);
    }
    let mut kind = Vec::new();
    bytes(1, &tensor_type, &mut kind);
    let mut out = Vec::new();
    bytes(1, name.as_bytes(), &mut out);
    bytes(2, &kind, &mut out);
    out
}

/// Files that are cut short at every byte, and 1,500 with two bits flipped.
pub fn damaged(sound: &[u8], seed: u64) -> impl Iterator<Item = Vec<u8>> {
    let mut state = seed;
    let flipped = move || {
        let mut bad = sound.to_vec();
        for _ in 0..2 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 33) as usize % bad.len();
            bad[at] ^= 1 << (state >> 60 & 7);
        }
        bad
    };
    let cut = (0..sound.len()).map(|length| sound[..length].to_vec());
    cut.chain(std::iter::repeat_with(flipped).take(1500))
}

impl Onnx {
    pub fn new(input: &[i64]) -> Self {
        Self::with_free_axes(&input.iter().map(|&d| Some(d)).collect::<Vec<_>>())
    }

    pub fn with_free_axes(input: &[Option<i64>]) -> Self {
        Self {
            nodes: vec![],
            initializers: vec![],
            input: input.to_vec(),
            more_inputs: vec![],
            outputs: vec![],
            kind: 1,
            opset: 17,
            value_info: vec![],
            last: "x".into(),
            fresh: 0,
        }
    }

    /// Declares the input with another element type.
    pub fn of_kind(mut self, kind: i64) -> Self {
        self.kind = kind;
        self
    }

    /// Another version of the operators.
    pub fn of_opset(mut self, opset: i64) -> Self {
        self.opset = opset;
        self
    }

    /// Declares a shape of an inner tensor.
    pub fn declare(&mut self, name: &str, shape: &[Option<i64>]) {
        self.value_info.push(value_info(name, 1, Some(shape)));
    }

    /// A constant of any element type, from its bytes; returns its name.
    pub fn constant(&mut self, dims: &[i64], kind: i64, raw: &[u8]) -> String {
        self.fresh += 1;
        let name = format!("c{}", self.fresh);
        self.initializers.push(tensor(&name, dims, kind, raw));
        name
    }

    /// A constant whose values lie in another file.
    pub fn external(&mut self, dims: &[i64], location: &str) -> String {
        self.fresh += 1;
        let name = format!("c{}", self.fresh);
        let mut out = tensor(&name, dims, 1, &[]);
        let mut entry = Vec::new();
        bytes(1, b"location", &mut entry);
        bytes(2, location.as_bytes(), &mut entry);
        bytes(13, &entry, &mut out);
        int(14, 1, &mut out);
        self.initializers.push(out);
        name
    }

    /// A constant of reproducible values around zero; returns its name.
    pub fn weights(&mut self, dims: &[i64]) -> String {
        let count: i64 = dims.iter().product();
        let seed = self.fresh as f32;
        let values: Vec<f32> =
            (0..count).map(|i| ((i as f32 * 0.77 + seed).sin() * 1.3 + 0.1).clamp(-1.0, 1.0)).collect();
        self.floats(dims, &values)
    }

    pub fn floats(&mut self, dims: &[i64], values: &[f32]) -> String {
        self.fresh += 1;
        let name = format!("c{}", self.fresh);
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializers.push(tensor(&name, dims, 1, &raw));
        name
    }

    pub fn integers(&mut self, values: &[i64]) -> String {
        self.fresh += 1;
        let name = format!("c{}", self.fresh);
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializers.push(tensor(&name, &[values.len() as i64], 7, &raw));
        name
    }

    pub fn texts(&mut self, values: &[&str]) -> String {
        self.fresh += 1;
        let name = format!("c{}", self.fresh);
        let mut out = Vec::new();
        int(1, values.len() as i64, &mut out);
        int(2, 8, &mut out);
        values.iter().for_each(|value| bytes(6, value.as_bytes(), &mut out));
        bytes(8, name.as_bytes(), &mut out);
        self.initializers.push(out);
        name
    }

    /// One more input.
    pub fn input(&mut self, name: &str, shape: &[Option<i64>]) {
        self.more_inputs.push(value_info(name, 1, Some(shape)));
    }

    /// Names a node's output as one of the model's.
    pub fn output(&mut self, name: &str) {
        self.outputs.push(name.into());
    }

    /// The output of the last node.
    pub fn last(&self) -> String {
        self.last.clone()
    }

    /// A node over named inputs; returns its output's name.
    pub fn node(&mut self, operator: &str, inputs: &[&str], attributes: &[(&str, Attr)]) -> String {
        self.nodes_with_outputs(operator, inputs, attributes, 1).remove(0)
    }

    pub fn nodes_with_outputs(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, Attr)],
        outputs: usize,
    ) -> Vec<String> {
        self.fresh += 1;
        let mut out = Vec::new();
        for input in inputs {
            bytes(1, input.as_bytes(), &mut out);
        }
        let names: Vec<String> = (0..outputs).map(|o| format!("n{}_{o}", self.fresh)).collect();
        for name in &names {
            bytes(2, name.as_bytes(), &mut out);
        }
        bytes(3, format!("node_{operator}_{}", self.fresh).as_bytes(), &mut out);
        bytes(4, operator.as_bytes(), &mut out);
        for (name, value) in attributes {
            let mut attribute = Vec::new();
            bytes(1, name.as_bytes(), &mut attribute);
            let kind = match value {
                Attr::Float(f) => {
                    float(2, *f, &mut attribute);
                    1
                }
                Attr::Int(i) => {
                    int(3, *i, &mut attribute);
                    2
                }
                Attr::Text(text) => {
                    bytes(4, text.as_bytes(), &mut attribute);
                    3
                }
                Attr::Texts(texts) => {
                    texts.iter().for_each(|text| bytes(9, text.as_bytes(), &mut attribute));
                    8
                }
                Attr::Floats(floats) => {
                    floats.iter().for_each(|&f| float(7, f, &mut attribute));
                    6
                }
                Attr::Ints(ints) => {
                    for &i in ints {
                        int(8, i, &mut attribute);
                    }
                    7
                }
            };
            int(20, kind, &mut attribute);
            bytes(5, &attribute, &mut out);
        }
        self.nodes.push(out);
        self.last = names[0].clone();
        names
    }

    /// A node over the last node's output.
    pub fn then(&mut self, operator: &str, attributes: &[(&str, Attr)]) -> String {
        let last = self.last();
        self.node(operator, &[&last], attributes)
    }

    /// A node over the last node's output and more inputs.
    pub fn then_with(&mut self, operator: &str, more: &[&str], attributes: &[(&str, Attr)]) -> String {
        let last = self.last();
        let inputs: Vec<&str> = std::iter::once(last.as_str()).chain(more.iter().copied()).collect();
        self.node(operator, &inputs, attributes)
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        let mut graph = Vec::new();
        for node in &self.nodes {
            bytes(1, node, &mut graph);
        }
        bytes(2, b"g", &mut graph);
        for initializer in &self.initializers {
            bytes(5, initializer, &mut graph);
        }
        bytes(11, &value_info("x", self.kind, Some(&self.input)), &mut graph);
        for input in &self.more_inputs {
            bytes(11, input, &mut graph);
        }
        let last = [self.last.clone()];
        for output in if self.outputs.is_empty() { &last[..] } else { &self.outputs } {
            bytes(12, &value_info(output, 1, None), &mut graph);
        }
        self.value_info.iter().for_each(|info| bytes(13, info, &mut graph));
        let mut opset = Vec::new();
        int(2, self.opset, &mut opset);
        let mut model = Vec::new();
        int(1, 8, &mut model);
        bytes(7, &graph, &mut model);
        bytes(8, &opset, &mut model);
        model
    }
}
