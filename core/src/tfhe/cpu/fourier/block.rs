//! Memory of the Fourier domain.

use bytemuck::{Pod, Zeroable};

/// Complex numbers of a block.
pub const BLOCK: usize = 8;

/// Complex numbers that lie together: real parts, then imaginary parts, each a cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub re: [f64; BLOCK],
    pub im: [f64; BLOCK],
}

impl Block {
    pub const ZERO: Self = Self { re: [0.0; BLOCK], im: [0.0; BLOCK] };
}

/// Words that lie together: a cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct Line(pub [u32; 16]);

// SAFETY: all bits zero are doubles.
unsafe impl Zeroable for Block {}
// SAFETY: doubles side by side without padding: 64 + 64 bytes, aligned to 64.
unsafe impl Pod for Block {}
// SAFETY: all bits zero are words.
unsafe impl Zeroable for Line {}
// SAFETY: 64 bytes without padding, aligned to 64.
unsafe impl Pod for Line {}
