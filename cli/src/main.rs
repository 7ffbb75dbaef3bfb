//! The heman command.
fn main() {}
