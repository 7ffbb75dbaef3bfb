//! The only place that names both schemes.

pub mod files;
pub mod params;
pub mod plan;
pub mod planner;
pub mod streams;
