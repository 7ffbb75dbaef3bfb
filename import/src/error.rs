//! What the importer refuses, and how it says so.

use std::fmt;

use heman_core::deadline::Late;

/// A node that cannot be evaluated on encrypted data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedNode {
    /// ONNX operator.
    pub operator: String,
    /// Name of the node.
    pub node: String,
    /// Why.
    pub reason: String,
    /// What to change.
    pub suggestion: String,
}

impl fmt::Display for UnsupportedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names come from the file, and must not end the line or steer a terminal.
        let operator = self.operator.escape_debug();
        write!(f, "{operator} ({:?}): {}; {}", self.node, self.reason, self.suggestion)
    }
}

/// Why a model cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Larger than [`crate::MAX_FILE_BYTES`].
    #[error("the model is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// Not an ONNX file, or a damaged one.
    #[error("not a valid ONNX model: {0}")]
    NotOnnx(String),
    /// Weights in files beside the model that are missing, damaged or out of bounds.
    #[error("the model's weights cannot be read: {0}")]
    Weights(String),
    /// Inputs or outputs of a form that is not supported.
    #[error("the model's interface is not supported: {0}")]
    Interface(String),
    /// Nodes that are not supported, all of them.
    #[error("{} not supported:{}", count(.0), list(.0))]
    Unsupported(Vec<UnsupportedNode>),
    /// The lowered network would not fit into memory.
    #[error("the model is too large: {0}")]
    TooComplex(String),
    /// The caller's time is over.
    #[error("reading the model: {0}")]
    Late(#[from] Late),
    /// The plaintext model failed to run.
    #[error("the plaintext model failed: {0}")]
    Plain(String),
}

fn count(nodes: &[UnsupportedNode]) -> String {
    if nodes.len() == 1 { "a node is".into() } else { format!("{} nodes are", nodes.len()) }
}

fn list(nodes: &[UnsupportedNode]) -> String {
    nodes.iter().map(|node| format!("\n  {node}")).collect()
}
