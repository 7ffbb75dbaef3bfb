//! The steps of CKKS on the device.

mod batch;
mod integers;
mod linear;
mod ring;
mod seeded;
mod switches;
mod words;

use heman_core::ckks::gpu::{GpuBlock, GpuCiphertext, GpuCoefficients, GpuPlaintext};
use heman_core::ckks::ring::matrix::Matrix;

use crate::context::Block;

pub use ring::WgpuRing;

impl GpuBlock for Block {
    type Address = u32;

    fn words(&self) -> usize {
        self.words
    }

    fn address_of(&self, word: usize) -> u32 {
        self.address + word as u32
    }
}

/// A ciphertext on the device.
pub type WgpuCiphertext = GpuCiphertext<Block>;

/// A plaintext on the device.
pub type WgpuPlaintext = GpuPlaintext<Block>;

/// Coefficients of a plaintext on the device.
pub type WgpuCoefficients = GpuCoefficients<Block>;

/// A matrix of residues on the device.
pub struct WgpuMap {
    block: Block,
    /// The matrix without its words.
    shape: Matrix,
}

/// A key-switching key on the device.
pub struct WgpuSwitchKey {
    /// Largest number of limbs that it switches.
    limbs: usize,
    /// For each digit body and mask, one after the other, `u32[limbs + special][N]`.
    digits: Vec<Block>,
}

/// A key of an automorphism, with its order of values.
pub struct WgpuGaloisKey {
    order: Block,
    key: WgpuSwitchKey,
}
