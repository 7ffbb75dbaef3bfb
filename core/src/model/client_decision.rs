//! What decrypted values decide, for judging plans and for comparing answers.

use crate::model::client_op::{ClientOp, ClientOps, ElementKind, argmax};
use crate::model::client_run::Answer;
use crate::model::function::{Binary, Function, Unary};

/// Largest value that [`ClientOps::thresholds`] looks for a change of the decision at.
const FARTHEST: f64 = 1e6;

impl ClientOps {
    /// What the decrypted values decide, one number a decision.
    ///
    /// Outputs that are integers, truth values or labels are decisions themselves. Without any, the largest entry
    /// behind Softmax or LogSoftmax is one, and so is the side of 1/2 on which each value of a vector behind Sigmoid
    /// lies. None where the outputs are plain numbers.
    ///
    /// `shape` is the shape of the decrypted tensor.
    #[must_use]
    pub fn decision(&self, shape: &[usize], values: &[f64]) -> Option<Vec<usize>> {
        let all = self.evaluate(shape, values).ok()?;
        let discrete: Vec<usize> = self
            .outputs
            .iter()
            .filter(|output| output.kind != ElementKind::Real)
            .flat_map(|output| all[output.value as usize].values.iter().map(|&v| index(v)))
            .collect();
        if !discrete.is_empty() {
            return Some(discrete);
        }
        let mut found = Vec::new();
        for step in &self.steps {
            let operand = || step.reads.first().map(|&value| &all[value as usize]);
            match &step.op {
                ClientOp::Softmax { axes } | ClientOp::LogSoftmax { axes } => {
                    found.extend(operand().into_iter().flat_map(|operand| largest(operand, axes)));
                }
                ClientOp::ArgMax { .. } | ClientOp::TopK { .. } => {
                    let op = ClientOps { steps: vec![step.clone()], outputs: Vec::new() };
                    let own = operand().and_then(|operand| alone(op, operand));
                    found.extend(own.into_iter().flatten());
                }
                _ => {}
            }
        }
        if found.is_empty() {
            for step in &self.steps {
                let ClientOp::Function { functions, of } = &step.op else { continue };
                let operand = &all[*step.reads.first()? as usize];
                // Images of values between 0 and 1 are no lists of decisions.
                if operand.shape.iter().filter(|&&length| length > 1).count() > 1 {
                    continue;
                }
                for (at, &x) in operand.values.iter().enumerate() {
                    let function = &functions[of.get(at).map_or(0, |&f| f as usize)];
                    if is_probability(function) {
                        found.push(usize::from(function.evaluate(x) >= 0.5));
                    }
                }
            }
        }
        (!found.is_empty()).then_some(found)
    }

    /// The axis of the decrypted tensor along which the largest entry is the decision: Softmax, LogSoftmax or ArgMax
    /// over this axis read the decrypted tensor itself, and nothing else chooses among its entries.
    #[must_use]
    pub fn class_axis(&self) -> Option<usize> {
        let mut axes = self.steps.iter().filter(|step| step.reads.contains(&0)).filter_map(|step| match &step.op {
            ClientOp::Softmax { axes } | ClientOp::LogSoftmax { axes } => Some(axes.as_slice()),
            ClientOp::ArgMax { axis, least: false, .. } => Some(std::slice::from_ref(axis)),
            ClientOp::ArgMax { .. } | ClientOp::TopK { .. } => Some(&[]),
            _ => None,
        });
        match axes.next()? {
            &[axis] if axes.all(|other| *other == [axis]) => Some(axis),
            _ => None,
        }
    }

    /// For each decrypted value where the decision changes when this value alone does, the others being 0: 0 behind a
    /// Sigmoid. None for values that decide nothing alone.
    #[must_use]
    pub fn thresholds(&self, shape: &[usize]) -> Vec<Option<f64>> {
        let mut values = vec![0.0; shape.iter().product()];
        let mut found = Vec::with_capacity(values.len());
        for at in 0..values.len() {
            let mut decide = |x: f64| {
                values[at] = x;
                self.decision(shape, &values)
            };
            let (mut low, mut high) = (-FARTHEST, FARTHEST);
            let below = decide(low);
            let threshold = (below != decide(high)).then(|| {
                for _ in 0..80 {
                    let middle = f64::midpoint(low, high);
                    if decide(middle) == below { low = middle } else { high = middle }
                }
                f64::midpoint(low, high)
            });
            values[at] = 0.0;
            found.push(threshold);
        }
        found
    }
}

fn index(value: f64) -> usize {
    // Negative class numbers stay apart from the others.
    value as i64 as usize
}

fn alone(op: ClientOps, operand: &Answer) -> Option<Vec<usize>> {
    let result = op.evaluate(&operand.shape, &operand.values).ok()?.pop()?;
    Some(result.values.iter().map(|&v| index(v)).collect())
}

/// Index of the largest entry over the axes together, for each position of the others.
fn largest(operand: &Answer, axes: &[usize]) -> Vec<usize> {
    match axes {
        [axis] => argmax(&operand.values, &operand.shape, *axis),
        _ => argmax(&operand.values, &[operand.values.len()], 0),
    }
}

