//! From the harness's pixels to the network's inputs, in the clear.

use std::path::Path;

use rayon::prelude::*;
use serde::Deserialize;

use crate::error::StageError;
use crate::vectors::Vectors;

/// What is done with an image before it is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// Channels of an image.
    pub channels: usize,
    /// Rows and columns of each channel.
    pub side: usize,
    /// Rows and columns that are left out on each of the four sides.
    pub crop: usize,
    /// Side of the squares that are averaged; 1 leaves pixels as they are.
    pub pool: usize,
}

impl Preparation {
    /// Pixels of an image.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.channels * self.side * self.side
    }

    /// Whether it leaves at least one whole square of each channel.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let left = self.side.saturating_sub(self.crop.saturating_mul(2));
        self.pool > 0 && left > 0 && left.is_multiple_of(self.pool)
    }

    /// Rows and columns that are left.
    fn left(&self) -> usize {
        (self.side - 2 * self.crop) / self.pool
    }

    /// Elements of an input.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.channels * self.left() * self.left()
    }

    /// An image as an input.
    pub fn apply(&self, image: &[f32]) -> impl Iterator<Item = f32> {
        let (left, pool, side) = (self.left(), self.pool, self.side);
        let share = 1.0 / (pool * pool) as f32;
        (0..self.inputs()).map(move |at| {
            let (channel, row, column) = (at / (left * left), at / left % left, at % left);
            let corner = (channel * side + self.crop + row * pool) * side + self.crop + column * pool;
            let line = |y: usize| image[corner + y * side..][..pool].iter().sum::<f32>();
            (0..pool).map(line).sum::<f32>() * share
        })
    }

    /// Inputs from the text of the harness: an image a line, numbers in 0..1 apart by spaces.
    ///
    /// # Errors
    /// [`StageError::File`] with the line that does not hold one number a pixel.
    pub fn read(&self, path: &Path) -> Result<Vectors, StageError> {
        let text = std::fs::read(path).map_err(|error| StageError::file(path, error))?;
        self.parse(&text).map_err(|reason| StageError::file(path, reason))
    }

    fn parse(&self, text: &[u8]) -> Result<Vectors, String> {
        let lines: Vec<&[u8]> =
            text.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();
        let wrong = |line: usize| {
            let expected = self.pixels();
            format!("line {} does not hold {expected} numbers", line + 1)
        };
        let parsed: Result<Vec<Vec<f32>>, String> = lines
            .par_iter()
            .enumerate()
            .map(|(at, line)| {
                let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
                let image: Option<Vec<f32>> = words.map(number).collect();
                let image = image.filter(|image| image.len() == self.pixels()).ok_or_else(|| wrong(at))?;
                Ok(self.apply(&image).collect())
            })
            .collect();
        let values = parsed?.concat();
        if values.is_empty() {
            return Err("there are no images".into());
        }
        Ok(Vectors { length: self.inputs(), values })
    }
}

/// A number. The harness writes six decimal places, which need no general parser.
fn number(word: &[u8]) -> Option<f32> {
    const POWERS: [f64; 9] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
    if let Some((whole, decimals)) = word.split_first_chunk::<2>()
        && whole[0].is_ascii_digit()
        && whole[1] == b'.'
        && decimals.len() < POWERS.len()
        && decimals.iter().all(u8::is_ascii_digit)
    {
        let first = u32::from(whole[0] - b'0');
        let digits = decimals.iter().fold(first, |all, &digit| 10 * all + u32::from(digit - b'0'));
        return Some((f64::from(digits) / POWERS[decimals.len()]) as f32);
    }
    let value: f32 = std::str::from_utf8(word).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_standard_library_reads_them() {
        for text in
            ["0.000000", "1.000000", "0.003922", "0.996078", "0.5", "9.99999999", "-0.25", "1e-3", "0.1234567891"]
        {
            assert_eq!(number(text.as_bytes()), text.parse().ok(), "{text}");
        }
        for text in ["", "x", "0.x", "nan", "inf", "0,5"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn borders_are_cut_off_and_squares_averaged() {
        let preparation = Preparation { channels: 2, side: 6, crop: 1, pool: 2 };
        let image: Vec<f32> = (0..72).map(|pixel| pixel as f32).collect();
        let inputs: Vec<f32> = preparation.apply(&image).collect();
        // The square of the first channel begins at row 1, column 1: pixels 7, 8, 13 and 14.
        assert_eq!(inputs, [10.5, 12.5, 22.5, 24.5, 46.5, 48.5, 58.5, 60.5]);
        let nothing = Preparation { channels: 2, side: 6, crop: 0, pool: 1 };
        assert!(nothing.apply(&image).eq(image.iter().copied()));
    }

    #[test]
    fn what_leaves_no_whole_square_is_not_sound() {
        let sound = |crop, pool| Preparation { channels: 1, side: 28, crop, pool }.is_sound();
        assert!(sound(0, 1) && sound(3, 2) && sound(2, 3));
        assert!(!sound(14, 1) && !sound(0, 0) && !sound(3, 4));
    }

    #[test]
    fn lines_with_another_number_of_pixels_are_refused() {
        let preparation = Preparation { channels: 1, side: 2, crop: 0, pool: 2 };
        let read = preparation.parse(b"0.0 1.0 0.5 0.5\n1.0 1.0 1.0 1.0\n");
        assert_eq!(read, Ok(Vectors { length: 1, values: vec![0.5, 1.0] }));
        let wrong = preparation.parse(b"0.0 1.0 0.5 0.5\n1.0 1.0 1.0\n");
        assert_eq!(wrong, Err("line 2 does not hold 4 numbers".into()));
        assert!(preparation.parse(b"\n").is_err());
    }
}
