//! Runs of the Server scenario at one rate.

use std::collections::VecDeque;

use crate::arrivals::Arrivals;
use crate::clock::Clock;
use crate::early_stopping::{proves, refutes};
use crate::percentiles::percentile;
use crate::run::{Run, System};
use crate::scenario::{Limits, Scenario};

/// Latency of the last answer, in bounds, at which the queue is taken to grow without end.
const HOPELESS: f64 = 20.0;
/// A run that neither proves nor refutes the bound in so many times its least duration has not proved it.
const PATIENCE: f64 = 4.0;

/// A queue that is longer grows without end.
const MOST_WAITING: usize = 1 << 20;

/// What is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    /// Queries a second on average.
    pub rate: f64,
    /// Seconds in which 99 % of the queries must be answered.
    pub bound_seconds: f64,
    /// Most waiting queries that are answered at a time.
    pub together: usize,
    /// Seed of the arrivals.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    /// Latencies from each query's arrival to its answer.
    pub run: Run,
    /// Queries that were late, with those that had waited too long when a run was stopped.
    pub late: u64,
    /// Whether the percentile lay within the bound, and queries come no faster than they can be answered.
    pub holds: bool,
    /// Whether early stopping proves that it does.
    pub is_proved: bool,
}

/// Queries that arrive at a rate, answered in the order in which they came, as many at a time as wait.
///
/// A query's latency counts from its arrival, also where it waits. The run lasts until its limits are met and the bound
/// is proved or refuted; with fewer queries than a proof takes, where the limits allow that, the percentile itself
/// decides. All queries that came until then are answered and counted. A rate beyond what passes of the largest size
/// answer does not hold, however few queries came. A queue that grows without end stops the run.
///
/// # Errors
/// The system's.
pub fn serve<S: System>(
    system: &mut S,
    clock: &impl Clock,
    asked: &Asked,
    limits: &Limits,
    watch: &mut dyn FnMut(f64),
) -> Result<Served, S::Error> {
    let share = Scenario::Server.percentile().unwrap_or(1.0);
    let must_prove = limits.least_queries > 1;
    let together = asked.together.max(1);
    let (mut run, mut late, start) = (Run::default(), 0, clock.now());
    let mut arrivals = Arrivals::new(asked.rate, asked.seed).peekable();
    let mut waiting: VecDeque<f64> = VecDeque::new();
    let mut full = FullPasses { together, passes: 0, seconds: 0.0 };
    // Queries that come later are left out for as long as it is set.
    let mut closed: Option<f64> = None;
    loop {
        let now = closed.unwrap_or(clock.now() - start);
        let may_wait = closed.is_none();
        while waiting.len() < MOST_WAITING
            && let Some(at) = arrivals.next_if(|&at| at <= now || may_wait && waiting.is_empty())
        {
            waiting.push_back(at);
        }
        if let Some(&first) = waiting.front() {
            clock.wait_until(start + first);
            let count = waiting.len().min(together);
            let begun = clock.now() - start;
            system.answer(count)?;
            let answered = clock.now() - start;
            full.add(count, answered - begun);
            for at in waiting.drain(..count) {
                late += u64::from(answered - at > asked.bound_seconds);
                run.latencies.push(answered - at);
            }
            run.samples += count as u64;
            run.seconds = answered;
            watch(answered);
        }
        let (queries, answered) = (run.samples, run.seconds);
        let last = run.latencies.last().copied().unwrap_or(0.0);
        let is_grown = last > HOPELESS * asked.bound_seconds && late > queries / 2;
        let is_over = answered >= limits.least_seconds && queries >= limits.least_queries;
        if is_grown || waiting.len() + together >= MOST_WAITING || is_over && full.is_slower_than(asked.rate) {
            let is_late = |at: &&f64| answered - **at > asked.bound_seconds;
            late += waiting.iter().filter(is_late).count() as u64;
            return Ok(Served { run, late, holds: false, is_proved: false });
        }
        let is_proved = is_over && proves(queries, late, share);
        let is_refuted = is_over && refutes(queries, late, share);
        let is_enough = is_over && (!must_prove || answered > PATIENCE * limits.least_seconds);
        let is_decided = is_proved || is_refuted || is_enough;
        if closed.is_none() {
            closed = is_decided.then_some(answered);
        } else if waiting.is_empty() {
            if !is_decided {
                closed = None;
                continue;
            }
            let sorted = run.sorted();
            let tail = percentile(&sorted, share).or(sorted.last().copied()).unwrap_or(f64::INFINITY);
            let is_kept = if must_prove { is_proved } else { tail <= asked.bound_seconds };
            if is_kept && full.passes == 0 {
                let begun = clock.now();
                system.answer(together)?;
                full.add(together, clock.now() - begun);
            }
            let holds = is_kept && !full.is_slower_than(asked.rate);
            return Ok(Served { run, late, holds, is_proved: is_proved && holds });
        }
    }
}

