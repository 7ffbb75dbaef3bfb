//! Tensors whose elements are symbolic: affine rows, or functions of one row that no bootstrap has computed yet.

use std::collections::HashMap;
use std::sync::Arc;

use heman_core::model::function::{Binary, Function, Unary};
use heman_core::model::network::{Row, Stage};

/// Deepest nesting of a pending function that more operators are fused into.
const MAX_FUNCTION_DEPTH: usize = 32;
/// Most terms of such a function.
const MAX_FUNCTION_TERMS: usize = 2048;

/// Whether a function is no deeper than `depth` and has no more terms than are left.
fn is_short(function: &Function, depth: usize, left: &mut usize) -> bool {
    if depth == 0 || *left == 0 {
        return false;
    }
    *left -= 1;
    match function {
        Function::X | Function::Constant(_) => true,
        Function::Unary(_, a) => is_short(a, depth - 1, left),
        Function::Binary(_, a, b) => is_short(a, depth - 1, left) && is_short(b, depth - 1, left),
    }
}

/// A symbolic real number.
#[derive(Clone, Debug)]
pub enum Element {
    /// An affine form of existing values.
    Row(Row),
    /// A function of a row, to become a table when a linear operator needs it.
    Pending(Pending),
}

/// `function(row)`, not computed yet; more univariate operators can still be fused into it.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The function.
    pub function: Arc<Function>,
    /// Its argument.
    pub row: Row,
}

impl Element {
    /// A constant.
    #[must_use]
    pub fn constant(value: f64) -> Self {
        Self::Row(Row::constant(value))
    }

    fn as_constant(&self) -> Option<f64> {
        match self {
            Self::Row(row) if row.taps.is_empty() => Some(row.bias),
            _ => None,
        }
    }

    /// `function(self)`.
    #[must_use]
    pub fn apply(&self, function: &Arc<Function>) -> Self {
        if let Some(value) = self.as_constant() {
            return Self::constant(function.evaluate(value));
        }
        match self {
            Self::Row(row) => Self::Pending(Pending { function: function.clone(), row: row.clone() }),
            Self::Pending(p) => {
                Self::Pending(Pending { function: Arc::new(function.compose(&p.function)), row: p.row.clone() })
            }
        }
    }

    /// `scale * self + shift`.
    #[must_use]
    pub fn affine(&self, scale: f64, shift: f64) -> Self {
        match self {
            Self::Row(row) => Self::Row(affine_row(row, scale, shift)),
            Self::Pending(_) if scale == 1.0 && shift == 0.0 => self.clone(),
            Self::Pending(_) if scale == 0.0 => Self::constant(shift),
            Self::Pending(_) => self.apply(&Arc::new(Function::affine(scale, shift))),
        }
    }

    /// Both as functions of one row, if there is such a row.
    fn over_one_row(&self, other: &Self) -> Option<(Function, Function, Row)> {
        let (f, z) = self.parts();
        let (g, w) = other.parts();
        match (self.as_constant(), other.as_constant()) {
            (Some(_), Some(_)) => None,
            (None, Some(c)) => Some((f, Function::Constant(c), z.clone())),
            (Some(c), None) => Some((Function::Constant(c), g, w.clone())),
            (None, None) => {
                let (scale, shift) = affine_relation(z, w)?;
                let g = if scale == 1.0 && shift == 0.0 { g } else { g.compose(&Function::affine(scale, shift)) };
                Some((f, g, z.clone()))
            }
        }
    }

    fn parts(&self) -> (Function, &Row) {
        match self {
            Self::Row(row) => (Function::X, row),
            Self::Pending(p) => (p.function.as_ref().clone(), &p.row),
        }
    }

    /// `op(self, other)` as a function of one row, if both are functions of one.
    #[must_use]
    pub fn fuse(&self, op: Binary, other: &Self) -> Option<Self> {
        if let (Some(a), Some(b)) = (self.as_constant(), other.as_constant()) {
            let value = Function::Binary(op, Box::new(Function::Constant(a)), Box::new(Function::Constant(b)));
            return Some(Self::constant(value.evaluate(0.0)));
        }
        let (f, g, row) = self.over_one_row(other)?;
        let function = simplify(op, f, g);
        Some(Self::Pending(Pending { function: Arc::new(function), row }))
    }
}

/// Recognises the common spellings of named functions.
fn simplify(op: Binary, f: Function, g: Function) -> Function {
    match (op, &f, &g) {
        (Binary::Max, Function::X, Function::Constant(0.0)) | (Binary::Max, Function::Constant(0.0), Function::X) => {
            Function::unary(Unary::Relu)
        }
        (Binary::Mul, Function::X, Function::X) => Function::unary(Unary::Square),
        _ => Function::Binary(op, Box::new(f), Box::new(g)),
    }
}

fn affine_row(row: &Row, scale: f64, shift: f64) -> Row {
    let bias = scale * row.bias + shift;
    if scale == 1.0 {
        return Row { bias, taps: row.taps.clone() };
    }
    if scale == 0.0 {
        return Row::constant(shift);
    }
    let scaled = |tap: &heman_core::model::network::Tap| heman_core::model::network::Tap {
        weight: (f64::from(tap.weight) * scale) as f32,
        ..*tap
    };
    Row { bias, taps: row.taps.iter().map(scaled).collect() }
}

