//! Resize and Upsample: nearest, linear and cubic interpolation by the formulas of the ONNX standard.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::call::{Call, axis_of};
use super::map::{MAX_AXIS, Terms};
use super::separable::{Axis, identity, product};

/// How one axis is resized.
struct Interpolation {
    coordinates: String,
    mode: String,
    nearest: String,
    cubic: f64,
    excludes_outside: bool,
    is_antialiased: bool,
}

/// Upsample of opset 7 (scales as an attribute) and 9.
pub(super) fn upsample(call: &Call<'_>) -> TractResult<Terms> {
    let shape = call.shape(0)?;
    let scales = match call.numbers(1)? {
        Some(scales) => scales,
        None => call.node.get_attr_vec::<f32>("scales")?.into_iter().map(f64::from).collect(),
    };
    let how = Interpolation {
        coordinates: "asymmetric".into(),
        mode: call.text("mode", "nearest")?,
        nearest: "floor".into(),
        cubic: -0.75,
        excludes_outside: false,
        is_antialiased: false,
    };
    ensure!(scales.len() == shape.len(), "it has {} scales for {} axes", scales.len(), shape.len());
    let axis = |(&length, &scale): (&usize, &f64)| how.axis(length, scaled(length, scale), scale, [0.0, 1.0]);
    let axes = shape.iter().zip(&scales).map(axis).collect::<TractResult<Vec<Axis>>>()?;
    product(shape, &axes, 0.0)
}

/// Resize of opset 10 and later.
pub(super) fn resize(call: &Call<'_>) -> TractResult<Terms> {
    if call.opset < 11 {
        return upsample(call);
    }
    let shape = call.shape(0)?;
    let rank = shape.len();
    let how = Interpolation {
        coordinates: call.text("coordinate_transformation_mode", "half_pixel")?,
        mode: call.text("mode", "nearest")?,
        nearest: call.text("nearest_mode", "round_prefer_floor")?,
        cubic: f64::from(call.node.get_attr_opt::<f32>("cubic_coeff_a")?.unwrap_or(-0.75)),
        excludes_outside: call.int("exclude_outside", 0)? != 0,
        is_antialiased: call.int("antialias", 0)? != 0,
    };
    let outside = f64::from(call.node.get_attr_opt::<f32>("extrapolation_value")?.unwrap_or(0.0));
    let given: Vec<usize> = match call.ints("axes")? {
        Some(axes) => axes.iter().map(|&axis| axis_of(axis, rank)).collect::<TractResult<_>>()?,
        None => (0..rank).collect(),
    };
    let region = call.numbers(1)?;
    let scales = call.numbers(2)?;
    let sizes = call.numbers(3)?;
    let mut axes: Vec<Axis> = shape.iter().map(|&length| identity(length)).collect();
    let count = scales.as_ref().or(sizes.as_ref()).map_or(0, Vec::len);
    ensure!(count == given.len(), "it has {count} scales or sizes for {} axes", given.len());
    let ratios = sizes.as_ref().map(|sizes| sizes.iter().zip(&given).map(|(size, &axis)| size / shape[axis] as f64));
    let policy = call.text("keep_aspect_ratio_policy", "stretch")?;
    let common = ratios.and_then(|ratios| match policy.as_str() {
        "not_larger" => ratios.reduce(f64::min),
        "not_smaller" => ratios.reduce(f64::max),
        _ => None,
    });
    for (at, &axis) in given.iter().enumerate() {
        let length = shape[axis];
        let (size, scale) = match (&scales, &sizes, common) {
            (Some(scales), _, _) => (scaled(length, scales[at]), scales[at]),
            (None, Some(_), Some(scale)) => ((scale * length as f64 + 0.5).floor() as usize, scale),
            (None, Some(sizes), None) => (sizes[at] as usize, sizes[at] / length as f64),
            (None, None, _) => bail!("it has neither scales nor sizes"),
        };
        let bounds = match &region {
            Some(region) if region.len() == 2 * given.len() => [region[at], region[given.len() + at]],
            _ => [0.0, 1.0],
        };
        axes[axis] = how.axis(length, size, scale, bounds)?;
    }
    product(shape, &axes, outside)
}

/// `floor(length * scale)` in single precision, as runtimes compute it.
fn scaled(length: usize, scale: f64) -> usize {
    (length as f32 * scale as f32).floor() as usize
}

