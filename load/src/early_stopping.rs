//! MLPerf's early stopping: how few queries prove a percentile.
//!
//! If a share p of all queries were answered in time, h of them in time and no more than t late would be seen with the
//! probability `I_p(h, t + 1)`, the distribution function of the binomial. Where that is at most `1 - c`, the system
//! answers more than p in time with confidence c. The tolerance d of the rules is zero.
//!
//! Source: MLCommons, `inference_rules.adoc`, appendix "Early Stopping Criterion".

use heman_core::planning::confidence::incomplete_beta;

/// Confidence with which a percentile is promised: c of the rules.
pub const CONFIDENCE: f64 = 0.99;

/// Whether so many queries, `late` of them late, prove that the share `percentile` is answered in time.
#[must_use]
pub fn proves(queries: u64, late: u64, percentile: f64) -> bool {
    queries > late && incomplete_beta((queries - late) as f64, late as f64 + 1.0, percentile) <= 1.0 - CONFIDENCE
}

/// Whether so many queries, `late` of them late, prove that less than the share `percentile` is answered in time.
#[must_use]
pub fn refutes(queries: u64, late: u64, percentile: f64) -> bool {
    late > 0
        && (late >= queries
            || incomplete_beta(late as f64, (queries - late) as f64 + 1.0, 1.0 - percentile) <= 1.0 - CONFIDENCE)
}

/// The least number of queries, `late` of them late, that proves the share `percentile`.
#[must_use]
pub fn least_queries(late: u64, percentile: f64) -> u64 {
    let mut above = late + 1;
    while !proves(above, late, percentile) {
        above *= 2;
    }
    let mut below = above / 2;
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if proves(middle, late, percentile) {
            above = middle;
        } else {
            below = middle;
        }
    }
    above
}

/// The most queries that may be late for so many to prove the share `percentile` still; none where not even one may.
#[must_use]
pub fn most_late(queries: u64, percentile: f64) -> Option<u64> {
    if !proves(queries, 1, percentile) {
        return None;
    }
    let (mut below, mut above) = (1, queries);
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if proves(queries, middle, percentile) {
            below = middle;
        } else {
            above = middle;
        }
    }
    Some(below)
}

/// The latency that the share `percentile` of all queries keeps to, told from sorted latencies with confidence: with t
/// late queries allowed, the largest behind which t - 1 lie. None where there are too few queries.
#[must_use]
pub fn estimate(sorted: &[f64], percentile: f64) -> Option<f64> {
    let late = usize::try_from(most_late(sorted.len() as u64, percentile)?).ok()?;
    sorted.get(sorted.len() - late).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P(at most `late` of `queries` are late) where each is with probability `1 - percentile`, term by term.
    fn binomial(queries: u64, late: u64, percentile: f64) -> f64 {
        let mut term = percentile.powi(queries as i32);
        let mut sum = term;
        for k in 0..late {
            term *= (queries - k) as f64 / (k + 1) as f64 * (1.0 - percentile) / percentile;
            sum += term;
        }
        sum
    }

    #[test]
    fn counts_are_the_least_whose_binomial_sum_is_a_hundredth() {
        for percentile in [0.5, 0.9, 0.97, 0.99] {
            for late in [0, 1, 2, 7, 30] {
                let least = least_queries(late, percentile);
                assert!(binomial(least, late, percentile) <= 0.01, "{late} late at {percentile}");
                assert!(binomial(least - 1, late, percentile) > 0.01, "{late} late at {percentile}");
            }
        }
    }

    #[test]
    fn counts_of_tail_percentiles_are_the_known_ones() {
        assert_eq!([(1, 0.9), (1, 0.99), (0, 0.99)].map(|(late, p)| least_queries(late, p)), [64, 662, 459]);
    }

    #[test]
    fn as_many_may_be_late_as_the_count_still_proves() {
        for queries in [64_u64, 100, 1000, 24_576] {
            let late = most_late(queries, 0.9).expect("enough queries");
            assert!(least_queries(late, 0.9) <= queries && least_queries(late + 1, 0.9) > queries, "{queries}");
        }
        assert_eq!(most_late(63, 0.9), None);
    }

    #[test]
    fn the_estimate_leaves_out_the_late_ones_but_one() {
        let sorted: Vec<f64> = (1..=64).map(f64::from).collect();
        assert_eq!(estimate(&sorted, 0.9), Some(64.0), "one may be late: the largest is reported");
        let sorted: Vec<f64> = (1..=1000).map(f64::from).collect();
        let late = most_late(1000, 0.9).expect("enough queries");
        assert_eq!(estimate(&sorted, 0.9), Some((1001 - late) as f64));
        assert_eq!(estimate(&sorted[..63], 0.9), None);
    }

    #[test]
    fn what_is_refuted_is_not_proved() {
        assert!(refutes(100, 10, 0.99) && !proves(100, 10, 0.99));
        assert!(!refutes(1000, 10, 0.99) && !proves(1000, 10, 0.99), "one in a hundred is neither");
        assert!(refutes(1, 1, 0.99), "a share of a hundredth is late only once in a hundred queries");
        assert!(!refutes(0, 0, 0.99) && !refutes(50, 0, 0.99));
    }
}
