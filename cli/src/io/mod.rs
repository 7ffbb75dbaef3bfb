//! Files in and out.

pub mod output;
pub mod samples;
pub mod sealed;
