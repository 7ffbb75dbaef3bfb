//! What a number of changed decisions proves about inputs that were not seen.

/// Confidence of the upper bounds.
const CONFIDENCE: f64 = 0.95;

/// The share of changes that is exceeded with a probability of 5 % at the most, where `changes` of `n` were seen:
/// Clopper and Pearson's one-sided bound.
///
/// It is the share at which as few changes as were seen have a probability of 5 % still. `changes` need not be whole:
/// an average over several draws of the noise counts as the fraction that it is. Without observations the bound is 1.
/// Source: Clopper and Pearson, Biometrika 1934.
#[must_use]
pub fn upper_95(changes: f64, n: u64) -> f64 {
    bound(changes, n, CONFIDENCE)
}

/// The interval that holds the share of changes with a probability of 95 % at the least: Clopper and Pearson's
/// two-sided interval, 2.5 % a side.
///
/// Source: Clopper and Pearson, Biometrika 1934.
#[must_use]
pub fn interval_95(changes: f64, n: u64) -> (f64, f64) {
    let side = (1.0 + CONFIDENCE) / 2.0;
    (1.0 - bound(n as f64 - changes, n, side), bound(changes, n, side))
}

/// The quantile of the beta distribution with parameters `changes + 1` and `n - changes`, by bisection.
fn bound(changes: f64, n: u64, confidence: f64) -> f64 {
    let n = n as f64;
    if n == 0.0 || changes >= n {
        return 1.0;
    }
    let changes = changes.max(0.0);
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if incomplete_beta(changes + 1.0, n - changes, middle) < confidence {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The regularised incomplete beta function `I_x(a, b)` for `a > 0`, `b > 0` and `0 < x < 1`.
///
/// Source: Abramowitz and Stegun, Handbook of Mathematical Functions 1964, 26.5.8.
#[must_use]
pub fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    // The fraction converges fast below the mean, and I_x(a, b) = 1 - I_{1-x}(b, a).
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p();
    front.exp() * beta_fraction(a, b, x) / a
}

/// The continued fraction `1 / (1 + d_1 / (1 + d_2 / ...))` of the incomplete beta function, from the front.
///
/// Source: Lentz, Applied Optics 1976.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let term = |step: usize| {
        let m = (step / 2) as f64;
        if step.is_multiple_of(2) {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        }
    };
    // The number of steps grows as the root of the larger parameter.
    let most = 1000 + 10 * a.max(b).sqrt() as usize;
    let (mut numerator, mut denominator, mut fraction) = (1.0 / TINY, 1.0, 1.0);
    for step in 1..most {
        let d = term(step);
        denominator = 1.0 / away_from_zero(1.0 + d * denominator);
        numerator = away_from_zero(1.0 + d / numerator);
        let factor = numerator * denominator;
        fraction *= factor;
        if (factor - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

/// The logarithm of the gamma function for `x >= 0.5`, exact to about 1e-15 relative to its size.
///
/// Source: Lanczos, SIAM J. Numerical Analysis B 1964; coefficients for g = 7 and nine terms by Godfrey.
fn ln_gamma(x: f64) -> f64 {
    const G: f64 = 7.0;
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let series: f64 = TERMS[0] + TERMS.iter().enumerate().skip(1).map(|(i, c)| c / (x + i as f64)).sum::<f64>();
    let t = x + G + 0.5;
    0.5 * std::f64::consts::TAU.ln() + (x + 0.5) * t.ln() - t + series.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64) {
        assert!((got / want - 1.0).abs() < 1e-9, "{got} instead of {want}");
    }

    /// Probability of at most `changes` of `n` at a share of `p`, term by term.
    fn binomial_tail(changes: u64, n: u64, p: f64) -> f64 {
        let mut term = (1.0 - p).powi(n as i32);
        let mut sum = term;
        for k in 0..changes {
            term *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
            sum += term;
        }
        sum
    }

    #[test]
    fn no_change_bounds_the_share_by_the_nth_root_of_a_twentieth() {
        close(upper_95(0.0, 200), 0.014_867_039_231_272_06);
        close(upper_95(0.0, 1), 0.95);
        close(upper_95(0.0, 1_000_000), 2.995_727_786_336_833e-6);
    }

    #[test]
    fn bounds_of_few_changes_are_those_of_the_tables() {
        close(upper_95(1.0, 10), 0.394_163_302_436_504_9);
        close(upper_95(199.0, 200), 0.999_743_566_412_776_5);
    }

    #[test]
    fn as_few_changes_as_were_seen_have_a_probability_of_a_twentieth_at_the_bound() {
        for (changes, n) in [(0, 3), (1, 7), (3, 200), (25, 500), (19, 20)] {
            close(binomial_tail(changes, n, upper_95(changes as f64, n)), 0.05);
        }
    }

    #[test]
    fn nothing_is_proved_where_everything_changed_or_nothing_was_seen() {
        for (changes, n) in [(10.0, 10), (0.0, 0), (3.0, 0)] {
            assert!((upper_95(changes, n) - 1.0).abs() < 1e-15);
        }
    }

    #[test]
    fn a_fraction_of_a_change_lies_between_its_neighbours() {
        let (zero, half, one) = (upper_95(0.0, 50), upper_95(0.5, 50), upper_95(1.0, 50));
        assert!(zero < half && half < one, "{zero} {half} {one}");
    }

    #[test]
    fn the_interval_leaves_a_fortieth_on_each_side() {
        let (low, high) = interval_95(3.0, 200);
        close(high, 0.043_208_281_878_220_56);
        assert!((low - 0.003_104_107_621_505_353).abs() < 1e-12, "{low}");
        assert_eq!(interval_95(0.0, 200).0, 0.0);
    }
}
