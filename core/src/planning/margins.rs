//! How often decisions change, told from how far they were from changing.
//!
//! Counting changes resolves no share below one over the number of inputs. Each held-out input tells more than whether
//! its decision changed: by how much the values that compete moved (the error), and by how much they could have moved
//! (the margin). Errors and margins of many inputs are set against each other: the probability that a decision with
//! margin m changes is the share of errors beyond m. Large values err more than small ones, so a margin is compared
//! with the errors of similar margins only.

/// Largest errors, as a share of all, that the tail beyond them is fitted to.
const TAIL_SHARE: f64 = 0.1;
/// Decisions of similar margins that are compared.
const GROUP: usize = 30;
/// Margins below this share of the largest are ties: the model itself does not decide there.
const TIE: f64 = 1e-9;

/// One way in which a decision may change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rival {
    /// How far the values are from changing the decision, at least 0.
    pub margin: f64,
    /// How far they moved towards it; negative if away from it.
    pub error: f64,
}

/// Expected share of decisions that change, told from the nearest rival of each, of so many inputs. Never 0 if errors
/// vary.
///
/// Errors of similar margins are taken to be symmetric around their mean, and the tail beyond the largest tenth of them
/// to fall off exponentially. They are taken to be larger by `caution` over the square root of the number of inputs.
/// Who picks the first of several candidates that looks good enough picks one that looks better than it is, the more so
/// the fewer inputs there are; and calibration inputs are often those that the model was trained on, which it answers
/// with wider margins than new ones.
pub(crate) fn expected_share(rivals: &[Rival], inputs: usize, caution: f64) -> f64 {
    let caution = 1.0 + caution / (inputs.max(1) as f64).sqrt();
    let mut rivals: Vec<Rival> = rivals.iter().map(|rival| Rival { error: caution * rival.error, ..*rival }).collect();
    rivals.sort_unstable_by(|a, b| a.margin.total_cmp(&b.margin));
    let groups = (rivals.len() / GROUP).max(1);
    let mut changes = 0.0;
    for group in rivals.chunks(rivals.len().div_ceil(groups).max(1)) {
        let mean = group.iter().map(|rival| rival.error).sum::<f64>() / group.len() as f64;
        let mut sizes: Vec<f64> = group.iter().map(|rival| (rival.error - mean).abs()).collect();
        sizes.sort_unstable_by(f64::total_cmp);
        let survival = Survival::of(&sizes);
        for rival in group {
            let left = rival.margin - mean;
            let beyond = 0.5 * survival.beyond(left.abs());
            changes += if left < 0.0 { 1.0 - beyond } else { beyond };
        }
    }
    (changes / rivals.len().max(1) as f64).max(share_near_zero(&rivals)).min(1.0)
}

/// The share that changes if new inputs come as close to a change as the density of small margins says.
///
/// New inputs have margins below the smallest that was seen. Near zero margins have about the density that the smallest
/// of them have, half the square root of their number: with m the largest of those k of n, an error e changes the share
/// `k / n * e / m` of decisions, half of them with the sign that matters. Ties have a probability of their own, which
/// is no density.
fn share_near_zero(sorted: &[Rival]) -> f64 {
    let smallest = TIE * sorted.last().map_or(0.0, |rival| rival.margin);
    let sorted = &sorted[sorted.partition_point(|rival| rival.margin <= smallest)..];
    let count = sorted.len();
    let near = (0.5 * (count as f64).sqrt()).ceil() as usize;
    let Some(last) = sorted.get(near.saturating_sub(1)) else { return 0.0 };
    let alike = &sorted[..near.max(GROUP).min(count)];
    let error = alike.iter().map(|rival| rival.error.abs()).sum::<f64>() / alike.len() as f64;
    if error == 0.0 { 0.0 } else { 0.5 * near as f64 / count as f64 * error / last.margin }
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
        // Errors of deviation 1, margins |8 g| of a Gaussian g: P(e > |m|) = atan(1 / 8) / pi, and more with caution.
        let mut random = Gaussian::new(5);
        let mut estimates = Vec::new();
        for _ in 0..40 {
            let rival = |_| Rival { margin: (8.0 * random.next()).abs(), error: random.next() };
            estimates.push(expected_share(&(0..400).map(rival).collect::<Vec<_>>(), 400, 2.0));
        }
        let mean = estimates.iter().sum::<f64>() / estimates.len() as f64;
        let share = |scale: f64| (scale / 8.0).atan() / std::f64::consts::PI;
        assert!(share(1.0) < mean && mean < share(1.5), "{mean}, {} without caution", share(1.0));
    }

    #[test]
    fn margins_below_the_smallest_one_are_reckoned_with() {
        // Uniform margins from 0.5 to 100 where there are some below: errors of 0.01 change 0.5 * 0.01 / 100 of them.
        let rival =
            |at: u32| Rival { margin: 0.5 + f64::from(at), error: if at.is_multiple_of(2) { 0.01 } else { -0.01 } };
        let share = expected_share(&(0..100).map(rival).collect::<Vec<_>>(), 100, 2.0);
        assert!((share / 5e-5 - 1.2).abs() < 0.2, "{share}");
    }

    #[test]
    fn ties_change_by_half_and_say_nothing_of_other_margins() {
        let rival = |at: u32| Rival {
            margin: if at < 20 { 0.0 } else { f64::from(at) },
            error: if at.is_multiple_of(2) { 0.01 } else { -0.01 },
        };
        let share = expected_share(&(0..100).map(rival).collect::<Vec<_>>(), 100, 2.0);
        assert!((share - 0.1).abs() < 1e-9, "{share}");
    }

    #[test]
    fn values_that_all_move_past_each_other_change() {
        let rival = Rival { margin: 0.5, error: 1.0 };
        assert_eq!(expected_share(&[rival; 9], 9, 2.0), 1.0);
        assert_eq!(expected_share(&[], 0, 2.0), 0.0);
    }
}
