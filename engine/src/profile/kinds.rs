//! How fast a device is at each kind of CKKS's work.

use heman_core::ckks::cost::WorkSeconds;
use serde::{Deserialize, Serialize};

use super::{DeviceProfile, Speed};

/// Threads of the cost model that a device equals at each kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindRates {
    /// At rotations, products of ciphertexts and rescaling.
    pub switching: f64,
    /// At products with masks or matrices.
    pub products: f64,
    /// Seconds that a step takes beside its work: its threads begin and end together.
    #[serde(default)]
    pub step_seconds: f64,
    /// Threads of a host that each evaluate the polynomials of a value of their own; 0 where all share each value.
    #[serde(default)]
    pub threads: u32,
}

/// The same with many ciphertexts at a time, and with few.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CkksRates {
    /// With as many ciphertexts as throughput packing has; products are those with matrices.
    pub many: KindRates,
    /// With one ciphertext and its rotations, as latency packing has; products are those with masks. None for GPUs,
    /// whose time for few ciphertexts follows from how many they take side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub few: Option<KindRates>,
    /// As `few`, of a plan whose keys and masks caches hold together. None where it was not measured, and for GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<KindRates>,
}

/// What a run of CKKS has to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Many ciphertexts.
    Many,
    /// As many of small rings as caches hold.
    ManyCached,
    /// Few, and keys and masks that come from memory.
    Few,
    /// Few, and keys and masks that stay in caches from run to run.
    Cached,
}

impl KindRates {
    /// The same of every kind.
    pub(crate) fn even(threads: f64) -> Self {
        Self { switching: threads, products: threads, step_seconds: 0.0, threads: 0 }
    }

    /// Seconds of a step with some work; `elements` are the values whose polynomials it evaluates side by side, if
    /// threads share them out.
    #[must_use]
    pub fn seconds(&self, work: WorkSeconds, elements: Option<usize>) -> f64 {
        let taken = |elements: usize| elements.next_multiple_of(self.threads as usize) as f64 / elements as f64;
        let idle = elements.filter(|&elements| elements > 0 && self.threads > 0).map_or(1.0, taken);
        self.step_seconds + idle * work.switching / self.switching + work.products / self.products
    }
}

impl DeviceProfile {
    /// What the device does of each kind of CKKS's work, and how many ciphertexts it takes side by side then. None
    /// where it does not run CKKS.
    pub(crate) fn ckks_rates(&self, load: Load) -> Option<(KindRates, u32)> {
        let Speed { threads, rows } = self.ckks?;
        let even = (KindRates::even(threads), rows);
        let Some(CkksRates { many, few, cached }) = self.ckks_rates else { return Some(even) };
        Some(match load {
            Load::Few => few.map_or(even, |few| (few, 1)),
            Load::Cached => cached.or(few).map_or(even, |own| (own, 1)),
            Load::Many | Load::ManyCached => {
                // What products gain where masks come from a cache.
                let gains = few.zip(cached).filter(|_| load == Load::ManyCached);
                let gain = gains.map_or(1.0, |(few, cached)| cached.products / few.products);
                // The host spreads a single ciphertext over its threads.
                (KindRates { products: gain * many.products, ..many }, if few.is_some() { 1 } else { rows })
            }
        })
    }
}
