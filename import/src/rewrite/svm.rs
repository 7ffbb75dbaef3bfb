//! Support vector machines of `ai.onnx.ml` with linear and RBF kernels, in standard operators.
//!
//! Decision values are libsvm's: sums over support vectors of coefficient times kernel, plus rho. The RBF kernel
//! `exp(-gamma |x - v|^2)` takes one stage of squares of the inputs and one function a support vector.

use tract_onnx::pb::{GraphProto, NodeProto};

use super::Refused;
use super::classical::transformed;
use super::classical::{Rewritten, class_count, inner, input_of, label_by_sign, last_axis, output_of};
use super::graph::{floats, int, ints, node, numbers, text, with_int};

/// Kernel values of all support vectors, `[N, vectors]`, in the tensor returned.
fn kernel(
    graph: &mut GraphProto,
    svm: &NodeProto,
    count: usize,
    opset: i64,
    nodes: &mut Vec<NodeProto>,
) -> Result<String, Refused> {
    let vectors = numbers(svm, "support_vectors");
    let (x, base) = (input_of(svm), output_of(svm, svm.output.len().saturating_sub(1)));
    if count == 0 || vectors.is_empty() || !vectors.len().is_multiple_of(count) {
        return Err(Refused::damaged(svm, "its support vectors do not fit its numbers of them"));
    }
    let columns = vectors.len() / count;
    let transposed = |factor: f32| -> Vec<f32> {
        (0..columns).flat_map(|column| (0..count).map(move |row| factor * vectors[row * columns + column])).collect()
    };
    let (matrix, product) = (inner(&base, "vectors"), inner(&base, "products"));
    let parameters = numbers(svm, "kernel_params");
    match text(svm, "kernel_type", "LINEAR").as_str() {
        "LINEAR" => {
            graph.initializer.push(floats(&matrix, &[columns, count], &transposed(1.0)));
            nodes.push(node("MatMul", &[&x, &matrix], &product));
            Ok(product)
        }
        "RBF" => {
            let gamma = parameters.first().copied().unwrap_or(0.0);
            let lengths: Vec<f32> = vectors
                .chunks(columns)
                .map(|vector| {
                    let square: f64 = vector.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
                    (-f64::from(gamma) * square) as f32
                })
                .collect();
            let [squares, square, scaled, gammas, sums, constants, exponent, kernel] =
                ["squares", "square", "scaled", "gamma", "sums", "lengths", "exponent", "kernel"]
                    .map(|w| inner(&base, w));
            graph.initializer.push(floats(&matrix, &[columns, count], &transposed(2.0 * gamma)));
            graph.initializer.push(floats(&gammas, &[1], &[-gamma]));
            graph.initializer.push(floats(&constants, &[count], &lengths));
            nodes.push(node("Mul", &[&x, &x], &squares));
            nodes.push(last_axis(graph, "ReduceSum", &squares, &square, opset));
            nodes.push(node("Mul", &[&square, &gammas], &scaled));
            nodes.push(node("MatMul", &[&x, &matrix], &product));
            nodes.push(node("Add", &[&product, &scaled], &sums));
            nodes.push(node("Add", &[&sums, &constants], &exponent));
            nodes.push(node("Exp", &[&exponent], &kernel));
            Ok(kernel)
        }
        other => Err(Refused::new(
            svm,
            &format!("its kernel {other} is not evaluated"),
            "train with kernel=\"rbf\" or \"linear\"",
        )),
    }
}

/// `kernel W + b`.
fn combined(graph: &mut GraphProto, kernel: &str, weights: &[f32], bias: &[f32], output: &str) -> Vec<NodeProto> {
    let (matrix, constants, product) = (inner(output, "weights"), inner(output, "bias"), inner(output, "product"));
    graph.initializer.push(floats(&matrix, &[weights.len() / bias.len().max(1), bias.len()], weights));
    graph.initializer.push(floats(&constants, &[bias.len()], bias));
    vec![node("MatMul", &[kernel, &matrix], &product), node("Add", &[&product, &constants], output)]
}

