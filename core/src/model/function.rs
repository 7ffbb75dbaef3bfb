//! Univariate functions as small expression trees: what becomes one table of a bootstrap.

use crate::model::decoding::boxed;
use crate::model::erf::erf;
use serde::{Deserialize, Serialize};

/// A real function of one real variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Function {
    /// The variable itself.
    X,
    /// A constant.
    Constant(f64),
    /// A named function of a subexpression.
    Unary(Unary, #[serde(deserialize_with = "boxed")] Box<Function>),
    /// A combination of two subexpressions of the same variable.
    Binary(
        Binary,
        #[serde(deserialize_with = "boxed")] Box<Function>,
        #[serde(deserialize_with = "boxed")] Box<Function>,
    ),
}

/// Named univariate functions; parameters as in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Unary {
    /// `max(x, 0)`
    Relu,
    /// `x` for `x >= 0`, `alpha x` below
    LeakyRelu(f64),
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `max(0, min(1, alpha x + beta))`
    HardSigmoid(f64, f64),
    /// `x max(0, min(1, x/6 + 1/2))`
    HardSwish,
    /// Hyperbolic tangent
    Tanh,
    /// `ln(1 + e^x)`
    Softplus,
    /// `x / (1 + |x|)`
    Softsign,
    /// `x` for `x >= 0`, `alpha (e^x - 1)` below
    Elu(f64),
    /// `gamma x` for `x > 0`, `gamma alpha (e^x - 1)` otherwise: `(alpha, gamma)`
    Selu(f64, f64),
    /// `max(0, x) + min(0, alpha (e^(x/alpha) - 1))`
    Celu(f64),
    /// `x` above the threshold, else 0
    ThresholdedRelu(f64),
    /// `x/2 (1 + erf(x / sqrt 2))`
    Gelu,
    /// Gelu by its tanh approximation
    GeluTanh,
    /// `x sigmoid(x)`
    Silu,
    /// `x tanh(softplus(x))`
    Mish,
    /// Error function
    Erf,
    /// Exponential
    Exp,
    /// Natural logarithm
    Ln,
    /// Absolute value
    Abs,
    /// Square
    Square,
    /// Square root
    Sqrt,
    /// `1 / sqrt(x)`
    Rsqrt,
    /// `1 / x`
    Reciprocal,
    /// -1, 0 or 1
    Sign,
    /// Largest integer not above
    Floor,
    /// Smallest integer not below
    Ceil,
    /// Nearest integer, halves to even
    RoundHalfEven,
    /// Towards zero
    Truncate,
    /// Sine
    Sin,
    /// Cosine
    Cos,
    /// Tangent
    Tan,
    /// Hyperbolic sine
    Sinh,
    /// Hyperbolic cosine
    Cosh,
    /// Inverse sine
    Asin,
    /// Inverse cosine
    Acos,
    /// Inverse tangent
    Atan,
    /// Inverse hyperbolic sine
    Asinh,
    /// Inverse hyperbolic cosine
    Acosh,
    /// Inverse hyperbolic tangent
    Atanh,
}

/// Combinations of two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Binary {
    /// Sum
    Add,
    /// Difference
    Sub,
    /// Product
    Mul,
    /// Quotient
    Div,
    /// Larger of the two
    Max,
    /// Smaller of the two
    Min,
    /// First to the power of the second
    Pow,
    /// 1 where the first is less than the second, else 0
    Less,
    /// 1 where both are equal, else 0
    Equal,
}

impl Function {
    /// `self` after `inner`: replaces the variable by `inner`.
    #[must_use]
    pub fn compose(&self, inner: &Function) -> Function {
        match self {
            Function::X => inner.clone(),
            Function::Constant(c) => Function::Constant(*c),
            Function::Unary(op, a) => Function::Unary(*op, Box::new(a.compose(inner))),
            Function::Binary(op, a, b) => Function::Binary(*op, Box::new(a.compose(inner)), Box::new(b.compose(inner))),
        }
    }

