//! Files in and out.

pub mod answers;
pub mod arrays;
pub mod inputs;
pub mod labels;
pub mod npy;
pub mod order;
pub mod output;
pub mod place;
pub mod samples;
pub mod sealed;
pub mod spans;
pub mod temporaries;
pub mod weights;
