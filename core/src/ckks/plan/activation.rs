//! Activations as polynomials, fitted to what the network does on calibration data.
//!
//! A fit is a least-squares one in the Chebyshev basis over the channel's calibrated range, widened; a share of the
//! weight lies on a uniform grid, which keeps the polynomial bounded where there are few samples.

use serde::{Deserialize, Serialize};

use crate::ckks::plan::chebyshev::{self, FIFTEENTH, SEVENTH};

/// Largest shift of a square on its own: beyond it cancellation costs more than three bits.
const MOST_SHIFT: f64 = 8.0;
/// Leading coefficients below this share of the largest one are noise of the fit.
const NEGLIGIBLE: f64 = 1e-6;
/// Where arguments are cut off: the interval ends at 2 or before, and powers of it up to 32 are still numbers.
const FAR: f64 = (1_u64 << 24) as f64;

/// A polynomial of `u = (x - centre) / radius`, in the form in which it is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activation {
    /// Middle of the fitted range.
    pub centre: f64,
    /// Half its width.
    pub radius: f64,
    /// The polynomial.
    pub form: Form,
}

/// Degrees that are fitted.
pub const DEGREES: [usize; 5] = [2, 3, 4, 6, 8];
/// Degrees of deep networks, which bootstraps interrupt, in the order in which they are tried.
pub const DEEP_DEGREES: [usize; 2] = [7, 15];

/// Polynomials of at most four multiplications on one way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Form {
    /// `gain u v`, where v is a second row's value over a radius of its own.
    Product {
        /// Folded into whatever reads the value.
        gain: f64,
    },
    /// `gain ((u + shift)^2 + constant)`.
    Square {
        /// Folded into whatever reads the value.
        gain: f64,
        /// Shift of the square.
        shift: f64,
        /// Constant term.
        constant: f64,
    },
    /// `c0 + c1 u + u^2 (c2 + c3 u)`.
    Cubic([f64; 4]),
    /// `gain ((u^2 + a u + b)^2 + c u + d)`: a quartic with its square completed.
    Quartic {
        /// Folded into whatever reads the value.
        gain: f64,
        /// Within the square.
        a: f64,
        /// Within the square.
        b: f64,
        /// Linear rest.
        c: f64,
        /// Constant rest.
        d: f64,
    },
    /// `gain ((u^3 + a u^2 + b u + c)^2 + d u^2 + e u + f)`: degree 6 with its square completed.
    Sextic {
        /// Folded into whatever reads the value.
        gain: f64,
        /// a to f.
        rest: [f64; 6],
    },
    /// `gain (q^2 + e u v + f v + g u + h)` with `v = u^2 + a u + b` and `q = v^2 + c u + d`: degree 8, twice with its
    /// square completed. It is as deep as a sextic, and takes one multiplication more.
    Octic {
        /// Folded into whatever reads the value.
        gain: f64,
        /// a to h.
        rest: [f64; 8],
    },
    /// `gain p(u)`, p of degree 7 in the basis of [`crate::ckks::plan::chebyshev`], whose argument goes from -2 to 2:
    /// the radius is half of the fitted range's.
    Seventh {
        /// Folded into whatever reads the value.
        gain: f64,
        /// As [`chebyshev::seventh`] gives them, over the gain.
        constants: [f64; SEVENTH],
    },
    /// The same of degree 15.
    Fifteenth {
        /// Folded into whatever reads the value.
        gain: f64,
        /// As [`chebyshev::fifteenth`] gives them, over the gain.
        constants: [f64; FIFTEENTH],
    },
}

/// What all polynomials of a stage have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormKind {
    /// [`Form::Product`]
    Product,
    /// [`Form::Square`]
    Square,
    /// [`Form::Cubic`]
    Cubic,
    /// [`Form::Quartic`]
    Quartic,
    /// [`Form::Sextic`]
    Sextic,
    /// [`Form::Octic`]
    Octic,
    /// [`Form::Seventh`]
    Seventh,
    /// [`Form::Fifteenth`]
    Fifteenth,
}

