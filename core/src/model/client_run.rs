//! Runs the client's program on decrypted values.

use crate::model::client_op::{ClientOp, ClientOps, Reduction};

/// A tensor that the client computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Shape, the batch axis of 1 included where the model has one.
    pub shape: Vec<usize>,
    /// Row-major elements; integers, truth values and indices of labels as numbers.
    pub values: Vec<f64>,
}

impl ClientOps {
    /// All values of the program for the decrypted tensor of that shape, or the sentence of [`ClientOps::shapes`].
    ///
    /// # Errors
    /// As [`ClientOps::shapes`].
    pub fn evaluate(&self, shape: &[usize], values: &[f64]) -> Result<Vec<Answer>, String> {
        let shapes = self.shapes(shape)?;
        let mut all = Vec::with_capacity(shapes.len());
        all.push(Answer { shape: shape.to_vec(), values: values.to_vec() });
        for (step, shape) in self.steps.iter().zip(shapes.into_iter().skip(1)) {
            let operands: Vec<&Answer> = step.reads.iter().map(|&value| &all[value as usize]).collect();
            let values = step.op.apply(&operands);
            all.push(Answer { shape, values });
        }
        Ok(all)
    }

    /// The outputs for the decrypted tensor of that shape, in the order of [`ClientOps::outputs`]; the decrypted tensor
    /// where there is none.
    ///
    /// # Errors
    /// As [`ClientOps::shapes`].
    pub fn run(&self, shape: &[usize], values: &[f64]) -> Result<Vec<Answer>, String> {
        let mut all = self.evaluate(shape, values)?;
        if self.outputs.is_empty() {
            all.truncate(1);
            return Ok(all);
        }
        Ok(self.outputs.iter().map(|output| all[output.value as usize].clone()).collect())
    }
}

/// Where the entries that belong together stand: the first of each line, in the order of a result whose reduced axes
/// have length 1, and the offsets of a line's entries from its first.
fn lines(shape: &[usize], axes: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let walk = |reduced: bool| {
        let mut places = vec![0];
        for axis in (0..shape.len()).filter(|axis| axes.contains(axis) == reduced) {
            let stride: usize = shape[axis + 1..].iter().product();
            places = places.iter().flat_map(|&at| (0..shape[axis]).map(move |i| at + i * stride)).collect();
        }
        places
    };
    (walk(false), walk(true))
}

impl ClientOp {
    /// The result for operands that fit.
    fn apply(&self, operands: &[&Answer]) -> Vec<f64> {
        let of = |at: usize| operands[at].values.as_slice();
        match self {
            Self::Constant { values, .. } => values.clone(),
            Self::Reshape { .. } => of(0).to_vec(),
            Self::Pick { from, .. } if operands.len() == 1 => from.iter().map(|&at| of(0)[at as usize]).collect(),
            Self::Pick { from, .. } => {
                let all: Vec<f64> = operands.iter().flat_map(|operand| operand.values.iter().copied()).collect();
                from.iter().map(|&at| all[at as usize]).collect()
            }
            Self::Function { functions, of: which } => {
                let function = |at: usize| &functions[which.get(at).map_or(0, |&f| f as usize)];
                of(0).iter().enumerate().map(|(at, &x)| function(at).evaluate(x)).collect()
            }
            Self::Binary(op) => of(0).iter().zip(of(1)).map(|(&a, &b)| op.evaluate(a, b)).collect(),
            Self::Select => {
                of(0).iter().zip(of(1)).zip(of(2)).map(|((&c, &a), &b)| if c == 0.0 { b } else { a }).collect()
            }
            Self::Softmax { axes } => softmax(operands[0], axes, false),
            Self::LogSoftmax { axes } => softmax(operands[0], axes, true),
            Self::ArgMax { axis, least, last } => {
                let order = |line: &[f64]| -> f64 {
                    let better = |a: f64, b: f64| if *least { a < b } else { a > b };
                    let takes = |j: usize, best: usize| better(line[j], line[best]) || (*last && line[j] == line[best]);
                    (1..line.len()).fold(0, |best, j| if takes(j, best) { j } else { best }) as f64
                };
                reduce(operands[0], &[*axis], order)
            }
            Self::Reduce { kind, axes } => reduce(operands[0], axes, |line| kind.of(line)),
            Self::TopK { axis, count, least, indices } => {
                let (starts, offsets) = lines(&operands[0].shape, &[*axis]);
                let stride: usize = operands[0].shape[axis + 1..].iter().product();
                let mut result = vec![0.0; starts.len() * count];
                for start in starts {
                    let at = |j: usize| of(0)[start + offsets[j]];
                    let mut order: Vec<usize> = (0..offsets.len()).collect();
                    order.sort_by(|&a, &b| {
                        let order = at(a).total_cmp(&at(b));
                        if *least { order } else { order.reverse() }
                    });
                    let (outer, inner) = (start / (stride * offsets.len()), start % stride);
                    for (place, &j) in order.iter().take(*count).enumerate() {
                        result[(outer * count + place) * stride + inner] = if *indices { j as f64 } else { at(j) };
                    }
                }
                result
            }
            Self::OneHot { axis, length, on, off } => {
                let inner: usize = operands[0].shape[*axis..].iter().product();
                let outer: usize = operands[0].shape[..*axis].iter().product();
                let mut result = vec![*off; outer * inner * length];
                for (place, &index) in of(0).iter().enumerate() {
                    // A negative index counts from the end.
                    let index = if index < 0.0 { index + *length as f64 } else { index };
                    if index >= 0.0 && index < *length as f64 {
                        result[(place / inner * length + index as usize) * inner + place % inner] = *on;
                    }
                }
                result
            }
            Self::Lookup { table } => {
                let entry = |&index: &f64| table[(index.max(0.0) as usize).min(table.len() - 1)];
                of(0).iter().map(entry).collect()
            }
        }
    }
}

