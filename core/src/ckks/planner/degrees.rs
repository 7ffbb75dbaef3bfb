//! Which degree the polynomials of each stage have: few levels, and a loss on new inputs within its budget.
//!
//! Stages differ in how much their errors matter. Of LeNet-5's four, the second takes degree 8 and the others do with
//! 4, where one degree for all would have to be 8. A level less makes everything before it cheaper, and may let the
//! network into a ring of half the size.
//!
//! Degree 2 is one multiplication deep, 4 two and 8 three. The least of them that does for all stages is found first.
//! From the one below it stages are raised one after the other, each time the one that brings the outputs nearest to
//! the network's; and the judge says, by bisection, how many of them it takes. So stages differ by one step at the
//! most, and the choice is a good one, not the best of all. Degrees 3 and 6, as deep as 4 and 8 and of fewer
//! multiplications or other errors, are tried for all stages alone.

use rayon::prelude::*;
use tracing::debug;

use crate::ckks::plan::activation::DEGREES;
use crate::ckks::plan::polynomials::{PolynomialNetwork, double};
use crate::ckks::planner::least_squares::Widening;
use crate::deadline::{Deadline, Late};
use crate::model::network::Network;
use crate::planning::error::PlanError;
use crate::planning::judge::{Judge, Verdict};
use crate::progress::Progress;

/// A loss below this share of another is less by more than chance.
const PLAINLY_LESS: f64 = 0.95;
/// Stages up to which the next one to raise is looked for anew each time.
const MOST_LOOKED_AT: usize = 8;

/// Polynomials fitted to all inputs, and for each fold those fitted without it.
pub(super) struct Fitted {
    pub polynomials: PolynomialNetwork,
    pub held_out: Vec<PolynomialNetwork>,
}

/// How many choices of degrees are judged at the most.
pub(super) fn search_steps(network: &Network) -> u64 {
    let stages = polynomial_stages(network).len();
    let rounds = if stages > MOST_LOOKED_AT { 1 } else { stages.saturating_sub(1) };
    (DEGREES.len() + rounds + stages.max(1).next_power_of_two().ilog2() as usize) as u64
}

/// The stages that have polynomials.
fn polynomial_stages(network: &Network) -> Vec<usize> {
    (0..network.stages.len()).filter(|&at| network.stages[at].factors.is_empty()).collect()
}

/// Polynomials of few levels that keep the loss on new inputs within its budget.
///
/// # Errors
/// [`PlanError::Polynomials`] where none do, or [`PlanError::Late`].
pub(super) fn fit(
    network: &Network,
    calibration: &[Vec<f32>],
    judge: &Judge<'_>,
    max_loss: f64,
    progress: &dyn Progress,
) -> Result<Fitted, PlanError> {
    let deadline = progress.deadline();
    let evaluate = |input: &Vec<f32>| deadline.check().map(|()| network.evaluate(&double(input)).0);
    let exact: Vec<Vec<f64>> = calibration.par_iter().map(evaluate).collect::<Result<_, Late>>()?;
    let search = Search { network, exact, judge, max_loss, progress };
    let [two, three, four, six, eight] = DEGREES;
    let mut least = f64::INFINITY;
    let mut below = None;
    for (degree, cheaper) in [(two, None), (four, Some(three)), (eight, Some(six))] {
        let alike = search.judged(&search.alike(degree))?;
        if alike.decisive <= max_loss {
            return match (below, cheaper) {
                (Some(below), Some(cheaper)) => search.between((below, degree), cheaper, alike),
                _ => Ok(search.fitted(alike)),
            };
        }
        least = least.min(alike.decisive);
        if let Some(cheaper) = cheaper {
            // Polynomials of a higher degree may be worse where inputs leave their fit.
            let judged = search.judged(&search.alike(cheaper))?;
            if judged.decisive <= max_loss {
                return Ok(search.fitted(judged));
            }
            least = least.min(judged.decisive);
        }
        below = Some(degree);
    }
    Err(PlanError::Polynomials { max_loss, best: least })
}

/// Judges what a run of each fold's polynomials gives for the inputs that they were not fitted to.
pub(super) fn judge_folds(
    judge: &Judge<'_>,
    held_out: &[PolynomialNetwork],
    run: impl Fn(&PolynomialNetwork, &[f32], u64) -> Vec<f64> + Sync,
) -> Result<Verdict, PlanError> {
    let observe = |(fold, polynomials): (usize, &PolynomialNetwork)| {
        judge.observe(fold, polynomials.term_count(), 1, |input, seed| run(polynomials, input, seed))
    };
    judge.conclude(&held_out.iter().enumerate().flat_map(observe).collect::<Vec<_>>())
}

/// Polynomials of some degrees, judged.
struct Judged {
    degrees: Vec<usize>,
    widening: Widening,
    decisive: f64,
    held_out: Vec<PolynomialNetwork>,
}

struct Search<'a> {
    network: &'a Network,
    /// All values of the network, for each calibration input.
    exact: Vec<Vec<f64>>,
    judge: &'a Judge<'a>,
    max_loss: f64,
    progress: &'a dyn Progress,
}

