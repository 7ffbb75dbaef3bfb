//! Percentiles of latencies.

use heman_core::planning::confidence::incomplete_beta;

/// The percentiles of reports.
pub const REPORTED: [f64; 6] = [0.50, 0.90, 0.95, 0.97, 0.99, 0.999];

/// Each side of an interval misses with this probability.
const SIDE: f64 = 0.025;

/// The value behind which at most a share `1 - percentile` of the sorted values lies: number `floor(n p)`, counted from
/// zero, as MLPerf's load generator takes it. None where fewer than one value is to be expected behind it.
#[must_use]
pub fn percentile(sorted: &[f64], percentile: f64) -> Option<f64> {
    let n = sorted.len() as f64;
    // Products such as 10 (1 - 0.9) are a rounding error short of one.
    if n * (1.0 - percentile) < 1.0 - 1e-9 {
        return None;
    }
    sorted.get((n * percentile + 1e-9) as usize).copied()
}

/// The values between which the true percentile lies with a probability of 95 % at the least, whatever the
/// distribution; none where there are too few.
///
/// Values number l and u (from one) hold it unless fewer than l or at least u of n values lie below it, and that number
/// is binomial. Source: David and Nagaraja, "Order Statistics", 2003, section 7.1.
#[must_use]
pub fn interval(sorted: &[f64], percentile: f64) -> Option<(f64, f64)> {
    let n = sorted.len();
    // Probability of at most k values below.
    let at_most =
        |k: usize| if k >= n { 1.0 } else { incomplete_beta((n - k) as f64, k as f64 + 1.0, 1.0 - percentile) };
    // The first k whose probability exceeds the side: k - 1 does not, and is l - 1.
    let first_above = |share: f64| {
        let (mut low, mut high) = (0, n);
        while low < high {
            let middle = usize::midpoint(low, high);
            if at_most(middle) > share {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    };
    let (lower, upper) = (first_above(SIDE), first_above(1.0 - SIDE - 1e-12) + 1);
    Some((*sorted.get(lower.checked_sub(1)?)?, *sorted.get(upper - 1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(n: u32) -> Vec<f64> {
        (1..=n).map(f64::from).collect()
    }

    #[test]
    fn percentiles_are_the_load_generators() {
        let sorted = counted(1000);
        let found = REPORTED.map(|p| percentile(&sorted, p));
        assert_eq!(found, [501.0, 901.0, 951.0, 971.0, 991.0, 1000.0].map(Some));
    }

    #[test]
    fn percentiles_that_the_count_does_not_support_are_left_out() {
        assert_eq!(REPORTED.map(|p| percentile(&counted(10), p).is_some()), [true, true, false, false, false, false]);
        assert_eq!(REPORTED.map(|p| percentile(&counted(100), p).is_some()), [true, true, true, true, true, false]);
        assert_eq!(percentile(&[1.0], 0.5), None);
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn intervals_are_those_of_the_tables() {
        // Medians, 95 %: Hollander, Wolfe, Chicken, "Nonparametric Statistical Methods", table of sign test intervals.
        assert_eq!(interval(&counted(10), 0.5), Some((2.0, 9.0)));
        assert_eq!(interval(&counted(20), 0.5), Some((6.0, 15.0)));
        assert_eq!(interval(&counted(5), 0.5), None, "five values hold their median with 93.75 % only");
        assert_eq!(interval(&counted(6), 0.5), Some((1.0, 6.0)));
    }

    #[test]
    fn tails_need_many_values() {
        assert_eq!(interval(&counted(100), 0.99), None);
        let (low, high) = interval(&counted(10_000), 0.99).expect("enough values");
        assert!((9870.0..9900.0).contains(&low) && (9900.0..9930.0).contains(&high), "{low} {high}");
    }
}
