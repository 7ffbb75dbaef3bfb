//! How much longer rows become where values are replaced by what they consist of, told from some of them.

use crate::model::network::{Network, Row};

/// Rows of a reader that are looked at.
const SAMPLES: usize = 24;

/// Which stages read which, and some rows of each.
pub struct Growth {
    /// First value of every stage, and the end of the last.
    offsets: Vec<usize>,
    readers: Vec<Reader>,
}

/// The rows of a stage, or those of the output.
struct Reader {
    rows: usize,
    samples: Vec<Row>,
    reads: Vec<bool>,
}

impl Reader {
    fn of(rows: &[&Row], offsets: &[usize]) -> Self {
        let mut reads = vec![false; offsets.len() - 1];
        for tap in rows.iter().flat_map(|row| row.taps.iter()) {
            let after = offsets.partition_point(|&offset| offset <= tap.source as usize);
            if after > 0 {
                reads[after - 1] = true;
            }
        }
        let samples = SAMPLES.min(rows.len());
        let samples = (0..samples).map(|at| rows[(2 * at + 1) * rows.len() / (2 * samples)].clone()).collect();
        Self { rows: rows.len(), samples, reads }
    }
}

impl Growth {
    /// Looks at a network.
    #[must_use]
    pub fn of(network: &Network) -> Self {
        let offsets = network.stage_offsets();
        let of_stages =
            network.stages.iter().map(|stage| stage.rows.iter().chain(&stage.factors).collect::<Vec<&Row>>());
        let outputs = network.output_rows.iter().collect();
        let readers = of_stages.chain([outputs]).map(|rows| Reader::of(&rows, &offsets)).collect();
        Self { offsets, readers }
    }

    /// Terms that the readers of a stage gain if its values are replaced, by estimate: `replaced` gives, for a source,
    /// the taps that stand for it as things are, and for a source of the stage those that would.
    #[must_use]
    pub fn terms(&self, stage: usize, mut lengths: impl FnMut(&Row) -> [usize; 2]) -> f64 {
        let mut sum = 0.0;
        for reader in self.readers.iter().skip(stage + 1).filter(|reader| reader.reads[stage]) {
            let mut gained = 0.0;
            for row in &reader.samples {
                let [before, after] = lengths(row);
                gained += after as f64 - before as f64;
            }
            sum += gained / reader.samples.len().max(1) as f64 * reader.rows as f64;
        }
        sum
    }

    /// The values of a stage.
    #[must_use]
    pub fn values(&self, stage: usize) -> std::ops::Range<usize> {
        self.offsets[stage]..self.offsets[stage + 1]
    }
}
