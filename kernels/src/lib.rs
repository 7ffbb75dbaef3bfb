//! Kernel sources, the images compiled from them, and the parameter blocks that kernels and hosts share.
//!
//! `kernels/cuda` holds CUDA C++, `kernels/images` what `kernels/compile` makes of it: machine code for sm_80, sm_90,
//! sm_100 and sm_120, and PTX that newer drivers compile for everything else. `kernels/wgsl` holds WGSL, which the
//! graphics driver compiles.

mod exact_shapes;
mod images;
mod parameters;
mod shapes;
pub mod wgsl;

pub use exact_shapes::{EXACT_BOOTSTRAP_SHAPES, ExactBootstrapShape};
pub use images::{
    ALL_IMAGES, BOOTSTRAP_KEY, Image, LWE_BOOTSTRAP, LWE_BOOTSTRAP_EXACT, LWE_KEYSWITCH, LWE_LINEAR, RNS_COLUMNS,
    RNS_MASKS, RNS_MATRIX, RNS_TRANSFORM, RNS_WORDS, SEEDED_ROWS,
};
pub use parameters::{
    BootstrapKeyParams, LweBootstrapParams, LweKeyswitchParams, LweLinearItem, LweLinearParams, RNS_ARGUMENTS,
    RNS_NOWHERE, RnsArguments, RnsContextKey, RnsDown, RnsInnerProductParams, RnsLaunchParams, RnsMasksParams,
    RnsMatrixParams, RnsPermuteParams, RnsTensorParams, RnsTransformParams, RnsUp, RnsWordsParams, SeededRowsParams,
};
pub use shapes::{BOOTSTRAP_SHAPES, BootstrapShape};
