//! From a network to plans of batched FHE steps, and the steps on the CPU.
//!
//! Nothing in this crate can name a secret key: it is what a server links.

pub mod batch;
pub mod ckks;
pub mod deadline;
pub mod device;
pub mod either;
pub mod files;
pub mod model;
pub mod planning;
pub mod progress;
pub mod residues;
pub mod tfhe;
pub mod word_bytes;
