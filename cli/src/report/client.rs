//! What the client does before encryption and after decryption.

use heman_core::model::client_op::{ClientOps, ElementKind, NamedOutput};
use heman_core::model::network::TensorInfo;
use serde_json::{Value, json};

/// Inputs, operators and outputs.
pub fn json(inputs: &[TensorInfo], decrypted: &TensorInfo, ops: &ClientOps) -> Value {
    let shapes = ops.shapes(&decrypted.shape).unwrap_or_default();
    let output = |output: &NamedOutput| {
        let labels = match &output.kind {
            ElementKind::Label(names) => Some(names),
            _ => None,
        };
        json!({
            "name": output.name,
            "shape": shapes.get(output.value as usize),
            "kind": kind(&output.kind),
            "labels": labels,
            "columns": output.columns,
        })
    };
    let mut outputs: Vec<Value> = ops.outputs.iter().map(output).collect();
    if outputs.is_empty() {
        outputs.push(json!({ "name": decrypted.name, "shape": decrypted.shape, "kind": "real" }));
    }
    json!({ "inputs": inputs, "client_ops": ops.names(), "outputs": outputs })
}

/// A line about the operators and outputs, where there is more than the decrypted tensor.
pub fn text(decrypted: &TensorInfo, ops: &ClientOps) -> Option<String> {
    let shapes = ops.shapes(&decrypted.shape).ok()?;
    let names = ops.names();
    if names.is_empty() && ops.outputs.len() <= 1 {
        return None;
    }
    let output =
        |output: &NamedOutput| format!("{} {:?} ({})", output.name, shapes[output.value as usize], kind(&output.kind));
    let outputs: Vec<String> = ops.outputs.iter().map(output).collect();
    let does = if names.is_empty() { String::new() } else { format!("{}; ", names.join(", ")) };
    Some(format!("client        after decryption {does}gives {}\n", outputs.join(", ")))
}

fn kind(kind: &ElementKind) -> &'static str {
    match kind {
        ElementKind::Real => "real",
        ElementKind::Integer => "integer",
        ElementKind::Boolean => "boolean",
        ElementKind::Label(_) => "label",
    }
}