/// Whether a function gives the probability of one of two cases: a Sigmoid, or 1 less one.
fn is_probability(function: &Function) -> bool {
    match function {
        Function::Unary(Unary::Sigmoid | Unary::HardSigmoid(..), _) => true,
        Function::Binary(Binary::Less | Binary::Equal, ..) => true,
        Function::Binary(Binary::Sub | Binary::Add, a, b) => {
            let one = |f: &Function| matches!(f, Function::Constant(c) if (c - 1.0).abs() < 1e-6);
            let negated = |f: &Function| {
                matches!(f, Function::Binary(Binary::Mul, c, x)
                    if matches!(**c, Function::Constant(c) if (c + 1.0).abs() < 1e-6) && is_probability(x))
            };
            one(a) && (is_probability(b) || negated(b)) || one(b) && negated(a)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::client_op::{ClientStep, NamedOutput};

    fn program(ops: Vec<(ClientOp, u32)>, kind: ElementKind) -> ClientOps {
        let value = ops.len() as u32;
        let steps = ops.into_iter().map(|(op, value)| ClientStep { op, reads: vec![value] }).collect();
        let output = NamedOutput { name: "y".into(), value, kind, columns: Vec::new() };
        ClientOps { steps, outputs: vec![output] }
    }

    fn sigmoid() -> ClientOp {
        ClientOp::Function { functions: vec![Function::unary(Unary::Sigmoid)], of: Vec::new() }
    }

    #[test]
    fn classes_behind_softmax_and_argmax() {
        let soft = program(vec![(ClientOp::Softmax { axes: vec![1] }, 0)], ElementKind::Real);
        assert_eq!((soft.decision(&[1, 3], &[1.0, 3.0, 2.0]), soft.class_axis()), (Some(vec![1]), Some(1)));
        let least = program(vec![(ClientOp::ArgMax { axis: 1, least: true, last: false }, 0)], ElementKind::Integer);
        assert_eq!((least.decision(&[1, 3], &[1.0, 3.0, 2.0]), least.class_axis()), (Some(vec![0]), None));
        assert_eq!(ClientOps::default().decision(&[1, 3], &[1.0, 3.0, 2.0]), None);
    }

    #[test]
    fn scores_beside_the_class_do_not_hide_its_axis() {
        let argmax = ClientOp::ArgMax { axis: 1, least: false, last: false };
        let reads = |op: ClientOp, value| ClientStep { op, reads: vec![value] };
        let with = |more: ClientOp| {
            let steps = vec![reads(argmax.clone(), 0), reads(more, 0), reads(sigmoid(), 1)];
            ClientOps { steps, outputs: Vec::new() }.class_axis()
        };
        assert_eq!(with(sigmoid()), Some(1));
        assert_eq!(with(ClientOp::Softmax { axes: vec![1] }), Some(1));
        assert_eq!(with(ClientOp::Softmax { axes: vec![0, 1] }), None);
        assert_eq!(with(ClientOp::ArgMax { axis: 1, least: true, last: false }), None);
    }

    #[test]
    fn sides_of_a_sigmoid() {
        let labels = program(vec![(sigmoid(), 0)], ElementKind::Real);
        assert_eq!(labels.decision(&[1, 3], &[-0.1, 0.0, 2.0]), Some(vec![0, 1, 1]));
        assert!(labels.thresholds(&[1, 3]).iter().all(|t| t.is_some_and(|t| t.abs() < 1e-9)));
        let tanh = ClientOp::Function { functions: vec![Function::unary(Unary::Tanh)], of: Vec::new() };
        let regression = program(vec![(tanh, 0)], ElementKind::Real);
        assert_eq!((regression.decision(&[1, 1], &[0.3]), regression.thresholds(&[1, 1])), (None, vec![None]));
    }

    #[test]
    fn comparisons_decide_at_their_constant() {
        let above =
            Function::Binary(Binary::Less, Box::new(Function::Constant(0.25)), Box::new(Function::affine(0.5, 1.0)));
        let op = ClientOp::Function { functions: vec![above], of: Vec::new() };
        let decides = program(vec![(op, 0)], ElementKind::Boolean);
        assert_eq!(decides.decision(&[1, 2], &[-1.4, -1.6]), Some(vec![1, 0]));
        assert!((decides.thresholds(&[1, 1])[0].expect("it decides") + 1.5).abs() < 1e-9);
    }

    #[test]
    fn two_probabilities_of_one_value_decide_where_they_are_equal() {
        let one_minus =
            Function::Binary(Binary::Sub, Box::new(Function::Constant(1.0)), Box::new(Function::unary(Unary::Sigmoid)));
        let functions = vec![one_minus, Function::unary(Unary::Sigmoid)];
        let pick = ClientOp::Pick { shape: vec![1, 2], from: vec![0, 0] };
        let both = program(vec![(pick, 0), (ClientOp::Function { functions, of: vec![0, 1] }, 1)], ElementKind::Real);
        assert_eq!(both.decision(&[1, 1], &[0.7]), Some(vec![0, 1]));
        assert_eq!(both.decision(&[1, 1], &[-0.7]), Some(vec![1, 0]));
        assert_eq!(both.class_axis(), None);
    }
}
