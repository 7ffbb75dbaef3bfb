//! Queries at the rhythm of a benchmark's scenario, and what their latencies prove.
//!
//! The scenarios are those of MLPerf Inference. Nothing here knows what is measured: a [`run::System`] answers queries,
//! a [`clock::Clock`] tells the time, and what comes out are latencies and the figures that they support.

pub mod arrivals;
pub mod clock;
pub mod compare;
pub mod early_stopping;
pub mod figure;
pub mod histogram;
pub mod percentiles;
pub mod rate;
pub mod run;
pub mod scenario;
pub mod server;
