//! What the client does to decrypted values: a small program of steps on tensors, plain data in the parameter file.
//!
//! Encryption pays for every function of a value. A function that stands behind the last linear map of a model, such
//! as Softmax, Sigmoid, the choice of a class or its name, is cheaper and exact after decryption. The importer cuts
//! such operators off the network and writes them down here.

use serde::{Deserialize, Serialize};

use crate::model::function::{Binary, Function};
use crate::model::postfix;

/// Most steps of a program.
const MAX_STEPS: usize = 1 << 10;
/// Most elements of all values of a program together.
const MAX_ELEMENTS: usize = 1 << 25;
/// Most outputs of a program.
const MAX_OUTPUTS: usize = 1 << 10;
/// Most axes of a value.
const MAX_AXES: usize = 64;
/// Longest name of a class, in characters.
const MAX_LABEL: usize = 1 << 12;

/// The client's program: steps, and which of their results the outputs are.
///
/// Values are numbered: 0 is the decrypted tensor, `k` the result of step `k - 1`. The default is the program of a
/// model whose one output is the decrypted tensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientOps {
    /// Steps, each reading only values that are there.
    pub steps: Vec<ClientStep>,
    /// The model's outputs in the order of its graph; none for the decrypted tensor under its own name.
    pub outputs: Vec<NamedOutput>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientStep {
    /// What is done.
    pub op: ClientOp,
    /// Numbers of the values that it reads.
    pub reads: Vec<u32>,
}

/// An output of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedOutput {
    /// Name in the ONNX graph.
    pub name: String,
    /// Number of the value.
    pub value: u32,
    /// What its elements are.
    pub kind: ElementKind,
    /// Names of the columns, where ZipMap gave them; empty elsewhere.
    pub columns: Vec<String>,
}

/// What the elements of an output are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElementKind {
    /// Real numbers.
    Real,
    /// Integers.
    Integer,
    /// 0 for false, 1 for true.
    Boolean,
    /// Indices into a list of names.
    Label(Vec<String>),
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ClientOp {
    /// A tensor of constants; reads nothing.
    Constant {
        /// Its shape.
        shape: Vec<usize>,
        /// Row-major elements.
        values: Vec<f64>,
    },
    /// The same elements in another shape.
    Reshape {
        /// The shape.
        shape: Vec<usize>,
    },
    /// Elements of all operands, taken by number; the elements of the second operand follow those of the first.
    Pick {
        /// Shape of the result.
        shape: Vec<usize>,
        /// For each element of the result the number of the element that it is.
        from: Vec<u32>,
    },
    /// A function of each element.
    Function {
        /// The functions.
        #[serde(with = "postfix")]
        functions: Vec<Function>,
        /// For each element which of the functions; empty where there is one for all.
        of: Vec<u32>,
    },
    /// A combination of two tensors of one shape, element by element.
    Binary(Binary),
    /// The second operand where the first is not 0, else the third; all of one shape.
    Select,
    /// Softmax over the axes.
    Softmax {
        /// Axes, counted from 0.
        axes: Vec<usize>,
    },
    /// Logarithm of the softmax over the axes.
    LogSoftmax {
        /// Axes, counted from 0.
        axes: Vec<usize>,
    },
    /// Index of the largest (or least) entry over the axis, which stays with length 1.
    ArgMax {
        /// Axis, counted from 0.
        axis: usize,
        /// Whether the least entry is looked for.
        least: bool,
        /// Whether of equal entries the last one counts.
        last: bool,
    },
    /// Sums and the like over the axes, which stay with length 1.
    Reduce {
        /// What is computed.
        kind: Reduction,
        /// Axes, counted from 0.
        axes: Vec<usize>,
    },
    /// The largest (or least) entries over the axis, in order, or where they stand.
    TopK {
        /// Axis, counted from 0.
        axis: usize,
        /// How many.
        count: usize,
        /// Whether the least entries are taken.
        least: bool,
        /// Whether the result is their indices.
        indices: bool,
    },
    /// A new axis along which the entry that an index names is `on`, the others `off`.
    OneHot {
        /// Place of the new axis.
        axis: usize,
        /// Its length.
        length: usize,
        /// Value where the index points.
        on: f64,
        /// Value elsewhere.
        off: f64,
    },
    /// The entry of a table that each element is the index of.
    Lookup {
        /// The table.
        table: Vec<f64>,
    },
}

