//! From an ONNX model to batched FHE steps, and the CPU backend that runs them.
//!
//! Nothing in this crate can name a secret key: it is what a server links.

pub mod batch;
pub mod ckks;
pub mod device;
pub mod either;
pub mod files;
pub mod import;
pub mod model;
pub mod planning;
pub mod progress;
pub mod tfhe;
pub mod words;
