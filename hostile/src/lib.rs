//! Files that nobody sound would write: seeds, mutations, and what every parser must make of them.
//!
//! A [`kind::Kind`] is a kind of file for one scheme. [`seeds`] makes sound files of each, [`mutation`] spoils them
//! behind checksums that are computed anew, so that the inner parsers are reached, and [`feed()`] gives bytes to the
//! parser and to whatever is cheap of what the next verb would do. No bytes may end in a panic, in more memory than
//! [`drive::MOST_BYTES`], or in more time than [`drive::MOST_SECONDS`]. The stable tests and the fuzzers share all of
//! this.

pub mod arrays;
pub mod bytes;
pub mod drive;
pub mod feed;
pub mod json;
pub mod kind;
pub mod memory;
pub mod mutation;
pub mod plans;
pub mod random;
pub mod seeds;

pub use feed::feed;
