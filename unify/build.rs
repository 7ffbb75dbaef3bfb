//! Nothing to do: the script is there for its dependencies, whose features every procedural macro is built with.

fn main() {}
