//! The ring: residues, transforms, and the constants that follow from parameters.

pub mod ciphertext;
pub mod context;
pub mod encode;
pub mod keys;
pub mod matrix;
pub mod modulus;
pub mod ntt;
#[cfg(target_arch = "x86_64")]
mod ntt_wide;
pub mod number;
pub(in crate::ckks) mod pool;
mod roots;
pub mod words;
