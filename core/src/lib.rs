//! From an ONNX model to batched FHE steps, and the CPU backend that runs them.
//!
//! Nothing in this crate can name a secret key: it is what a server links.

pub mod affine;
pub mod backend;
pub mod ciphertext;
pub mod evaluation_key;
pub mod factor;
pub mod format;
pub mod function;
pub mod network;
pub mod noise;
pub mod params;
pub mod plan;
pub mod progress;
pub mod security;
pub mod tfhe_params;
