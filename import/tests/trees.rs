//! Decision trees, forests and boosted trees against their definition.

mod onnx;

use heman_import::import_bytes;
use onnx::Attr::{Floats, Int, Ints, Text, Texts};
use onnx::{Attr, Onnx};

/// Attributes of a node by their names.
type Attributes = Vec<(&'static str, Attr)>;

/// Two trees: of depth two over columns 0 and 1, and a stump over column 1 that makes one of the same comparisons.
fn nodes() -> Attributes {
    vec![
        ("nodes_treeids", Ints(vec![0, 0, 0, 0, 0, 4, 4, 4])),
        ("nodes_nodeids", Ints(vec![0, 1, 2, 3, 4, 0, 1, 2])),
        ("nodes_featureids", Ints(vec![0, 1, 0, 0, 0, 1, 0, 0])),
        ("nodes_truenodeids", Ints(vec![1, 2, 0, 0, 0, 2, 0, 0])),
        ("nodes_falsenodeids", Ints(vec![4, 3, 0, 0, 0, 1, 0, 0])),
        ("nodes_values", Floats(vec![0.5, -1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0])),
        ("nodes_modes", Texts(vec!["BRANCH_LEQ", "BRANCH_LT", "LEAF", "LEAF", "LEAF", "BRANCH_GTE", "LEAF", "LEAF"])),
    ]
}

/// The leaf that an input reaches in each tree.
fn leaves(x: [f32; 2]) -> [usize; 2] {
    let first = match (x[0] <= 0.5, x[1] < -1.0) {
        (false, _) => 2,
        (true, true) => 0,
        (true, false) => 1,
    };
    [first, usize::from(x[1] >= -1.0)]
}

const INPUTS: [[f32; 2]; 5] = [[0.4, -1.5], [0.5, -1.0], [0.6, -1.5], [0.6, 3.0], [0.5, -1.01]];

fn outputs(model: &Onnx, x: [f32; 2]) -> Vec<f64> {
    let network = import_bytes(&model.build()).expect("imports");
    let (_, encrypted) = network.evaluate(&x.map(f64::from));
    network.client_ops.run(&network.output.shape, &encrypted).expect("runs")[0].values.clone()
}

#[test]
fn sums_of_the_leaves_weights() {
    for (aggregate, share) in [("SUM", 1.0), ("AVERAGE", 0.5)] {
        let mut model = Onnx::new(&[1, 2]);
        let mut attributes = nodes();
        attributes.extend([
            ("n_targets", Int(2)),
            ("aggregate_function", Text(aggregate)),
            ("base_values", Floats(vec![10.0, 20.0])),
            ("target_treeids", Ints(vec![0, 0, 0, 4, 4, 0])),
            ("target_nodeids", Ints(vec![2, 3, 4, 1, 2, 4])),
            ("target_ids", Ints(vec![0, 0, 0, 1, 1, 1])),
            ("target_weights", Floats(vec![1.0, 2.0, 4.0, -1.0, -2.0, 8.0])),
        ]);
        model.node("TreeEnsembleRegressor", &["x"], &attributes);
        for x in INPUTS {
            let [first, second] = leaves(x);
            let want =
                [10.0 + share * [1.0, 2.0, 4.0][first], 20.0 + share * ([0.0, 0.0, 8.0][first] + [-1.0, -2.0][second])];
            let got = outputs(&model, x);
            assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6), "{x:?}: {got:?}, not {want:?}");
        }
        let network = import_bytes(&model.build()).expect("imports");
        // Three branches make two comparisons. Of the first tree's leaves one is behind a single comparison, and one of
        // the others is what is left.
        let rows: Vec<usize> = network.stages.iter().map(|stage| stage.rows.len()).collect();
        assert_eq!(rows, [2, 1]);
    }
}

#[test]
fn classifiers_score_as_onnxruntime_does() {
    let classifier = |ids: &[i64], weights: &[f32], transform: &'static str, base: &[f32]| {
        let mut attributes = nodes();
        attributes.extend([
            ("class_treeids", Ints(vec![0, 0, 0, 4, 4])),
            ("class_nodeids", Ints(vec![2, 3, 4, 1, 2])),
            ("class_ids", Ints(ids.to_vec())),
            ("class_weights", Floats(weights.to_vec())),
            ("post_transform", Text(transform)),
            ("classlabels_int64s", Ints(vec![3, 7])),
            ("base_values", Floats(base.to_vec())),
        ]);
        let mut model = Onnx::new(&[1, 2]);
        let both = model.nodes_with_outputs("TreeEnsembleClassifier", &["x"], &attributes, 2);
        model.node("Identity", &[&both[1]], &[]);
        model
    };
    let sum = |weights: &[f32], x: [f32; 2]| {
        let [first, second] = leaves(x);
        f64::from(weights[first] + weights[3 + second])
    };
    let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
    let (shares, logits) = ([0.1, 0.25, 0.5, 0.125, 0.375], [0.5, -1.0, 2.0, -0.25, 0.75]);
    for x in INPUTS {
        let close = |model: Onnx, want: [f64; 2]| {
            let got = outputs(&model, x);
            assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6), "{x:?}: {got:?}, not {want:?}");
        };
        // All weights for one class: no negative one, and the second class has their sum as its probability.
        let share = sum(&shares, x);
        close(classifier(&[0; 5], &shares, "NONE", &[]), [1.0 - share, share]);
        let logit = sum(&logits, x) + 0.125;
        close(classifier(&[0; 5], &logits, "LOGISTIC", &[0.125]), [logistic(-logit), logistic(logit)]);
        close(classifier(&[0; 5], &logits, "SOFTMAX", &[0.125]), [-logit, logit]);
        close(classifier(&[0; 5], &shares, "LOGISTIC", &[]), [logistic(-share), logistic(share)]);
        // All for the second class: the first one has none.
        close(classifier(&[1; 5], &logits, "NONE", &[]), [0.0, sum(&logits, x)]);
        // A score for each class.
        let [first, second] = leaves(x);
        let own = [[0.5, 0.0, 2.0][first] + [0.0, 0.75][second], [0.0, -1.0, 0.0][first] + [-0.25, 0.0][second]];
        close(classifier(&[0, 1, 0, 1, 0], &logits, "NONE", &[0.25, 0.5]), [own[0] + 0.25, own[1] + 0.5]);
    }
}

