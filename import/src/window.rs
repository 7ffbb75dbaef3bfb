//! Convolution, transposed convolution and pooling: which elements a window sees, and with which weights.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::cnn::{Conv, Deconv, KernelFormat, PoolSpec};
use tract_onnx::tract_core::ops::nn::DataFormat;

/// A tensor's axes by role.
pub struct Axes {
    batch: usize,
    batch_stride: usize,
    pub channels: usize,
    channel_stride: usize,
    spatial: Vec<usize>,
    spatial_strides: Vec<usize>,
}

impl Axes {
    /// Axes of a tensor of the given format.
    pub fn new(format: DataFormat, shape: &[usize]) -> TractResult<Self> {
        let named = format.shape(shape)?;
        let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        let first = named.h_axis();
        let last = first + named.hw_rank();
        Ok(Self {
            batch: named.n().copied().unwrap_or(1),
            batch_stride: if named.n().is_some() { strides[0] } else { 0 },
            channels: *named.c(),
            channel_stride: strides[named.c_axis()],
            spatial: shape[first..last].to_vec(),
            spatial_strides: strides[first..last].to_vec(),
        })
    }

    fn index(&self, batch: usize, channel: usize, position: &[usize]) -> usize {
        let inner: usize = position.iter().zip(&self.spatial_strides).map(|(p, s)| p * s).sum();
        batch * self.batch_stride + channel * self.channel_stride + inner
    }
}

/// Calls `visit` with every multi-index below `shape`, row-major.
fn for_each(shape: &[usize], mut visit: impl FnMut(&[usize])) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0; shape.len()];
    loop {
        visit(&index);
        let Some(axis) = (0..shape.len()).rev().find(|&axis| index[axis] + 1 < shape[axis]) else { return };
        index[axis] += 1;
        index[axis + 1..].fill(0);
    }
}

/// One tap of a window: output element, input element, and the kernel's (output channel, input channel in group,
/// position).
pub struct WindowTap {
    /// Index in the output tensor.
    pub output: usize,
    /// Index in the input tensor.
    pub input: usize,
    /// Index in the kernel tensor (0 for pooling).
    pub kernel: usize,
}

/// The most places that the windows of a convolution visit: for each of `count` elements of a tensor of that shape, all
/// of the kernel that belongs to the element's channel.
pub fn places(format: DataFormat, shape: &[usize], kernel: usize, count: usize) -> TractResult<usize> {
    let channels = Axes::new(format, shape)?.channels.max(1);
    Ok(kernel.div_ceil(channels).saturating_mul(count))
}

/// The most elements that the windows of a pooling see, for an output of `count` elements; a window counts as 16.
pub fn pooled(spec: &PoolSpec, input_shape: &[usize], count: usize) -> TractResult<usize> {
    let input = Axes::new(spec.data_format, input_shape)?;
    let seen = input.spatial.iter().zip(&spec.kernel_shape).map(|(&length, &kernel)| length.min(kernel));
    Ok(seen.fold(1, usize::saturating_mul).saturating_add(16).saturating_mul(count))
}

/// Visits the taps of a pooling window, output by output; `visit` gets output index, input indices, and the window's
/// full size with padding.
pub fn pool(
    spec: &PoolSpec,
    input_shape: &[usize],
    output_shape: &[usize],
    mut visit: impl FnMut(usize, &[usize], usize),
) -> TractResult<()> {
    let input = Axes::new(spec.data_format, input_shape)?;
    let output = Axes::new(spec.data_format, output_shape)?;
    let (strides, dilations) = (spec.strides().into_owned(), spec.dilations().into_owned());
    let padded = spec.padding.compute(&input.spatial, &spec.kernel_shape, &dilations, &strides);
    let mut seen = Vec::new();
    for batch in 0..output.batch {
        for channel in 0..output.channels {
            for_each(&output.spatial, |position| {
                seen.clear();
                // ONNX counts padding, but not what ceil_mode adds past it.
                let mut window = 1_usize;
                let mut places: Vec<Vec<usize>> = Vec::with_capacity(position.len());
                for axis in 0..position.len() {
                    let (before, step) = (padded[axis].pad_before, dilations[axis]);
                    let limit = input.spatial[axis] + before + padded[axis].pad_after;
                    let start = position[axis] * strides[axis];
                    let inside = limit.saturating_sub(start).div_ceil(step).min(spec.kernel_shape[axis]);
                    window = window.saturating_mul(inside);
                    let first = before.saturating_sub(start).div_ceil(step);
                    let last = (input.spatial[axis] + before).saturating_sub(start).div_ceil(step).min(inside);
                    places.push((first..last).map(|k| start + k * step - before).collect());
                }
                let extents: Vec<usize> = places.iter().map(Vec::len).collect();
                for_each(&extents, |offset| {
                    let at: Vec<usize> = offset.iter().zip(&places).map(|(&k, places)| places[k]).collect();
                    seen.push(input.index(batch, channel, &at));
                });
                visit(output.index(batch, channel, position), &seen, window);
            });
        }
    }
    Ok(())
}

