//! Runs of the scenarios in which a query comes when the last one is answered, and of Offline.

use crate::clock::Clock;
use crate::scenario::Limits;

/// What is measured.
pub trait System {
    /// Why a query was not answered.
    type Error;

    /// Answers so many samples at a time; returns when all answers are there.
    ///
    /// # Errors
    /// Whatever it fails with, which ends the run.
    fn answer(&mut self, samples: usize) -> Result<(), Self::Error>;
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// Seconds of each query, in the order in which they came; of Offline of each pass.
    pub latencies: Vec<f64>,
    /// Samples that were answered.
    pub samples: u64,
    /// Seconds from the first query to the last answer.
    pub seconds: f64,
}

impl Run {
    /// Latencies, the least first.
    #[must_use]
    pub fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.latencies.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// Queries of so many samples, one after the other, until time and number are reached. `watch` is told the seconds that
/// have passed.
///
/// # Errors
/// The system's.
pub fn stream<S: System>(
    system: &mut S,
    clock: &impl Clock,
    samples: usize,
    limits: &Limits,
    watch: &mut dyn FnMut(f64),
) -> Result<Run, S::Error> {
    let (mut run, start) = (Run::default(), clock.now());
    while run.seconds < limits.least_seconds || (run.latencies.len() as u64) < limits.least_queries {
        let issued = clock.now();
        system.answer(samples)?;
        let answered = clock.now();
        run.latencies.push(answered - issued);
        run.samples += samples as u64;
        run.seconds = answered - start;
        watch(run.seconds);
    }
    Ok(run)
}

/// One query of as many samples as time and number ask for, in passes of `together` samples.
///
/// # Errors
/// The system's.
pub fn offline<S: System>(
    system: &mut S,
    clock: &impl Clock,
    together: usize,
    limits: &Limits,
    watch: &mut dyn FnMut(f64),
) -> Result<Run, S::Error> {
    let passes = limits.least_queries.div_ceil(together.max(1) as u64);
    stream(system, clock, together.max(1), &Limits { least_queries: passes, ..*limits }, watch)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// A clock that only moves when somebody works or waits.
    #[derive(Clone, Default)]
    pub(crate) struct Simulated(Rc<Cell<f64>>);

    impl Simulated {
        pub(crate) fn advance(&self, seconds: f64) {
            self.0.set(self.0.get() + seconds);
        }
    }

    impl Clock for Simulated {
        fn now(&self) -> f64 {
            self.0.get()
        }

        fn wait_until(&self, seconds: f64) {
            self.0.set(self.0.get().max(seconds));
        }
    }

    /// Takes `fixed` seconds a pass, and `each` a sample.
    pub(crate) struct Worker {
        pub(crate) clock: Simulated,
        pub(crate) fixed: f64,
        pub(crate) each: f64,
        pub(crate) largest: usize,
    }

    impl Worker {
        pub(crate) fn new(fixed: f64, each: f64) -> Self {
            Self { clock: Simulated::default(), fixed, each, largest: 0 }
        }
    }

    impl System for Worker {
        type Error = ();

        fn answer(&mut self, samples: usize) -> Result<(), ()> {
            self.largest = self.largest.max(samples);
            self.clock.advance(self.fixed + self.each * samples as f64);
            Ok(())
        }
    }

    #[test]
    fn a_stream_lasts_until_both_limits_are_met() {
        for (least_seconds, least_queries, queries) in [(10.0, 1, 20), (0.0, 64, 64), (10.0, 30, 30)] {
            let mut worker = Worker::new(0.25, 0.25);
            let clock = worker.clock.clone();
            let limits = Limits { least_seconds, least_queries };
            let run = stream(&mut worker, &clock, 1, &limits, &mut |_| ()).expect("never fails");
            assert_eq!((run.latencies.len(), run.samples), (queries, queries as u64));
            assert!(run.latencies.iter().all(|latency| (latency - 0.5).abs() < 1e-9));
            assert!((run.seconds - 0.5 * queries as f64).abs() < 1e-9);
        }
    }

    #[test]
    fn offline_counts_samples_and_not_passes() {
        let mut worker = Worker::new(0.0, 0.5);
        let clock = worker.clock.clone();
        let limits = Limits { least_seconds: 1.0, least_queries: 100 };
        let run = offline(&mut worker, &clock, 8, &limits, &mut |_| ()).expect("never fails");
        assert_eq!((run.samples, run.latencies.len()), (104, 13));
        assert!((run.samples as f64 / run.seconds - 2.0).abs() < 1e-9);
    }
}
