//! Linear models and scalers of `ai.onnx.ml`, in standard operators.

use std::collections::HashSet;

use tract_onnx::pb::{GraphProto, NodeProto};

use super::Refused;
use super::graph::{attribute, floats, integers, name_of, node, numbers, text, texts, with_int, with_ints};

/// What a node is replaced by.
pub(super) type Rewritten = Result<Vec<NodeProto>, Refused>;

/// Scaler: `(x - offset) * scale`.
pub(super) fn scaler(graph: &mut GraphProto, scaler: &NodeProto) -> Rewritten {
    let (offset, scale, output) = (numbers(scaler, "offset"), numbers(scaler, "scale"), output_of(scaler, 0));
    let (centred, offsets, scales) = (inner(&output, "centred"), inner(&output, "offset"), inner(&output, "scale"));
    graph.initializer.push(floats(&offsets, &[offset.len().max(1)], if offset.is_empty() { &[0.0] } else { offset }));
    graph.initializer.push(floats(&scales, &[scale.len().max(1)], if scale.is_empty() { &[1.0] } else { scale }));
    Ok(vec![node("Sub", &[&input_of(scaler), &offsets], &centred), node("Mul", &[&centred, &scales], &output)])
}

/// LinearRegressor.
pub(super) fn linear_regressor(graph: &mut GraphProto, regressor: &NodeProto) -> Rewritten {
    let targets = attribute(regressor, "targets").map_or(1, |attribute| attribute.i.max(1)) as usize;
    let output = output_of(regressor, 0);
    let raw = inner(&output, "raw");
    let mut nodes = affine(graph, &input_of(regressor), &raw, regressor, targets)?;
    nodes.push(transformed(regressor, &raw, &output)?);
    Ok(nodes)
}

/// LinearClassifier: labels and scores.
pub(super) fn linear_classifier(graph: &mut GraphProto, classifier: &NodeProto) -> Rewritten {
    let (label, scores) = (output_of(classifier, 0), output_of(classifier, 1));
    let classes = class_count(classifier);
    let intercepts = numbers(classifier, "intercepts").len();
    let rows = if intercepts == 0 { classes } else { intercepts };
    let raw = inner(&scores, "raw");
    let mut nodes = affine(graph, &input_of(classifier), &raw, classifier, rows)?;
    if rows == 1 && classes == 2 {
        let (positive, negative) = (inner(&scores, "positive"), inner(&scores, "negative"));
        let one = inner(&scores, "one");
        graph.initializer.push(floats(&one, &[1], &[1.0]));
        nodes.push(match text(classifier, "post_transform", "NONE").as_str() {
            "LOGISTIC" => node("Sigmoid", &[&raw], &positive),
            _ => node("Identity", &[&raw], &positive),
        });
        nodes.push(node("Sub", &[&one, &positive], &negative));
        nodes.push(with_int(node("Concat", &[&negative, &positive], &scores), "axis", 1));
        nodes.extend(label_by_sign(graph, classifier, &raw, &label, false));
        return Ok(nodes);
    }
    nodes.push(transformed(classifier, &raw, &scores)?);
    nodes.extend(label_of_largest(graph, classifier, &raw, &label));
    Ok(nodes)
}

/// `x W + b` with the coefficients of a node, one row of them an output.
fn affine(graph: &mut GraphProto, x: &str, output: &str, from: &NodeProto, rows: usize) -> Rewritten {
    let coefficients = numbers(from, "coefficients");
    if rows == 0 || coefficients.is_empty() || !coefficients.len().is_multiple_of(rows) {
        return Err(Refused::damaged(from, "its coefficients do not fit its classes"));
    }
    let columns = coefficients.len() / rows;
    let transposed: Vec<f32> =
        (0..columns).flat_map(|column| (0..rows).map(move |row| coefficients[row * columns + column])).collect();
    let intercepts = numbers(from, "intercepts");
    let bias = if intercepts.len() == rows { intercepts.to_vec() } else { vec![0.0; rows] };
    let (weights, biases, product) = (inner(output, "weights"), inner(output, "bias"), inner(output, "product"));
    graph.initializer.push(floats(&weights, &[columns, rows], &transposed));
    graph.initializer.push(floats(&biases, &[rows], &bias));
    Ok(vec![node("MatMul", &[x, &weights], &product), node("Add", &[&product, &biases], output)])
}

