//! Functions that are two straight lines, and functions that never fall.

use crate::model::function::{Binary, Function, Unary};

/// How far from where the lines change they may meet, in units of the argument or of where that is: graphs compute with
/// rounded numbers, and the argument has been scaled by them.
const ROUNDED: f64 = 1e-7;

/// `even * |z - at| + odd * (z - at) + constant`: two straight lines that meet at one point. A single straight line has
/// no even part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kink {
    /// Where the lines meet.
    pub at: f64,
    /// Coefficient of `|z - at|`.
    pub even: f64,
    /// Coefficient of `z - at`.
    pub odd: f64,
    /// The value where they meet.
    pub constant: f64,
}

/// A straight line by slope and offset.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    slope: f64,
    offset: f64,
}

impl Line {
    fn at(self, z: f64) -> f64 {
        self.slope * z + self.offset
    }

    fn scaled(self, factor: f64) -> Self {
        Self { slope: self.slope * factor, offset: self.offset * factor }
    }

    fn plus(self, other: Self) -> Self {
        Self { slope: self.slope + other.slope, offset: self.offset + other.offset }
    }

    /// The product, if it is a line.
    fn times(self, other: Self) -> Option<Self> {
        match (self.slope == 0.0, other.slope == 0.0) {
            (_, true) => Some(self.scaled(other.offset)),
            (true, _) => Some(other.scaled(self.offset)),
            _ => None,
        }
    }

    /// Where it is zero.
    fn zero(self) -> Option<f64> {
        Some(-self.offset / self.slope).filter(|at| self.slope != 0.0 && at.is_finite())
    }
}

/// A line below a point and another above it, which need not meet; `at` is none where both are one.
#[derive(Clone, Copy, Debug)]
struct Pieces {
    at: Option<f64>,
    below: Line,
    above: Line,
}

impl Pieces {
    fn line(slope: f64, offset: f64) -> Self {
        let line = Line { slope, offset };
        Self { at: None, below: line, above: line }
    }

    fn of(function: &Function) -> Option<Self> {
        match function {
            Function::X => Some(Self::line(1.0, 0.0)),
            Function::Constant(c) => Some(Self::line(0.0, *c)),
            Function::Unary(op, inner) => {
                let slopes = match op {
                    Unary::Relu => [0.0, 1.0],
                    Unary::LeakyRelu(alpha) => [*alpha, 1.0],
                    Unary::Abs => [-1.0, 1.0],
                    _ => return None,
                };
                Self::of(inner)?.bent(slopes)
            }
            Function::Binary(op, a, b) => {
                let (a, b) = (Self::of(a)?, Self::of(b)?);
                match op {
                    Binary::Add => a.with(b, |x, y| Some(x.plus(y))),
                    Binary::Sub => a.with(b, |x, y| Some(x.plus(y.scaled(-1.0)))),
                    Binary::Mul => a.with(b, Line::times),
                    Binary::Div => a.with(b, |x, y| (y.slope == 0.0).then(|| x.scaled(1.0 / y.offset))),
                    // max(a, b) = b + relu(a - b), min(a, b) = b - relu(b - a)
                    Binary::Max => b.with(a.minus(b)?.bent([0.0, 1.0])?, |x, y| Some(x.plus(y))),
                    Binary::Min => b.with(b.minus(a)?.bent([0.0, -1.0])?, |x, y| Some(x.plus(y))),
                    Binary::Less => a.minus(b)?.less(),
                    Binary::Pow | Binary::Equal => None,
                }
            }
        }
    }

    fn with(self, other: Self, op: impl Fn(Line, Line) -> Option<Line>) -> Option<Self> {
        let at = match (self.at, other.at) {
            (Some(one), Some(two)) if one != two => return None,
            (at, other) => at.or(other),
        };
        Some(Self { at, below: op(self.below, other.below)?, above: op(self.above, other.above)? })
    }

