//! The steps of TFHE on the device.

pub(crate) mod bootstrap;
pub(crate) mod counts;
pub(crate) mod exact;
mod inputs;
pub(crate) mod keyswitch;
pub(crate) mod linear;
pub(crate) mod rings;
mod roots;
mod seeded_rows;
mod staged_key;
pub(crate) mod transform;
mod tuning;
pub(crate) mod waves;
