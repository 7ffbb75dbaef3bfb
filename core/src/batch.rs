//! A batch shared out over queues: even shares, each in passes that fit a device's memory.

use std::ops::Range;
use std::time::{Duration, Instant};

use tracing::info_span;

use crate::device::error::BackendError;
use crate::progress::Progress;

/// Where the time of a run went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the first upload to the last download.
    pub total: Duration,
    /// By kind of step, on the queue that took longest; empty unless asked for, since telling steps apart means waiting
    /// for each.
    pub steps: Vec<(&'static str, Duration)>,
    /// The same by stage as well, stages counted as the plan has them, and the output behind them; transfers are left
    /// out.
    pub stages: Vec<(usize, &'static str, Duration)>,
}

impl Timings {
    /// Adds the time of a step of one stage, or of none.
    pub fn spend_in(&mut self, stage: Option<usize>, step: &'static str, time: Duration) {
        self.spend(step, time);
        let Some(stage) = stage else { return };
        match self.stages.iter_mut().find(|(at, name, _)| (*at, *name) == (stage, step)) {
            Some((.., spent)) => *spent += time,
            None => self.stages.push((stage, step, time)),
        }
    }

    /// Adds a step's time to those of its kind.
    pub fn spend(&mut self, step: &'static str, time: Duration) {
        match self.steps.iter_mut().find(|(name, _)| *name == step) {
            Some((_, spent)) => *spent += time,
            None => self.steps.push((step, time)),
        }
    }

    /// Adds the times of a run that came behind this one.
    pub fn add(&mut self, other: &Self) {
        self.total += other.total;
        other.steps.iter().for_each(|&(step, time)| self.spend(step, time));
        for &(stage, step, time) in &other.stages {
            match self.stages.iter_mut().find(|(at, name, _)| (*at, *name) == (stage, step)) {
                Some((.., spent)) => *spent += time,
                None => self.stages.push((stage, step, time)),
            }
        }
    }

    /// Time of all steps together.
    #[must_use]
    pub fn spent(&self) -> Duration {
        self.steps.iter().map(|(_, time)| *time).sum()
    }
}

/// Times steps while they run, if it is on: then each is waited for.
#[derive(Clone, Debug, Default)]
pub struct Stopwatch {
    is_on: bool,
    timings: Timings,
}

impl Stopwatch {
    /// A stopwatch that is on or off.
    #[must_use]
    pub fn new(is_on: bool) -> Self {
        Self { is_on, timings: Timings::default() }
    }

    /// Runs a step of a stage, or of none, and what waits for it.
    ///
    /// # Errors
    /// Those of both.
    pub fn time<R, E>(
        &mut self,
        stage: Option<usize>,
        step: &'static str,
        wait: impl FnOnce() -> Result<(), E>,
        work: impl FnOnce() -> Result<R, E>,
    ) -> Result<R, E> {
        if !self.is_on {
            return work();
        }
        let start = Instant::now();
        let result = work()?;
        wait()?;
        self.timings.spend_in(stage, step, start.elapsed());
        Ok(result)
    }

    /// What was timed.
    #[must_use]
    pub fn into_timings(self) -> Timings {
        self.timings
    }
}

/// A device with everything loaded that a batch needs.
pub trait Queue: Sync {
    /// What a pass gives.
    type Output: Send;
    /// What a pass fails with.
    type Error: Send;

    /// Inputs that cost as much as one: passes are whole multiples of it, but for the last.
    fn unit(&self) -> usize;

    /// Inputs that one pass takes at the most.
    fn most(&self) -> usize;

    /// Evaluates inputs `range` of the batch.
    ///
    /// # Errors
    /// The device's; [`Queue::lack_of_memory`] tells those apart that a smaller pass may not meet.
    fn pass(&self, range: Range<usize>, progress: &dyn Progress) -> Result<Self::Output, Self::Error>;

    /// The device's error, if an error is a want of memory.
    fn lack_of_memory(error: &Self::Error) -> Option<&BackendError>;
}

/// Ranges of inputs that a queue took, in order, with what each pass gave.
pub type Passes<Q> = Vec<(Range<usize>, <Q as Queue>::Output)>;

/// What every queue gave, in order.
///
/// Units are shared out evenly. A queue that fails does not stop the others; the first failure is returned when all are
/// done. Where memory is short, passes are halved, and the user is told.
///
/// # Errors
/// The first queue's that failed for good.
pub fn share<Q: Queue>(queues: &[Q], inputs: usize, progress: &dyn Progress) -> Result<Vec<Passes<Q>>, Q::Error> {
    let unit = queues.iter().map(Queue::unit).max().unwrap_or(1).max(1);
    let units = inputs.div_ceil(unit);
    let count = queues.len().min(units);
    let first = |queue: usize| (units * queue / count.max(1) * unit).min(inputs);
    let shares: Vec<(usize, &Q)> = queues[..count].iter().enumerate().collect();
    side_by_side(&shares, |&(at, queue)| {
        let range = first(at)..first(at + 1);
        let mut results = Vec::new();
        let mut together = queue.most().max(1).next_multiple_of(queue.unit().max(1));
        let mut start = range.start;
        while start < range.end {
            let now = start..range.end.min(start + together);
            let _pass = info_span!("pass", queue = at, inputs = now.len()).entered();
            match queue.pass(now.clone(), progress) {
                Ok(result) => {
                    start = now.end;
                    results.push((now, result));
                }
                Err(error) => match Q::lack_of_memory(&error) {
                    Some(reason) if now.len() > queue.unit() => {
                        together = (now.len() / 2).next_multiple_of(queue.unit().max(1)).min(now.len() - 1);
                        progress.note(&format!("{reason}; going on with {together} inputs at a time"));
                    }
                    _ => return Err(error),
                },
            }
        }
        Ok(results)
    })
}

/// Results of a task for each item, every one but the first on a thread of its own; the first failure if there is one.
pub fn side_by_side<'t, T: Sync, R: Send, E: Send>(
    items: &'t [T],
    task: impl Fn(&'t T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let Some((own, others)) = items.split_first() else { return Ok(Vec::new()) };
    let task = &task;
    std::thread::scope(|scope| {
        let rest: Vec<_> = others.iter().map(|item| scope.spawn(move || task(item))).collect();
        let mut results = vec![task(own)];
        for thread in rest {
            results.push(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results.into_iter().collect()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::progress::NoProgress;

    /// Takes `room` inputs at a time, and fails for good at one input.
    struct Desk {
        unit: usize,
        most: usize,
        room: usize,
        broken: Option<usize>,
        passes: Mutex<Vec<Range<usize>>>,
    }

    impl Queue for Desk {
        type Output = Vec<usize>;
        type Error = BackendError;

        fn unit(&self) -> usize {
            self.unit
        }

        fn most(&self) -> usize {
            self.most
        }

        fn pass(&self, range: Range<usize>, _progress: &dyn Progress) -> Result<Vec<usize>, BackendError> {
            self.passes.lock().expect("no thread panicked").push(range.clone());
            if self.broken.is_some_and(|at| range.contains(&at)) {
                return Err(BackendError::Device { step: "work", device: "desk".into(), message: "broken".into() });
            }
            if range.len() > self.room {
                return Err(BackendError::OutOfMemory { step: "work", bytes: 1, device: "desk".into() });
            }
            Ok(range.collect())
        }

        fn lack_of_memory(error: &BackendError) -> Option<&BackendError> {
            matches!(error, BackendError::OutOfMemory { .. }).then_some(error)
        }
    }

    fn desk(unit: usize, most: usize, room: usize) -> Desk {
        Desk { unit, most, room, broken: None, passes: Mutex::default() }
    }

    fn all(queues: &[Desk], inputs: usize) -> Result<Vec<usize>, BackendError> {
        let parts = share(queues, inputs, &NoProgress)?;
        Ok(parts
            .into_iter()
            .flatten()
            .flat_map(|(range, result)| {
                assert_eq!(range.clone().collect::<Vec<_>>(), result);
                result
            })
            .collect())
    }

    #[test]
    fn times_of_a_stage_are_part_of_those_of_their_kind() {
        let (second, mut first) = (Duration::from_secs(1), Timings::default());
        first.spend_in(Some(0), "linear", second);
        first.spend_in(Some(1), "linear", 2 * second);
        first.spend_in(None, "transfer", second);
        let mut sum = first.clone();
        sum.add(&first);
        assert_eq!(sum.steps, [("linear", 6 * second), ("transfer", 2 * second)]);
        assert_eq!(sum.stages, [(0, "linear", 2 * second), (1, "linear", 4 * second)]);
        assert_eq!(sum.spent(), 8 * second);
    }

    #[test]
    fn a_stopwatch_that_is_off_neither_waits_nor_counts() {
        let mut off = Stopwatch::new(false);
        let waited = off.time(Some(0), "linear", || Err("waited"), || Ok(7));
        assert_eq!((waited, off.into_timings()), (Ok(7), Timings::default()));
        let mut on = Stopwatch::new(true);
        assert_eq!(on.time(Some(3), "linear", || Ok::<_, ()>(()), || Ok(7)), Ok(7));
        assert_eq!(on.into_timings().stages.len(), 1);
    }

    #[test]
    fn every_input_is_in_one_pass_in_order() {
        for inputs in [1, 2, 7, 64, 65] {
            for queues in [
                vec![desk(1, 10, 10)],
                vec![desk(1, 3, 3), desk(1, 10, 10), desk(1, 1, 1)],
                vec![desk(8, 16, 16), desk(8, 8, 8)],
            ] {
                assert_eq!(all(&queues, inputs), Ok((0..inputs).collect()));
            }
        }
    }

    #[test]
    fn passes_are_whole_units_and_halved_where_memory_is_short() {
        let queue = desk(4, 32, 9);
        assert_eq!(all(std::slice::from_ref(&queue), 30), Ok((0..30).collect()));
        let passes = queue.passes.into_inner().expect("no thread panicked");
        assert_eq!(passes[..4], [0..30, 0..16, 0..8, 8..16]);
        assert!(passes.iter().all(|pass| pass.start % 4 == 0));
        assert!(all(&[desk(4, 4, 3)], 4).is_err(), "a unit is not divided");
    }

    #[test]
    fn a_queue_that_fails_does_not_stop_the_others() {
        let queues = [Desk { broken: Some(1), ..desk(1, 1, 1) }, desk(1, 1, 1)];
        assert!(matches!(all(&queues, 6), Err(BackendError::Device { .. })));
        assert_eq!(queues[1].passes.lock().expect("no thread panicked").len(), 3);
    }
}
