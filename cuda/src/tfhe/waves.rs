//! What blocks of so many ciphertexts take, and which number is the fastest for a batch.

use heman_core::tfhe::params::set::ParameterSet;

/// Key bits that a measured rotation takes: enough to hide the launch, few enough to be done in milliseconds. Every
/// grouping divides it.
const STEPS: usize = 48;

/// Key bits of a measured rotation.
pub(crate) fn measured_steps(params: &ParameterSet) -> usize {
    params.lwe_dimension.min(STEPS)
}

/// What blocks of so many ciphertexts take.
#[derive(Clone, Debug, PartialEq)]
pub struct Waves {
    /// Ciphertexts a block.
    pub ciphertexts: usize,
    /// Threads a block: where digits have several levels, these take turns or have threads of their own.
    pub threads: usize,
    /// Seconds of a short rotation where every multiprocessor has one block, two, and so on up to as many as it holds.
    pub seconds: Vec<f64>,
}

impl Waves {
    /// Rows of as many whole waves as take `seconds`, of one at the least.
    pub(crate) fn rows_within(&self, seconds: f64, multiprocessors: usize) -> usize {
        let resident = self.seconds.len();
        let waves = seconds / self.seconds[resident - 1];
        // (A conversion saturates, and rows stay below 2^32.)
        let waves = (waves as usize).clamp(1, 1 << 20);
        waves * resident * multiprocessors * self.ciphertexts
    }

    /// Seconds of a batch whose blocks are shared out evenly.
    pub(crate) fn predict(&self, rows: usize, multiprocessors: usize) -> f64 {
        let resident = self.seconds.len();
        let blocks = rows.div_ceil(self.ciphertexts).div_ceil(multiprocessors);
        let rest = match blocks % resident {
            0 => 0.0,
            rest => self.seconds[rest - 1],
        };
        (blocks / resident) as f64 * self.seconds[resident - 1] + rest
    }
}

/// The blocks with the least time for a batch, if any were measured.
pub fn fastest(waves: &[Waves], rows: usize, multiprocessors: usize) -> Option<&Waves> {
    let seconds = |waves: &&Waves| waves.predict(rows, multiprocessors);
    waves.iter().min_by(|a, b| seconds(a).total_cmp(&seconds(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_has_whole_waves() {
        let waves = Waves { ciphertexts: 3, threads: 256, seconds: vec![0.06, 0.09] };
        assert_eq!(waves.rows_within(0.3, 10), 3 * 2 * 10 * 3, "three waves of two blocks take 0.27 seconds");
        assert_eq!(waves.rows_within(0.01, 10), 2 * 10 * 3, "one wave at the least");
    }

    #[test]
    fn the_batch_decides_how_many_ciphertexts_share_a_block() {
        let blocks_of = |ciphertexts, seconds| Waves { ciphertexts, threads: 32, seconds };
        let waves = [blocks_of(1, vec![1.0, 1.1]), blocks_of(3, vec![1.5]), blocks_of(4, vec![2.2])];
        for (rows, expected) in [(1, 1), (10, 1), (20, 1), (30, 3), (40, 1), (100, 1), (1000, 3)] {
            assert_eq!(fastest(&waves, rows, 10).map(|w| w.ciphertexts), Some(expected), "{rows} rows");
        }
        assert!((waves[0].predict(31, 10) - 2.2).abs() < 1e-12, "two waves of two blocks");
        assert!((waves[0].predict(30, 10) - 2.1).abs() < 1e-12, "the second wave has one block");
        assert!((waves[2].predict(41, 10) - 4.4).abs() < 1e-12);
    }
}
