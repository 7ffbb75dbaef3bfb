//! How values lie in slots.

use serde::{Deserialize, Serialize};

use crate::ckks::params::layout::Layout;
use crate::ckks::params::set::ParameterSet;

/// How values lie in slots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Packing {
    /// A ciphertext a value, a slot an input.
    Throughput,
    /// One input over the slots of few ciphertexts.
    Latency {
        /// Inputs that share a ciphertext, interleaved.
        lanes: usize,
        /// Where the input's values lie.
        input: Layout,
        /// Where the output's values lie.
        output: Layout,
    },
}

/// How many ciphertexts there are at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupancy {
    /// A few: one operation should fill the device.
    Few,
    /// Batches that fill it.
    Many,
}

impl Packing {
    /// How many ciphertexts a run has at a time.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        match self {
            // Rows of a map are enough for all threads.
            Self::Throughput => Occupancy::Many,
            Self::Latency { .. } => Occupancy::Few,
        }
    }

    /// Inputs that one run takes.
    #[must_use]
    pub fn inputs_per_run(&self, params: &ParameterSet) -> usize {
        match self {
            Self::Throughput => params.slots(),
            Self::Latency { lanes, .. } => *lanes,
        }
    }

    /// For people and machines.
    #[must_use]
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Latency { .. } => "latency",
        }
    }
}