impl FormKind {
    /// How many constants the polynomials of [`crate::ckks::plan::chebyshev`] have; none for other kinds.
    #[must_use]
    pub fn chebyshev_constants(self) -> Option<usize> {
        match self {
            Self::Seventh => Some(SEVENTH),
            Self::Fifteenth => Some(FIFTEENTH),
            _ => None,
        }
    }
}

impl Form {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> FormKind {
        match self {
            Self::Product { .. } => FormKind::Product,
            Self::Square { .. } => FormKind::Square,
            Self::Cubic(_) => FormKind::Cubic,
            Self::Quartic { .. } => FormKind::Quartic,
            Self::Sextic { .. } => FormKind::Sextic,
            Self::Octic { .. } => FormKind::Octic,
            Self::Seventh { .. } => FormKind::Seventh,
            Self::Fifteenth { .. } => FormKind::Fifteenth,
        }
    }

    /// Its numbers but for the gain, in the order of their names.
    #[must_use]
    pub fn constants(&self) -> Vec<f64> {
        match *self {
            Self::Product { .. } => Vec::new(),
            Self::Square { shift, constant, .. } => vec![shift, constant],
            Self::Cubic(c) => c.to_vec(),
            Self::Quartic { a, b, c, d, .. } => vec![a, b, c, d],
            Self::Sextic { rest, .. } => rest.to_vec(),
            Self::Octic { rest, .. } => rest.to_vec(),
            Self::Seventh { constants, .. } => constants.to_vec(),
            Self::Fifteenth { constants, .. } => constants.to_vec(),
        }
    }

    /// The polynomial with coefficients `c` of `1, u, u^2, …`, if it is a square of little shift.
    pub(in crate::ckks) fn square(c: &[f64]) -> Option<Self> {
        let largest = c.iter().fold(0.0_f64, |m, c| m.max(c.abs()));
        let is_square = c[2].abs() > NEGLIGIBLE * largest && c[3..].iter().all(|c| c.abs() <= NEGLIGIBLE * largest);
        let shift = c[1] / c[2] / 2.0;
        (is_square && shift.abs() <= MOST_SHIFT).then(|| Self::Square {
            gain: c[2],
            shift,
            constant: c[0] / c[2] - shift * shift,
        })
    }

    /// The sextic with seven coefficients `p`.
    pub(in crate::ckks) fn sextic(p: &[f64]) -> Self {
        let gain = p[6];
        if gain == 0.0 {
            return Self::Sextic { gain, rest: [0.0; 6] };
        }
        let (cubic, left) = square_root(&monic(p));
        Self::Sextic { gain, rest: [cubic[2], cubic[1], cubic[0], left[2], left[1], left[0]] }
    }

    /// The octic with nine coefficients `p`.
    pub(in crate::ckks) fn octic(p: &[f64]) -> Self {
        let gain = p[8];
        if gain == 0.0 {
            return Self::Octic { gain, rest: [0.0; 8] };
        }
        let (quartic, cubic) = square_root(&monic(p));
        let (square, linear) = square_root(&quartic);
        let (a, b) = (square[1], square[0]);
        let e = cubic[3];
        let f = cubic[2] - e * a;
        let (g, h) = (cubic[1] - e * b - f * a, cubic[0] - f * b);
        Self::Octic { gain, rest: [a, b, linear[1], linear[0], e, f, g, h] }
    }

    /// The quartic with five coefficients `c`.
    pub(in crate::ckks) fn quartic(c: &[f64]) -> Self {
        if c[4] == 0.0 {
            return Self::Quartic { gain: 0.0, a: 0.0, b: 0.0, c: 0.0, d: 0.0 };
        }
        let (square, left) = square_root(&monic(c));
        Self::Quartic { gain: c[4], a: square[1], b: square[0], c: left[1], d: left[0] }
    }