impl Interpolation {
    /// The map of an axis of `length` elements to one of `size`; `region` is the part of the input that
    /// tf_crop_and_resize sees.
    fn axis(&self, length: usize, size: usize, scale: f64, region: [f64; 2]) -> TractResult<Axis> {
        ensure!(size <= MAX_AXIS as usize && length > 0, "an axis of {length} elements is resized to {size}");
        ensure!(scale.is_finite() && scale > 0.0, "its scale is {scale}");
        if size == length && scale == 1.0 && self.coordinates != "tf_crop_and_resize" {
            return Ok(identity(length));
        }
        (0..size).map(|at| self.place(at as f64, length, size, scale, region)).collect()
    }

    fn place(
        &self,
        at: f64,
        length: usize,
        size: usize,
        scale: f64,
        [start, end]: [f64; 2],
    ) -> TractResult<Option<Vec<(usize, f64)>>> {
        let (last, wide) = (length as f64 - 1.0, scale * length as f64);
        let x = match self.coordinates.as_str() {
            "half_pixel" => (at + 0.5) / scale - 0.5,
            "half_pixel_symmetric" => {
                let offset = length as f64 / 2.0 * (1.0 - size as f64 / wide);
                offset + (at + 0.5) / scale - 0.5
            }
            "pytorch_half_pixel" if wide == 1.0 => -0.5,
            "pytorch_half_pixel" => (at + 0.5) / scale - 0.5,
            "align_corners" if wide == 1.0 => 0.0,
            "align_corners" => at * last / (wide - 1.0),
            "asymmetric" => at / scale,
            "tf_half_pixel_for_nn" => (at + 0.5) / scale,
            "tf_crop_and_resize" => {
                let x = if size > 1 {
                    start * last + at * (end - start) * last / (size as f64 - 1.0)
                } else {
                    0.5 * (start + end) * last
                };
                if !(0.0..=last).contains(&x) {
                    return Ok(None);
                }
                x
            }
            other => bail!("the coordinate transformation {other:?} is not known"),
        };
        let weights = self.weights(x, scale)?;
        let is_inside = |place: i64| (0..length as i64).contains(&place);
        let total: f64 = weights.iter().filter(|(place, _)| is_inside(*place)).map(|(_, weight)| weight).sum();
        let mut places: Vec<(usize, f64)> = Vec::new();
        for (place, weight) in weights {
            let weight = match self.excludes_outside && self.mode != "nearest" {
                true if !is_inside(place) => continue,
                true => weight / total,
                false => weight,
            };
            let place = place.clamp(0, length as i64 - 1) as usize;
            match places.iter_mut().find(|known| known.0 == place) {
                Some(known) => known.1 += weight,
                None => places.push((place, weight)),
            }
        }
        Ok(Some(places))
    }

    /// The places around `x` with their weights, before the ends of the axis are seen to.
    fn weights(&self, x: f64, scale: f64) -> TractResult<Vec<(i64, f64)>> {
        let floor = x.floor();
        let (base, ratio) = (floor as i64, x - floor);
        let narrow = if self.is_antialiased { scale.min(1.0) } else { 1.0 };
        let a = self.cubic;
        match self.mode.as_str() {
            "nearest" => {
                let place = match self.nearest.as_str() {
                    "round_prefer_floor" => (x - 0.5).ceil(),
                    "round_prefer_ceil" => (x + 0.5).floor(),
                    "floor" => floor,
                    "ceil" => x.ceil(),
                    other => bail!("the nearest_mode {other:?} is not known"),
                };
                Ok(vec![(place as i64, 1.0)])
            }
            "linear" | "bilinear" => Ok(kernel(base, ratio, narrow, 1.0, |d| (1.0 - d).max(0.0))),
            "cubic" => Ok(kernel(base, ratio, narrow, 2.0, |d| {
                if d <= 1.0 {
                    ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
                } else if d < 2.0 {
                    ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
                } else {
                    0.0
                }
            })),
            other => bail!("the interpolation {other:?} is not known"),
        }
    }
}

/// Weights of a kernel of the given reach, stretched by `1 / narrow` and normalised where it is stretched.
fn kernel(base: i64, ratio: f64, narrow: f64, reach: f64, weight: impl Fn(f64) -> f64) -> Vec<(i64, f64)> {
    let first = (-reach / narrow).floor() as i64 + 1;
    let last = (reach / narrow).ceil() as i64;
    let places = (first..=last).map(|i| (base + i, weight(((i as f64 - ratio) * narrow).abs())));
    let mut places: Vec<(i64, f64)> = places.filter(|(_, weight)| *weight != 0.0).collect();
    if narrow < 1.0 {
        let total: f64 = places.iter().map(|(_, weight)| weight).sum();
        places.iter_mut().for_each(|(_, weight)| *weight /= total);
    }
    places
}
