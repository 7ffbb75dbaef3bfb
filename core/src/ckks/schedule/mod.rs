//! What is evaluated when, and what it holds: plain data, for a network, parameters and a device's width.

pub mod blocks;
pub mod latency;
pub mod order;
pub mod throughput;
