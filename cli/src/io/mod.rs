//! Files in and out.

pub mod labels;
pub mod output;
pub mod samples;
pub mod sealed;