#[test]
fn labels_are_those_of_the_larger_score() {
    let mut attributes = nodes();
    attributes.extend([
        ("class_treeids", Ints(vec![0, 0, 0, 4, 4])),
        ("class_nodeids", Ints(vec![2, 3, 4, 1, 2])),
        ("class_ids", Ints(vec![0; 5])),
        ("class_weights", Floats(vec![0.1, 0.25, 0.5, 0.125, 0.375])),
        ("classlabels_int64s", Ints(vec![3, 7])),
    ]);
    let mut model = Onnx::new(&[1, 2]);
    let both = model.nodes_with_outputs("TreeEnsembleClassifier", &["x"], &attributes, 2);
    model.node("Identity", &[&both[0]], &[]);
    for x in INPUTS {
        let [first, second] = leaves(x);
        let share = [0.1, 0.25, 0.5][first] + [0.125, 0.375][second];
        let network = import_bytes(&model.build()).expect("imports");
        let (_, encrypted) = network.evaluate(&x.map(f64::from));
        let answer = &network.client_ops.run(&network.output.shape, &encrypted).expect("runs")[0];
        // Indices into the labels' names, or the labels themselves.
        let label = answer.values[0];
        assert_eq!(label, if share > 0.5 { 7.0 } else { 3.0 }, "{x:?}: {share}");
    }
}

#[test]
fn a_comparison_that_is_made_twice_on_one_way_is_decided_once() {
    let mut model = Onnx::new(&[1, 2]);
    let attributes = [
        ("nodes_treeids", Ints(vec![0; 7])),
        ("nodes_nodeids", Ints((0..7).collect())),
        ("nodes_featureids", Ints(vec![0; 7])),
        ("nodes_truenodeids", Ints(vec![1, 3, 5, 0, 0, 0, 0])),
        ("nodes_falsenodeids", Ints(vec![2, 4, 6, 0, 0, 0, 0])),
        ("nodes_values", Floats(vec![0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0])),
        ("nodes_modes", Texts(vec!["BRANCH_LEQ", "BRANCH_LEQ", "BRANCH_GT", "LEAF", "LEAF", "LEAF", "LEAF"])),
        ("target_treeids", Ints(vec![0; 4])),
        ("target_nodeids", Ints(vec![3, 4, 5, 6])),
        ("target_ids", Ints(vec![0; 4])),
        ("target_weights", Floats(vec![1.0, 2.0, 3.0, 4.0])),
    ];
    model.node("TreeEnsembleRegressor", &["x"], &attributes);
    assert_eq!(outputs(&model, [0.0, 0.0]), [1.0]);
    assert_eq!(outputs(&model, [0.6, 0.0]), [3.0]);
}

#[test]
fn damaged_and_unknown_trees_are_refused_by_a_sentence() {
    let refusal = |change: &dyn Fn(&mut Attributes)| {
        let mut attributes = nodes();
        attributes.extend([
            ("target_treeids", Ints(vec![0, 4])),
            ("target_nodeids", Ints(vec![3, 2])),
            ("target_ids", Ints(vec![0, 0])),
            ("target_weights", Floats(vec![1.0, 2.0])),
        ]);
        change(&mut attributes);
        let mut model = Onnx::new(&[1, 2]);
        model.node("TreeEnsembleRegressor", &["x"], &attributes);
        import_bytes(&model.build()).err().map(|error| error.to_string())
    };
    assert_eq!(refusal(&|_| ()), None);
    let with = |name: &'static str, value: Attr| {
        let text = refusal(&|attributes| {
            attributes.iter_mut().filter(|entry| entry.0 == name).for_each(|entry| entry.1 = value.clone());
        });
        text.unwrap_or_default()
    };
    assert!(with("nodes_values", Floats(vec![0.5])).contains("different lengths"));
    assert!(with("nodes_truenodeids", Ints(vec![1, 0, 0, 0, 0, 2, 0, 0])).contains("do not form trees"));
    assert!(with("nodes_truenodeids", Ints(vec![9, 2, 0, 0, 0, 2, 0, 0])).contains("node that is missing"));
    assert!(with("nodes_nodeids", Ints(vec![0, 1, 2, 3, 3, 0, 1, 2])).contains("one number"));
    assert!(with("target_ids", Ints(vec![0, 1])).contains("to no score"));
    assert!(with("nodes_featureids", Ints(vec![0, 1, 0, 0, 0, -1, 0, 0])).contains("no column"));
    let giant = refusal(&|attributes| attributes.push(("n_targets", Int(1 << 22)))).unwrap_or_default();
    assert!(giant.contains("targets") || giant.contains("too many"), "{giant}");
    let modes = ["BRANCH_LEQ", "BRANCH_EQ", "LEAF", "LEAF", "LEAF", "BRANCH_GTE", "LEAF", "LEAF"];
    assert!(with("nodes_modes", Texts(modes.to_vec())).contains("compare by BRANCH_EQ"));
    let far = with("nodes_featureids", Ints(vec![0, 1, 0, 0, 0, 1 << 40, 0, 0]));
    assert!(!far.is_empty(), "a column beyond the input");
}
