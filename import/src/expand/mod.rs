//! ONNX operators that are linear maps with constant coefficients, or move data, and that the graph library lacks, or
//! knows in a form that cannot be lowered. Each becomes one [`LinearMap`] once its shapes are known.

mod align;
mod call;
mod gather;
mod grid;
mod map;
mod pad;
mod reinterpret;
mod resize;
mod scatter;
mod separable;
mod signal;

use tract_onnx::model::OnnxOpRegister;

pub(crate) use align::ALIGN;
pub(crate) use map::LinearMap;
pub(crate) use reinterpret::{REINTERPRET, Reinterpret};

use call::linear;

/// Inputs of operators that have to be constants, by their ONNX places.
pub(crate) const CONSTANT_INPUTS: [(&str, &[usize]); 17] = [
    ("CenterCropPad", &[1]),
    ("Col2Im", &[1, 2]),
    ("Compress", &[1]),
    ("CumSum", &[1]),
    ("DFT", &[1, 2]),
    ("GatherElements", &[1]),
    ("GatherND", &[1]),
    ("GridSample", &[1]),
    ("Pad", &[1, 2, 3]),
    ("Resize", &[1, 2, 3]),
    ("ReverseSequence", &[1]),
    ("Scatter", &[1]),
    ("ScatterElements", &[1]),
    ("ScatterND", &[1]),
    ("Trilu", &[1]),
    ("Upsample", &[1]),
    ("Reshape", &[1]),
];

/// Makes the operators known.
pub(crate) fn register(register: &mut OnnxOpRegister) {
    register.insert(ALIGN, align::align);
    register.insert(REINTERPRET, reinterpret::reinterpret);
    register.insert("CenterCropPad", |c, node| linear(c, node, &[1], pad::center_crop_pad));
    register.insert("Col2Im", |c, node| linear(c, node, &[1, 2], signal::col2im));
    register.insert("Compress", |c, node| linear(c, node, &[1], gather::compress));
    register.insert("CumSum", |c, node| linear(c, node, &[1], separable::cum_sum));
    register.insert("DFT", |c, node| linear(c, node, &[1, 2], signal::dft));
    register.insert("GatherElements", |c, node| linear(c, node, &[1], gather::gather_elements));
    register.insert("GatherND", |c, node| linear(c, node, &[1], gather::gather_nd));
    register.insert("GridSample", |c, node| linear(c, node, &[1], grid::grid_sample));
    register.insert("Pad", |c, node| linear(c, node, &[1, 2, 3], pad::pad));
    register.insert("Resize", |c, node| linear(c, node, &[1, 2, 3], resize::resize));
    register.insert("ReverseSequence", |c, node| linear(c, node, &[1], gather::reverse_sequence));
    register.insert("Scatter", |c, node| linear(c, node, &[1], scatter::scatter_elements));
    register.insert("ScatterElements", |c, node| linear(c, node, &[1], scatter::scatter_elements));
    register.insert("ScatterND", |c, node| linear(c, node, &[1], scatter::scatter_nd));
    register.insert("Trilu", |c, node| linear(c, node, &[1], gather::trilu));
    register.insert("Upsample", |c, node| linear(c, node, &[1], resize::upsample));
}