/// The scores behind the post transform of a node.
pub(super) fn transformed(from: &NodeProto, raw: &str, scores: &str) -> Result<NodeProto, Refused> {
    Ok(match text(from, "post_transform", "NONE").as_str() {
        "NONE" => node("Identity", &[raw], scores),
        "LOGISTIC" => node("Sigmoid", &[raw], scores),
        "SOFTMAX" => with_int(node("Softmax", &[raw], scores), "axis", 1),
        other => {
            let reason = format!("its post_transform {other} is not evaluated");
            return Err(Refused::new(from, &reason, "export raw scores (post_transform NONE)"));
        }
    })
}

/// The labels of a classifier's classes where they are numbers.
fn label_numbers(classifier: &NodeProto) -> &[i64] {
    let named = ["classlabels_ints", "classlabels_int64s"].map(|name| attribute(classifier, name));
    named.into_iter().flatten().next().map_or(&[], |labels| &labels.ints)
}

/// How many labels a classifier knows.
pub(super) fn class_count(classifier: &NodeProto) -> usize {
    let ints = label_numbers(classifier).len();
    let texts = attribute(classifier, "classlabels_strings").map_or(0, |labels| labels.strings.len());
    ints.max(texts)
}

/// The label of two that the sign of a score tells: the second where it is positive, or the first if `is_first`.
pub(super) fn label_by_sign(
    graph: &mut GraphProto,
    classifier: &NodeProto,
    score: &str,
    label: &str,
    is_first: bool,
) -> Vec<NodeProto> {
    if label.is_empty() {
        return Vec::new();
    }
    let (zero, flat) = (inner(label, "zero"), inner(label, "flat"));
    let (bit, column, index) = (inner(label, "positive"), inner(label, "column"), inner(label, "index"));
    graph.initializer.push(floats(&zero, &[1], &[0.0]));
    graph.initializer.push(integers(&flat, &[-1]));
    let comparison = if is_first { "LessOrEqual" } else { "Greater" };
    let class = with_int(node("Cast", &[&bit], &column), "to", 7);
    let bit = node(comparison, &[score, &zero], &bit);
    let index_node = node("Reshape", &[&column, &flat], &index);
    vec![bit, class, index_node, label_of(graph, classifier, &index, label)]
}

/// The label of the class with the largest score.
pub(super) fn label_of_largest(
    graph: &mut GraphProto,
    classifier: &NodeProto,
    scores: &str,
    label: &str,
) -> Vec<NodeProto> {
    if label.is_empty() {
        return Vec::new();
    }
    let index = inner(label, "index");
    let largest = with_int(with_int(node("ArgMax", &[scores], &index), "axis", 1), "keepdims", 0);
    vec![largest, label_of(graph, classifier, &index, label)]
}

/// The label of an index into the table of classes.
fn label_of(graph: &mut GraphProto, classifier: &NodeProto, index: &str, label: &str) -> NodeProto {
    let table = inner(label, "classes");
    let ints = label_numbers(classifier);
    graph.initializer.push(match attribute(classifier, "classlabels_strings") {
        Some(labels) if !labels.strings.is_empty() => texts(&table, &labels.strings),
        _ => integers(&table, ints),
    });
    with_int(node("Gather", &[&table, index], label), "axis", 0)
}

/// ArrayFeatureExtractor: columns, by numbers known or computed.
pub(super) fn array_feature_extractor(graph: &mut GraphProto, extractor: &NodeProto) -> Rewritten {
    let (output, Some(columns)) = (output_of(extractor, 0), extractor.input.get(1)) else { return Ok(Vec::new()) };
    let (flat, list) = (inner(&output, "flat"), inner(&output, "columns"));
    graph.initializer.push(integers(&flat, &[-1]));
    let reshaped = node("Reshape", &[columns, &flat], &list);
    Ok(vec![reshaped, with_int(node("Gather", &[&input_of(extractor), &list], &output), "axis", -1)])
}