/// What [`ClientOp::Reduce`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The product.
    Product,
    /// The largest entry.
    Max,
    /// The least entry.
    Min,
    /// The mean of the squares.
    MeanOfSquares,
    /// 1 if no entry is 0.
    All,
    /// 1 if an entry is not 0.
    Any,
}

impl ClientOps {
    /// The shapes of all values, if every step fits its operands; `input` is the shape of the decrypted tensor.
    ///
    /// # Errors
    /// A sentence about the first step or output that does not fit.
    pub fn shapes(&self, input: &[usize]) -> Result<Vec<Vec<usize>>, String> {
        if self.steps.len() > MAX_STEPS {
            return Err(format!("the client's program has more than {MAX_STEPS} steps"));
        }
        let mut shapes = vec![input.to_vec()];
        let mut elements = input.iter().product::<usize>();
        for step in &self.steps {
            let operands: Option<Vec<&[usize]>> =
                step.reads.iter().map(|&value| shapes.get(value as usize).map(Vec::as_slice)).collect();
            let fails = || format!("the client's operator {} does not fit what it reads", step.op.name());
            let shape = operands.and_then(|operands| step.op.shape(&operands)).ok_or_else(fails)?;
            elements = length(&shape).and_then(|own| own.checked_add(elements)).ok_or_else(fails)?;
            if elements > MAX_ELEMENTS || shape.len() > MAX_AXES {
                return Err("the client's program would need very large tensors".into());
            }
            if shape.contains(&0) {
                return Err(fails());
            }
            shapes.push(shape);
        }
        if self.outputs.len() > MAX_OUTPUTS {
            return Err(format!("there are more than {MAX_OUTPUTS} outputs"));
        }
        let mut given = 0_usize;
        for output in &self.outputs {
            let Some(shape) = shapes.get(output.value as usize) else {
                return Err(format!("the output {} does not exist", output.name));
            };
            if !output.columns.is_empty() && shape.last() != Some(&output.columns.len()) {
                return Err(format!("the columns of the output {} do not fit", output.name));
            }
            let widest = match &output.kind {
                ElementKind::Label(names) => {
                    let widest = names.iter().map(|name| name.chars().count()).max();
                    widest.ok_or_else(|| format!("the output {} has no labels", output.name))?
                }
                _ => 1,
            };
            // Every element of an array of names takes as much as the longest.
            let own = shape.iter().product::<usize>().saturating_mul(widest.max(1));
            given = given.saturating_add(own);
            if widest > MAX_LABEL || given > MAX_ELEMENTS {
                return Err(format!("the output {} would be very large", output.name));
            }
        }
        Ok(shapes)
    }

    /// The operators for people, first to last, without those that only move elements.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let moves =
            |op: &ClientOp| matches!(op, ClientOp::Constant { .. } | ClientOp::Reshape { .. } | ClientOp::Pick { .. });
        self.steps.iter().map(|step| &step.op).filter(|op| !moves(op)).map(ClientOp::name).collect()
    }
}

fn length(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, &d| product.checked_mul(d))
}

