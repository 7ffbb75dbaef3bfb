//! Where the values of a tensor lie in the slots of its ciphertexts, one input over many slots.
//!
//! Slots are those of one *lane*: a ciphertext has `lanes` interleaved rings, which share its slots equally, each
//! with an input of its own; rotating the ciphertext by `lanes r` rotates every ring by r.

use serde::{Deserialize, Serialize};

/// Channels on a grid of rows, between whose pixels other channels may lie ("multiplexed": Lee et al., ICML 2022,
/// section 4). Where none do, there are more blocks, and fewer diagonals between them.
///
/// Value `(c h + y) w + x` is that of channel `i = c % channels_per_block` of block `c / channels_per_block`, and lies
/// at row `y gap + i / gap` and column `x gap + i % gap` of its grid.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// Channels, rows and columns of the tensor.
    pub shape: [usize; 3],
    /// Slots from a pixel to the next one of its channel.
    pub gap: usize,
    /// Channels in one block, `gap^2` at the most.
    pub channels_per_block: usize,
    /// Slots from a row of the grid to the next.
    pub pitch: usize,
    /// Slots from a block to the next.
    pub block: usize,
    /// Blocks in one ciphertext.
    pub blocks_per_ciphertext: usize,
    /// The content repeats after so many slots.
    pub period: usize,
    /// By how many slots each repetition is rotated to the left against the one before it, so that one rotation of the
    /// ciphertext brings other diagonals to each of them.
    pub skew: usize,
    /// Slots of the ring.
    pub ring: usize,
}

/// Channels, rows and columns of a tensor with a leading batch axis of 1.
#[must_use]
pub fn image_shape(shape: &[usize]) -> [usize; 3] {
    let inner = shape.strip_prefix(&[1]).unwrap_or(shape);
    match *inner {
        [ref channels @ .., height, width] => [channels.iter().product(), height, width],
        [length] => [length, 1, 1],
        [] => [1, 1, 1],
    }
}

impl Layout {
    /// Row-major values, one after the other, as often as they fit: what a client is asked for.
    #[must_use]
    pub fn row_major(shape: &[usize], ring: usize) -> Self {
        let [channels, height, width] = image_shape(shape);
        let block = height * width;
        if block > ring {
            return Self::vector(channels * block, ring);
        }
        let fitting = (ring / block).min(channels);
        let period = if channels * block <= ring { (channels * block).next_power_of_two() } else { ring };
        Self {
            shape: [channels, height, width],
            gap: 1,
            channels_per_block: 1,
            pitch: width,
            block,
            blocks_per_ciphertext: fitting,
            period,
            skew: 0,
            ring,
        }
    }

    /// Values one after the other without rows.
    #[must_use]
    pub fn vector(length: usize, ring: usize) -> Self {
        let period = length.next_power_of_two().min(ring);
        Self {
            shape: [length, 1, 1],
            gap: 1,
            channels_per_block: 1,
            pitch: 1,
            block: 1,
            blocks_per_ciphertext: period,
            period,
            skew: 0,
            ring,
        }
    }

    /// Largest ring: half of the largest degree.
    const MOST_RING: usize = 1 << 16;

