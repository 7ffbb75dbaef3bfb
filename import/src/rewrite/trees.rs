//! Decision trees, forests and boosted trees of `ai.onnx.ml`, in standard operators.
//!
//! Nothing branches on an encrypted value. Every comparison of every tree is made, each once however many trees make
//! it, and gives 0 or 1. A leaf is reached where all comparisons on the way to it go its way, which is one more
//! comparison: that of their sum with their number. Scores are sums of the leaves' weights. One leaf of each tree is
//! reached where no other is, and is not looked at; a leaf behind a single comparison is that comparison.

use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, NodeProto};

use super::Refused;
use super::classical::{
    Rewritten, class_count, inner, input_of, label_by_sign, label_of_largest, output_of, transformed,
};
use super::graph::{attribute, floats, int, integers, ints, node, tensor_numbers, text, with_int};

/// Nodes of all trees.
const MOST_NODES: usize = 1 << 17;
/// Comparisons times leaves.
const MOST_WAYS: usize = 1 << 26;
/// Nodes times scores.
const MOST_WEIGHTS: usize = 1 << 24;
/// Branches on the way to a leaf.
const MOST_DEPTH: usize = 64;

/// A comparison of one column with a threshold.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Comparison {
    column: usize,
    /// The bits of the number that the column is at most.
    most: u32,
}

/// Where a comparison must go, and which it is.
type Step = (usize, bool);

/// Trees with their comparisons told apart.
#[derive(Default)]
struct Forest {
    comparisons: Vec<Comparison>,
    /// For each tree its leaves: the way to each, and its number among the nodes.
    trees: Vec<Vec<(Vec<Step>, usize)>>,
}

/// The nodes of all trees, as the attributes give them.
struct Nodes<'a> {
    of: &'a NodeProto,
    trees: &'a [i64],
    columns: &'a [i64],
    yes: &'a [i64],
    no: &'a [i64],
    modes: &'a [Vec<u8>],
    thresholds: Vec<f32>,
    /// Where the node of a tree stands, by both numbers.
    places: HashMap<(i64, i64), usize>,
}

impl<'a> Nodes<'a> {
    fn of(of: &'a NodeProto) -> Result<Self, Refused> {
        let [trees, numbers, columns, yes, no] =
            ["nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids"]
                .map(|name| ints(of, name));
        let modes = attribute(of, "nodes_modes").map_or(&[][..], |attribute| &attribute.strings);
        let thresholds = tensor_numbers(of, "nodes_values");
        let count = trees.len();
        let lengths = [numbers.len(), columns.len(), yes.len(), no.len(), modes.len(), thresholds.len()];
        if count == 0 || lengths.iter().any(|&length| length != count) {
            return Err(Refused::damaged(of, "the lists of its nodes have different lengths"));
        }
        if count > MOST_NODES {
            let reason = format!("it has {count} nodes, each a comparison or a leaf; {MOST_NODES} are the most");
            return Err(Refused::new(of, &reason, "use fewer or smaller trees"));
        }
        let places: HashMap<(i64, i64), usize> = trees.iter().copied().zip(numbers.iter().copied()).zip(0..).collect();
        if places.len() != count {
            return Err(Refused::damaged(of, "two of its nodes have one number"));
        }
        Ok(Self { of, trees, columns, yes, no, modes, thresholds, places })
    }

    /// All trees, each from the node that is listed first.
    fn forest(&self) -> Result<Forest, Refused> {
        let mut forest = Forest::default();
        let mut known: HashMap<Comparison, usize> = HashMap::new();
        let mut seen = vec![false; self.trees.len()];
        for root in 0..self.trees.len() {
            if root > 0 && self.trees[root] == self.trees[root - 1] || seen[root] {
                continue;
            }
            let mut leaves = Vec::new();
            let mut open: Vec<(usize, Vec<Step>)> = vec![(root, Vec::new())];
            while let Some((at, way)) = open.pop() {
                if std::mem::replace(&mut seen[at], true) {
                    return Err(Refused::damaged(self.of, "its branches do not form trees"));
                }
                if way.len() > MOST_DEPTH {
                    let reason = format!("one of its trees is more than {MOST_DEPTH} branches deep");
                    return Err(Refused::new(self.of, &reason, "use shallower trees"));
                }
                let Some((comparison, holds)) = self.comparison(at)? else {
                    leaves.push((way, at));
                    continue;
                };
                let next = forest.comparisons.len();
                let number = *known.entry(comparison).or_insert(next);
                if number == next {
                    forest.comparisons.push(comparison);
                }
                // What an earlier branch has decided is not asked again.
                let decided = way.iter().find(|step: &&Step| step.0 == number).map(|step| step.1 == holds);
                for (child, is_yes) in [(self.no[at], false), (self.yes[at], true)] {
                    if decided.is_some_and(|decided| decided != is_yes) {
                        continue;
                    }
                    let missing = || Refused::damaged(self.of, "a branch leads to a node that is missing");
                    let child = *self.places.get(&(self.trees[at], child)).ok_or_else(missing)?;
                    let mut way = way.clone();
                    if decided.is_none() {
                        way.push((number, is_yes == holds));
                    }
                    open.push((child, way));
                }
            }
            forest.trees.push(leaves);
        }
        Ok(forest)
    }

