//! Files in and out.

pub mod labels;
pub mod answers;
pub mod inputs;
pub mod arrays;
pub mod npy;
pub mod order;
pub mod output;
pub mod place;
pub mod samples;
pub mod sealed;
pub mod temporaries;
pub mod weights;
