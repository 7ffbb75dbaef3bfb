//! What blocks of so many ciphertexts take, and which number is the fastest for a batch.

/// What blocks of so many ciphertexts take.
#[derive(Clone, Debug, PartialEq)]
pub struct Waves {
    /// Ciphertexts a block.
    pub ciphertexts: usize,
    /// Seconds of a short rotation where every multiprocessor has one block, two, and so on up to as many as it holds.
    pub seconds: Vec<f64>,
}

impl Waves {
    /// Seconds of a batch whose blocks are shared out evenly.
    fn predict(&self, rows: usize, multiprocessors: usize) -> f64 {
        let resident = self.seconds.len();
        let blocks = rows.div_ceil(self.ciphertexts).div_ceil(multiprocessors);
        let rest = match blocks % resident {
            0 => 0.0,
            rest => self.seconds[rest - 1],
        };
        (blocks / resident) as f64 * self.seconds[resident - 1] + rest
    }
}

/// Ciphertexts a block with the least time for a batch.
pub fn fastest(waves: &[Waves], rows: usize, multiprocessors: usize) -> usize {
    let seconds = |waves: &&Waves| waves.predict(rows, multiprocessors);
    waves.iter().min_by(|a, b| seconds(a).total_cmp(&seconds(b))).map_or(1, |waves| waves.ciphertexts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_batch_decides_how_many_ciphertexts_share_a_block() {
        let waves = [
            Waves { ciphertexts: 1, seconds: vec![1.0, 1.1] },
            Waves { ciphertexts: 3, seconds: vec![1.5] },
            Waves { ciphertexts: 4, seconds: vec![2.2] },
        ];
        for (rows, expected) in [(1, 1), (10, 1), (20, 1), (30, 3), (40, 1), (100, 1), (1000, 3)] {
            assert_eq!(fastest(&waves, rows, 10), expected, "{rows} rows");
        }
        assert!((waves[0].predict(31, 10) - 2.2).abs() < 1e-12, "two waves of two blocks");
        assert!((waves[0].predict(30, 10) - 2.1).abs() < 1e-12, "the second wave has one block");
        assert!((waves[2].predict(41, 10) - 4.4).abs() < 1e-12);
    }
}
