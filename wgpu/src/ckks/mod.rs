//! The steps of CKKS on the device.

mod batch;
mod linear;
mod ring;
mod seeded;
mod switches;

use std::sync::Arc;

use heman_core::ckks::ring::matrix::Matrix;
use heman_core::ckks::ring::number::State;

use crate::context::Block;

pub use ring::WgpuRing;

/// A ciphertext on the device. Copies share words until one of them is changed.
#[derive(Clone)]
pub struct WgpuCiphertext {
    block: Arc<Block>,
    /// Limbs that count.
    limbs: usize,
    /// Limbs that each part takes.
    stored: usize,
    scale: f64,
}

/// A plaintext on the device.
pub struct WgpuPlaintext {
    block: Block,
    limbs: usize,
    scale: f64,
}

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

impl WgpuCiphertext {
    fn state(&self) -> State {
        State { scale: self.scale, limbs: self.limbs }
    }

    /// Address of body or mask.
    fn part(&self, part: usize, degree: usize) -> u32 {
        self.block.address + (part * self.stored * degree) as u32
    }
}
