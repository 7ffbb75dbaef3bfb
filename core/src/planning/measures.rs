//! How far outputs are from what they should be, compared with how much they vary.

use crate::planning::output_kind::OutputKind;

/// Outputs beyond so many times the largest have exploded.
const EXPLODED: f64 = 16.0;

/// What numbers of outputs stay within if none has exploded, where the largest that are known are of such a size: a
/// polynomial that is read far outside of what it was fitted to gives numbers without any bound.
#[must_use]
pub fn most_of(largest: f64) -> f64 {
    if largest > 0.0 { EXPLODED * largest } else { f64::INFINITY }
}

/// Whether a number of the output is beyond `most`, or is none.
#[must_use]
pub fn has_exploded(output: &[f64], most: f64) -> bool {
    output.iter().any(|y| !y.is_finite() || y.abs() > most)
}

/// A variance below this share of the mean square is rounding.
const ROUNDING: f64 = 1e-9;

/// How much each element of an output varies from input to input: what its errors are compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// Variance of each element around its mean; its mean square where it is the same for every input.
    pub variances: Vec<f64>,
    /// Whether each element is the same for every input.
    pub constant: Vec<bool>,
}

impl Spread {
    /// The spread of outputs, one vector an input.
    #[must_use]
    pub fn of(outputs: &[Vec<f64>]) -> Self {
        let count = outputs.len().max(1) as f64;
        let width = outputs.first().map_or(0, Vec::len);
        let mut spread = Self { variances: Vec::with_capacity(width), constant: Vec::with_capacity(width) };
        for at in 0..width {
            let mean = outputs.iter().map(|y| y[at]).sum::<f64>() / count;
            let variance = outputs.iter().map(|y| (y[at] - mean) * (y[at] - mean)).sum::<f64>() / count;
            let square = outputs.iter().map(|y| y[at] * y[at]).sum::<f64>() / count;
            let constant = variance <= ROUNDING * square;
            spread.variances.push(if constant { square } else { variance });
            spread.constant.push(constant);
        }
        spread
    }

    /// What the squared error of each element counts in the squared relative error, which is their weighted sum.
    ///
    /// Each target counts by its own variance, and the relative error is the root mean square of those of the targets.
    /// The elements of an embedding, a signal and the numbers of decisions count by the variance of them all together.
    /// Targets that are zero for every input count nothing. There are no weights where all elements are: an error can
    /// be stated in the output's own unit only.
    #[must_use]
    pub fn weights(&self, kind: &OutputKind) -> Option<Vec<f64>> {
        let total: f64 = self.variances.iter().sum();
        let varying = self.variances.iter().filter(|&&variance| variance > 0.0).count() as f64;
        let weight = |&variance: &f64| match kind {
            OutputKind::Targets if variance > 0.0 => 1.0 / (varying * variance),
            OutputKind::Targets => 0.0,
            _ => 1.0 / total,
        };
        (total > 0.0).then(|| self.variances.iter().map(weight).collect())
    }

    /// Root mean square error over the deviation, from the mean squared error of each element, by
    /// [`Spread::weights`].
    #[must_use]
    pub fn relative_error(&self, kind: &OutputKind, squared_errors: &[f64]) -> Option<f64> {
        let weights = self.weights(kind)?;
        Some(weights.iter().zip(squared_errors).map(|(weight, error)| weight * error).sum::<f64>().sqrt())
    }
}

/// The mean squared error of each element over the inputs.
#[must_use]
pub fn squared_errors(got: &[Vec<f64>], want: &[Vec<f64>]) -> Vec<f64> {
    let mut sums = vec![0.0; want.first().map_or(0, Vec::len)];
    for (got, want) in got.iter().zip(want) {
        for (sum, (g, w)) in sums.iter_mut().zip(got.iter().zip(want)) {
            *sum += (g - w) * (g - w);
        }
    }
    sums.iter().map(|sum| sum / got.len().max(1) as f64).collect()
}

/// The cosine of the angle between two vectors; 1 where both are zero and 0 where one is.
#[must_use]
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (aa, bb) = (dot(a, a), dot(b, b));
    if aa == 0.0 || bb == 0.0 {
        return if aa == bb { 1.0 } else { 0.0 };
    }
    (dot(a, b) / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Targets with deviations of 1 and 100, and errors of a half each.
    fn two_scales() -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let want: Vec<Vec<f64>> = [-1.0, 1.0].iter().map(|s| vec![5.0 + s, 200.0 + 100.0 * s]).collect();
        let got = want.iter().map(|y| vec![y[0] + 0.5, y[1] - 0.5]).collect();
        (got, want)
    }

    #[test]
    fn each_target_is_compared_with_its_own_deviation() {
        let (got, want) = two_scales();
        let error = Spread::of(&want).relative_error(&OutputKind::Targets, &squared_errors(&got, &want));
        let expected = ((0.25 + 0.25e-4) / 2.0_f64).sqrt();
        assert!((error.expect("the outputs vary") - expected).abs() < 1e-12, "{error:?} instead of {expected}");
    }

    #[test]
    fn a_signal_is_compared_with_the_deviation_of_all_of_it() {
        let (got, want) = two_scales();
        let error = Spread::of(&want).relative_error(&OutputKind::Signal, &squared_errors(&got, &want));
        let expected = (0.5_f64 / (1.0 + 1e4)).sqrt();
        assert!((error.expect("the outputs vary") - expected).abs() < 1e-12, "{error:?} instead of {expected}");
    }

    #[test]
    fn what_is_constant_is_compared_with_its_size_and_zeros_with_nothing() {
        let want = vec![vec![4.0, 0.0]; 3];
        let spread = Spread::of(&want);
        assert_eq!((spread.variances.as_slice(), spread.constant.as_slice()), (&[16.0, 0.0][..], &[true, true][..]));
        assert_eq!(spread.relative_error(&OutputKind::Targets, &[1.0, 9.0]), Some(0.25));
        assert_eq!(Spread::of(&[vec![0.0], vec![0.0]]).relative_error(&OutputKind::Constant, &[1.0]), None);
    }

    #[test]
    fn cosines_are_right_at_the_corners() {
        assert!((cosine(&[1.0, 0.0], &[1.0, 1.0]) - 0.5_f64.sqrt()).abs() < 1e-15);
        assert_eq!((cosine(&[0.0], &[0.0]), cosine(&[0.0], &[2.0]), cosine(&[-3.0], &[2.0])), (1.0, 0.0, -1.0));
    }
}
