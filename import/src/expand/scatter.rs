//! ScatterElements and ScatterND with constant indices, MaxUnpool.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::call::{Call, axis_of, index_of, position, strides};
use super::map::{Term, Terms};

/// The data with updates at their places, replaced or added as the attribute says.
fn scattered(call: &Call<'_>, places: &[(usize, usize)]) -> TractResult<Terms> {
    let data = call.len(0)?;
    let reduction = call.text("reduction", "none")?;
    let is_sum = match reduction.as_str() {
        "none" => false,
        "add" => true,
        other => bail!("the reduction {other:?} is neither \"none\" nor \"add\""),
    };
    let mut sums: Vec<Vec<Term>> = (0..data).map(|input| vec![Term { input, weight: 1.0 }]).collect();
    for &(place, update) in places {
        if !is_sum {
            sums[place].clear();
        }
        sums[place].push(Term { input: data + update, weight: 1.0 });
    }
    let mut terms = Terms::new(call.shape(0)?.to_vec())?;
    for sum in sums {
        terms.push(sum, 0.0)?;
    }
    Ok(terms)
}

/// ScatterElements, and Scatter as it was called before.
pub(super) fn scatter_elements(call: &Call<'_>) -> TractResult<Terms> {
    let (shape, indices, updates) = (call.shape(0)?, call.indices(1)?, call.shape(2)?);
    ensure!(call.shape(1)? == updates && updates.len() == shape.len(), "its indices, updates and data do not fit");
    let axis = axis_of(call.int("axis", 0)?, shape.len())?;
    let strides = strides(shape);
    let place = |update: usize| {
        let mut at = position(update, updates);
        at[axis] = index_of(indices[update], shape[axis])?;
        ensure!(at.iter().zip(shape).all(|(at, length)| at < length), "its updates are larger than its data");
        Ok((at.iter().zip(&strides).map(|(at, stride)| at * stride).sum(), update))
    };
    let places = (0..indices.len()).map(place).collect::<TractResult<Vec<_>>>()?;
    scattered(call, &places)
}

/// ScatterND.
pub(super) fn scatter_nd(call: &Call<'_>) -> TractResult<Terms> {
    let (shape, indices) = (call.shape(0)?, call.indices(1)?);
    let (&depth, outer) = call.shape(1)?.split_last().context("its indices are a scalar")?;
    ensure!(depth <= shape.len(), "its indices name more axes than there are");
    let (strides, block) = (strides(shape), shape[depth..].iter().product::<usize>());
    let count: usize = outer.iter().product();
    ensure!(call.len(2)? == count * block, "its updates do not fit its indices");
    let mut places = Vec::with_capacity(count * block);
    for update in 0..count {
        let mut first = 0;
        for axis in 0..depth {
            first += index_of(indices[update * depth + axis], shape[axis])? * strides[axis];
        }
        places.extend((0..block).map(|at| (first + at, update * block + at)));
    }
    scattered(call, &places)
}