    /// The comparison of a branch, and whether it holds where the branch takes its first child; none for a leaf.
    fn comparison(&self, at: usize) -> Result<Option<(Comparison, bool)>, Refused> {
        let threshold = self.thresholds[at];
        // What is below a number is at most the next smaller one.
        let (most, holds) = match self.modes[at].as_slice() {
            b"LEAF" => return Ok(None),
            b"BRANCH_LEQ" => (threshold, true),
            b"BRANCH_LT" => (threshold.next_down(), true),
            b"BRANCH_GT" => (threshold, false),
            b"BRANCH_GTE" => (threshold.next_down(), false),
            other => {
                let reason = format!("its branches compare by {}", String::from_utf8_lossy(other));
                return Err(Refused::new(self.of, &reason, "encode categories as columns of 0 and 1"));
            }
        };
        let column = self.columns[at];
        if column < 0 || !most.is_finite() {
            return Err(Refused::damaged(self.of, "a branch has no column or no threshold"));
        }
        Ok(Some((Comparison { column: column as usize, most: most.to_bits() }, holds)))
    }
}

/// Weights of leaves, by the place of the leaf's node: for each score one.
struct Weights {
    scores: usize,
    of_leaf: HashMap<usize, Vec<f64>>,
}

impl Weights {
    /// From the attributes whose names begin with `prefix`, for so many scores, or for one whatever they are said to be
    /// for.
    fn of(nodes: &Nodes<'_>, prefix: &str, scores: usize, is_single: bool) -> Result<Self, Refused> {
        let [trees, numbers, ids] =
            ["treeids", "nodeids", "ids"].map(|name| ints(nodes.of, &format!("{prefix}_{name}")));
        if nodes.trees.len().saturating_mul(scores) > MOST_WEIGHTS {
            let reason = format!("it has {} nodes and {scores} scores, which are too many together", nodes.trees.len());
            return Err(Refused::new(nodes.of, &reason, "use fewer or smaller trees"));
        }
        let weights = tensor_numbers(nodes.of, &format!("{prefix}_weights"));
        if [trees.len(), numbers.len(), ids.len()].iter().any(|&length| length != weights.len()) {
            return Err(Refused::damaged(nodes.of, "the lists of its weights have different lengths"));
        }
        let mut of_leaf: HashMap<usize, Vec<f64>> = HashMap::new();
        for (at, &weight) in weights.iter().enumerate() {
            let place = nodes.places.get(&(trees[at], numbers[at]));
            let score = if is_single { 0 } else { usize::try_from(ids[at]).unwrap_or(usize::MAX) };
            let (Some(&place), true) = (place, score < scores && weight.is_finite()) else {
                return Err(Refused::damaged(nodes.of, "a weight belongs to no leaf or to no score, or is not finite"));
            };
            of_leaf.entry(place).or_insert_with(|| vec![0.0; scores])[score] += f64::from(weight);
        }
        Ok(Self { scores, of_leaf })
    }
}

/// What scores are sums of: comparisons and leaves times weights.
struct Sums {
    constants: Vec<f64>,
    /// For each comparison its weights.
    comparisons: Vec<Vec<f64>>,
    /// Leaves behind several comparisons, with their weights.
    leaves: Vec<(Vec<Step>, Vec<f64>)>,
}

