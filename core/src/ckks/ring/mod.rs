//! The ring: residues, transforms, and the constants that follow from parameters.

pub mod ciphertext;
pub mod constants;
pub mod context;
pub mod encode;
pub mod encode_real;
pub mod keys;
pub mod matrix;
pub mod number;
pub(in crate::ckks) mod pool;
pub mod slots;
pub mod words;
