//! The roots of the transform's tree, each by the exact number of its angle.

/// A polynomial modulo `X^S - exp(2 pi i numerator / denominator)`.
#[derive(Clone, Copy)]
pub struct Node {
    numerator: u64,
    denominator: u64,
}

impl Node {
    /// Modulo `X^M - i`.
    pub const TOP: Self = Self { numerator: 1, denominator: 4 };

    /// Modulo `X^(S/R) - v exp(2 pi i j / R)` for each j below R, where `v^R` is this node's root.
    pub fn children(self, radix: usize) -> impl Iterator<Item = Self> {
        let radix = radix as u64;
        let Self { numerator, denominator } = self;
        (0..radix).map(move |j| Self { numerator: numerator + j * denominator, denominator: denominator * radix })
    }

    /// `v^q` for each q below R.
    pub fn factors(self, radix: usize) -> impl Iterator<Item = [f64; 2]> {
        let denominator = self.denominator * radix as u64;
        (0..radix as u64).map(move |q| turn(q * self.numerator, denominator))
    }

    /// The f of a leaf's root `exp(i pi f / N)`.
    pub fn frequency(self) -> u32 {
        self.numerator as u32
    }
}

/// `exp(2 pi i numerator / denominator)`, the denominator a power of two from 4 on, to the last bit or the next: angles
/// are brought to the first eighth, where they are exact to half a bit.
pub fn turn(numerator: u64, denominator: u64) -> [f64; 2] {
    let quarter = denominator / 4;
    let (quarters, within) = (numerator / quarter % 4, numerator % quarter);
    let angle = |part: u64| std::f64::consts::TAU * (part as f64 / denominator as f64);
    let (re, im) = if 2 * within <= quarter {
        let (sin, cos) = angle(within).sin_cos();
        (cos, sin)
    } else {
        angle(quarter - within).sin_cos()
    };
    match quarters {
        0 => [re, im],
        1 => [-im, re],
        2 => [-re, -im],
        _ => [im, -re],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_those_of_sine_and_cosine() {
        for numerator in 0..256 {
            let [re, im] = turn(numerator, 64);
            let (sin, cos) = (std::f64::consts::TAU * numerator as f64 / 64.0).sin_cos();
            assert!((re - cos).abs() < 1e-14 && (im - sin).abs() < 1e-14, "{numerator}");
        }
        assert_eq!(
            [turn(0, 4), turn(1, 4), turn(2, 4), turn(3, 4)],
            [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]
        );
    }
}
