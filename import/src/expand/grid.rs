//! GridSample with a constant grid.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::call::{Call, strides};
use super::map::{Term, Terms};

/// Cubic kernel of GridSample.
const CUBIC: f64 = -0.75;

/// How places beyond the image are filled.
#[derive(Clone, Copy, PartialEq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

/// GridSample of opset 16 (images) and 20 (any number of axes).
pub(super) fn grid_sample(call: &Call<'_>) -> TractResult<Terms> {
    let (shape, grid) = (call.shape(0)?, call.shape(1)?);
    let places = call.numbers(1)?.context("its grid is empty")?;
    let axes = shape.len().saturating_sub(2);
    ensure!(axes > 0 && grid.len() == shape.len() && grid[0] == shape[0], "its grid does not fit its input");
    ensure!(grid[axes + 1] == axes && !shape.contains(&0), "its grid has places of {} axes", grid[axes + 1]);
    let aligned = call.int("align_corners", 0)? != 0;
    let mode = call.text("mode", "linear")?;
    let padding = match call.text("padding_mode", "zeros")?.as_str() {
        "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection,
        other => bail!("the padding_mode {other:?} is not known"),
    };
    let (image, outer) = (&shape[2..], &grid[1..=axes]);
    let mut output = shape[..2].to_vec();
    output.extend(outer);
    let (image_strides, points) = (strides(image), outer.iter().product::<usize>());
    let volume: usize = image.iter().product();
    let mut terms = Terms::new(output.clone())?;
    for element in 0..output.iter().product() {
        let (plane, point) = (element / points, element % points);
        let first = (plane / shape[1] * points + point) * axes;
        let mut sum = vec![Term { input: plane * volume, weight: 1.0 }];
        for axis in 0..axes {
            // The last axis comes first in the grid.
            let x = places[first + axes - 1 - axis];
            let found = axis_places(x, image[axis], aligned, &mode, padding)?;
            let stride = image_strides[axis];
            let wider = sum.iter().flat_map(|term| {
                found
                    .iter()
                    .map(move |&(at, weight)| Term { input: term.input + at * stride, weight: term.weight * weight })
            });
            sum = wider.collect();
        }
        terms.push(sum, 0.0)?;
    }
    Ok(terms)
}

/// Places on an axis of the image with their weights, for a coordinate from -1 to 1.
fn axis_places(x: f64, length: usize, aligned: bool, mode: &str, padding: Padding) -> TractResult<Vec<(usize, f64)>> {
    ensure!(x.is_finite(), "a place of its grid is not finite");
    let last = length as f64 - 1.0;
    let x = if aligned { (x + 1.0) / 2.0 * last } else { ((x + 1.0) * length as f64 - 1.0) / 2.0 };
    let (low, high) = if aligned { (0.0, last) } else { (-0.5, last + 0.5) };
    let inside = |x: f64| match padding {
        Padding::Zeros => x,
        Padding::Border => x.clamp(0.0, last),
        Padding::Reflection => reflected(x, low, high),
    };
    let weights: Vec<(f64, f64)> = match mode {
        "nearest" => vec![(inside(x).round_ties_even(), 1.0)],
        "linear" | "bilinear" => {
            let x = inside(x);
            vec![(x.floor(), 1.0 - (x - x.floor())), (x.floor() + 1.0, x - x.floor())]
        }
        "cubic" | "bicubic" => {
            (-1..=2).map(|i| (x.floor() + f64::from(i), cubic((x - x.floor() - f64::from(i)).abs()))).collect()
        }
        other => bail!("the mode {other:?} is not known"),
    };
    let place = |(at, weight): (f64, f64)| {
        let at = match padding {
            Padding::Zeros if !(0.0..=last).contains(&at) => return None,
            Padding::Zeros => at,
            Padding::Border => at.clamp(0.0, last),
            Padding::Reflection => reflected(at, low, high).clamp(0.0, last),
        };
        (weight != 0.0).then_some((at as usize, weight))
    };
    Ok(weights.into_iter().filter_map(place).collect())
}

fn reflected(x: f64, low: f64, high: f64) -> f64 {
    let range = high - low;
    if range <= 0.0 {
        return low.max(0.0);
    }
    let turn = (x - low).rem_euclid(2.0 * range);
    low + turn.min(2.0 * range - turn)
}

fn cubic(d: f64) -> f64 {
    if d <= 1.0 {
        ((CUBIC + 2.0) * d - (CUBIC + 3.0)) * d * d + 1.0
    } else {
        ((CUBIC * d - 5.0 * CUBIC) * d + 8.0 * CUBIC) * d - 4.0 * CUBIC
    }
}
