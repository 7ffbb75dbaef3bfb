//! A batch shared out over queues.

use std::time::Duration;

/// Seconds spent in each kind of step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Mask expansion and copies.
    pub transfer: Duration,
    /// Linear maps.
    pub linear: Duration,
    /// Keyswitches.
    pub keyswitch: Duration,
    /// Bootstraps.
    pub bootstrap: Duration,
}

impl Timings {
    /// Sum of all.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.transfer + self.linear + self.keyswitch + self.bootstrap
    }
}

/// Results of a task for each item, every one but the first on a thread of its own; the first failure if there is one.
pub(crate) fn side_by_side<'t, T: Sync, R: Send, E: Send>(
    items: &'t [T],
    task: impl Fn(&'t T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let task = &task;
    std::thread::scope(|scope| {
        let rest: Vec<_> = items[1..].iter().map(|item| scope.spawn(move || task(item))).collect();
        let mut results = vec![task(&items[0])];
        for thread in rest {
            results.push(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results.into_iter().collect()
    })
}
