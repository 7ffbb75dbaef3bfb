//! Bootstraps of several rings: what a planner chooses among.

use std::time::Instant;

use heman_core::device::error::BackendError;
use heman_core::tfhe::cost::rings::Ring;
use heman_core::tfhe::ops::TfheBackend;
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::table_set::TableSet;

use super::SLOW_SECONDS;
use super::words::{uniform_key, uploaded};
use crate::profile::RingRate;

/// Rings that are measured, (k, N, l, g) and the base's logarithm: those first that tell most of others. Rings that are
/// not among them are told from the most similar. In large ones a host waits for memory, and no small one tells that.
const RINGS: [(usize, usize, usize, usize, usize); 14] = [
    (4, 512, 1, 1, 23),
    (2, 1024, 2, 1, 15),
    (1, 2048, 1, 1, 23),
    (2, 1024, 2, 2, 15),
    (1, 8192, 2, 2, 15),
    (1, 4096, 2, 1, 15),
    (1, 4096, 2, 2, 15),
    (1, 8192, 3, 2, 10),
    (1, 2048, 1, 2, 23),
    (4, 512, 1, 2, 23),
    (7, 256, 1, 1, 20),
    (2, 1024, 1, 1, 23),
    (1, 2048, 2, 3, 15),
    (4, 512, 1, 3, 22),
];
/// Bits of the small key: the time of a bootstrap is in proportion to them, and keys of few are made at once. Where
/// these take a device less than [`SHORT_SECONDS`], there is time for as many as plans have: a key of few may stay in a
/// cache that is too small for those (on an H200, that of groups of two bits at (2, 1024, 2) is 22 % faster then).
const KEY_BITS: [usize; 2] = [96, 768];
const SHORT_SECONDS: f64 = 0.05;
/// Batches of as many rows as the device takes side by side: a thread of the host takes up to so many at a time in
/// large rings, and each reads the key once.
const FILLINGS: usize = 8;
/// Rows at the most.
const MOST_ROWS: usize = 1 << 14;
/// Seconds of the device beyond which no further ring is begun.
const ENOUGH_SECONDS: f64 = 15.0;
/// The fastest of so many runs counts, after one that warms caches and compiles.
const RUNS: usize = 3;

/// The rates of a device that takes so many rows side by side. Rings that it has no kernel or no memory for are left
/// out.
pub(super) fn rings<B: TfheBackend>(backend: &B, side_by_side: usize) -> Vec<RingRate> {
    let rows = (FILLINGS * side_by_side).clamp(1, MOST_ROWS);
    let start = Instant::now();
    let mut rates = Vec::new();
    for (glwe_dimension, polynomial_size, pbs_level, grouping_factor, pbs_base_log) in RINGS {
        let ring = Ring { glwe_dimension, polynomial_size, pbs_level, grouping_factor };
        let seconds = |bits: usize| {
            let seconds = bootstrap_seconds(backend, ParameterSet { pbs_base_log, ..ring.bare_set(bits) }, rows);
            seconds.map(|seconds| (bits, seconds))
        };
        if start.elapsed().as_secs_f64() > ENOUGH_SECONDS {
            break;
        }
        let [few, many] = KEY_BITS;
        let of_few = seconds(few);
        let is_short = of_few.as_ref().is_ok_and(|&(_, seconds)| seconds * (rows as f64) < SHORT_SECONDS);
        // Where there is no memory for many, few have to do.
        let of_many = if is_short { seconds(many).ok() } else { None };
        if let Some((bits, seconds)) = of_many.or(of_few.ok()) {
            rates.push(RingRate::new(ring, seconds / bits as f64));
        }
    }
    rates
}

/// Seconds of one bootstrap among so many.
fn bootstrap_seconds<B: TfheBackend>(backend: &B, params: ParameterSet, rows: usize) -> Result<f64, BackendError> {
    let key = backend.load_bootstrap_key(&uniform_key(params))?;
    let small = uploaded(backend, rows * params.small_row_words())?;
    let mut out = backend.allocate(rows * params.big_row_words())?;
    let tables = backend.load_tables(TableSet::shared(vec![1 << 29; params.polynomial_size], rows))?;
    let mut run = || {
        let start = Instant::now();
        backend.bootstrap(&key, &tables, 1, &small, &mut out)?;
        backend.sync()?;
        Ok::<_, BackendError>(start.elapsed().as_secs_f64())
    };
    let mut least = run()?;
    if least < SLOW_SECONDS {
        least = run()?;
        for _ in 1..RUNS {
            least = least.min(run()?);
        }
    }
    Ok(least.max(1e-9) / rows as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use heman_core::device::cpu::CpuBackend;

    #[test]
    fn the_host_has_a_rate_for_each_ring_that_it_came_to() {
        let rates = rings(&CpuBackend::new(1).expect("a thread"), 1);
        assert!(
            !rates.is_empty() && rates.iter().all(|rate| (1e-3..1e6).contains(&rate.bootstraps_per_second)),
            "{rates:?}"
        );
        let measured = rates.iter().map(|r| (r.glwe_dimension, r.polynomial_size, r.pbs_level, r.grouping_factor));
        let first = RINGS.iter().map(|&(k, size, level, group, _)| (k, size, level, group));
        assert!(measured.zip(first).all(|(own, named)| own == named), "{rates:?}");
    }
}
