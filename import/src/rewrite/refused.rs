//! Operators that stay refused, each with its true reason.

use tract_onnx::pb::{GraphProto, NodeProto};

use super::graph::{encrypted, name_of};
use crate::error::UnsupportedNode;
use crate::expand::CONSTANT_INPUTS;

/// Operator, reason, suggestion.
const REFUSED: [(&[&str], &str, &str); 10] = [
    (
        &["TreeEnsemble"],
        "trees in this form are not read",
        "export TreeEnsembleClassifier or TreeEnsembleRegressor (version 3 of ai.onnx.ml)",
    ),
    (
        &["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss", "Gradient", "Momentum", "Adam", "Adagrad"],
        "it belongs to training",
        "export the model for inference, without its loss and optimizer",
    ),
    (
        &["DynamicQuantizeLinear"],
        "it takes the range of an encrypted tensor, and something else than an integer product reads the result",
        "export the model in floating point, or quantise it statically",
    ),
    (&["Loop"], "a loop is not evaluated on encrypted data", "export the model with its loop unrolled, or without it"),
    (
        &["If"],
        "a branch of the graph is not chosen on encrypted data",
        "export the branch that is taken, or use Where on one value",
    ),
    (
        &["Attention", "MultiHeadAttention", "GroupQueryAttention"],
        "attention takes a Softmax of encrypted scores",
        "use an attention without Softmax (such as ReLU attention) written in standard operators",
    ),
    (
        &["NonZero", "Unique", "NonMaxSuppression"],
        "the shape of its output depends on encrypted values",
        "leave this step to the client, behind the model's outputs",
    ),
    (
        &["Multinomial", "RandomNormalLike", "RandomUniformLike", "Bernoulli"],
        "it draws random numbers",
        "export the model for inference, without sampling",
    ),
    (
        &["StringNormalizer", "TfIdfVectorizer", "Tokenizer", "StringConcat", "StringSplit", "RegexFullMatch"],
        "it works on texts, and only numbers can be encrypted",
        "compute the features before encryption and export the model behind them",
    ),
    (
        &[
            "SequenceAt",
            "SequenceConstruct",
            "SequenceInsert",
            "SequenceErase",
            "SplitToSequence",
            "ConcatFromSequence",
            "SequenceMap",
            "SequenceEmpty",
            "SequenceLength",
        ],
        "it works on a sequence of tensors",
        "export the model with tensors only",
    ),
];

/// All nodes that are refused by their name.
pub(super) fn by_name(graph: &GraphProto) -> Vec<UnsupportedNode> {
    let encrypted = encrypted(graph);
    let depends = |node: &&NodeProto| node.output.iter().any(|output| encrypted.contains(output));
    let refused = graph.node.iter().filter(depends).filter_map(|node| {
        let (_, reason, suggestion) = REFUSED.iter().find(|entry| entry.0.contains(&node.op_type.as_str()))?;
        Some(UnsupportedNode {
            operator: node.op_type.clone(),
            node: name_of(node),
            reason: (*reason).into(),
            suggestion: (*suggestion).into(),
        })
    });
    refused.collect()
}

/// All nodes whose indices, sizes or other parameters depend on the encrypted input.
pub(super) fn encrypted_parameters(graph: &GraphProto) -> Vec<UnsupportedNode> {
    let encrypted = encrypted(graph);
    let mut refused = Vec::new();
    for node in &graph.node {
        let Some((_, slots)) = CONSTANT_INPUTS.iter().find(|(operator, _)| *operator == node.op_type) else { continue };
        let is_encrypted = |slot: &usize| node.input.get(*slot).is_some_and(|input| encrypted.contains(input));
        if let Some(slot) = slots.iter().find(|slot| is_encrypted(slot)) {
            refused.push(UnsupportedNode {
                operator: node.op_type.clone(),
                node: name_of(node),
                reason: format!("its input {:?} depends on encrypted values", node.input[*slot]),
                suggestion: "export the model with this input as a constant".into(),
            });
        }
    }
    refused
}
