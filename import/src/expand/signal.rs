//! DFT and Col2Im.

use std::f64::consts::TAU;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::call::{Call, axis_of, position, strides};
use super::map::{Term, Terms};

/// DFT of opset 17 (axis as an attribute) and 20 (as an input).
pub(super) fn dft(call: &Call<'_>) -> TractResult<Terms> {
    let shape = call.shape(0)?;
    let rank = shape.len();
    ensure!(rank >= 2, "its input has no axis of real and imaginary parts");
    let axis = if call.opset >= 20 { call.numbers(2)?.map_or(-2, |axis| axis[0] as i64) } else { call.int("axis", 1)? };
    let axis = axis_of(axis, rank)?;
    let parts = shape[rank - 1];
    ensure!(axis != rank - 1 && (1..=2).contains(&parts), "its last axis does not hold real and imaginary parts");
    let points = call.numbers(1)?.map_or(shape[axis], |length| length[0] as usize);
    let (is_inverse, is_onesided) = (call.int("inverse", 0)? != 0, call.int("onesided", 0)? != 0);
    ensure!(points > 0 && !(is_inverse && is_onesided), "a one-sided inverse transform is not supported");
    let mut output = shape.to_vec();
    output[axis] = if is_onesided { points / 2 + 1 } else { points };
    output[rank - 1] = 2;
    let (sign, scale) = if is_inverse { (1.0, 1.0 / points as f64) } else { (-1.0, 1.0) };
    let strides = strides(shape);
    let mut terms = Terms::new(output.clone())?;
    for element in 0..output.iter().product() {
        let mut at = position(element, &output);
        let (frequency, is_imaginary) = (at[axis], at[rank - 1] == 1);
        (at[axis], at[rank - 1]) = (0, 0);
        let first: usize = at.iter().zip(&strides).map(|(at, stride)| at * stride).sum();
        let sum = (0..points.min(shape[axis])).flat_map(|time| {
            let (sine, cosine) = (sign * TAU * ((frequency * time) % points) as f64 / points as f64).sin_cos();
            let weights = if is_imaginary { [sine, cosine] } else { [cosine, -sine] };
            let input = first + time * strides[axis];
            (0..parts).map(move |part| Term { input: input + part, weight: scale * weights[part] })
        });
        terms.push(sum, 0.0)?;
    }
    Ok(terms)
}

/// Col2Im: sums of the blocks of an image where they overlap.
pub(super) fn col2im(call: &Call<'_>) -> TractResult<Terms> {
    let (shape, image, block) = (call.shape(0)?, call.indices(1)?, call.indices(2)?);
    let axes = image.len();
    let [batch, rows, blocks] = *shape else { bail!("its input has {} axes instead of 3", shape.len()) };
    ensure!(axes == block.len() && image.iter().chain(&block).all(|&d| d > 0), "its image and blocks do not fit");
    let ones = || vec![1; axes];
    let dilations = call.ints("dilations")?.unwrap_or_else(ones);
    let steps = call.ints("strides")?.unwrap_or_else(ones);
    let pads = call.ints("pads")?.unwrap_or_else(|| vec![0; 2 * axes]);
    ensure!(dilations.len() == axes && steps.len() == axes && pads.len() == 2 * axes, "its attributes do not fit");
    ensure!(steps.iter().all(|&step| step > 0), "its strides are not positive");
    let (image, block): (Vec<usize>, Vec<usize>) =
        (image.iter().map(|&d| d as usize).collect(), block.iter().map(|&d| d as usize).collect());
    let volume: usize = block.iter().product();
    let counts: Vec<usize> = (0..axes)
        .map(|axis| {
            let reach = dilations[axis] * (block[axis] as i64 - 1) + 1;
            let free = image[axis] as i64 + pads[axis] + pads[axes + axis] - reach;
            (free / steps[axis] + 1).max(0) as usize
        })
        .collect();
    ensure!(rows % volume == 0 && counts.iter().product::<usize>() == blocks, "its columns do not fit its blocks");
    let channels = rows / volume;
    let output: Vec<usize> = [batch, channels].iter().chain(&image).copied().collect();
    let pixel_strides = strides(&image);
    let pixels: usize = image.iter().product();
    let mut terms = Terms::new(output)?;
    let mut sums: Vec<Vec<(usize, usize)>> = vec![Vec::new(); pixels];
    for offset in 0..volume {
        for at in 0..blocks {
            let (inner, outer) = (position(offset, &block), position(at, &counts));
            let place = |axis: usize| {
                let place = outer[axis] as i64 * steps[axis] + inner[axis] as i64 * dilations[axis] - pads[axis];
                usize::try_from(place).ok().filter(|&place| place < image[axis])
            };
            if let Some(place) = (0..axes).map(place).collect::<Option<Vec<usize>>>() {
                sums[place.iter().zip(&pixel_strides).map(|(p, s)| p * s).sum::<usize>()].push((offset, at));
            }
        }
    }
    for image in 0..batch * channels {
        for sum in &sums {
            let input = |&(offset, at): &(usize, usize)| (image * volume + offset) * blocks + at;
            terms.push(sum.iter().map(|part| Term { input: input(part), weight: 1.0 }), 0.0)?;
        }
    }
    Ok(terms)
}