    fn minus(self, other: Self) -> Option<Self> {
        self.with(other, |x, y| Some(x.plus(y.scaled(-1.0))))
    }

    /// Behind a function that multiplies what is below zero and what is above it with a factor each.
    fn bent(self, [negative, positive]: [f64; 2]) -> Option<Self> {
        let factor = |is_positive: bool| if is_positive { positive } else { negative };
        match self.at {
            None => {
                let line = self.below;
                let Some(at) = line.zero() else {
                    return Some(Self::line(0.0, line.offset * factor(line.offset > 0.0)));
                };
                let (below, above) = (line.scaled(factor(line.slope < 0.0)), line.scaled(factor(line.slope > 0.0)));
                Some(Self { at: Some(at), below, above })
            }
            // Each side keeps one sign.
            Some(at) => {
                let side = |line: Line, outwards: f64| {
                    let (edge, far) = (line.at(at), line.slope * outwards);
                    let is_positive = edge > 0.0 || (edge == 0.0 && far > 0.0);
                    (edge * far >= 0.0).then(|| line.scaled(factor(is_positive)))
                };
                Some(Self { at: Some(at), below: side(self.below, -1.0)?, above: side(self.above, 1.0)? })
            }
        }
    }

    /// 1 where it is below zero, else 0.
    fn less(self) -> Option<Self> {
        let constant = |is_less: bool| Line { slope: 0.0, offset: f64::from(u8::from(is_less)) };
        let (None, line) = (self.at, self.below) else { return None };
        Some(match line.zero() {
            None => Self { at: None, below: constant(line.offset < 0.0), above: constant(line.offset < 0.0) },
            Some(at) => Self { at: Some(at), below: constant(line.slope > 0.0), above: constant(line.slope < 0.0) },
        })
    }
}

impl Kink {
    /// Recognises the function.
    #[must_use]
    pub fn of(function: &Function) -> Option<Self> {
        let Pieces { at, below, above } = Pieces::of(function)?;
        let at = at.unwrap_or(0.0);
        let (low, high) = (below.at(at), above.at(at));
        let (even, odd) = (0.5 * (above.slope - below.slope), 0.5 * (above.slope + below.slope));
        let kink = Self { at, even, odd, constant: f64::midpoint(low, high) };
        let is_finite = [at, even, odd, kink.constant].iter().all(|x| x.is_finite());
        let meets = (high - low).abs() <= ROUNDED * at.abs().max(1.0) * 2.0 * even.abs();
        (is_finite && (meets || low == high)).then_some(kink)
    }

    /// Whether it is a single straight line.
    #[must_use]
    pub fn is_line(&self) -> bool {
        self.even == 0.0
    }
}

/// Whether a function is known to be nowhere smaller than further left: the largest of some values is then taken to the
/// largest.
#[must_use]
pub fn never_falls(function: &Function) -> bool {
    if let Some(kink) = Kink::of(function) {
        return kink.odd >= kink.even.abs();
    }
    match function {
        Function::X | Function::Constant(_) => true,
        Function::Unary(op, inner) => is_rising(*op) && never_falls(inner),
        Function::Binary(op, a, b) => match (op, a.as_ref(), b.as_ref()) {
            (Binary::Add | Binary::Max | Binary::Min, a, b) => never_falls(a) && never_falls(b),
            (Binary::Sub, a, Function::Constant(_)) => never_falls(a),
            (Binary::Mul, a, Function::Constant(c)) | (Binary::Mul, Function::Constant(c), a) => {
                *c >= 0.0 && never_falls(a)
            }
            (Binary::Div, a, Function::Constant(c)) => *c > 0.0 && never_falls(a),
            _ => false,
        },
    }
}

