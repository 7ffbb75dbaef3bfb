//! Keys and ciphertexts of TFHE as they travel.

pub mod ciphertexts;
pub mod evaluation_key;
pub mod masks;