impl Search<'_> {
    fn alike(&self, degree: usize) -> Vec<usize> {
        vec![degree; self.network.stages.len()]
    }

    fn deadline(&self) -> Deadline {
        self.progress.deadline()
    }

    /// The values of the inputs that a fold's polynomials are fitted to.
    fn kept(&self, fold: usize) -> Vec<&[f64]> {
        self.judge.folds.kept(fold).into_iter().map(|input| self.exact[input].as_slice()).collect()
    }

    /// The polynomials, and their outputs for the inputs that they are fitted to.
    fn fit_to(&self, exact: &[&[f64]], degrees: &[usize], widening: Widening) -> (PolynomialNetwork, Vec<Vec<f64>>) {
        let each: Vec<(usize, f64)> = degrees.iter().map(|&degree| (degree, widening.factor(degree))).collect();
        PolynomialNetwork::fit_each(self.network, exact, &each)
    }

    /// All widenings of these degrees cost the same: the one that generalises best is taken, the narrower one where
    /// they are alike.
    fn judged(&self, degrees: &[usize]) -> Result<Judged, PlanError> {
        let highest = degrees.iter().copied().max().unwrap_or(DEGREES[0]);
        let kept: Vec<Vec<&[f64]>> = self.judge.folds.numbers().map(|fold| self.kept(fold)).collect();
        let mut best: Option<Judged> = None;
        for &widening in Widening::tried(highest) {
            self.deadline().check()?;
            let without = |kept: &Vec<&[f64]>| self.fit_to(kept, degrees, widening).0;
            let held_out: Vec<PolynomialNetwork> = kept.par_iter().map(without).collect();
            let verdict = judge_folds(self.judge, &held_out, |own, input, _| own.evaluate(input))?;
            let decisive = verdict.decisive;
            debug!(?degrees, ?widening, loss = decisive, error = verdict.loss.relative_error, "polynomials judged");
            if best.as_ref().is_none_or(|best| decisive < PLAINLY_LESS * best.decisive) {
                best = Some(Judged { degrees: degrees.to_vec(), widening, decisive, held_out });
            }
        }
        self.progress.advance(1);
        best.ok_or(PlanError::Polynomials { max_loss: self.max_loss, best: f64::INFINITY })
    }

    fn fitted(&self, judged: Judged) -> Fitted {
        let all: Vec<&[f64]> = self.exact.iter().map(Vec::as_slice).collect();
        let (polynomials, _) = self.fit_to(&all, &judged.degrees, judged.widening);
        Fitted { polynomials, held_out: judged.held_out }
    }

    /// Stages of degree `below`, which is too low for all of them, as many as need be raised to `above`, which is high
    /// enough, as `alike` shows. Where all need be, a degree of the same depth that is cheaper is tried first.
    fn between(&self, (below, above): (usize, usize), cheaper: usize, alike: Judged) -> Result<Fitted, PlanError> {
        let order = self.order(below, above)?;
        let raised = |count: usize| {
            let mut degrees = self.alike(below);
            order[..count].iter().for_each(|&stage| degrees[stage] = above);
            degrees
        };
        let (mut too_few, mut best) = (0, None);
        let mut enough = order.len();
        while enough - too_few > 1 {
            let count = usize::midpoint(too_few, enough);
            let judged = self.judged(&raised(count))?;
            if judged.decisive <= self.max_loss {
                (enough, best) = (count, Some(judged));
            } else {
                too_few = count;
            }
        }
        if let Some(best) = best {
            return Ok(self.fitted(best));
        }
        let judged = self.judged(&self.alike(cheaper))?;
        Ok(self.fitted(if judged.decisive <= self.max_loss { judged } else { alike }))
    }

    /// The stages with polynomials, the one first whose raised degree brings the outputs nearest to the network's, then
    /// the one that does so beside it, and so on. Of many stages each is looked at but once. Inputs that the first fold
    /// holds out do not choose: they judge.
    fn order(&self, below: usize, above: usize) -> Result<Vec<usize>, PlanError> {
        let mut left = polynomial_stages(self.network);
        let mut degrees = self.alike(below);
        let mut order = Vec::with_capacity(left.len());
        let looks_again = left.len() <= MOST_LOOKED_AT;
        let kept = self.kept(0);
        while left.len() > 1 {
            let look = |&stage: &usize| {
                self.deadline().check()?;
                let mut raised = degrees.clone();
                raised[stage] = above;
                Ok((self.error(&kept, &raised), stage))
            };
            let mut errors: Vec<(f64, usize)> = left.par_iter().map(look).collect::<Result<_, Late>>()?;
            errors.sort_by(|a, b| a.0.total_cmp(&b.0));
            self.progress.advance(1);
            if !looks_again {
                return Ok(errors.into_iter().map(|(_, stage)| stage).collect());
            }
            let (_, stage) = errors[0];
            degrees[stage] = above;
            left.retain(|&own| own != stage);
            order.push(stage);
        }
        order.extend(left);
        Ok(order)
    }

    /// Sum over inputs, by their exact values, of how far outputs are off: the root of a sum of squares each.
    fn error(&self, exact: &[&[f64]], degrees: &[usize]) -> f64 {
        let (_, outputs) = self.fit_to(exact, degrees, Widening::Middle);
        let error = |(exact, own): (&&[f64], &Vec<f64>)| -> f64 {
            let outputs = self.network.output_rows.iter().map(|row| row.evaluate(exact));
            own.iter().zip(outputs).map(|(own, y)| (own - y).powi(2)).sum::<f64>().sqrt()
        };
        exact.iter().zip(&outputs).map(error).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::model::client_op::ClientOps;
    use crate::model::function::{Function, Unary};
    use crate::model::network::{Row, Stage, Tap, TensorInfo};
    use crate::planning::calibration::Calibration;
    use crate::planning::loss::LossBudget;
    use crate::planning::task::Task;

    struct Counted(AtomicU64);

    impl Progress for Counted {
        fn start(&self, _: &str, _: u64) {}
        fn advance(&self, done: u64) {
            self.0.fetch_add(done, Ordering::Relaxed);
        }
        fn finish(&self) {}
        fn note(&self, _: &str) {}
    }

    /// A chain of single rectified values; each stage adds its value, times a weight, to one argument of the output.
    fn network(weights: &[f32]) -> Network {
        let tensor = |name: &str| TensorInfo { name: name.into(), shape: vec![1, 2] };
        let stage = |at: usize| Stage {
            name: format!("stage {at}"),
            operator: "Gemm".into(),
            shape: vec![1, 1],
            rows: vec![Row { bias: 0.1, taps: [Tap { source: (at % 2) as u32, weight: 1.0 }].into() }],
            factors: Vec::new(),
            channel: vec![0],
            functions: vec![Function::unary(Unary::Relu)],
        };
        let taps = weights.iter().enumerate().map(|(at, &weight)| Tap { source: 2 + at as u32, weight });
        Network {
            input: tensor("x"),
            inputs: vec![tensor("x")],
            stages: (0..weights.len()).map(stage).collect(),
            output: TensorInfo { name: "y".into(), shape: vec![1, 1] },
            output_rows: vec![Row { bias: 0.0, taps: taps.collect() }],
            output_operator: "Gemm".into(),
            client_ops: ClientOps::default(),
        }
    }

    /// Degrees that are found, with the steps that were counted.
    fn search(network: &Network, max_loss: f64, inputs: usize) -> (Result<Vec<usize>, PlanError>, u64) {
        let calibration: Vec<Vec<f32>> =
            (0..inputs).map(|at| vec![(at as f32 * 0.7).sin(), (at as f32 * 1.3).cos()]).collect();
        let counted = Counted(AtomicU64::new(0));
        let statistics = Calibration::collect(network, &calibration, counted.deadline()).expect("there is time");
        let budget = LossBudget { max_loss, task: Task::Regress, ..LossBudget::default() };
        let judge = Judge::new(network, &statistics, budget, 4.0, counted.deadline());
        let degree_of =
            |fitted: Fitted| fitted.polynomials.stages.iter().map(|stage| stage.activations[0].form.degree()).collect();
        (fit(network, &calibration, &judge, max_loss, &counted).map(degree_of), counted.0.into_inner())
    }

    #[test]
    fn the_stages_that_matter_are_raised() {
        let plain = network(&[0.01, 1.0, 0.02, 0.03]);
        let (degrees, steps) = search(&plain, 0.05, 200);
        assert_eq!(degrees.expect("degrees"), [2, 4, 2, 2]);
        assert!((1..=search_steps(&plain)).contains(&steps), "{steps}");
        let (degrees, steps) = search(&plain, 0.025, 200);
        assert_eq!(degrees.expect("degrees"), [4, 8, 4, 4]);
        assert!((1..=search_steps(&plain)).contains(&steps), "{steps}");
    }

    #[test]
    fn what_no_degree_does_is_refused_with_the_least_loss() {
        let plain = network(&[1.0, 1.0]);
        let (degrees, steps) = search(&plain, 1e-6, 60);
        let Err(PlanError::Polynomials { max_loss, best }) = degrees else { panic!("a rectifier is no polynomial") };
        assert!(max_loss < best && best < 0.1, "{best}");
        assert!(steps <= search_steps(&plain), "{steps}");
    }

    #[test]
    fn one_stage_one_input_and_none_at_all_have_degrees() {
        assert_eq!(search(&network(&[1.0]), 0.05, 200).0.expect("degrees").len(), 1);
        assert_eq!(search(&network(&[1.0, 0.5]), 0.05, 1).0.expect("degrees").len(), 2);
        let mut linear = network(&[]);
        linear.output_rows = vec![Row { bias: 0.0, taps: [Tap { source: 0, weight: 1.0 }].into() }];
        assert!(search(&linear, 0.05, 60).0.expect("degrees").is_empty());
    }
}
