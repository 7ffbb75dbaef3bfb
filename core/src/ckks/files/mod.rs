//! Keys and ciphertexts of CKKS as they travel.

pub mod ciphertexts;
pub mod evaluation_key;
mod packed;
mod sealed;
pub mod seeded;
