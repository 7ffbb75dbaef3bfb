//! Pad in all modes, with negative pads, and CenterCropPad.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::call::{Call, axis_of};
use super::map::{MAX_AXIS, Terms};
use super::separable::{Axis, identity, product};

/// Pad.
pub(super) fn pad(call: &Call<'_>) -> TractResult<Terms> {
    let shape = call.shape(0)?;
    let rank = shape.len();
    let pads = match call.integers(1)? {
        Some(pads) => pads,
        None => call.ints("pads")?.or(call.ints("paddings")?).context("its pads are missing")?,
    };
    let fill = match call.numbers(2)? {
        Some(fill) => fill[0],
        None => f64::from(call.node.get_attr_opt::<f32>("value")?.unwrap_or(0.0)),
    };
    let padded: Vec<usize> = match call.integers(3)? {
        Some(axes) => axes.iter().map(|&axis| axis_of(axis, rank)).collect::<TractResult<_>>()?,
        None => (0..rank).collect(),
    };
    ensure!(pads.len() == 2 * padded.len(), "it has {} pads for {} axes", pads.len(), padded.len());
    let mode = call.text("mode", "constant")?;
    let mut axes: Vec<Axis> = shape.iter().map(|&length| identity(length)).collect();
    for (at, &axis) in padded.iter().enumerate() {
        let (before, after, length) = (pads[at], pads[padded.len() + at], shape[axis] as i64);
        let size = length.checked_add(before).and_then(|size| size.checked_add(after)).unwrap_or(i64::MAX);
        ensure!((0..=MAX_AXIS).contains(&size), "it pads {length} elements to {size}");
        axes[axis] = (0..size).map(|at| place(at - before, length, &mode)).collect::<TractResult<_>>()?;
    }
    product(shape, &axes, fill)
}

/// Which element stands at a place of the padded axis.
fn place(at: i64, length: i64, mode: &str) -> TractResult<Option<Vec<(usize, f64)>>> {
    let inside = match mode {
        "constant" => {
            if !(0..length).contains(&at) {
                return Ok(None);
            }
            at
        }
        _ if length == 0 => bail!("it pads an empty axis with the axis's own elements"),
        "edge" => at.clamp(0, length - 1),
        "wrap" => at.rem_euclid(length),
        "reflect" if length == 1 => 0,
        "reflect" => {
            let turn = at.rem_euclid(2 * (length - 1));
            turn.min(2 * (length - 1) - turn)
        }
        other => bail!("the mode {other:?} is not known"),
    };
    Ok(Some(vec![(inside as usize, 1.0)]))
}

/// CenterCropPad.
pub(super) fn center_crop_pad(call: &Call<'_>) -> TractResult<Terms> {
    let shape = call.shape(0)?;
    let sizes = call.indices(1)?;
    let chosen: Vec<usize> = match call.ints("axes")? {
        Some(axes) => axes.iter().map(|&axis| axis_of(axis, shape.len())).collect::<TractResult<_>>()?,
        None => (0..shape.len()).collect(),
    };
    ensure!(sizes.len() == chosen.len(), "it has {} sizes for {} axes", sizes.len(), chosen.len());
    let mut axes: Vec<Axis> = shape.iter().map(|&length| identity(length)).collect();
    for (&size, &axis) in sizes.iter().zip(&chosen) {
        ensure!((0..=MAX_AXIS).contains(&size), "its size {size} is not possible");
        let length = shape[axis] as i64;
        let start = if size < length { (length - size) / 2 } else { -((size - length) / 2) };
        axes[axis] = (0..size).map(|at| place(at + start, length, "constant")).collect::<TractResult<_>>()?;
    }
    product(shape, &axes, 0.0)
}
