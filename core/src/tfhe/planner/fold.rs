//! Functions with one kink on the whole torus instead of half of it.
//!
//! A bootstrap's table is negacyclic: it is free on half a turn, and the other half is its negation. Therefore inputs
//! usually get half of the torus. `|z|` is different: centred on the torus, `|z| - 1/4` turn *is* negacyclic over the
//! whole turn. So `relu(z) = (|z| + z) / 2` takes `|z|` from a bootstrap that sees z twice as large against the noise,
//! and `z / 2` from the linear map before it, which costs nothing but more terms for the next stage. Where z leaves its
//! range, `|z|` folds back continuously instead of changing sign. The same holds for every function of two straight
//! lines that meet: leaky and parametric ReLUs, and `|z|` itself.
//!
//! The linear paths of one stage behind another grow: each goes back through all folded stages before it. Where a
//! network is so deep that folding all of it would take too many terms, stages are folded one at a time, as long as the
//! linear path of a value costs little beside its bootstrap. A stage that is not folded ends the paths before it.

use crate::model::function::{Binary, Function, Unary};
use crate::model::growth::Growth;
use crate::model::kink::Kink;
use crate::model::network::{Network, Row, Stage, Tap};
use crate::model::row_sum::RowSum;

/// Most terms of a network all of whose stages are folded.
const MOST_TERMS: usize = 1 << 26;
/// Most terms of a network that is folded in part.
const MOST_TERMS_IN_PART: usize = 1 << 27;
/// Most terms of the linear path of a value, on average over a stage, where not all stages are folded. Each term brings
/// rounding and noise of its own into the rows that read the value: longer paths lose more than folding gains, as
/// simulations of a residual network of 19 stages tell.
const PATH_TERMS: f64 = 500.0;

/// Moves the kinks of all functions of two lines to zero, by constants of their rows. The network computes the same.
pub fn centre_kinks(network: &mut Network) {
    for stage in &mut network.stages {
        let kinks: Vec<f64> = stage.functions.iter().map(|f| Kink::of(f).map_or(0.0, |kink| kink.at)).collect();
        if !stage.factors.is_empty() || kinks.iter().all(|&at| at == 0.0) {
            continue;
        }
        for (row, &channel) in stage.rows.iter_mut().zip(&stage.channel) {
            row.bias -= kinks[channel as usize];
        }
        for (function, &at) in stage.functions.iter_mut().zip(&kinks) {
            if at != 0.0 {
                let moved = Function::Binary(Binary::Add, Function::X.into(), Function::Constant(at).into());
                *function = function.compose(&moved);
            }
        }
    }
}

/// Rewrites stages whose functions all have one kink at zero (see [`centre_kinks`]): their values become `|z|`, and
/// later rows take `even |z| + odd z`.
///
/// Stages must not multiply (see [`crate::tfhe::planner::products`]). Returns the rewritten network and for each stage
/// whether it was folded: all that can be, where the linear paths need no more than 2^26 terms in all, otherwise those
/// whose values have short linear paths.
#[must_use]
pub fn fold_kinks(network: &Network) -> (Network, Vec<bool>) {
    Folding::run(network, MOST_TERMS, |_, _, _| true).unwrap_or_else(|| {
        let growth = Growth::of(network);
        let mut left = MOST_TERMS_IN_PART as f64 - all_terms(network) as f64;
        let is_short = |folding: &mut Folding, stage: usize, paths: &[(Kink, Row)]| {
            let terms = folding.growth(&growth, stage, paths);
            let is_short = terms <= (PATH_TERMS * paths.len() as f64).min(left);
            left -= if is_short { terms } else { 0.0 };
            is_short
        };
        let folded = Folding::run(network, usize::MAX, is_short);
        folded.unwrap_or_else(|| (network.clone(), vec![false; network.stages.len()]))
    })
}

fn all_terms(network: &Network) -> usize {
    network.stages.iter().flat_map(|stage| &stage.rows).chain(&network.output_rows).map(|row| row.taps.len()).sum()
}

/// What the values so far have become.
struct Folding {
    /// For each value of the network: none if it is as it was, else its kink and the argument.
    paths: Vec<Option<(Kink, Row)>>,
    sum: RowSum,
}

impl Folding {
    /// Folds the stages that `is_wanted` takes, told their number and what their values would become; none if that
    /// takes more terms than allowed.
    fn run(
        network: &Network,
        most_terms: usize,
        mut is_wanted: impl FnMut(&mut Self, usize, &[(Kink, Row)]) -> bool,
    ) -> Option<(Network, Vec<bool>)> {
        let mut folding = Self { paths: vec![None; network.input.len()], sum: RowSum::default() };
        let mut folded = network.clone();
        let mut flags = Vec::with_capacity(network.stages.len());
        let mut left = most_terms;
        for (at, stage) in folded.stages.iter_mut().enumerate() {
            for row in &mut stage.rows {
                *row = folding.expand(row, &[], usize::MAX);
                left = left.checked_sub(row.taps.len())?;
            }
            let paths = paths_of(stage).filter(|paths| is_wanted(&mut folding, at, paths));
            flags.push(paths.is_some());
            match paths {
                None => folding.paths.resize(folding.paths.len() + stage.rows.len(), None),
                Some(paths) => {
                    stage.functions.fill(Function::unary(Unary::Abs));
                    folding.paths.extend(paths.into_iter().map(Some));
                }
            }
        }
        for row in &mut folded.output_rows {
            *row = folding.expand(row, &[], usize::MAX);
            left = left.checked_sub(row.taps.len())?;
        }
        Some((folded, flags))
    }

