//! Maps that act on each axis for itself.

use tract_onnx::prelude::*;

use super::call::{Call, axis_of, position, strides};
use super::map::{Term, Terms};

/// For each place on an axis of the output: places on that axis of the input with their weights; `None` where the
/// place lies outside and the output is a constant.
pub(super) type Axis = Vec<Option<Vec<(usize, f64)>>>;

/// The axis as it is.
pub(super) fn identity(length: usize) -> Axis {
    (0..length).map(|at| Some(vec![(at, 1.0)])).collect()
}

/// The product of maps of all axes; `outside` is the value of elements that any axis places outside.
pub(super) fn product(shape: &[usize], axes: &[Axis], outside: f64) -> TractResult<Terms> {
    let output: Vec<usize> = axes.iter().map(Vec::len).collect();
    let strides = strides(shape);
    let mut terms = Terms::new(output.clone())?;
    for element in 0..output.iter().product() {
        let at = position(element, &output);
        let mut sum = vec![Term { input: 0, weight: 1.0 }];
        let mut is_inside = true;
        for (axis, &place) in at.iter().enumerate() {
            let Some(places) = &axes[axis][place] else {
                is_inside = false;
                break;
            };
            let wider = sum.iter().flat_map(|term| {
                places.iter().map(|&(from, weight)| Term {
                    input: term.input + from * strides[axis],
                    weight: term.weight * weight,
                })
            });
            sum = wider.filter(|term| term.weight != 0.0).collect();
        }
        if is_inside { terms.push(sum, 0.0)? } else { terms.push([], outside)? }
    }
    Ok(terms)
}

/// CumSum: sums of all elements up to each one.
pub(super) fn cum_sum(call: &Call<'_>) -> TractResult<Terms> {
    let shape = call.shape(0)?;
    let axis = axis_of(call.indices(1)?.first().copied().unwrap_or(0), shape.len())?;
    let (is_exclusive, is_reverse) = (call.int("exclusive", 0)? != 0, call.int("reverse", 0)? != 0);
    let mut axes: Vec<Axis> = shape.iter().map(|&length| identity(length)).collect();
    let length = shape[axis];
    axes[axis] = (0..length)
        .map(|at| {
            let exclusive = usize::from(is_exclusive);
            let places = if is_reverse { at + exclusive..length } else { 0..at + 1 - exclusive };
            Some(places.map(|place| (place, 1.0)).collect())
        })
        .collect();
    product(shape, &axes, 0.0)
}