/// `(scale, shift)` such that `b = scale * a + shift`, if there are such numbers.
fn affine_relation(a: &Row, b: &Row) -> Option<(f64, f64)> {
    if Arc::ptr_eq(&a.taps, &b.taps) || a.taps == b.taps {
        return Some((1.0, b.bias - a.bias));
    }
    if a.taps.len() != b.taps.len() || a.taps.is_empty() {
        return None;
    }
    let largest = a.taps.iter().zip(b.taps.iter()).max_by(|x, y| x.0.weight.abs().total_cmp(&y.0.weight.abs()))?;
    let scale = f64::from(largest.1.weight) / f64::from(largest.0.weight);
    let tolerance = 1e-6 * f64::from(largest.1.weight.abs());
    let proportional =
        a.taps.iter().zip(b.taps.iter()).all(|(x, y)| {
            x.source == y.source && (f64::from(x.weight) * scale - f64::from(y.weight)).abs() <= tolerance
        });
    proportional.then_some((scale, b.bias - scale * a.bias))
}

/// A symbolic tensor in row-major order, and the ONNX operators that made it since the last bootstrap.
#[derive(Clone, Debug)]
pub struct SymbolicTensor {
    /// Shape.
    pub shape: Vec<usize>,
    /// Elements.
    pub elements: Vec<Element>,
    /// Names for people.
    pub operators: Vec<String>,
}

impl SymbolicTensor {
    /// The rows of a tensor without pending functions.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.elements.iter().map(|element| match element {
            Element::Row(row) => row,
            Element::Pending(_) => unreachable!("materialised before its rows are asked for"),
        })
    }

    /// Terms of all rows, those of copies counted for each.
    #[must_use]
    pub fn terms(&self) -> usize {
        let terms = self.elements.iter().map(|element| match element {
            Element::Row(row) => row.taps.len(),
            Element::Pending(pending) => pending.row.taps.len(),
        });
        terms.fold(0, usize::saturating_add)
    }

    /// Whether a bootstrap is still due.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.elements.iter().any(|element| matches!(element, Element::Pending(_)))
    }

    /// Whether a pending function is so long that the next operator should take its value instead.
    #[must_use]
    pub fn is_long(&self) -> bool {
        let mut last: Option<&Arc<Function>> = None;
        self.elements.iter().any(|element| {
            let Element::Pending(pending) = element else { return false };
            if last.is_some_and(|last| Arc::ptr_eq(last, &pending.function)) {
                return false;
            }
            last = Some(&pending.function);
            let mut left = MAX_FUNCTION_TERMS;
            !is_short(&pending.function, MAX_FUNCTION_DEPTH, &mut left)
        })
    }

    /// Turns pending elements into the values of a new stage, whose first value will be `first`.
    pub fn materialise(&mut self, name: &str, first: usize) -> Option<Stage> {
        if !self.is_pending() {
            return None;
        }
        let mut stage = Stage {
            name: name.into(),
            operator: self.operators.join(" + "),
            shape: self.shape.clone(),
            rows: Vec::new(),
            factors: Vec::new(),
            channel: Vec::new(),
            functions: Vec::new(),
        };
        let mut seen: HashMap<(usize, u64, usize), u32> = HashMap::new();
        let mut channel_of: HashMap<usize, Vec<u32>> = HashMap::new();
        let count = self.elements.len();
        for (index, element) in self.elements.iter_mut().enumerate() {
            let Element::Pending(pending) = element else { continue };
            // Copies share their taps and function: one value serves them all.
            let identity = (
                pending.row.taps.as_ptr() as usize,
                pending.row.bias.to_bits(),
                Arc::as_ptr(&pending.function) as usize,
            );
            let value = *seen.entry(identity).or_insert_with(|| {
                let known = channel_of.entry(channel_of_element(&self.shape, index)).or_default();
                let functions = &mut stage.functions;
                // Looking back a little keeps this linear where every element has a function of its own.
                let mut recent = known.iter().rev().take(64).copied();
                let channel = recent.find(|&c| functions[c as usize] == *pending.function);
                let channel = channel.unwrap_or_else(|| {
                    functions.push(pending.function.as_ref().clone());
                    known.push(functions.len() as u32 - 1);
                    functions.len() as u32 - 1
                });
                stage.rows.push(pending.row.clone());
                stage.channel.push(channel);
                (first + stage.rows.len() - 1) as u32
            });
            *element = Element::Row(Row::value(value));
        }
        if stage.rows.len() != count {
            stage.shape = vec![1, stage.rows.len()];
        }
        self.operators.clear();
        Some(stage)
    }
}

/// The channel that an element of a tensor belongs to: its place on axis 1 of an image, itself in a vector.
#[must_use]
pub fn channel_of_element(shape: &[usize], element: usize) -> usize {
    match shape {
        [_, channels, inner @ ..] if !inner.is_empty() => element / inner.iter().product::<usize>() % channels,
        _ => element,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heman_core::model::network::Tap;

    fn row(bias: f64, weights: &[f32]) -> Row {
        Row { bias, taps: weights.iter().enumerate().map(|(i, &weight)| Tap { source: i as u32, weight }).collect() }
    }

    #[test]
    fn proportional_rows_are_functions_of_one() {
        let (a, b) = (row(1.0, &[2.0, -4.0]), row(5.0, &[1.0, -2.0]));
        assert_eq!(affine_relation(&a, &b), Some((0.5, 4.5)));
        assert_eq!(affine_relation(&a, &row(0.0, &[1.0, 2.0])), None);
        let sigmoid = Element::Row(b).apply(&Arc::new(Function::unary(Unary::Sigmoid)));
        let Some(Element::Pending(swish)) = Element::Row(a).fuse(Binary::Mul, &sigmoid) else { panic!("one row") };
        // z = 3: b = 0.5 * 3 + 4.5
        assert!((swish.function.evaluate(3.0) - 3.0 / (1.0 + (-6.0_f64).exp())).abs() < 1e-12);
    }
}
