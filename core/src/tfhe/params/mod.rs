//! Parameters of TFHE: the sets, their security, and the public file.

pub mod public;
pub mod security;
pub mod set;
