//! From an ONNX model to batched FHE steps, and the CPU backend that runs them.
//!
//! Nothing in this crate can name a secret key: it is what a server links.

pub mod affine;
pub mod backend;
pub mod ciphertext;
pub mod ckks;
pub mod cost;
pub mod cpu;
pub mod evaluation_key;
pub mod exact;
pub mod exec;
pub mod factor;
pub mod files;
pub mod fold;
pub mod import;
pub mod model;
pub mod noise;
pub mod params;
pub mod plan;
pub mod planner;
pub mod planning;
pub mod products;
pub mod progress;
pub mod quantise;
pub mod schedule;
pub mod search;
pub mod security;
pub mod simulate;
pub mod table_set;
pub mod tfhe_params;
pub mod words;
