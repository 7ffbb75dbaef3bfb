//! When queries of a server come.

/// Arrivals of a Poisson process: times between them are exponential and independent. The same seed gives the same
/// arrivals.
///
/// Source of the generator: splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Arrivals {
    state: u64,
    seconds: f64,
    rate: f64,
}

impl Arrivals {
    /// Arrivals of so many queries a second on average, the first one after time zero.
    #[must_use]
    pub fn new(rate: f64, seed: u64) -> Self {
        Self { state: seed, seconds: 0.0, rate }
    }
}

impl Iterator for Arrivals {
    type Item = f64;

    /// Seconds after time zero.
    fn next(&mut self) -> Option<f64> {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let uniform = (((z ^ (z >> 31)) >> 11) as f64 + 0.5) * (-53.0_f64).exp2();
        self.seconds -= uniform.ln() / self.rate;
        Some(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_equal_times_have_the_mean_and_the_variance_of_poisson() {
        let (rate, windows) = (5.0, 20_000);
        let mut counts = vec![0.0; windows];
        for at in Arrivals::new(rate, 1).take_while(|&at| at < windows as f64) {
            counts[at as usize] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / windows as f64;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / windows as f64;
        // Four standard errors: sqrt(5 / 20000) = 0.016 of the mean, sqrt((5 + 2 25) / 20000) = 0.052 of the variance.
        assert!((mean - rate).abs() < 0.064 && (variance - rate).abs() < 0.21, "{mean} {variance}");
    }

    #[test]
    fn times_between_arrivals_are_exponential() {
        let arrivals: Vec<f64> = Arrivals::new(2.0, 7).take(10_000).collect();
        let mut gaps: Vec<f64> = arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.sort_by(f64::total_cmp);
        let n = gaps.len() as f64;
        let distance = gaps.iter().enumerate().map(|(at, gap)| ((at as f64 + 0.5) / n + (-2.0 * gap).exp_m1()).abs());
        // Kolmogorov and Smirnov: 1.63 / sqrt(n) is exceeded once in a hundred.
        assert!(distance.fold(0.0, f64::max) < 1.63 / n.sqrt());
    }
}