impl Sums {
    fn of(forest: &Forest, weights: &Weights, base: &[f32]) -> Self {
        let zero = vec![0.0; weights.scores];
        let mut constants: Vec<f64> = base.iter().map(|&base| f64::from(base)).collect();
        constants.resize(weights.scores, 0.0);
        let mut sums =
            Self { constants, comparisons: vec![zero.clone(); forest.comparisons.len()], leaves: Vec::new() };
        for leaves in &forest.trees {
            let weight = |at: &usize| weights.of_leaf.get(at).unwrap_or(&zero);
            // The farthest leaf is what is left.
            let Some((_, last)) = leaves.iter().max_by_key(|(way, _)| way.len()) else { continue };
            add(&mut sums.constants, weight(last), 1.0);
            for (way, at) in leaves {
                let own: Vec<f64> = weight(at).iter().zip(weight(last)).map(|(own, last)| own - last).collect();
                if own.iter().all(|&own| own == 0.0) {
                    continue;
                }
                match way.as_slice() {
                    [] => add(&mut sums.constants, &own, 1.0),
                    &[(comparison, true)] => add(&mut sums.comparisons[comparison], &own, 1.0),
                    &[(comparison, false)] => {
                        add(&mut sums.constants, &own, 1.0);
                        add(&mut sums.comparisons[comparison], &own, -1.0);
                    }
                    _ => sums.leaves.push((way.clone(), own)),
                }
            }
        }
        sums
    }
}

fn add(sums: &mut [f64], terms: &[f64], factor: f64) {
    sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += factor * term);
}

/// The scores in the tensor `output`, `[N, scores]`.
fn scores(
    graph: &mut GraphProto,
    trees: &NodeProto,
    forest: &Forest,
    sums: &Sums,
    output: &str,
) -> Result<Vec<NodeProto>, Refused> {
    let (count, leaves, targets) = (forest.comparisons.len(), sums.leaves.len(), sums.constants.len());
    if count.saturating_mul(leaves.max(1)) > MOST_WAYS {
        let reason = format!("it makes {count} comparisons on the ways to {leaves} leaves, which is too large a map");
        return Err(Refused::new(trees, &reason, "use fewer or smaller trees"));
    }
    if count == 0 {
        return Err(Refused::new(trees, "none of its trees has a branch", "leave out a model that is a constant"));
    }
    let name = |what: &str| inner(output, what);
    let mut nodes = Vec::new();
    let [real, columns, values, thresholds, bits, compared] =
        ["real", "columns", "values", "thresholds", "bits", "compared"].map(name);
    let list: Vec<i64> = forest.comparisons.iter().map(|comparison| comparison.column as i64).collect();
    let limits: Vec<f32> = forest.comparisons.iter().map(|comparison| f32::from_bits(comparison.most)).collect();
    graph.initializer.push(integers(&columns, &list));
    graph.initializer.push(floats(&thresholds, &[count], &limits));
    nodes.push(with_int(node("Cast", &[&input_of(trees)], &real), "to", 1));
    nodes.push(with_int(node("Gather", &[&real, &columns], &values), "axis", 1));
    nodes.push(node("LessOrEqual", &[&values, &thresholds], &bits));
    nodes.push(with_int(node("Cast", &[&bits], &compared), "to", 1));
    let mut map = vec![0.0_f32; count * targets];
    for (comparison, weights) in sums.comparisons.iter().enumerate() {
        for (target, &weight) in weights.iter().enumerate() {
            map[comparison * targets + target] = weight as f32;
        }
    }
    let mut sum = Vec::new();
    if map.iter().any(|&weight| weight != 0.0) {
        let (weights, product) = (name("weights_of_comparisons"), name("comparisons"));
        graph.initializer.push(floats(&weights, &[count, targets], &map));
        nodes.push(node("MatMul", &[&compared, &weights], &product));
        sum.push(product);
    }
    if leaves > 0 {
        let (mut ways, mut limits) = (vec![0.0_f32; count * leaves], Vec::with_capacity(leaves));
        let mut of_leaves = Vec::with_capacity(leaves * targets);
        for (leaf, (way, weights)) in sums.leaves.iter().enumerate() {
            for &(comparison, holds) in way {
                ways[comparison * leaves + leaf] = if holds { 1.0 } else { -1.0 };
            }
            limits.push(way.iter().filter(|step| step.1).count() as f32 - 0.5);
            of_leaves.extend(weights.iter().map(|&weight| weight as f32));
        }
        let [steps, taken, least, reached, numbers, weights, product] =
            ["ways", "taken", "least", "reached", "leaves", "weights", "of_leaves"].map(name);
        graph.initializer.push(floats(&steps, &[count, leaves], &ways));
        graph.initializer.push(floats(&least, &[leaves], &limits));
        graph.initializer.push(floats(&weights, &[leaves, targets], &of_leaves));
        nodes.push(node("MatMul", &[&compared, &steps], &taken));
        nodes.push(node("Greater", &[&taken, &least], &reached));
        nodes.push(with_int(node("Cast", &[&reached], &numbers), "to", 1));
        nodes.push(node("MatMul", &[&numbers, &weights], &product));
        sum.push(product);
    }
    let constants = name("constants");
    let values: Vec<f32> = sums.constants.iter().map(|&constant| constant as f32).collect();
    graph.initializer.push(floats(&constants, &[targets], &values));
    let total = match sum.as_slice() {
        [one] => one.clone(),
        [one, other] => {
            nodes.push(node("Add", &[one, other], &name("sum")));
            name("sum")
        }
        _ => return Err(Refused::new(trees, "all its leaves weigh the same", "leave out a model that is a constant")),
    };
    nodes.push(node("Add", &[&total, &constants], output));
    Ok(nodes)
}

