//! TFHE: keys, noise, and the suite of steps.

pub mod keys;
pub mod mirror;
pub mod noise;
pub mod params;
pub mod suite;