    /// The multiplications of ciphertexts, for each how many are on the way to its result, itself included.
    #[must_use]
    pub fn products(&self) -> &'static [usize] {
        match self {
            Self::Product { .. } | Self::Square { .. } => &[1],
            Self::Cubic(_) | Self::Quartic { .. } => &[1, 2],
            Self::Sextic { .. } => &[1, 2, 3],
            Self::Octic { .. } | Self::Seventh { .. } => &[1, 2, 2, 3],
            Self::Fifteenth { .. } => &[1, 2, 2, 2, 3, 3, 4],
        }
    }

    /// Largest exponent.
    #[must_use]
    pub fn degree(&self) -> usize {
        match self {
            Self::Product { .. } | Self::Square { .. } => 2,
            Self::Cubic(_) => 3,
            Self::Quartic { .. } => 4,
            Self::Sextic { .. } => 6,
            Self::Octic { .. } => 8,
            Self::Seventh { .. } => 7,
            Self::Fifteenth { .. } => 15,
        }
    }

    /// What a reader multiplies the evaluated value with.
    #[must_use]
    pub fn gain(&self) -> f64 {
        match *self {
            Self::Product { gain }
            | Self::Square { gain, .. }
            | Self::Quartic { gain, .. }
            | Self::Sextic { gain, .. }
            | Self::Octic { gain, .. }
            | Self::Seventh { gain, .. }
            | Self::Fifteenth { gain, .. } => gain,
            Self::Cubic(_) => 1.0,
        }
    }

    /// The value at u, and at v where it is a product.
    #[must_use]
    pub fn evaluate(&self, u: f64, v: f64) -> f64 {
        self.evaluate_with(u, v, || 0.0)
    }

    /// The value at u and v, with what `error` gives added wherever an encrypted evaluation rescales. Arguments far
    /// beyond the interval, where a ciphertext would hold nothing any more, are cut off at [`FAR`]: the values are
    /// numbers, and as wrong.
    pub(in crate::ckks) fn evaluate_with(&self, u: f64, v: f64, mut error: impl FnMut() -> f64) -> f64 {
        let (u, v) = (u.clamp(-FAR, FAR), v.clamp(-FAR, FAR));
        match *self {
            Self::Product { gain } => gain * (u * v + error()),
            Self::Square { gain, shift, constant } => gain * ((u + shift) * (u + shift) + constant + error()),
            Self::Cubic([c0, c1, c2, c3]) => {
                let (square, factor) = (u * u + error(), c2 + c3 * u + error());
                c0 + c1 * u + square * factor + error()
            }
            Self::Quartic { gain, a, b, c, d } => {
                let square = u * u + a * u + b + error();
                gain * (square * square + c * u + d + error())
            }
            Self::Sextic { gain, rest: [a, b, c, d, e, f] } => {
                let square = u * u + error();
                let inner = (square + b) * u + a * square + c + error();
                gain * (inner * inner + d * square + e * u + f + error())
            }
            Self::Octic { gain, rest: [a, b, c, d, e, f, g, h] } => {
                let inner = u * u + a * u + b + error();
                let quartic = inner * inner + c * u + d + error();
                let cube = inner * u + error();
                gain * (quartic * quartic + e * cube + f * inner + g * u + h + error())
            }
            Self::Seventh { gain, constants } => gain * chebyshev::evaluate(&constants, u, error),
            Self::Fifteenth { gain, constants } => gain * chebyshev::evaluate(&constants, u, error),
        }
    }
}

/// The polynomial over its leading coefficient.
fn monic(p: &[f64]) -> Vec<f64> {
    p.iter().map(|c| c / p[p.len() - 1]).collect()
}

/// The monic polynomial whose square has the upper coefficients of a monic one of even degree, and what is left of the
/// lower ones.
fn square_root(p: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let degree = p.len() / 2;
    let mut root = vec![0.0; degree + 1];
    root[degree] = 1.0;
    for back in 1..=degree {
        let known: f64 = (1..back).map(|at| root[degree - at] * root[degree - back + at]).sum();
        root[degree - back] = (p[2 * degree - back] - known) / 2.0;
    }
    let square = |power: usize| (0..=power).map(|at| root[at] * root[power - at]).sum::<f64>();
    let left = (0..degree).map(|power| p[power] - square(power)).collect();
    (root, left)
}

impl Activation {
    /// Whether all its numbers are finite, and its range is one.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        let fields = [self.form.constants(), vec![self.form.gain()]].concat();
        fields.iter().all(|x| x.is_finite()) && self.centre.is_finite() && self.radius.is_normal()
    }

    /// The value at x, and at v where it is a product.
    #[must_use]
    pub fn evaluate(&self, x: f64, v: f64) -> f64 {
        self.form.evaluate((x - self.centre) / self.radius, v)
    }
}
