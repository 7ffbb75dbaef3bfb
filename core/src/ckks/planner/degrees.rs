//! Which degree the polynomials of each stage have: as few levels as keep the loss on new inputs within its budget.
//!
//! Stages differ in how much their errors matter. Of LeNet-5's four, the second takes degree 8 and the others do with
//! 4, where one degree for all would have to be 8. A level less makes everything before it cheaper, and may let the
//! network into a ring of half the size.
//!
//! Degrees of one depth stand for that depth: 2, then 4, then 8. A depth is tried for all stages at once. Where one
//! does and the one below does not, stages are raised from that to this one after the other, each time the one that
//! brings the outputs nearest to the network's; and the judge says, by bisection, how many of them it takes.

use rayon::prelude::*;
use tracing::debug;

use crate::ckks::plan::activation::DEGREES;
use crate::ckks::plan::polynomials::{PolynomialNetwork, double};
use crate::ckks::planner::least_squares::Widening;
use crate::deadline::Deadline;
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
    (DEGREES.len() + stages.checked_ilog2().unwrap_or(0) as usize) as u64
}

/// The stages that have polynomials.
fn polynomial_stages(network: &Network) -> Vec<usize> {
    (0..network.stages.len()).filter(|&at| network.stages[at].factors.is_empty()).collect()
}

/// The polynomials of fewest levels that keep the loss on new inputs within its budget.
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
    let exact: Vec<Vec<f64>> = calibration.par_iter().map(|input| network.evaluate(&double(input)).0).collect();
    let search = Search { network, exact, judge, max_loss, progress };
    let [two, three, four, six, eight] = DEGREES;
    let mut least = f64::INFINITY;
    let mut below = None;
    for (degree, cheaper) in [(two, None), (four, Some(three)), (eight, Some(six))] {
        let alike = search.judged(&search.alike(degree))?;
        if alike.decisive <= max_loss {
            return match (below, cheaper) {
                (Some(below), Some(cheaper)) => search.between(below, cheaper, alike),
                _ => Ok(search.fitted(alike)),
            };
        }
        least = least.min(alike.decisive);
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

    fn fit_to(&self, exact: &[&[f64]], degrees: &[usize], widening: Widening) -> PolynomialNetwork {
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
            let without = |kept: &Vec<&[f64]>| self.fit_to(kept, degrees, widening);
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
        let polynomials = self.fit_to(&all, &judged.degrees, judged.widening);
        Fitted { polynomials, held_out: judged.held_out }
    }

    /// Stages of degree `below`, which is too low for all of them, as many as need be raised to that of `alike`, which
    /// is high enough. Where all need be, a degree of the same depth that is cheaper is tried first.
    fn between(&self, below: usize, cheaper: usize, alike: Judged) -> Result<Fitted, PlanError> {
        let order = self.order(below, alike.degrees[0])?;
        let raised = |count: usize| {
            let mut degrees = self.alike(below);
            order[..count].iter().for_each(|&stage| degrees[stage] = alike.degrees[stage]);
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

    /// The stages with polynomials, the one first whose raised degree brings the outputs of one fold nearest to the
    /// network's, then the one that does so beside it, and so on. Of many stages each is looked at but once.
    fn order(&self, below: usize, above: usize) -> Result<Vec<usize>, PlanError> {
        let mut left = polynomial_stages(self.network);
        let mut degrees = self.alike(below);
        let mut order = Vec::with_capacity(left.len());
        let looks_again = left.len() <= MOST_LOOKED_AT;
        while left.len() > 1 {
            let mut errors = Vec::with_capacity(left.len());
            for &stage in &left {
                self.deadline().check()?;
                let mut raised = degrees.clone();
                raised[stage] = above;
                errors.push((self.error(&raised), stage));
            }
            errors.sort_by(|a, b| a.0.total_cmp(&b.0));
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

    /// Sum over the inputs that the first fold holds out of how far outputs are off, the root of a sum of squares each.
    fn error(&self, degrees: &[usize]) -> f64 {
        let folds = &self.judge.folds;
        let own = self.fit_to(&self.kept(0), degrees, Widening::Middle);
        let judging = if folds.count() == 0 { (0..self.exact.len()).collect() } else { folds.held_out(0) };
        let error = |&at: &usize| -> f64 {
            let exact = &self.exact[at];
            let input: Vec<f32> = exact[..self.network.input.len()].iter().map(|&x| x as f32).collect();
            let outputs = self.network.output_rows.iter().map(|row| row.evaluate(exact));
            own.evaluate(&input).iter().zip(outputs).map(|(own, y)| (own - y).powi(2)).sum::<f64>().sqrt()
        };
        judging.par_iter().map(error).sum()
    }
}
