//! Latencies counted in bins of equal width.

/// Most bins.
const MOST: usize = 60;

/// Counts of values in bins.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Lower end of the first bin.
    pub first: f64,
    /// Width of all bins.
    pub width: f64,
    /// Values in each bin.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// Counts sorted values; bins are as wide as Freedman and Diaconis advise, and at most 60. None without values.
    ///
    /// Source: Freedman and Diaconis, Z. Wahrscheinlichkeitstheorie 1981.
    #[must_use]
    pub fn of(sorted: &[f64]) -> Option<Self> {
        let (&first, &last) = (sorted.first()?, sorted.last()?);
        let span = last - first;
        let quarter = |quarters: usize| sorted[(sorted.len() - 1) * quarters / 4];
        let advised = 2.0 * (quarter(3) - quarter(1)) / (sorted.len() as f64).cbrt();
        let bins = if span > 0.0 && advised > 0.0 { (span / advised).ceil().min(MOST as f64) as usize } else { 1 };
        let width = if span > 0.0 { span / bins as f64 } else { first.abs().max(1e-9) * 0.01 };
        let mut counts = vec![0; bins];
        for value in sorted {
            counts[(((value - first) / width) as usize).min(bins - 1)] += 1;
        }
        Some(Self { first, width, counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bin() {
        let values: Vec<f64> = (0..1000).map(|at| f64::from(at * at)).collect();
        let histogram = Histogram::of(&values).expect("values");
        assert_eq!(histogram.counts.iter().sum::<u64>(), 1000);
        let end = histogram.first + histogram.width * histogram.counts.len() as f64;
        assert!(histogram.first <= 0.0 && (end - 998_001.0).abs() < 1e-6 && histogram.counts.len() <= MOST);
        assert!(histogram.counts.is_sorted_by(|a, b| a >= b), "squares thin out");
    }

    #[test]
    fn equal_values_are_one_bin() {
        assert_eq!(Histogram::of(&[2.0; 5]).map(|histogram| histogram.counts), Some(vec![5]));
        assert_eq!(Histogram::of(&[]), None);
    }
}
