//! How often decisions change, told from how far they were from changing.
//!
//! Counting changes resolves no share below one over the number of inputs. Each held-out input tells more than whether
//! its decision changed: by how much the values that compete moved (the error), and by how much they could have moved
//! (the margin). Errors and margins of all inputs are set against each other: the probability that a decision with
//! margin m changes is the share of errors beyond m, half of them with the sign that matters.

/// Largest errors, as a share of all, that the tail beyond them is fitted to.
const TAIL_SHARE: f64 = 0.1;

/// One way in which a decision may change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rival {
    /// How far the values are from changing the decision, at least 0.
    pub margin: f64,
    /// How far they moved towards it; negative if away from it.
    pub error: f64,
}

/// Expected share of decisions that change; each decision is given by its rivals. Never 0 if any error is not.
///
/// Errors are taken to be symmetric and independent of the margins, rivals to exclude each other (which overstates the
/// share), and the errors' tail beyond the largest tenth to fall off exponentially.
pub(crate) fn expected_share(decisions: &[Vec<Rival>]) -> f64 {
    let mut errors: Vec<f64> = decisions.iter().flatten().map(|rival| rival.error.abs()).collect();
    if errors.is_empty() {
        return 0.0;
    }
    errors.sort_unstable_by(f64::total_cmp);
    let survival = Survival::of(&errors);
    let change =
        |rivals: &Vec<Rival>| rivals.iter().map(|rival| 0.5 * survival.beyond(rival.margin)).sum::<f64>().min(1.0);
    decisions.iter().map(change).sum::<f64>() / decisions.len() as f64
}

/// The distribution of errors' sizes.
struct Survival<'a> {
    sorted: &'a [f64],
    /// Where the fitted tail begins, the share of errors beyond it, and their mean excess.
    start: f64,
    share: f64,
    excess: f64,
}

impl<'a> Survival<'a> {
    fn of(sorted: &'a [f64]) -> Self {
        let above = ((sorted.len() as f64 * TAIL_SHARE).ceil() as usize).clamp(1, sorted.len());
        let top = &sorted[sorted.len() - above..];
        // From zero where all errors are in the tail: a start at the only error would leave it no excess.
        let start = if above == sorted.len() { 0.0 } else { sorted[sorted.len() - above - 1] };
        let excess = top.iter().map(|error| error - start).sum::<f64>() / above as f64;
        Self { sorted, start, share: above as f64 / sorted.len() as f64, excess }
    }

    /// Share of errors larger than a margin.
    fn beyond(&self, margin: f64) -> f64 {
        if margin <= self.start {
            let smaller = self.sorted.partition_point(|&error| error <= margin);
            return 1.0 - smaller as f64 / self.sorted.len() as f64;
        }
        if self.excess <= 0.0 { 0.0 } else { self.share * (-(margin - self.start) / self.excess).exp() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::random::Gaussian;

    #[test]
    fn shares_below_one_in_the_number_of_inputs_are_told() {
        // Errors of deviation 1, margins |4 g| of a Gaussian g: P(e > |m|) = atan(1 / 4) / pi.
        let mut random = Gaussian::new(5);
        let mut estimates = Vec::new();
        for _ in 0..40 {
            let decision = |_| vec![Rival { margin: (4.0 * random.next()).abs(), error: random.next() }];
            estimates.push(expected_share(&(0..100).map(decision).collect::<Vec<_>>()));
        }
        let mean = estimates.iter().sum::<f64>() / estimates.len() as f64;
        let want = (0.25_f64).atan() / std::f64::consts::PI;
        assert!((mean / want - 1.0).abs() < 0.1, "{mean} instead of {want}");
        // Far from any change the share is small, and not zero.
        let far: Vec<Vec<Rival>> = (0..50).map(|_| vec![Rival { margin: 10.0, error: random.next() }]).collect();
        let share = expected_share(&far);
        assert!(share > 0.0 && share < 1e-4, "{share}");
    }

    #[test]
    fn rivals_add_up_and_nothing_exceeds_one() {
        let rival = Rival { margin: 0.0, error: 1.0 };
        assert_eq!(expected_share(&[vec![rival; 9]]), 1.0);
        assert_eq!(expected_share(&[vec![rival]]), 0.5);
        assert_eq!(expected_share(&[]), 0.0);
    }
}
