//! The ring: residues, transforms, and the constants that follow from parameters.

pub mod ciphertext;
pub mod coefficients;
pub mod constants;
pub mod context;
pub mod encode;
pub mod encode_real;
mod fourier;
pub mod keys;
pub mod matrix;
pub mod number;
pub mod plaintext;
pub(in crate::ckks) mod pool;
pub mod raise;
pub mod slots;
pub mod words;
#[cfg(target_arch = "x86_64")]
mod words_wide;
