//! What is evaluated when.

pub(in crate::ckks) mod order;
