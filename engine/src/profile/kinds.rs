//! How fast a device is at each kind of CKKS's work.

use heman_core::ckks::cost::WorkSeconds;
use serde::{Deserialize, Serialize};

use super::{DeviceProfile, Speed};

/// How unlike two shapes are of which only one is read from caches; a factor of two in N or in primes is 1.
const CACHE_DISTANCE: f64 = 1.5;

/// Threads of the cost model that a device equals at each kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindRates {
    /// At rotations one after the other, products of ciphertexts and rescaling.
    pub switching: f64,
    /// At rotations of one ciphertext by several amounts.
    pub hoisted: f64,
    /// At products with masks or matrices.
    pub products: f64,
    /// Seconds that a step takes beside its work: its threads begin and end together.
    #[serde(default)]
    pub step_seconds: f64,
    /// Threads of a host that each evaluate the polynomials of a value of their own; 0 where all share each value.
    #[serde(default)]
    pub threads: u32,
}

/// What decides how a switch of keys divides over threads and caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// log2 N.
    pub log2_degree: u32,
    /// Limbs of the ciphertexts.
    pub limbs: u32,
    /// Special primes.
    pub special_primes: u32,
    /// Whether caches hold keys and masks from run to run.
    pub is_cached: bool,
}

impl Shape {
    /// Whether a plan could have the shape.
    pub(super) fn is_sane(&self) -> bool {
        (8..=20).contains(&self.log2_degree) && [self.limbs, self.special_primes].iter().all(|n| (1..=256).contains(n))
    }

    /// How unlike two shapes are: a factor of two in any of their numbers is 1.
    fn distance(&self, other: &Self) -> f64 {
        let between = |own: u32, other: u32| (f64::from(own.max(1)) / f64::from(other.max(1))).log2().abs();
        let ring = f64::from(self.log2_degree.abs_diff(other.log2_degree));
        let primes = between(self.limbs, other.limbs) + between(self.special_primes, other.special_primes);
        ring + primes + if self.is_cached == other.is_cached { 0.0 } else { CACHE_DISTANCE }
    }
}

/// Rates in a shape of rings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeRates {
    /// The shape.
    pub shape: Shape,
    /// What was measured in it.
    pub rates: KindRates,
}

/// The same with many ciphertexts at a time, and with few.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CkksRates {
    /// With as many ciphertexts as throughput packing has; products are those with matrices.
    pub many: KindRates,
    /// With one ciphertext and its rotations, as latency packing has, in several shapes; products are those with masks.
    /// Shapes that are not among them are told from the most similar. None for GPUs, whose time for few ciphertexts
    /// follows from how many they take side by side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub few: Vec<ShapeRates>,
}

impl CkksRates {
    /// The rates in the most similar shape.
    fn few(&self, shape: &Shape) -> Option<KindRates> {
        let apart = |known: &&ShapeRates| known.shape.distance(shape);
        self.few.iter().min_by(|a, b| apart(a).total_cmp(&apart(b))).map(|known| known.rates)
    }

    /// How much faster products are whose masks come from a cache than those from memory: at least 1, and 1 where it
    /// is not known.
    fn products_of_caches(&self) -> f64 {
        let best = |is_cached: bool| {
            let known = self.few.iter().filter(|known| known.shape.is_cached == is_cached);
            known.map(|known| known.rates.products).reduce(f64::max)
        };
        best(true).zip(best(false)).map_or(1.0, |(cached, from_memory)| (cached / from_memory).max(1.0))
    }
}

/// What a step of CKKS has to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Many ciphertexts.
    Many,
    /// As many of small rings as caches hold.
    ManyCached,
    /// Few, of this shape.
    Few(Shape),
}

impl KindRates {
    /// The same of every kind.
    pub(crate) fn even(threads: f64) -> Self {
        Self { switching: threads, hoisted: threads, products: threads, step_seconds: 0.0, threads: 0 }
    }

    /// Seconds of a step with some work, in thread-seconds of the cost model. `hoisted` of them, a part of the work's
    /// switching, rotate one ciphertext by several amounts. `elements` are the values whose polynomials the step
    /// evaluates side by side, if threads share them out.
    #[must_use]
    pub fn seconds(&self, work: WorkSeconds, hoisted: f64, elements: Option<usize>) -> f64 {
        let taken = |elements: usize| elements.next_multiple_of(self.threads as usize) as f64 / elements as f64;
        let idle = elements.filter(|&elements| elements > 0 && self.threads > 0).map_or(1.0, taken);
        let switching = (work.switching - hoisted).max(0.0) / self.switching + hoisted / self.hoisted;
        self.step_seconds + idle * switching + work.products / self.products
    }
}

impl DeviceProfile {
    /// What the device does of each kind of CKKS's work, and how many ciphertexts it takes side by side then. None
    /// where it does not run CKKS.
    pub(crate) fn ckks_rates(&self, load: Load) -> Option<(KindRates, u32)> {
        let Speed { threads, rows } = self.ckks?;
        let even = (KindRates::even(threads), rows);
        let Some(rates) = &self.ckks_rates else { return Some(even) };
        // The host spreads a single ciphertext over its threads.
        let rows = if rates.few.is_empty() { rows } else { 1 };
        Some(match load {
            Load::Few(shape) => rates.few(&shape).map_or(even, |few| (few, rows)),
            Load::Many => (rates.many, rows),
            Load::ManyCached => {
                (KindRates { products: rates.products_of_caches() * rates.many.products, ..rates.many }, rows)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Shape = Shape { log2_degree: 12, limbs: 2, special_primes: 1, is_cached: true };
    const LARGE: Shape = Shape { log2_degree: 14, limbs: 8, special_primes: 4, is_cached: false };

    fn rates(products: f64) -> KindRates {
        KindRates { switching: 1.0, hoisted: 1.0, products, step_seconds: 0.0, threads: 0 }
    }

    #[test]
    fn rates_are_those_of_the_most_similar_shape() {
        let few = vec![
            ShapeRates { shape: SMALL, rates: rates(3.0) },
            ShapeRates { shape: LARGE, rates: rates(1.0) },
            ShapeRates { shape: Shape { is_cached: false, ..SMALL }, rates: rates(2.0) },
        ];
        let known = CkksRates { many: rates(0.5), few };
        let products = |shape| known.few(&shape).expect("three are known").products;
        assert_eq!((products(SMALL), products(LARGE)), (3.0, 1.0));
        assert_eq!(products(Shape { limbs: 3, ..SMALL }), 3.0);
        assert_eq!(products(Shape { log2_degree: 16, limbs: 24, special_primes: 6, is_cached: false }), 1.0);
        assert_eq!(products(Shape { log2_degree: 13, is_cached: false, ..SMALL }), 2.0);
        assert_eq!(known.products_of_caches(), 1.5);
        assert_eq!(CkksRates { few: vec![], ..known }.few(&SMALL), None);
    }

    #[test]
    fn caches_are_not_said_to_be_slower_than_memory() {
        let few = [(SMALL, 1.0), (LARGE, 2.0)].map(|(shape, products)| ShapeRates { shape, rates: rates(products) });
        assert_eq!(CkksRates { many: rates(1.0), few: few.to_vec() }.products_of_caches(), 1.0);
    }
}
