//! No code.
//!
//! Cargo picks the features of a dependency from the crates that are built together. The command, the tests and the benches need
//! different ones, and each would compile the large dependencies again. This crate asks for all of them, and everything depends on it.