/// TreeEnsembleRegressor.
pub(super) fn regressor(graph: &mut GraphProto, trees: &NodeProto) -> Rewritten {
    let nodes = Nodes::of(trees)?;
    let forest = nodes.forest()?;
    let targets = usize::try_from(int(trees, "n_targets", 1)).ok().filter(|targets| (1..=MOST_NODES).contains(targets));
    let targets = targets.ok_or_else(|| Refused::damaged(trees, "it has no targets"))?;
    let mut weights = Weights::of(&nodes, "target", targets, false)?;
    match text(trees, "aggregate_function", "SUM").as_str() {
        "SUM" => {}
        "AVERAGE" => {
            let share = 1.0 / forest.trees.len() as f64;
            weights.of_leaf.values_mut().flatten().for_each(|weight| *weight *= share);
        }
        other => {
            let reason = format!("its aggregate_function {other} is not evaluated");
            return Err(Refused::new(trees, &reason, "use sums or averages of trees"));
        }
    }
    let output = output_of(trees, 0);
    let raw = inner(&output, "raw");
    let sums = Sums::of(&forest, &weights, &tensor_numbers(trees, "base_values"));
    let mut nodes = scores(graph, trees, &forest, &sums, &raw)?;
    nodes.push(transformed(trees, &raw, &output)?);
    Ok(nodes)
}

/// TreeEnsembleClassifier. Where all weights are for the first of two classes, their sum is the second one's score, as
/// onnxruntime has it: a probability if no weight is negative, else a logit. Of the transforms of such a score it knows
/// LOGISTIC only. Where there are scores of several classes, the label is that of the largest.
pub(super) fn classifier(graph: &mut GraphProto, trees: &NodeProto) -> Rewritten {
    let nodes = Nodes::of(trees)?;
    let forest = nodes.forest()?;
    let (label, output) = (output_of(trees, 0), output_of(trees, 1));
    let classes = class_count(trees);
    let ids = ints(trees, "class_ids");
    let base = tensor_numbers(trees, "base_values");
    let is_single = classes == 2 && ids.iter().all(|&id| id == 0);
    let targets = if is_single { 1 } else { classes };
    if classes < 2 || !(base.is_empty() || base.len() == targets) {
        return Err(Refused::damaged(trees, "its classes do not fit its base values"));
    }
    let weights = Weights::of(&nodes, "class", targets, is_single)?;
    let sums = Sums::of(&forest, &weights, &base);
    let raw = inner(&output, "raw");
    let mut nodes = scores(graph, trees, &forest, &sums, &raw)?;
    if !is_single {
        nodes.push(transformed(trees, &raw, &output)?);
        nodes.extend(label_of_largest(graph, trees, &raw, &label));
        return Ok(nodes);
    }
    let is_share = !tensor_numbers(trees, "class_weights").iter().any(|&weight| weight < 0.0);
    let is_logistic = text(trees, "post_transform", "NONE") == "LOGISTIC";
    let (first, second, margin) = (inner(&output, "first"), inner(&output, "second"), inner(&output, "margin"));
    let opposite = inner(&output, "opposite");
    if is_share && !is_logistic {
        let one = inner(&output, "one");
        graph.initializer.push(floats(&one, &[1], &[1.0]));
        nodes.push(node("Sub", &[&one, &raw], &opposite));
    } else {
        nodes.push(node("Neg", &[&raw], &opposite));
    }
    for (score, probability) in [(&opposite, &first), (&raw, &second)] {
        nodes.push(node(if is_logistic { "Sigmoid" } else { "Identity" }, &[score], probability));
    }
    let boundary = inner(&output, "boundary");
    graph.initializer.push(floats(&boundary, &[1], &[if is_share { 0.5 } else { 0.0 }]));
    nodes.push(node("Sub", &[&raw, &boundary], &margin));
    nodes.push(with_int(node("Concat", &[&first, &second], &output), "axis", 1));
    nodes.extend(label_by_sign(graph, trees, &margin, &label, false));
    Ok(nodes)
}