    /// Terms that later rows gain if the values of a stage become those.
    fn growth(&mut self, growth: &Growth, stage: usize, paths: &[(Kink, Row)]) -> f64 {
        let first = growth.values(stage).start;
        growth.terms(stage, |row| [&[], paths].map(|paths| self.expand(row, paths, first).taps.len()))
    }

    /// The row with every folded value replaced by its parts; `more` are those of the values from `first` on.
    fn expand(&mut self, row: &Row, more: &[(Kink, Row)], first: usize) -> Row {
        let add = |sum: &mut RowSum, tap: &Tap, (kink, inner): &(Kink, Row)| {
            let weight = f64::from(tap.weight);
            sum.add_constant(weight * kink.constant);
            sum.add_value(tap.source, weight * kink.even);
            sum.add_row(inner, weight * kink.odd);
        };
        self.sum.replaced(row, &self.paths, (more, first), add)
    }
}

/// The kink and the argument of each value of a stage, if there is one for each and they are not all straight lines.
fn paths_of(stage: &Stage) -> Option<Vec<(Kink, Row)>> {
    let kinks: Vec<Kink> = stage.functions.iter().map(Kink::of).collect::<Option<_>>()?;
    let path = |(row, &channel): (&Row, &u32)| (kinks[channel as usize], row.clone());
    (!kinks.iter().all(Kink::is_line)).then(|| stage.rows.iter().zip(&stage.channel).map(path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::client_op::ClientOps;
    use crate::model::network::{Stage, Tap, TensorInfo};

    fn stage(name: &str, rows: Vec<Row>, function: Unary) -> Stage {
        let channel = vec![0; rows.len()];
        Stage {
            name: name.into(),
            operator: name.into(),
            shape: vec![1, rows.len()],
            rows,
            factors: Vec::new(),
            channel,
            functions: vec![Function::unary(function)],
        }
    }

    fn row(bias: f64, taps: &[(u32, f32)]) -> Row {
        Row { bias, taps: taps.iter().map(|&(source, weight)| Tap { source, weight }).collect() }
    }

    fn network(second: Function) -> Network {
        let mut network = Network {
            input: TensorInfo { name: "x".into(), shape: vec![1, 2] },
            inputs: vec![TensorInfo { name: "x".into(), shape: vec![1, 2] }],
            stages: vec![
                stage("a", vec![row(0.5, &[(0, 1.0), (1, -2.0)]), row(-0.25, &[(0, 3.0)])], Unary::Relu),
                stage("b", vec![row(0.1, &[(2, 1.5), (3, -1.0)])], Unary::LeakyRelu(0.25)),
                stage("c", vec![row(0.0, &[(2, 1.0), (4, 1.0)])], Unary::Sigmoid),
            ],
            output: TensorInfo { name: "y".into(), shape: vec![1, 1] },
            output_rows: vec![row(1.0, &[(3, 1.0), (4, 2.0), (5, 1.0)])],
            output_operator: "Gemm".into(),
            client_ops: ClientOps::default(),
        };
        network.stages[1].functions = vec![second];
        network
    }

    fn check(network: &Network, folded: &Network) {
        for x in [[0.3, -0.8], [-1.0, 0.4], [2.0, 1.0]] {
            let (want, got) = (network.evaluate(&x).1[0], folded.evaluate(&x).1[0]);
            assert!((want - got).abs() < 1e-6, "{want} {got}");
        }
    }

    #[test]
    fn the_folded_network_computes_the_same() {
        let network = network(Function::unary(Unary::LeakyRelu(0.25)));
        let (folded, flags) = fold_kinks(&network);
        assert_eq!(flags, [true, true, false]);
        check(&network, &folded);
    }

    #[test]
    fn kinks_elsewhere_are_moved_to_zero_first() {
        let shifted = Function::affine(2.0, -1.0).compose(&Function::unary(Unary::Relu));
        let original = network(shifted.compose(&Function::affine(-1.5, 0.75)));
        let mut centred = original.clone();
        centre_kinks(&mut centred);
        check(&original, &centred);
        let (folded, flags) = fold_kinks(&centred);
        assert_eq!(flags, [true, true, false]);
        check(&original, &folded);
    }

    #[test]
    fn a_stage_that_is_not_folded_ends_the_paths_before_it() {
        let network = network(Function::unary(Unary::Relu));
        let growth = Growth::of(&network);
        let mut grown = Vec::new();
        let run = Folding::run(&network, usize::MAX, |folding, stage, paths| {
            grown.push(folding.growth(&growth, stage, paths));
            stage == 1
        });
        let (folded, flags) = run.expect("few terms");
        assert_eq!(flags, [false, true, false]);
        check(&network, &folded);
        // The first stage's values would bring both inputs into two rows, and one of them into the output.
        assert!(grown[0] >= 4.0, "{grown:?}");
        assert_eq!(folded.stages[2].rows[0].taps.len(), 3);
        assert!(Folding::run(&network, 5, |_, _, _| true).is_none());
    }
}