/// Whether a named function never falls, wherever its argument lies.
fn is_rising(op: Unary) -> bool {
    match op {
        Unary::LeakyRelu(alpha) | Unary::HardSigmoid(alpha, _) | Unary::Elu(alpha) => alpha >= 0.0,
        Unary::Selu(alpha, gamma) => alpha >= 0.0 && gamma >= 0.0,
        Unary::Celu(alpha) => alpha > 0.0,
        Unary::ThresholdedRelu(alpha) => alpha >= 0.0,
        Unary::Relu
        | Unary::Sigmoid
        | Unary::Tanh
        | Unary::Softplus
        | Unary::Softsign
        | Unary::Erf
        | Unary::Exp
        | Unary::Sign
        | Unary::Floor
        | Unary::Ceil
        | Unary::RoundHalfEven
        | Unary::Truncate
        | Unary::Sinh
        | Unary::Atan
        | Unary::Asinh => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(op: Binary, a: Function, b: Function) -> Function {
        Function::Binary(op, a.into(), b.into())
    }

    /// `x` above zero and `alpha x` below, as graphs spell it by a choice, with a rounded constant.
    fn chosen(alpha: f64) -> Function {
        let below = binary(Binary::Less, Function::X, Function::Constant(0.0));
        let not =
            binary(Binary::Add, binary(Binary::Mul, Function::Constant(-1.0), below.clone()), Function::Constant(1.0));
        let scaled = Function::affine(alpha, -3e-10);
        binary(Binary::Add, binary(Binary::Mul, below, scaled), binary(Binary::Mul, not, Function::X))
    }

    #[test]
    fn all_spellings_of_two_lines_are_kinks() {
        let relu = Function::unary(Unary::Relu);
        let functions = [
            relu.clone(),
            Function::unary(Unary::LeakyRelu(0.2)),
            Function::unary(Unary::Abs),
            chosen(0.25),
            chosen(-0.5),
            binary(Binary::Max, Function::X, Function::affine(0.1, 0.0)),
            binary(Binary::Min, Function::affine(2.0, -1.0), Function::Constant(3.0)),
            relu.compose(&Function::affine(-2.0, 3.0)),
            Function::affine(3.0, -1.0).compose(&relu),
            relu.compose(&relu),
            Function::affine(-2.0, 0.5),
            binary(
                Binary::Sub,
                relu.clone(),
                binary(Binary::Mul, Function::Constant(0.3), Function::unary(Unary::Abs)),
            ),
        ];
        for function in functions {
            let kink = Kink::of(&function).unwrap_or_else(|| panic!("{function:?}"));
            for z in [-4.0, -1.0, -0.3, 0.0, 0.7, 1.5, 2.0, 5.0] {
                let got = kink.even * (z - kink.at).abs() + kink.odd * (z - kink.at) + kink.constant;
                assert!((got - function.evaluate(z)).abs() < 1e-9, "{function:?} at {z}: {got}");
            }
        }
    }

    #[test]
    fn steps_three_lines_and_curves_are_none() {
        let less = binary(Binary::Less, Function::X, Function::Constant(1.0));
        let clipped = binary(Binary::Min, Function::unary(Unary::Relu), Function::Constant(6.0));
        let others = [less, clipped, Function::unary(Unary::Sigmoid), Function::unary(Unary::Square)];
        assert!(others.iter().all(|function| Kink::of(function).is_none()));
    }

    #[test]
    fn functions_that_never_fall_are_known() {
        let relu = Function::unary(Unary::Relu);
        let clipped = binary(Binary::Min, relu.clone(), Function::Constant(6.0));
        let rising =
            [relu.clone(), chosen(0.25), clipped, Function::unary(Unary::Sigmoid), Function::affine(2.0, -1.0)];
        assert!(rising.iter().all(never_falls));
        let sigmoid = Function::unary(Unary::Sigmoid);
        let falling = [chosen(-0.25), Function::affine(-1.0, 0.0).compose(&sigmoid), Function::unary(Unary::Silu)];
        assert!(!falling.iter().any(never_falls));
    }
}
