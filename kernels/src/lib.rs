//! Parameter blocks that GPU kernels and their hosts share, one a kernel family; sources of the kernels will stand beside them.
//!
//! Every block is plain words in declaration order; its size is asserted here and in the kernel sources.

use bytemuck::{Pod, Zeroable};

/// Parameters of the batched keyswitch, stem `lwe_keyswitch`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct LweKeyswitchParams {
    /// Rows of the batch.
    pub rows: u32,
    /// Mask words of an input row, k N.
    pub input_dimension: u32,
    /// Mask words of an output row, n.
    pub output_dimension: u32,
    /// log2 of the decomposition base.
    pub base_log: u32,
    /// Decomposition levels.
    pub level: u32,
}

/// Parameters of the batched bootstrap, stem `lwe_bootstrap`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct LweBootstrapParams {
    /// Rows of the batch.
    pub rows: u32,
    /// Images a value: rows of one value share table and place.
    pub images: u32,
    /// Mask words of an input row, n.
    pub lwe_dimension: u32,
    /// Mask polynomials, k.
    pub glwe_dimension: u32,
    /// Coefficients of a polynomial, N.
    pub polynomial_size: u32,
    /// log2 of the decomposition base.
    pub base_log: u32,
    /// Decomposition levels.
    pub level: u32,
}

const _: () = assert!(size_of::<LweKeyswitchParams>() == 20);
const _: () = assert!(size_of::<LweBootstrapParams>() == 28);
