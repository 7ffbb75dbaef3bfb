//! Stages whose functions are straight lines: linear layers that the importer kept as values of their own, because all
//! rows that read them would become too long otherwise.

use std::borrow::Cow;

use crate::model::growth::Growth;
use crate::model::kink::Kink;
use crate::model::network::{Network, Row, Stage, Tap};
use crate::model::row_sum::RowSum;

/// How long rows may become.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// Most terms that the readers of a stage gain for each of its values.
    pub a_value: f64,
    /// Most terms of the network.
    pub all: f64,
}

/// The network with straight lines in the rows that read them, wherever those stay short enough.
#[must_use]
pub fn without_lines(network: &Network, most: Lengths) -> Cow<'_, Network> {
    if !network.stages.iter().any(is_line) {
        return Cow::Borrowed(network);
    }
    let growth = Growth::of(network);
    let mut composed = network.clone();
    let mut composing = Composing { parts: vec![None; network.input.len()], sum: RowSum::default() };
    let rows = network.stages.iter().flat_map(|stage| stage.rows.iter().chain(&stage.factors));
    let terms: usize = rows.chain(&network.output_rows).map(|row| row.taps.len()).sum();
    let mut left = most.all - terms as f64;
    let mut is_kept = vec![true; network.stages.len()];
    for (at, stage) in composed.stages.iter_mut().enumerate() {
        for row in stage.rows.iter_mut().chain(&mut stage.factors) {
            *row = composing.expand(row, &[], usize::MAX);
        }
        let lines = is_line(stage).then(|| lines_of(stage));
        let first = growth.values(at).start;
        let lines = lines.filter(|lines| {
            let grown =
                growth.terms(at, |row| [&[][..], lines].map(|more| composing.expand(row, more, first).taps.len()));
            let is_short = grown <= (most.a_value * lines.len() as f64).min(left);
            left -= if is_short { grown } else { 0.0 };
            is_short
        });
        is_kept[at] = lines.is_none();
        match lines {
            Some(lines) => composing.parts.extend(lines.into_iter().map(Some)),
            None => composing.parts.resize(composing.parts.len() + stage.rows.len(), None),
        }
    }
    for row in &mut composed.output_rows {
        *row = composing.expand(row, &[], usize::MAX);
    }
    leave_out(&mut composed, &is_kept);
    Cow::Owned(composed)
}

/// Whether a stage computes nothing but straight lines.
#[must_use]
pub fn is_line(stage: &Stage) -> bool {
    stage.factors.is_empty() && stage.functions.iter().all(|f| Kink::of(f).is_some_and(|kink| kink.is_line()))
}

/// What the values of such a stage are.
fn lines_of(stage: &Stage) -> Vec<Row> {
    let kinks: Vec<Option<Kink>> = stage.functions.iter().map(Kink::of).collect();
    let line = |(row, &channel): (&Row, &u32)| {
        let (slope, offset) = kinks[channel as usize].map_or((1.0, 0.0), |k| (k.odd, k.constant - k.odd * k.at));
        if (slope, offset) == (1.0, 0.0) {
            return row.clone();
        }
        let tap = |tap: &Tap| Tap { weight: (slope * f64::from(tap.weight)) as f32, ..*tap };
        Row { bias: slope * row.bias + offset, taps: row.taps.iter().map(tap).collect() }
    };
    stage.rows.iter().zip(&stage.channel).map(line).collect()
}

struct Composing {
    /// For each value so far what stands for it, if it is left out.
    parts: Vec<Option<Row>>,
    sum: RowSum,
}

impl Composing {
    /// The row without values that are left out; `more` stand for those from `first` on.
    fn expand(&mut self, row: &Row, more: &[Row], first: usize) -> Row {
        let add = |sum: &mut RowSum, tap: &Tap, inner: &Row| sum.add_row(inner, f64::from(tap.weight));
        self.sum.replaced(row, &self.parts, (more, first), add)
    }
}

/// Leaves out stages that nothing reads any more, and numbers the values anew.
fn leave_out(network: &mut Network, is_kept: &[bool]) {
    let mut number: Vec<u32> = (0..network.input.len() as u32).collect();
    let mut next = number.len() as u32;
    for (stage, &is_kept) in network.stages.iter().zip(is_kept) {
        for _ in &stage.rows {
            number.push(next);
            next += u32::from(is_kept);
        }
    }
    let mut keep = is_kept.iter();
    network.stages.retain(|_| *keep.next().unwrap_or(&true));
    let inner = network.stages.iter_mut().flat_map(|stage| stage.rows.iter_mut().chain(&mut stage.factors));
    for row in inner.chain(&mut network.output_rows) {
        if row.taps.iter().any(|tap| number[tap.source as usize] != tap.source) {
            row.taps = row.taps.iter().map(|tap| Tap { source: number[tap.source as usize], ..*tap }).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::client_op::ClientOps;
    use crate::model::function::{Function, Unary};
    use crate::model::network::TensorInfo;

    fn stage(rows: Vec<Row>, function: Function) -> Stage {
        Stage {
            name: "s".into(),
            operator: "s".into(),
            shape: vec![1, rows.len()],
            channel: vec![0; rows.len()],
            rows,
            factors: Vec::new(),
            functions: vec![function],
        }
    }

    fn row(bias: f64, taps: &[(u32, f32)]) -> Row {
        Row { bias, taps: taps.iter().map(|&(source, weight)| Tap { source, weight }).collect() }
    }

    #[test]
    fn lines_are_composed_where_rows_stay_short() {
        let tensor = |name: &str, length| TensorInfo { name: name.into(), shape: vec![1, length] };
        let network = Network {
            input: tensor("x", 2),
            inputs: vec![tensor("x", 2)],
            stages: vec![
                stage(vec![row(0.5, &[(0, 1.0), (1, -2.0)]), row(0.0, &[(1, 3.0)])], Function::affine(2.0, 1.0)),
                stage(vec![row(0.1, &[(2, 1.5), (3, -1.0)])], Function::unary(Unary::Relu)),
                stage(vec![row(0.0, &[(2, 1.0), (4, 1.0)]), row(0.0, &[(4, 1.0)])], Function::X),
                stage(vec![row(0.0, &[(5, 1.0), (6, 0.5)])], Function::unary(Unary::Tanh)),
            ],
            output: tensor("y", 1),
            output_rows: vec![row(1.0, &[(3, 1.0), (4, 2.0), (7, 1.0)])],
            output_operator: "Gemm".into(),
            client_ops: ClientOps::default(),
        };
        let none = without_lines(&network, Lengths { a_value: -9.0, all: 1e9 });
        assert_eq!(none.stages.len(), 4);
        let all = without_lines(&network, Lengths { a_value: 9.0, all: 1e9 });
        assert_eq!(all.stages.iter().map(|stage| stage.rows.len()).collect::<Vec<_>>(), [1, 1]);
        for x in [[0.3, -0.8], [-1.0, 0.4], [2.0, 1.0]] {
            let want = network.evaluate(&x).1[0];
            for composed in [&none, &all] {
                assert!((composed.evaluate(&x).1[0] - want).abs() < 1e-6);
            }
        }
        assert!(matches!(without_lines(&all, Lengths { a_value: 9.0, all: 1e9 }), Cow::Borrowed(_)));
    }
}
