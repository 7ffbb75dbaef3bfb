//! The scenarios, and what the rules ask of a run.
//!
//! Source of all constants: MLCommons, `inference_policies`, `inference_rules.adoc` at commit ac93e89 of 2026-07-23,
//! table of scenarios and appendix "Early Stopping Criterion".

use crate::early_stopping::least_queries;

/// Seconds that every run lasts at the least.
pub const LEAST_SECONDS: f64 = 600.0;
/// Samples that an Offline run has at the least.
pub const OFFLINE_SAMPLES: u64 = 24_576;
/// Samples of a query of MultiStream.
pub const MULTI_STREAM_SAMPLES: usize = 8;

/// How queries come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// One sample a query; the next query comes when the last one is answered.
    SingleStream,
    /// Eight samples a query; the next query comes when the last one is answered.
    MultiStream,
    /// One sample a query; queries come as a Poisson process of a given rate, whether or not others wait.
    Server,
    /// All samples come at once.
    Offline,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::SingleStream, Self::MultiStream, Self::Server, Self::Offline];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SingleStream => "single-stream",
            Self::MultiStream => "multi-stream",
            Self::Server => "server",
            Self::Offline => "offline",
        }
    }

    /// Samples of a query; none for Offline, where one query holds all of them.
    #[must_use]
    pub fn samples_per_query(self) -> Option<usize> {
        match self {
            Self::SingleStream | Self::Server => Some(1),
            Self::MultiStream => Some(MULTI_STREAM_SAMPLES),
            Self::Offline => None,
        }
    }

    /// The share of queries whose latency is promised; none for Offline.
    #[must_use]
    pub fn percentile(self) -> Option<f64> {
        match self {
            Self::SingleStream => Some(0.90),
            Self::MultiStream | Self::Server => Some(0.99),
            Self::Offline => None,
        }
    }
}

/// How long a run lasts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Seconds at the least.
    pub least_seconds: f64,
    /// Queries at the least; for Offline samples.
    pub least_queries: u64,
}

impl Limits {
    /// What the rules ask for: ten minutes, and as many queries as early stopping needs to tell the percentile.
    #[must_use]
    pub fn by_rules(scenario: Scenario) -> Self {
        let least_queries = match (scenario, scenario.percentile()) {
            (Scenario::Server, Some(percentile)) => least_queries(0, percentile),
            (_, Some(percentile)) => least_queries(1, percentile),
            (_, None) => OFFLINE_SAMPLES,
        };
        Self { least_seconds: LEAST_SECONDS, least_queries }
    }

    /// So many seconds, whatever the number of queries: not what the rules ask for.
    #[must_use]
    pub fn shortened(seconds: f64) -> Self {
        Self { least_seconds: seconds, least_queries: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_ask_for_as_many_queries_as_their_own_load_generator() {
        let queries = Scenario::ALL.map(|scenario| Limits::by_rules(scenario).least_queries);
        assert_eq!(queries, [64, 662, 459, 24_576]);
    }
}
