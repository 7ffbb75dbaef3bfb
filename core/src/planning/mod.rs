//! What the planners of both schemes share.

pub mod calibration;
pub mod confidence;
pub mod error;
pub mod folds;
pub mod judge;
pub mod loss;
pub mod margins;
pub mod measures;
pub mod output_kind;
pub mod pooling;
pub mod random;
pub mod task;