impl Reduction {
    fn of(self, line: &[f64]) -> f64 {
        let truth = |holds: bool| f64::from(u8::from(holds));
        match self {
            Self::Sum => line.iter().sum(),
            Self::Product => line.iter().product(),
            Self::Max => line.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::Min => line.iter().copied().fold(f64::INFINITY, f64::min),
            Self::MeanOfSquares => line.iter().map(|x| x * x).sum::<f64>() / line.len() as f64,
            Self::All => truth(line.iter().all(|&x| x != 0.0)),
            Self::Any => truth(line.iter().any(|&x| x != 0.0)),
        }
    }
}

/// One number for each line.
fn reduce(operand: &Answer, axes: &[usize], number: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let (starts, offsets) = lines(&operand.shape, axes);
    let mut line = Vec::with_capacity(offsets.len());
    let mut of_line = |start: usize| {
        line.clear();
        line.extend(offsets.iter().map(|offset| operand.values[start + offset]));
        number(&line)
    };
    starts.into_iter().map(&mut of_line).collect()
}

fn softmax(operand: &Answer, axes: &[usize], logarithm: bool) -> Vec<f64> {
    let (starts, offsets) = lines(&operand.shape, axes);
    let mut values = operand.values.clone();
    for start in starts {
        let at = |offset: &usize| operand.values[start + offset];
        let largest = offsets.iter().map(at).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = offsets.iter().map(|offset| (at(offset) - largest).exp()).sum();
        for offset in &offsets {
            let x = at(offset) - largest;
            values[start + offset] = if logarithm { x - sum.ln() } else { x.exp() / sum };
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::client_op::{ClientStep, ElementKind, NamedOutput};
    use crate::model::function::{Binary, Function, Unary};

    fn result(ops: &[(ClientOp, &[u32])], shape: &[usize], values: &[f64]) -> Answer {
        let steps = ops.iter().map(|(op, reads)| ClientStep { op: op.clone(), reads: reads.to_vec() }).collect();
        let program = ClientOps { steps, outputs: Vec::new() };
        program.evaluate(shape, values).expect("it fits").pop().expect("a value")
    }

    fn close(found: &[f64], wanted: &[f64]) -> bool {
        found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-9)
    }

    #[test]
    fn softmax_and_its_logarithm_along_an_axis() {
        let (e, shape) = (std::f64::consts::E, [2, 2]);
        let soft = result(&[(ClientOp::Softmax { axes: vec![0] }, &[0])], &shape, &[1.0, 800.0, 0.0, 800.0]);
        assert!(close(&soft.values, &[e / (e + 1.0), 0.5, 1.0 / (e + 1.0), 0.5]));
        let logarithm = result(&[(ClientOp::LogSoftmax { axes: vec![1] }, &[0])], &shape, &[0.0, 0.0, 0.0, 1000.0]);
        assert!(close(&logarithm.values, &[-2_f64.ln(), -2_f64.ln(), -1000.0, 0.0]));
        let all = result(&[(ClientOp::Softmax { axes: vec![0, 1] }, &[0])], &shape, &[3.0; 4]);
        assert!(close(&all.values, &[0.25; 4]), "both axes together");
    }

    #[test]
    fn of_equal_entries_the_first_or_the_last_is_the_largest() {
        let values = [2.0, 7.0, 7.0, 1.0, 1.0, 3.0];
        let index = |least, last| result(&[(ClientOp::ArgMax { axis: 1, least, last }, &[0])], &[2, 3], &values);
        assert_eq!(index(false, false), Answer { shape: vec![2, 1], values: vec![1.0, 2.0] });
        assert_eq!(index(false, true).values, [2.0, 2.0]);
        assert_eq!(index(true, false).values, [0.0, 0.0]);
        assert_eq!(index(true, true).values, [0.0, 1.0]);
    }

    #[test]
    fn the_largest_entries_come_in_order_along_a_middle_axis() {
        let values = [1.0, 9.0, 3.0, 8.0, 2.0, 7.0];
        let top = |indices, least| {
            let op = ClientOp::TopK { axis: 1, count: 2, least, indices };
            result(&[(op, &[0])], &[1, 3, 2], &values)
        };
        assert_eq!(top(false, false), Answer { shape: vec![1, 2, 2], values: vec![3.0, 9.0, 2.0, 8.0] });
        assert_eq!(top(true, false).values, [1.0, 0.0, 2.0, 1.0]);
        assert_eq!(top(false, true).values, [1.0, 7.0, 2.0, 8.0]);
    }

    #[test]
    fn reductions_keep_their_axes() {
        let reduced =
            |kind| result(&[(ClientOp::Reduce { kind, axes: vec![0, 2] }, &[0])], &[2, 2, 1], &[1.0, 2.0, 0.0, -5.0]);
        assert_eq!(reduced(Reduction::Sum), Answer { shape: vec![1, 2, 1], values: vec![1.0, -3.0] });
        assert_eq!(reduced(Reduction::Product).values, [0.0, -10.0]);
        assert_eq!(reduced(Reduction::Max).values, [1.0, 2.0]);
        assert_eq!(reduced(Reduction::Min).values, [0.0, -5.0]);
        assert_eq!(reduced(Reduction::MeanOfSquares).values, [0.5, 14.5]);
        assert_eq!(reduced(Reduction::All).values, [0.0, 1.0]);
        assert_eq!(reduced(Reduction::Any).values, [1.0, 1.0]);
    }

    #[test]
    fn two_probabilities_of_one_logit_their_class_and_its_code() {
        let one_minus = Function::affine(-1.0, 1.0).compose(&Function::unary(Unary::Sigmoid));
        let functions = vec![one_minus, Function::unary(Unary::Sigmoid)];
        let steps: &[(ClientOp, &[u32])] = &[
            (ClientOp::Pick { shape: vec![1, 2], from: vec![0, 0] }, &[0]),
            (ClientOp::Function { functions, of: vec![0, 1] }, &[1]),
            (ClientOp::ArgMax { axis: 1, least: false, last: false }, &[2]),
            (ClientOp::Reshape { shape: vec![1] }, &[3]),
            (ClientOp::Lookup { table: vec![-1.0, 40.0] }, &[4]),
        ];
        let run = |logit: f64, count: usize| result(&steps[..count], &[1, 1], &[logit]);
        let p = 1.0 / (1.0 + (-0.7_f64).exp());
        assert!(close(&run(0.7, 2).values, &[1.0 - p, p]));
        assert_eq!(run(0.7, 5), Answer { shape: vec![1], values: vec![40.0] });
        assert_eq!(run(-0.7, 5).values, [-1.0]);
    }

    #[test]
    fn choices_constants_and_one_hot_rows() {
        let constant = ClientOp::Constant { shape: vec![1, 3], values: vec![1.0, 1.0, 5.0] };
        let below: (ClientOp, &[u32]) = (ClientOp::Binary(Binary::Less), &[0, 1]);
        let chosen = result(&[(constant, &[]), below, (ClientOp::Select, &[2, 0, 1])], &[1, 3], &[0.0, 2.0, 3.0]);
        assert_eq!(chosen.values, [0.0, 1.0, 3.0]);
        let hot = ClientOp::OneHot { axis: 1, length: 3, on: 1.0, off: 0.0 };
        let hot = result(&[(hot, &[0])], &[2], &[2.0, -3.0]);
        assert_eq!(hot, Answer { shape: vec![2, 3], values: vec![0.0, 0.0, 1.0, 1.0, 0.0, 0.0] });
    }

    #[test]
    fn outputs_come_in_their_order() {
        let named = |name: &str, value, kind| NamedOutput { name: name.into(), value, kind, columns: Vec::new() };
        let program = ClientOps {
            steps: vec![ClientStep { op: ClientOp::ArgMax { axis: 1, least: false, last: false }, reads: vec![0] }],
            outputs: vec![named("label", 1, ElementKind::Integer), named("scores", 0, ElementKind::Real)],
        };
        let answers = program.run(&[1, 2], &[0.5, 0.75]).expect("it fits");
        assert_eq!(answers[0], Answer { shape: vec![1, 1], values: vec![1.0] });
        assert_eq!(answers[1], Answer { shape: vec![1, 2], values: vec![0.5, 0.75] });
        let plain = ClientOps::default().run(&[1, 2], &[0.5, 0.75]).expect("it fits");
        assert_eq!(plain, answers[1..]);
    }
}
