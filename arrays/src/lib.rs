//! Plaintext arrays in files: `.npy`, archives (`.npz`, `.zip`) and folders of them, read in bounded memory.
//!
//! Files come from others. Headers and names are read first and checked against what a file holds, data only when they
//! are asked for, and nothing is taken for them before they come. Numbers stay in the type that they have in the file
//! where it is narrower than what models take ([`numbers::Numbers`]).

pub mod arrays;
mod element;
mod error;
pub mod labels;
pub mod npy;
pub mod numbers;
pub mod order;

pub use arrays::{Arrays, Entry};
pub use error::ArrayError;
pub use labels::Labels;
pub use numbers::Numbers;
