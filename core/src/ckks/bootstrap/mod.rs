#![doc = include_str!("bootstrap.md")]

pub mod keys;
pub mod maps;
pub mod precision;

pub mod program;
pub mod recipe;
pub mod series;
pub mod sine;