    /// `scale * x + offset`.
    #[must_use]
    pub fn affine(scale: f64, offset: f64) -> Function {
        let scaled = Function::Binary(Binary::Mul, Box::new(Function::Constant(scale)), Box::new(Function::X));
        Function::Binary(Binary::Add, Box::new(scaled), Box::new(Function::Constant(offset)))
    }

    /// A named function of the variable.
    #[must_use]
    pub fn unary(op: Unary) -> Function {
        Function::Unary(op, Box::new(Function::X))
    }

    /// Its outermost named function, for people; the outermost combination where there is none, and comparisons.
    #[must_use]
    pub fn name(&self) -> String {
        fn named(function: &Function) -> Option<String> {
            match function {
                Function::X | Function::Constant(_) => None,
                Function::Unary(op, _) => format!("{op:?}").split('(').next().map(str::to_string),
                Function::Binary(op @ (Binary::Less | Binary::Equal), ..) => Some(format!("{op:?}")),
                Function::Binary(_, a, b) => named(a).or_else(|| named(b)),
            }
        }
        named(self).unwrap_or_else(|| match self {
            Function::Binary(op, ..) => format!("{op:?}"),
            Function::Constant(_) => "Constant".into(),
            Function::X | Function::Unary(..) => "Identity".into(),
        })
    }

    /// Height of the expression tree.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self {
            Function::X | Function::Constant(_) => 1,
            Function::Unary(_, a) => 1 + a.depth(),
            Function::Binary(_, a, b) => 1 + a.depth().max(b.depth()),
        }
    }

    /// Where a function changes that has one value below and another above: a comparison with a constant, shifted and
    /// scaled at will. None for all others, and for comparisons that are always or never true.
    #[must_use]
    pub fn step(&self) -> Option<f64> {
        match self {
            Function::Unary(Unary::Sign, of) => of.zero(),
            Function::Binary(Binary::Less, a, b) => Function::Binary(Binary::Sub, a.clone(), b.clone()).zero(),
            Function::Binary(Binary::Add | Binary::Sub | Binary::Mul, a, b) => match (a.as_ref(), b.as_ref()) {
                (step, Function::Constant(_)) | (Function::Constant(_), step) => step.step(),
                _ => None,
            },
            Function::Binary(Binary::Div, a, b) if matches!(b.as_ref(), Function::Constant(_)) => a.step(),
            _ => None,
        }
    }

    /// Where a straight line that is no constant meets zero.
    fn zero(&self) -> Option<f64> {
        let (slope, offset) = self.line()?;
        Some(-offset / slope).filter(|zero| slope != 0.0 && zero.is_finite())
    }

    /// Slope and offset of a straight line.
    fn line(&self) -> Option<(f64, f64)> {
        match self {
            Function::X => Some((1.0, 0.0)),
            Function::Constant(c) => Some((0.0, *c)),
            Function::Unary(..) => None,
            Function::Binary(op, a, b) => {
                let ((p, q), (r, s)) = (a.line()?, b.line()?);
                match op {
                    Binary::Add => Some((p + r, q + s)),
                    Binary::Sub => Some((p - r, q - s)),
                    Binary::Mul if r == 0.0 => Some((p * s, q * s)),
                    Binary::Mul if p == 0.0 => Some((q * r, q * s)),
                    Binary::Div if r == 0.0 => Some((p / s, q / s)),
                    _ => None,
                }
            }
        }
    }

    /// The value at `x`; not finite where the function is not defined.
    #[must_use]
    pub fn evaluate(&self, x: f64) -> f64 {
        match self {
            Function::X => x,
            Function::Constant(c) => *c,
            Function::Unary(op, a) => op.evaluate(a.evaluate(x)),
            Function::Binary(op, a, b) => op.evaluate(a.evaluate(x), b.evaluate(x)),
        }
    }
}

impl Binary {
    pub(crate) fn evaluate(self, a: f64, b: f64) -> f64 {
        match self {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Mul => a * b,
            Binary::Div => a / b,
            Binary::Max => a.max(b),
            Binary::Min => a.min(b),
            Binary::Pow => a.powf(b),
            Binary::Less => f64::from(u8::from(a < b)),
            Binary::Equal => f64::from(u8::from(a == b)),
        }
    }
}

