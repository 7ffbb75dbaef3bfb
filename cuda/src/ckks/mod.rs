//! The steps of CKKS on the device.
//!
//! Addresses are the device's own, in bytes. A launch takes a list of items (ciphertexts, or parts of them) whose
//! arguments travel with the launch, and records on the device that say what is done for each limb
//! (`kernels/cuda/rns_arguments.cuh`). Only [`linear`]'s sums of many terms take a list of their own, and the host
//! waits for none: it queues a whole run ahead of the device.

mod integers;
mod launches;
mod linear;
mod lists;
mod records;
mod ring;
mod seeded;
mod switches;
mod tables;
mod words;

use cudarc::driver::CudaSlice;
use heman_core::ckks::gpu::{GpuBlock, GpuCiphertext, GpuCoefficients, GpuPlaintext};
use heman_core::ckks::ring::matrix::Matrix;

pub use ring::CudaRing;

/// Words on the device.
pub struct Block {
    slice: CudaSlice<u32>,
    address: u64,
}

impl GpuBlock for Block {
    type Address = u64;

    fn words(&self) -> usize {
        self.slice.len()
    }

    fn address_of(&self, word: usize) -> u64 {
        self.address + 4 * word as u64
    }
}

/// A ciphertext on the device.
pub type CudaCiphertext = GpuCiphertext<Block>;

/// A plaintext on the device.
pub type CudaPlaintext = GpuPlaintext<Block>;

/// Coefficients of a plaintext on the device.
pub type CudaCoefficients = GpuCoefficients<Block>;

/// A matrix of residues on the device.
pub struct CudaMap {
    block: Block,
    /// The matrix without its words.
    shape: Matrix,
}

/// A key-switching key on the device.
pub struct CudaSwitchKey {
    /// Largest number of limbs that it switches.
    limbs: usize,
    /// For each digit body and mask, `u32[digit][2][limbs + special][N]`.
    block: Block,
}

/// A key of an automorphism, with its order of values.
pub struct CudaGaloisKey {
    order: Block,
    key: CudaSwitchKey,
}
