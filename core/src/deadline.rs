//! The time that work may take.

use std::time::{Duration, Instant};

/// When work has to be done. Long work checks it in between, and ends with an error once it is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deadline(Option<(Instant, Duration)>);

/// The time was over before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("it takes longer than the {} s that it may", .allowed.as_secs_f64())]
pub struct Late {
    /// What it may take.
    pub allowed: Duration,
}

impl Deadline {
    /// None: the work takes what it takes.
    pub const NEVER: Self = Self(None);

    /// So long from now on; none beyond what a clock can tell.
    #[must_use]
    pub fn after(allowed: Duration) -> Self {
        Self(Instant::now().checked_add(allowed).map(|end| (end, allowed)))
    }

    /// Fails once it is over.
    ///
    /// # Errors
    /// [`Late`].
    pub fn check(&self) -> Result<(), Late> {
        match self.0 {
            Some((end, allowed)) if Instant::now() >= end => Err(Late { allowed }),
            _ => Ok(()),
        }
    }

    /// What is left, and what there was; none where there is no end.
    #[must_use]
    pub fn left(&self) -> Option<(Duration, Late)> {
        self.0.map(|(end, allowed)| (end.saturating_duration_since(Instant::now()), Late { allowed }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_once_the_time_is() {
        assert_eq!((Deadline::NEVER.check(), Deadline::NEVER.left()), (Ok(()), None));
        assert_eq!(Deadline::after(Duration::MAX).check(), Ok(()));
        assert_eq!(Deadline::after(Duration::from_secs(3600)).check(), Ok(()));
        let late = Deadline::after(Duration::ZERO).check().expect_err("no time at all");
        assert_eq!(late.to_string(), "it takes longer than the 0 s that it may");
    }
}