impl ClientOp {
    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Constant { .. } => "Constant".into(),
            Self::Reshape { .. } => "Reshape".into(),
            Self::Pick { .. } => "Gather".into(),
            Self::Function { functions, .. } => {
                functions.first().map_or_else(|| "Identity".into(), |function| function.name())
            }
            Self::Binary(op) => format!("{op:?}"),
            Self::Select => "Where".into(),
            Self::Softmax { .. } => "Softmax".into(),
            Self::LogSoftmax { .. } => "LogSoftmax".into(),
            Self::ArgMax { least, .. } => if *least { "ArgMin" } else { "ArgMax" }.into(),
            Self::Reduce { kind, .. } => format!("Reduce{kind:?}"),
            Self::TopK { .. } => "TopK".into(),
            Self::OneHot { .. } => "OneHot".into(),
            Self::Lookup { .. } => "Lookup".into(),
        }
    }

    /// Shape of the result, if the operands fit.
    fn shape(&self, operands: &[&[usize]]) -> Option<Vec<usize>> {
        let one = || match operands {
            [one] => Some(one.to_vec()),
            _ => None,
        };
        let alike = |count: usize| {
            let first = operands.first()?;
            (operands.len() == count && operands.iter().all(|shape| shape == first)).then(|| first.to_vec())
        };
        let over = |axes: &[usize]| {
            let shape = one()?;
            let there = axes.iter().all(|&axis| shape.get(axis).is_some_and(|&length| length > 0));
            (there && axes.len() <= shape.len()).then_some(shape)
        };
        match self {
            Self::Constant { shape, values } => {
                (operands.is_empty() && length(shape) == Some(values.len())).then(|| shape.clone())
            }
            Self::Reshape { shape } => (length(shape) == length(&one()?)).then(|| shape.clone()),
            Self::Pick { shape, from } => {
                let there = operands.iter().map(|shape| shape.iter().product::<usize>()).sum::<usize>();
                let fits = length(shape) == Some(from.len()) && from.iter().all(|&at| (at as usize) < there);
                fits.then(|| shape.clone())
            }
            Self::Function { functions, of } => {
                let shape = one()?;
                let fits = if of.is_empty() {
                    functions.len() == 1
                } else {
                    length(&shape) == Some(of.len()) && of.iter().all(|&f| (f as usize) < functions.len())
                };
                fits.then_some(shape)
            }
            Self::Binary(_) => alike(2),
            Self::Select => alike(3),
            Self::Softmax { axes } | Self::LogSoftmax { axes } => over(axes),
            Self::ArgMax { axis, .. } => {
                let mut shape = over(&[*axis])?;
                shape[*axis] = 1;
                Some(shape)
            }
            Self::Reduce { axes, .. } => {
                let mut shape = over(axes)?;
                axes.iter().for_each(|&axis| shape[axis] = 1);
                Some(shape)
            }
            Self::TopK { axis, count, .. } => {
                let mut shape = over(&[*axis])?;
                (*count >= 1 && *count <= shape[*axis]).then(|| {
                    shape[*axis] = *count;
                    shape
                })
            }
            Self::OneHot { axis, length: new, .. } => {
                let mut shape = one()?;
                (*axis <= shape.len() && *new >= 1).then(|| {
                    shape.insert(*axis, *new);
                    shape
                })
            }
            Self::Lookup { table } => {
                if table.is_empty() {
                    None
                } else {
                    one()
                }
            }
        }
    }
}

/// Index of the largest entry along `axis`, for each position of the other axes.
#[must_use]
pub fn argmax(values: &[f64], shape: &[usize], axis: usize) -> Vec<usize> {
    let length = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let mut indices = Vec::with_capacity(outer * inner);
    for o in 0..outer {
        for i in 0..inner {
            let at = |j: usize| values[(o * length + j) * inner + i];
            indices.push((1..length).fold(0, |best, j| if at(j) > at(best) { j } else { best }));
        }
    }
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argmax_runs_along_the_axis() {
        let values = [1.0, 5.0, 2.0, 4.0, 3.0, 9.0];
        assert_eq!(argmax(&values, &[2, 3], 1), [1, 2]);
        assert_eq!(argmax(&values, &[2, 3], 0), [1, 0, 1]);
    }

    #[test]
    fn steps_that_do_not_fit_are_told() {
        let fits = |op: ClientOp, reads: &[u32]| {
            let steps = vec![ClientStep { op, reads: reads.to_vec() }];
            ClientOps { steps, outputs: Vec::new() }.shapes(&[1, 3])
        };
        let pick = |from: &[u32]| ClientOp::Pick { shape: vec![from.len()], from: from.to_vec() };
        assert_eq!(fits(pick(&[2, 2, 0, 1]), &[0]), Ok(vec![vec![1, 3], vec![4]]));
        assert!(fits(pick(&[3]), &[0]).is_err(), "there are three elements");
        assert!(fits(pick(&[0]), &[1]).is_err(), "a step cannot read itself");
        assert!(fits(ClientOp::Softmax { axes: vec![2] }, &[0]).is_err(), "there are two axes");
        assert!(fits(ClientOp::TopK { axis: 1, count: 4, least: false, indices: true }, &[0]).is_err());
        assert!(fits(ClientOp::Binary(Binary::Add), &[0]).is_err(), "one operand");
        assert!(fits(ClientOp::Reshape { shape: vec![usize::MAX, 2] }, &[0]).is_err());
        assert!(fits(ClientOp::OneHot { axis: 2, length: 1 << 40, on: 1.0, off: 0.0 }, &[0]).is_err(), "too large");
    }
}