/// Index of a kernel element: output channel `o` of all, input channel `i` within its group, position.
fn kernel_index(format: KernelFormat, shape: &[usize], group: usize, o: usize, i: usize, position: &[usize]) -> usize {
    let spatial = format.spatial_shape(shape);
    let inner = position.iter().zip(spatial).fold(0, |sum, (p, d)| sum * d + p);
    let volume: usize = spatial.iter().product();
    match format {
        KernelFormat::OIHW => (o * shape[1] + i) * volume + inner,
        KernelFormat::HWIO => {
            let (all_inputs, outputs) = (shape[shape.len() - 2], shape[shape.len() - 1]);
            let row = (o / outputs) * (all_inputs / group) + i;
            (inner * all_inputs + row) * outputs + o % outputs
        }
        KernelFormat::OHWI => {
            let (outputs, all_inputs) = (shape[0], shape[shape.len() - 1]);
            let column = (o / outputs) * (all_inputs / group) + i;
            ((o % outputs) * volume + inner) * all_inputs + column
        }
    }
}

/// Visits all taps of a convolution, ordered by output element.
pub fn conv(
    op: &Conv,
    input_shape: &[usize],
    kernel_shape: &[usize],
    output_shape: &[usize],
    mut visit: impl FnMut(WindowTap),
) -> TractResult<Axes> {
    let spec = &op.pool_spec;
    let input = Axes::new(spec.data_format, input_shape)?;
    let output = Axes::new(spec.data_format, output_shape)?;
    let (strides, dilations) = (spec.strides().into_owned(), spec.dilations().into_owned());
    let padded = spec.padding.compute(&input.spatial, &spec.kernel_shape, &dilations, &strides);
    let before: Vec<usize> = padded.iter().map(|padded| padded.pad_before).collect();
    let (inputs, outputs) = (input.channels / op.group, output.channels / op.group);
    for batch in 0..output.batch {
        for o in 0..output.channels {
            for_each(&output.spatial, |position| {
                let target = output.index(batch, o, position);
                for i in 0..inputs {
                    for_each(&spec.kernel_shape, |offset| {
                        let start = |axis: usize| position[axis] * strides[axis] + offset[axis] * dilations[axis];
                        if let Some(at) = inside(start, &before, &input.spatial) {
                            visit(WindowTap {
                                output: target,
                                input: input.index(batch, (o / outputs) * inputs + i, &at),
                                kernel: kernel_index(op.kernel_fmt, kernel_shape, op.group, o, i, offset),
                            });
                        }
                    });
                }
            });
        }
    }
    Ok(output)
}

/// The place at `start` of every padded axis, counted without the padding `before` it; `None` if it lies in padding.
fn inside(start: impl Fn(usize) -> usize, before: &[usize], extent: &[usize]) -> Option<Vec<usize>> {
    let at = |axis: usize| start(axis).checked_sub(before[axis]).filter(|&x| x < extent[axis]);
    (0..extent.len()).map(at).collect()
}

/// All taps of a transposed convolution, sorted by output element.
pub fn deconv(
    op: &Deconv,
    input_shape: &[usize],
    kernel_shape: &[usize],
    output_shape: &[usize],
) -> TractResult<(Vec<WindowTap>, Axes)> {
    let spec = &op.pool_spec;
    let input = Axes::new(spec.data_format, input_shape)?;
    let output = Axes::new(spec.data_format, output_shape)?;
    let (strides, dilations) = (spec.strides().into_owned(), spec.dilations().into_owned());
    let padded =
        spec.padding.compute_for_deconv(&input.spatial, &spec.kernel_shape, &dilations, &strides, &op.adjustments)?;
    let before: Vec<usize> = padded.iter().map(|padded| padded.pad_before).collect();
    let (inputs, outputs) = (input.channels / op.group, output.channels / op.group);
    let mut taps = Vec::new();
    for batch in 0..input.batch {
        for i in 0..input.channels {
            let group = i / inputs;
            for_each(&input.spatial, |position| {
                for o in 0..outputs {
                    for_each(&spec.kernel_shape, |offset| {
                        let start = |axis: usize| position[axis] * strides[axis] + offset[axis] * dilations[axis];
                        if let Some(at) = inside(start, &before, &output.spatial) {
                            let channel = group * outputs + o;
                            taps.push(WindowTap {
                                output: output.index(batch, channel, &at),
                                input: input.index(batch, i, position),
                                kernel: kernel_index(
                                    op.kernel_format,
                                    kernel_shape,
                                    op.group,
                                    channel,
                                    i % inputs,
                                    offset,
                                ),
                            });
                        }
                    });
                }
            });
        }
    }
    taps.sort_by_key(|tap| tap.output);
    Ok((taps, output))
}

impl Axes {
    /// Channel of an element of the tensor.
    pub fn channel_of(&self, index: usize) -> usize {
        (index / self.channel_stride) % self.channels
    }
}
