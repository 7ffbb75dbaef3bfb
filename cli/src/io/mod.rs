//! Files in and out.

pub mod labels;
pub mod answers;
pub mod inputs;
pub mod output;
pub mod samples;
pub mod sealed;
