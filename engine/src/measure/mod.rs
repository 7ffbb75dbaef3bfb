//! Measures how fast a device is, with the work of an inference: bootstraps of TFHE, and products of CKKS.
//!
//! Keys and ciphertexts are uniform words, as those of any client look to whoever has no secret key: no step's time
//! depends on more.

mod ckks;
mod kinds;
pub mod primitives;
mod rings;
mod tfhe;
mod uniform;
mod words;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use heman_core::device::Device;
use heman_core::device::cpu::CpuBackend;
use heman_core::progress::Progress;
use heman_cuda::CudaBackend;
use heman_wgpu::WgpuBackend;

use crate::candidates::Place;
use crate::error::EngineError;
use crate::profile::{CkksRates, DeviceProfile, RingRate, Speed, bare_name};

/// Seconds that the largest batch takes: then it tells the rate, and no larger one is tried.
const ENOUGH_SECONDS: f64 = 0.5;
/// How much faster a larger batch must be a row for a still larger one to be tried.
const WORTH: f64 = 1.1;
/// Steps that are queued to tell how long the least of them takes.
const QUEUED_STEPS: u32 = 32;
/// Queues of them; the fastest counts, for whatever else the machine does only adds to a time.
const QUEUES: usize = 8;
/// A device that takes longer for a run is measured by that one: next to it, what a first run takes more is nothing.
const SLOW_SECONDS: f64 = 5.0;
/// The least time of a step that is believed.
const LEAST_STEP_SECONDS: f64 = 1e-7;

/// A device's profile, and why parts of it are missing.
pub struct Measured {
    /// What was measured.
    pub profile: DeviceProfile,
    /// For each scheme that could not be measured a sentence.
    pub missing: Vec<String>,
}

/// One scheme's part.
struct Part {
    speed: Speed,
    step_seconds: f64,
    /// TFHE's rates by ring.
    rings: Vec<RingRate>,
    /// CKKS's rates by kind of work.
    rates: Option<CkksRates>,
}

/// A device that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject(Place);

impl Subject {
    /// The host.
    pub const CPU: Self = Self(Place::Cpu);

    /// A CUDA device.
    #[must_use]
    pub fn cuda(index: usize) -> Self {
        Self(Place::Cuda(index))
    }

    /// A wgpu adapter.
    #[must_use]
    pub fn wgpu(index: usize) -> Self {
        Self(Place::Wgpu(index))
    }

    /// Measures the device; `threads` are the host's, 0 for all cores.
    ///
    /// # Errors
    /// Whatever the device fails with, where it runs neither scheme.
    pub fn measure(self, threads: usize, progress: &dyn Progress) -> Result<Measured, EngineError> {
        progress.start(&format!("measuring {}", self.0), 2);
        let step = |part| {
            progress.advance(1);
            part
        };
        let (name, tfhe, ckks) = match self.0 {
            Place::Cpu => {
                let backend = CpuBackend::new(threads)?;
                (
                    backend.name(),
                    step(tfhe::measure(&backend)),
                    step(ckks::measure(&backend, Some(backend.threads() as u32))),
                )
            }
            Place::Cuda(index) => {
                let backend = CudaBackend::open(index)?;
                (backend.name(), step(tfhe::measure(&backend)), step(ckks::measure(&backend, None)))
            }
            Place::Wgpu(index) => {
                let backend = WgpuBackend::open(index)?;
                let tfhe = tfhe::check_exact(&backend).and_then(|()| tfhe::measure(&backend));
                (backend.name(), step(tfhe), step(ckks::measure(&backend, None)))
            }
        };
        progress.finish();
        let (mut parts, mut missing, mut last) = ([None, None], Vec::new(), None);
        for (part, result) in parts.iter_mut().zip([tfhe, ckks]) {
            match result {
                Ok(measured) => *part = Some(measured),
                Err(error) => {
                    missing.push(error.to_string());
                    last = Some(error);
                }
            }
        }
        if let (Some(error), [None, None]) = (last, &parts) {
            return Err(error);
        }
        let step_seconds = parts.iter().flatten().map(|part| part.step_seconds).fold(LEAST_STEP_SECONDS, f64::max);
        let rings = parts[0].as_mut().map(|part| std::mem::take(&mut part.rings)).unwrap_or_default();
        let ckks_rates = parts[1].as_mut().and_then(|part| part.rates.take());
        let [tfhe, ckks] = parts.map(|part| part.map(|part| part.speed));
        let (name, measured) = (bare_name(&name), Some(today()));
        let profile = DeviceProfile { name, measured, tfhe, ckks, ckks_rates, step_seconds, rings };
        Ok(Measured { profile, missing })
    }
}