    /// Checks that every value has a slot of its own within the ring.
    ///
    /// # Errors
    /// A sentence that names the first violation.
    pub fn check(&self) -> Result<(), String> {
        let [channels, height, width] = self.shape;
        let sane = |x: &usize| (1..=1 << 28).contains(x);
        let numbers = [channels, height, width, self.gap, self.pitch, self.block, self.blocks_per_ciphertext];
        let is_filled =
            self.gap.checked_mul(self.gap).is_some_and(|most| (1..=most).contains(&self.channels_per_block));
        if !numbers.iter().all(sane)
            || !self.ring.is_power_of_two()
            || !self.period.is_power_of_two()
            || self.ring > Self::MOST_RING
        {
            return Err("a layout has a number that is out of range".into());
        }
        let (row, grid) = ((width - 1) * self.gap + self.gap, (height - 1) * self.gap + self.gap);
        let extent = (grid - 1).checked_mul(self.pitch).and_then(|e| e.checked_add(row));
        let fits = row <= self.pitch || grid == 1;
        let blocks = self.blocks_per_ciphertext.checked_mul(self.block);
        if !fits
            || !is_filled
            || self.period > self.ring
            || self.skew >= self.period
            || extent.is_none_or(|e| e > self.block)
            || blocks.is_none_or(|b| b > self.period)
        {
            return Err("the values of a layout overlap or leave their ring".into());
        }
        Ok(())
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ciphertexts of one lane's input.
    #[must_use]
    pub fn ciphertexts(&self) -> usize {
        self.shape[0].div_ceil(self.channels_per_block).div_ceil(self.blocks_per_ciphertext)
    }

    /// Ciphertext and first slot of a value; it is repeated every [`Layout::period`] slots, [`Layout::skew`] slots
    /// earlier each time.
    #[must_use]
    pub fn place(&self, value: usize) -> (usize, usize) {
        let [_, height, width] = self.shape;
        let (x, y, c) = (value % width, value / width % height, value / width / height);
        let (block, within) = (c / self.channels_per_block, c % self.channels_per_block);
        let (row, column) = (y * self.gap + within / self.gap, x * self.gap + within % self.gap);
        let own = block % self.blocks_per_ciphertext;
        (block / self.blocks_per_ciphertext, own * self.block + row * self.pitch + column)
    }

    /// All slots of one ring from one number a value; slots without a value are 0.
    #[must_use]
    pub fn spread(&self, ciphertext: usize, value: impl Fn(usize) -> f64) -> Vec<f64> {
        let once = self.spread_once(ciphertext, value);
        let repetition = |at: usize| {
            let (end, start) = once.split_at(at * self.skew % self.period);
            start.iter().chain(end).copied()
        };
        (0..self.repetitions()).flat_map(repetition).collect()
    }

    /// How often the content is repeated.
    #[must_use]
    pub fn repetitions(&self) -> usize {
        self.ring / self.period
    }

    /// Slots after which all slots repeat.
    #[must_use]
    pub fn whole_period(&self) -> usize {
        if self.skew == 0 { self.period } else { self.ring }
    }

    /// As [`Layout::spread`], the slots of one period.
    #[must_use]
    pub fn spread_once(&self, ciphertext: usize, value: impl Fn(usize) -> f64) -> Vec<f64> {
        let mut slots = vec![0.0; self.period];
        for at in 0..self.len() {
            let (own, slot) = self.place(at);
            if own == ciphertext {
                slots[slot] = value(at);
            }
        }
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(layout: &Layout) {
        layout.check().expect("sound");
        let mut taken = vec![false; layout.ciphertexts() * layout.period];
        for value in 0..layout.len() {
            let (ciphertext, slot) = layout.place(value);
            assert!(slot < layout.period);
            assert!(!std::mem::replace(&mut taken[ciphertext * layout.period + slot], true), "{layout:?}: {value}");
        }
    }

    #[test]
    fn values_have_slots_of_their_own() {
        for shape in [vec![1, 1, 32, 32], vec![1, 3, 28, 28], vec![1, 320, 7, 7], vec![1, 10], vec![7], vec![1, 5000]] {
            for ring in [1024, 4096] {
                sound(&Layout::row_major(&shape, ring));
            }
        }
        let multiplexed = Layout {
            shape: [16, 10, 10],
            gap: 2,
            channels_per_block: 4,
            pitch: 32,
            block: 1024,
            blocks_per_ciphertext: 4,
            period: 4096,
            skew: 0,
            ring: 8192,
        };
        sound(&multiplexed);
        assert_eq!(multiplexed.ciphertexts(), 1);
        assert_eq!(multiplexed.place(100 * 5 + 10 * 3 + 7), (0, 1024 + 6 * 32 + 14 + 1));
        assert!(Layout { block: 500, ..multiplexed.clone() }.check().is_err());
        assert!(Layout { period: 2048, ..multiplexed.clone() }.check().is_err());
        assert!(Layout { channels_per_block: 5, ..multiplexed.clone() }.check().is_err());
        assert!(Layout { channels_per_block: 0, ..multiplexed.clone() }.check().is_err());
        let apart =
            Layout { channels_per_block: 1, blocks_per_ciphertext: 16, period: 16384, ring: 16384, ..multiplexed };
        sound(&apart);
        assert_eq!(apart.place(100 * 5 + 10 * 3 + 7), (0, 5 * 1024 + 6 * 32 + 14));
    }

    #[test]
    fn content_repeats() {
        let slots = Layout::vector(3, 16).spread(0, |i| i as f64 + 1.0);
        assert_eq!(slots, [1.0, 2.0, 3.0, 0.0].repeat(4));
        let slots = Layout { skew: 1, ..Layout::vector(3, 16) }.spread(0, |i| i as f64 + 1.0);
        assert_eq!(
            slots,
            [[1.0, 2.0, 3.0, 0.0], [2.0, 3.0, 0.0, 1.0], [3.0, 0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 3.0]].concat()
        );
    }
}
