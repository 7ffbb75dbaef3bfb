//! The steps of CKKS on the device.
//!
//! Addresses are the device's own, in bytes. A launch takes a list of items (ciphertexts, or parts of them) whose
//! arguments travel with the launch, and records on the device that say what is done for each limb
//! (`kernels/cuda/rns_arguments.cuh`). Only [`linear`]'s sums of many terms take a list of their own, and the host
//! waits for none: it queues a whole run ahead of the device.

mod launches;
mod linear;
mod lists;
mod records;
mod ring;
mod seeded;
mod switches;
mod tables;

use std::sync::Arc;

use cudarc::driver::CudaSlice;
use heman_core::ckks::ring::matrix::Matrix;
use heman_core::ckks::ring::number::State;

pub use ring::CudaRing;

/// Words on the device.
struct Block {
    slice: CudaSlice<u32>,
    address: u64,
}

/// A ciphertext on the device. Copies share words until one of them is changed.
#[derive(Clone)]
pub struct CudaCiphertext {
    block: Arc<Block>,
    /// Limbs that count.
    limbs: usize,
    /// Limbs that each part takes.
    stored: usize,
    scale: f64,
}

/// A plaintext on the device.
pub struct CudaPlaintext {
    block: Block,
    limbs: usize,
    scale: f64,
}

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

impl CudaCiphertext {
    fn state(&self) -> State {
        State { scale: self.scale, limbs: self.limbs }
    }

    /// Address of body or mask in a ring of this degree.
    fn part(&self, part: usize, degree: usize) -> u64 {
        self.block.address + 4 * (part * self.stored * degree) as u64
    }

    /// Addresses of both.
    fn parts(&self, degree: usize) -> [u64; 2] {
        [self.part(0, degree), self.part(1, degree)]
    }
}