impl Unary {
    fn evaluate(self, x: f64) -> f64 {
        match self {
            Unary::Relu => x.max(0.0),
            Unary::LeakyRelu(alpha) => {
                if x >= 0.0 {
                    x
                } else {
                    alpha * x
                }
            }
            Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Unary::HardSigmoid(alpha, beta) => (alpha * x + beta).clamp(0.0, 1.0),
            Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Unary::Tanh => x.tanh(),
            Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Unary::Softsign => x / (1.0 + x.abs()),
            Unary::Elu(alpha) => {
                if x >= 0.0 {
                    x
                } else {
                    alpha * x.exp_m1()
                }
            }
            Unary::Selu(alpha, gamma) => gamma * if x > 0.0 { x } else { alpha * x.exp_m1() },
            Unary::Celu(alpha) => x.max(0.0) + (alpha * (x / alpha).exp_m1()).min(0.0),
            Unary::ThresholdedRelu(alpha) => {
                if x > alpha {
                    x
                } else {
                    0.0
                }
            }
            Unary::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Unary::GeluTanh => {
                0.5 * x * (1.0 + (std::f64::consts::FRAC_2_PI.sqrt() * (x + 0.044_715 * x * x * x)).tanh())
            }
            Unary::Silu => x / (1.0 + (-x).exp()),
            Unary::Mish => x * Unary::Softplus.evaluate(x).tanh(),
            Unary::Erf => erf(x),
            Unary::Exp => x.exp(),
            Unary::Ln => x.ln(),
            Unary::Abs => x.abs(),
            Unary::Square => x * x,
            Unary::Sqrt => x.sqrt(),
            Unary::Rsqrt => x.sqrt().recip(),
            Unary::Reciprocal => x.recip(),
            Unary::Sign => {
                if x == 0.0 {
                    0.0
                } else {
                    x.signum()
                }
            }
            Unary::Floor => x.floor(),
            Unary::Ceil => x.ceil(),
            Unary::RoundHalfEven => x.round_ties_even(),
            Unary::Truncate => x.trunc(),
            Unary::Sin => x.sin(),
            Unary::Cos => x.cos(),
            Unary::Tan => x.tan(),
            Unary::Sinh => x.sinh(),
            Unary::Cosh => x.cosh(),
            Unary::Asin => x.asin(),
            Unary::Acos => x.acos(),
            Unary::Atan => x.atan(),
            Unary::Asinh => x.asinh(),
            Unary::Acosh => x.acosh(),
            Unary::Atanh => x.atanh(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composition_is_substitution() {
        let f = Function::unary(Unary::Relu).compose(&Function::affine(2.0, -1.0));
        assert_eq!(f.evaluate(3.0), 5.0);
        assert_eq!(f.evaluate(0.0), 0.0);
    }

    #[test]
    fn comparisons_with_constants_are_steps() {
        let less = |a: Function, b: Function| Function::Binary(Binary::Less, a.into(), b.into());
        let line = Function::affine(2.0, -3.0);
        assert_eq!(less(line.clone(), Function::Constant(1.0)).step(), Some(2.0));
        let not = |f: Function| Function::Binary(Binary::Sub, Function::Constant(1.0).into(), f.into());
        let at_most = not(less(Function::Constant(0.5), Function::X));
        assert_eq!(at_most.step(), Some(0.5));
        assert_eq!((at_most.evaluate(0.5), at_most.evaluate(0.6)), (1.0, 0.0));
        assert_eq!(Function::unary(Unary::Sign).compose(&line).step(), Some(1.5));
        let others = [line, Function::unary(Unary::Relu), less(Function::X, Function::X), Function::Constant(2.0)];
        assert!(others.iter().all(|function| function.step().is_none()));
        assert_eq!(less(Function::unary(Unary::Abs), Function::Constant(1.0)).step(), None);
    }
}
