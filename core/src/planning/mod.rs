//! What the planners of both schemes share.

pub mod calibration;
pub mod confidence;
pub mod error;
pub mod judge;
pub mod measures;
pub mod output_kind;
pub mod random;
