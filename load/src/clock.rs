//! Time as a run sees it.

use std::time::{Duration, Instant};

/// Tells the time, and waits.
pub trait Clock {
    /// Seconds since the clock was started.
    fn now(&self) -> f64;

    /// Returns when that time has come.
    fn wait_until(&self, seconds: f64);
}

/// The machine's own.
#[derive(Clone, Copy, Debug)]
pub struct WallClock(Instant);

impl WallClock {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for WallClock {
    fn now(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }

    fn wait_until(&self, seconds: f64) {
        let left = seconds - self.now();
        if left > 0.0 {
            std::thread::sleep(Duration::from_secs_f64(left));
        }
    }
}
