//! Operators that copy elements to places known in advance.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::call::{Call, axis_of, index_of, position, strides};
use super::map::Terms;

/// An output whose elements are copies: `from` names the source of the element at a multi-index.
fn copies(shape: Vec<usize>, mut from: impl FnMut(usize, &[usize]) -> TractResult<usize>) -> TractResult<Terms> {
    let mut terms = Terms::new(shape.clone())?;
    for element in 0..shape.iter().product() {
        terms.copy(from(element, &position(element, &shape))?)?;
    }
    Ok(terms)
}

fn flat(at: &[usize], strides: &[usize]) -> usize {
    at.iter().zip(strides).map(|(at, stride)| at * stride).sum()
}

/// GatherElements.
pub(super) fn gather_elements(call: &Call<'_>) -> TractResult<Terms> {
    let (shape, indices) = (call.shape(0)?, call.indices(1)?);
    let axis = axis_of(call.int("axis", 0)?, shape.len())?;
    ensure!(call.shape(1)?.len() == shape.len(), "its indices have another number of axes than its data");
    let strides = strides(shape);
    copies(call.shape(1)?.to_vec(), |element, at| {
        let mut at = at.to_vec();
        at[axis] = index_of(indices[element], shape[axis])?;
        ensure!(at.iter().zip(shape).all(|(at, length)| at < length), "its indices are larger than its data");
        Ok(flat(&at, &strides))
    })
}

/// GatherND.
pub(super) fn gather_nd(call: &Call<'_>) -> TractResult<Terms> {
    let (shape, places, indices) = (call.shape(0)?, call.shape(1)?, call.indices(1)?);
    let batch = call.int("batch_dims", 0)? as usize;
    let (&depth, outer) = places.split_last().context("its indices are a scalar")?;
    ensure!(batch <= outer.len() && batch + depth <= shape.len(), "its indices name more axes than there are");
    let output: Vec<usize> = outer.iter().chain(&shape[batch + depth..]).copied().collect();
    let strides = strides(shape);
    let outer_strides = self::strides(outer);
    copies(output, |_, at| {
        let (outer, inner) = at.split_at(outer.len());
        let first = flat(outer, &outer_strides) * depth;
        let mut from = flat(&outer[..batch], &strides[..batch]) + flat(inner, &strides[batch + depth..]);
        for axis in 0..depth {
            from += index_of(indices[first + axis], shape[batch + axis])? * strides[batch + axis];
        }
        Ok(from)
    })
}

/// Compress with a constant condition.
pub(super) fn compress(call: &Call<'_>) -> TractResult<Terms> {
    let (shape, condition) = (call.shape(0)?, call.indices(1)?);
    let kept =
        |length: usize| -> Vec<usize> { (0..length.min(condition.len())).filter(|&i| condition[i] != 0).collect() };
    match call.node.get_attr_opt::<i64>("axis")? {
        None => {
            let kept = kept(shape.iter().product());
            copies(vec![kept.len()], |element, _| Ok(kept[element]))
        }
        Some(axis) => {
            let axis = axis_of(axis, shape.len())?;
            let kept = kept(shape[axis]);
            let (mut output, strides) = (shape.to_vec(), strides(shape));
            output[axis] = kept.len();
            copies(output, |_, at| {
                let mut at = at.to_vec();
                at[axis] = kept[at[axis]];
                Ok(flat(&at, &strides))
            })
        }
    }
}

/// ReverseSequence.
pub(super) fn reverse_sequence(call: &Call<'_>) -> TractResult<Terms> {
    let (shape, lengths) = (call.shape(0)?, call.indices(1)?);
    let batch = axis_of(call.int("batch_axis", 1)?, shape.len())?;
    let time = axis_of(call.int("time_axis", 0)?, shape.len())?;
    ensure!(lengths.len() == shape[batch], "it has {} lengths for {} sequences", lengths.len(), shape[batch]);
    let strides = strides(shape);
    copies(shape.to_vec(), |_, at| {
        let mut at = at.to_vec();
        let length = lengths[at[batch]].clamp(0, shape[time] as i64) as usize;
        if at[time] < length {
            at[time] = length - 1 - at[time];
        }
        Ok(flat(&at, &strides))
    })
}

/// Trilu: zeros below or above a diagonal.
pub(super) fn trilu(call: &Call<'_>) -> TractResult<Terms> {
    let shape = call.shape(0)?;
    ensure!(shape.len() >= 2, "its input is no matrix");
    let diagonal = call.numbers(1)?.map_or(0, |k| k[0] as i64);
    let is_upper = call.int("upper", 1)? != 0;
    let mut terms = Terms::new(shape.to_vec())?;
    for element in 0..shape.iter().product() {
        let at = position(element, shape);
        let over = at[shape.len() - 1] as i64 - at[shape.len() - 2] as i64 - diagonal;
        if (is_upper && over >= 0) || (!is_upper && over <= 0) { terms.copy(element)? } else { terms.push([], 0.0)? }
    }
    Ok(terms)
}