/// SVMRegressor.
pub(super) fn regressor(graph: &mut GraphProto, svm: &NodeProto, opset: i64) -> Rewritten {
    if int(svm, "one_class", 0) != 0 {
        return Err(Refused::new(svm, "it is a one-class machine", "export its decision function as a regression"));
    }
    let output = output_of(svm, 0);
    let (raw, count) = (inner(&output, "raw"), int(svm, "n_supports", 0).max(0) as usize);
    let coefficients = numbers(svm, "coefficients");
    let rho = numbers(svm, "rho").first().copied().unwrap_or(0.0);
    let mut nodes = Vec::new();
    if count == 0 {
        nodes.extend(combined(graph, &input_of(svm), coefficients, &[rho], &raw));
    } else if coefficients.len() == count {
        let kernel = kernel(graph, svm, count, opset, &mut nodes)?;
        nodes.extend(combined(graph, &kernel, coefficients, &[rho], &raw));
    } else {
        return Err(Refused::damaged(svm, "its coefficients do not fit its support vectors"));
    }
    nodes.push(transformed(svm, &raw, &output)?);
    Ok(nodes)
}

/// SVMClassifier: of two classes, labels and scores or probabilities; of more, the decision values of all pairs.
pub(super) fn classifier(graph: &mut GraphProto, svm: &NodeProto, opset: i64) -> Rewritten {
    let (label, scores) = (output_of(svm, 0), output_of(svm, 1));
    let classes = class_count(svm);
    let per_class: Vec<usize> = ints(svm, "vectors_per_class").iter().map(|&count| count.max(0) as usize).collect();
    let (coefficients, rho) = (numbers(svm, "coefficients"), numbers(svm, "rho"));
    let count: usize = per_class.iter().sum();
    let pairs = classes * classes.saturating_sub(1) / 2;
    if per_class.len() != classes || classes < 2 || coefficients.len() != (classes - 1) * count || rho.len() != pairs {
        let reason = "it is not a machine of support vectors for pairs of classes";
        return Err(Refused::new(svm, reason, "export it as a linear classifier, or with its support vectors"));
    }
    let is_probable = !numbers(svm, "prob_a").is_empty();
    if classes > 2 && (is_probable || !label.is_empty()) {
        return Err(Refused::new(
            svm,
            "it decides between more than two classes by votes of pairs",
            "train one-versus-rest machines (OneVsRestClassifier), or a linear classifier",
        ));
    }
    let mut nodes = Vec::new();
    let kernel = kernel(graph, svm, count, opset, &mut nodes)?;
    let starts: Vec<usize> = (0..classes).map(|class| per_class[..class].iter().sum()).collect();
    let mut weights = vec![0.0; count * pairs];
    let mut pair = 0;
    for i in 0..classes {
        for j in i + 1..classes {
            for v in starts[i]..starts[i] + per_class[i] {
                weights[v * pairs + pair] = coefficients[(j - 1) * count + v];
            }
            for v in starts[j]..starts[j] + per_class[j] {
                weights[v * pairs + pair] = coefficients[i * count + v];
            }
            pair += 1;
        }
    }
    if classes > 2 {
        let raw = inner(&scores, "raw");
        nodes.extend(combined(graph, &kernel, &weights, rho, &raw));
        nodes.push(transformed(svm, &raw, &scores)?);
        return Ok(nodes);
    }
    let decision = inner(&scores, "decision");
    nodes.extend(combined(graph, &kernel, &weights, rho, &decision));
    let (first, second, raw) = (inner(&scores, "first"), inner(&scores, "second"), inner(&scores, "raw"));
    if is_probable {
        // Platt's sigmoid: the first class has probability 1 / (1 + exp(a f + b)).
        let (a, b) = (numbers(svm, "prob_a")[0], numbers(svm, "prob_b").first().copied().unwrap_or(0.0));
        let [slope, shift, one, steep, logit] =
            ["slope", "shift", "one", "steep", "logit"].map(|what| inner(&scores, what));
        graph.initializer.push(floats(&slope, &[1], &[-a]));
        graph.initializer.push(floats(&shift, &[1], &[-b]));
        graph.initializer.push(floats(&one, &[1], &[1.0]));
        nodes.push(node("Mul", &[&decision, &slope], &steep));
        nodes.push(node("Add", &[&steep, &shift], &logit));
        nodes.push(node("Sigmoid", &[&logit], &first));
        nodes.push(node("Sub", &[&one, &first], &second));
    } else {
        nodes.push(node("Neg", &[&decision], &first));
        nodes.push(node("Identity", &[&decision], &second));
    }
    nodes.push(with_int(node("Concat", &[&first, &second], &raw), "axis", 1));
    nodes.push(transformed(svm, &raw, &scores)?);
    let (margin, name) = (inner(&scores, "margin"), decision.clone());
    nodes.push(node("Neg", &[&name], &margin));
    nodes.extend(label_by_sign(graph, svm, &margin, &label, false));
    Ok(nodes)
}
