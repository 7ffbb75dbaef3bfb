//! A pass over the ONNX graph before it is typed: what the graph library cannot type, or what cannot be lowered as it
//! stands, becomes standard operators that can.

mod classical;
mod external;
mod forms;
mod graph;
mod old;
mod quantised;
mod refused;
mod svm;
mod trees;

use std::path::Path;

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use crate::error::{ImportError, UnsupportedNode};

/// A node that cannot be rewritten.
pub(super) struct Refused(UnsupportedNode);

impl Refused {
    fn new(node: &NodeProto, reason: &str, suggestion: &str) -> Self {
        Self(UnsupportedNode {
            operator: node.op_type.clone(),
            node: graph::name_of(node),
            reason: reason.into(),
            suggestion: suggestion.into(),
        })
    }

    /// A node whose attributes contradict each other.
    fn damaged(node: &NodeProto, reason: &str) -> Self {
        Self::new(node, reason, "export the model again")
    }
}

/// Rewrites a model in place; `folder` is where its weights may lie in other files.
///
/// # Errors
/// [`ImportError`]; all operators that are refused by name are reported at once.
pub(crate) fn rewrite(model: &mut ModelProto, folder: Option<&Path>) -> Result<(), ImportError> {
    let standard = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let opset = model.opset_import.iter().filter(|import| standard(&import.domain)).map(|i| i.version).max();
    let Some(graph) = model.graph.as_mut() else { return Ok(()) };
    external::read_weights(graph, folder)?;
    graph.value_info.clear();
    forms::make_float32(graph)?;
    forms::take_inputs_as_float32(graph);
    if opset.is_some_and(|opset| opset < 7) {
        old::align_operands(graph);
    }
    quantised::rewrite(graph);
    let mut refusals = refused::by_name(graph);
    replace(graph, opset.unwrap_or(1), &mut refusals);
    refusals.extend(refused::encrypted_parameters(graph));
    if refusals.is_empty() { Ok(()) } else { Err(ImportError::Unsupported(refusals)) }
}

/// Replaces operators of `ai.onnx.ml` by standard ones.
fn replace(graph: &mut GraphProto, opset: i64, refusals: &mut Vec<UnsupportedNode>) {
    let mut nodes = Vec::with_capacity(graph.node.len());
    let probabilities = classical::probabilities(graph);
    for node in std::mem::take(&mut graph.node) {
        let replaced = match node.op_type.as_str() {
            "ArrayFeatureExtractor" => classical::array_feature_extractor(graph, &node),
            "LinearClassifier" => classical::linear_classifier(graph, &node),
            "LinearRegressor" => classical::linear_regressor(graph, &node),
            "Normalizer" if classical::sums_to_one(&node, &probabilities) => classical::identity(&node),
            "Normalizer" => classical::normalizer(graph, &node, opset),
            "SVMClassifier" => svm::classifier(graph, &node, opset),
            "SVMRegressor" => svm::regressor(graph, &node, opset),
            "Scaler" => classical::scaler(graph, &node),
            "TreeEnsembleClassifier" => trees::classifier(graph, &node),
            "TreeEnsembleRegressor" => trees::regressor(graph, &node),
            _ => Ok(vec![node.clone()]),
        };
        match replaced {
            Ok(replaced) => nodes.extend(graph::named_after(&node, replaced)),
            Err(refused) => refusals.push(refused.0),
        }
    }
    graph.node = nodes;
}