/// Passes of the largest size, which tell the highest rate that can be answered.
struct FullPasses {
    together: usize,
    passes: usize,
    seconds: f64,
}

impl FullPasses {
    fn add(&mut self, count: usize, seconds: f64) {
        if count == self.together {
            self.passes += 1;
            self.seconds += seconds;
        }
    }

    /// Whether queries come faster than they answer them; not before there was one.
    fn is_slower_than(&self, rate: f64) -> bool {
        rate * self.seconds > (self.passes * self.together) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::tests::Worker;

    fn served(fixed: f64, each: f64, together: usize, rate: f64, bound_seconds: f64, limits: &Limits) -> Served {
        let mut worker = Worker::new(fixed, each);
        let clock = worker.clock.clone();
        let asked = Asked { rate, bound_seconds, together, seed: 3 };
        serve(&mut worker, &clock, &asked, limits, &mut |_| ()).expect("never fails")
    }

    #[test]
    fn waiting_times_are_those_of_a_queue_with_constant_service() {
        let limits = Limits { least_seconds: 200_000.0, least_queries: 1 };
        let Served { run, .. } = served(1.0, 0.0, 1, 0.5, 1e9, &limits);
        let mean = run.latencies.iter().sum::<f64>() / run.latencies.len() as f64;
        // Pollaczek and Khinchine: the wait is load / (2 (1 - load)) of a service, here a half.
        assert!((mean - 1.5).abs() < 0.02, "{mean}");
    }

    #[test]
    fn a_rate_beyond_the_capacity_does_not_hold_and_stops() {
        let limits = Limits::by_rules(Scenario::Server);
        let found = served(1.0, 0.0, 1, 2.0, 3.0, &limits);
        assert!(!found.holds && !found.is_proved && found.run.seconds < 600.0);
    }

    #[test]
    fn a_low_rate_is_proved_by_the_rules() {
        let limits = Limits::by_rules(Scenario::Server);
        let found = served(0.1, 0.0, 1, 1.0, 0.5, &limits);
        assert!(found.holds && found.is_proved && found.run.seconds >= 600.0 && found.run.samples >= 459);
    }

    #[test]
    fn what_waits_is_answered_together() {
        let limits = Limits { least_seconds: 1000.0, least_queries: 1 };
        assert!(!served(1.0, 0.0, 1, 4.0, 3.0, &limits).holds);
        assert!(served(1.0, 0.0, 16, 4.0, 3.0, &limits).holds);
    }
    #[test]
    fn a_rate_beyond_the_capacity_never_holds_however_short_the_run() {
        for (together, capacity) in [(1, 0.5), (4, 0.8)] {
            for seconds in [0.1, 1.0, 5.0, 20.0] {
                let limits = Limits { least_seconds: seconds, least_queries: 1 };
                let found = served(1.0, 1.0, together, 1.1 * capacity, 1e6, &limits);
                assert!(!found.holds, "{together} at a time for {seconds} s");
            }
        }
    }

    #[test]
    fn all_queries_that_came_are_answered() {
        let limits = Limits { least_seconds: 20.0, least_queries: 1 };
        let Served { run, .. } = served(1.0, 0.0, 1, 0.95, 1e6, &limits);
        let end = run.seconds - run.latencies.last().copied().unwrap_or(f64::NAN);
        let came = Arrivals::new(0.95, 3).take_while(|&at| at <= end.max(20.0)).count();
        assert_eq!(run.latencies.len(), came);
    }

    #[test]
    fn a_flood_of_queries_is_stopped() {
        let limits = Limits { least_seconds: 10.0, least_queries: 1 };
        let found = served(1.0, 0.0, 16, 1e9, 1e6, &limits);
        assert!(!found.holds && found.run.seconds < 10.0);
    }
}
