//! What must hold for every backend, written once over the backend traits; each backend's tests instantiate it.
//!
//! Exact steps are compared word for word with the reference; bootstraps are compared by decryption and by measured
//! noise.

#![allow(clippy::missing_panics_doc, reason = "a suite panics when it fails: that is its result")]

pub mod ckks;
pub mod cuda_emulation;
pub mod difference;
pub mod dual;
pub mod networks;
pub mod required;
pub mod tfhe;
