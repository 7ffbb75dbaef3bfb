//! CKKS: words and keys to compute with, and the suite of steps.

pub mod deep;
pub mod degrees;
pub mod keys;
pub mod products;
pub mod raises;
pub mod suite;
pub mod switches;
pub mod twins;