/// Times growing batches: `time` runs so many rows and waits for them; a row costs so many thread-seconds.
fn speed<E>(
    row_seconds: f64,
    most_rows: usize,
    mut time: impl FnMut(usize) -> Result<Duration, E>,
) -> Result<Speed, E> {
    let mut least = |rows: usize| -> Result<f64, E> {
        let first = time(rows)?.as_secs_f64();
        let again = if first < ENOUGH_SECONDS { time(rows)?.as_secs_f64() } else { first };
        Ok(first.min(again).max(1e-9))
    };
    // The first time also compiles, and fills caches.
    let first = least(1)?;
    let alone = if first < SLOW_SECONDS { least(1)? } else { first };
    let (mut rows, mut rate, mut widest) = (1, 1.0 / alone, 1);
    let mut spent = alone;
    while spent < ENOUGH_SECONDS && 4 * rows <= most_rows {
        rows *= 4;
        spent = least(rows)?;
        let faster = rows as f64 / spent;
        let is_worth = faster > WORTH * rate;
        if faster > rate {
            (rate, widest) = (faster, rows);
        }
        if !is_worth && spent > ENOUGH_SECONDS / 16.0 {
            break;
        }
    }
    // A row alone takes as long as so many do at the best rate.
    let side_by_side = (alone * rate).round().clamp(1.0, widest as f64);
    Ok(Speed { threads: row_seconds * rate, rows: side_by_side as u32 })
}

/// Seconds of a step that has next to nothing to do, queued behind others like it.
fn step_seconds<E>(mut step: impl FnMut() -> Result<(), E>, sync: impl Fn() -> Result<(), E>) -> Result<f64, E> {
    step()?;
    sync()?;
    let mut least = f64::INFINITY;
    for _ in 0..QUEUES {
        let start = Instant::now();
        for _ in 0..QUEUED_STEPS {
            step()?;
        }
        sync()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(least / f64::from(QUEUED_STEPS))
}

/// The day in UTC, as YYYY-MM-DD.
#[must_use]
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    day(seconds / 86_400)
}

/// A day after 1970-01-01, by the Gregorian calendar: years are counted from March on, in eras of 400.
fn day(since_1970: u64) -> String {
    let days = since_1970 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (since, want) in [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_783, "2026-11-26")] {
            assert_eq!(day(since), want);
        }
    }

    #[test]
    fn a_device_that_is_idle_with_few_rows_says_how_many_it_takes() {
        // Eight rows take 10 ms, as long as one; a row costs 5 ms of a thread.
        let time = |rows: usize| Ok::<_, ()>(Duration::from_millis(10 * rows.div_ceil(8) as u64));
        let speed = speed(0.005, 4096, time).expect("never fails");
        assert!((speed.threads - 4.0).abs() < 0.01 && speed.rows == 8, "{speed:?}");
    }

    #[test]
    fn a_device_that_takes_one_row_after_the_other_says_so() {
        let time = |rows: usize| Ok::<_, ()>(Duration::from_millis(10 * rows as u64));
        let speed = speed(0.005, 4096, time).expect("never fails");
        assert!((speed.threads - 0.5).abs() < 0.01 && speed.rows == 1, "{speed:?}");
    }
}
