//! A measured number and how far it may be off.

use heman_core::planning::confidence::incomplete_beta;

use crate::percentiles;

/// Confidence of the intervals.
const CONFIDENCE: f64 = 0.95;

/// A measured number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// What was measured.
    pub value: f64,
    /// Between which values the true one lies with 95 % confidence; none where one measurement tells no spread.
    pub interval: Option<(f64, f64)>,
}

impl Figure {
    /// One measurement.
    #[must_use]
    pub fn single(value: f64) -> Self {
        Self { value, interval: None }
    }

    /// The mean of measurements that are not negative, with Student's interval as far as it is not either; none
    /// without measurements.
    #[must_use]
    pub fn mean(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n;
        if values.len() < 2 {
            return Some(Self::single(mean));
        }
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let away = student(n - 1.0) * (variance / n).sqrt();
        Some(Self { value: mean, interval: Some(((mean - away).max(0.0), mean + away)) })
    }

    /// A percentile of sorted measurements; none where they are too few.
    #[must_use]
    pub fn percentile(sorted: &[f64], percentile: f64) -> Option<Self> {
        let value = percentiles::percentile(sorted, percentile)?;
        Some(Self { value, interval: percentiles::interval(sorted, percentile) })
    }

    /// `amount` a unit of this figure, such as inputs a second of seconds.
    #[must_use]
    pub fn rate(self, amount: f64) -> Self {
        // An interval that reaches down to nothing bounds no rate.
        let interval = self.interval.filter(|&(low, _)| low > 0.0).map(|(low, high)| (amount / high, amount / low));
        Self { value: amount / self.value, interval }
    }
}

/// The value that Student's distribution with so many degrees of freedom exceeds in absolute value with a probability
/// of 5 %.
///
/// Source: Abramowitz and Stegun, Handbook of Mathematical Functions 1964, 26.7.1.
fn student(freedom: f64) -> f64 {
    let outside = |t: f64| incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t));
    let (mut low, mut high) = (0.0, 1.0);
    while outside(high) > 1.0 - CONFIDENCE {
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if outside(middle) > 1.0 - CONFIDENCE {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_student_are_those_of_the_tables() {
        for (freedom, want) in [(1.0, 12.7062), (2.0, 4.3027), (4.0, 2.7764), (9.0, 2.2622), (100.0, 1.9840)] {
            assert!((student(freedom) - want).abs() < 5e-5, "{freedom}: {}", student(freedom));
        }
    }

    #[test]
    fn a_mean_has_students_interval() {
        let figure = Figure::mean(&[5.0, 6.0, 7.0]).expect("values");
        let (low, high) = figure.interval.expect("several values");
        // The standard deviation is 1.
        let away = 4.302_652_73 / 3.0_f64.sqrt();
        assert!((figure.value - 6.0).abs() < 1e-12 && (low - (6.0 - away)).abs() < 1e-6);
        assert!((high - (6.0 + away)).abs() < 1e-6);
        let (low, _) = Figure::mean(&[0.0, 1.0]).and_then(|figure| figure.interval).expect("two values");
        assert_eq!(low, 0.0);
        assert_eq!(Figure::mean(&[]), None);
        assert_eq!(Figure::mean(&[7.0]), Some(Figure::single(7.0)));
    }

    #[test]
    fn a_rate_turns_the_interval_round() {
        let seconds = Figure { value: 2.0, interval: Some((1.0, 4.0)) };
        assert_eq!(seconds.rate(8.0), Figure { value: 4.0, interval: Some((2.0, 8.0)) });
        assert_eq!(Figure { value: 2.0, interval: Some((-1.0, 5.0)) }.rate(8.0), Figure::single(4.0));
    }
}