/// Tensors of non-negative numbers that sum to 1 along the last axis: the scores of classifiers behind a Softmax, or
/// behind the logistic function where the second class has the opposite score.
pub(super) fn probabilities(graph: &GraphProto) -> HashSet<String> {
    let is_opposite = |classifier: &NodeProto| {
        let (first, second) =
            numbers(classifier, "coefficients").split_at(numbers(classifier, "coefficients").len() / 2);
        let intercepts = numbers(classifier, "intercepts");
        let is_second = first.len() == second.len() && first.iter().zip(second).all(|(a, b)| *a == -b);
        let [a, b] = *intercepts else { return intercepts.len() == 1 && class_count(classifier) == 2 };
        is_second && a == -b
    };
    let sums_to_one = |node: &&NodeProto| match (node.op_type.as_str(), text(node, "post_transform", "NONE").as_str()) {
        ("LinearClassifier", "SOFTMAX") => numbers(node, "intercepts").len() != 1,
        ("LinearClassifier", "LOGISTIC") => is_opposite(node),
        _ => false,
    };
    graph.node.iter().filter(sums_to_one).filter_map(|node| node.output.get(1).cloned()).collect()
}

/// Whether a Normalizer divides by a sum that is 1.
pub(super) fn sums_to_one(normalizer: &NodeProto, probabilities: &HashSet<String>) -> bool {
    text(normalizer, "norm", "MAX") == "L1" && probabilities.contains(&input_of(normalizer))
}

/// The node's input as its output.
pub(super) fn identity(from: &NodeProto) -> Rewritten {
    Ok(vec![node("Identity", &[&input_of(from)], &output_of(from, 0))])
}

/// Normalizer over the last axis: the maximum, the sum of absolute values, or the root of the sum of squares is 1.
pub(super) fn normalizer(graph: &mut GraphProto, normalizer: &NodeProto, opset: i64) -> Rewritten {
    let (x, output) = (input_of(normalizer), output_of(normalizer, 0));
    let (size, norm) = (inner(&output, "sizes"), inner(&output, "norm"));
    let mut nodes = match text(normalizer, "norm", "MAX").as_str() {
        "MAX" => vec![last_axis(graph, "ReduceMax", &x, &norm, opset)],
        "L1" => vec![node("Abs", &[&x], &size), last_axis(graph, "ReduceSum", &size, &norm, opset)],
        "L2" => {
            let total = inner(&output, "total");
            let sum = last_axis(graph, "ReduceSum", &size, &total, opset);
            vec![node("Mul", &[&x, &x], &size), sum, node("Sqrt", &[&total], &norm)]
        }
        other => {
            let reason = format!("its norm {other:?} is not known");
            return Err(Refused::new(normalizer, &reason, "use MAX, L1 or L2"));
        }
    };
    nodes.push(node("Div", &[&x, &norm], &output));
    Ok(nodes)
}

/// A reduction over the last axis, which stays as an axis of length 1; older versions of the operators have their axes
/// as an attribute.
pub(super) fn last_axis(graph: &mut GraphProto, operator: &str, x: &str, output: &str, opset: i64) -> NodeProto {
    if opset >= if operator == "ReduceSum" { 13 } else { 18 } {
        let axes = inner(output, "axes");
        graph.initializer.push(integers(&axes, &[-1]));
        return with_int(node(operator, &[x, &axes], output), "keepdims", 1);
    }
    with_int(with_ints(node(operator, &[x], output), "axes", &[-1]), "keepdims", 1)
}

/// Name of a tensor within what a node becomes.
pub(super) fn inner(output: &str, what: &str) -> String {
    format!("{output}__{what}")
}

/// The first input.
pub(super) fn input_of(node: &NodeProto) -> String {
    node.input.first().cloned().unwrap_or_default()
}

/// An output; where it is left out, the first one still gets a name.
pub(super) fn output_of(node: &NodeProto, slot: usize) -> String {
    match node.output.get(slot) {
        Some(name) if !name.is_empty() => name.clone(),
        _ if slot > 0 => format!("{}__output_{slot}", name_of(node)),
        _ => String::new(),
    }
}
