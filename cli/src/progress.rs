//! A progress bar on stderr, where that is a terminal.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use heman_core::deadline::Deadline;
use heman_core::progress::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::say::say;

/// Draws one bar a step; silent where nobody watches.
pub struct Bar {
    visible: bool,
    verbose: bool,
    deadline: Deadline,
}

/// The bar that is drawn now: there is one terminal.
static CURRENT: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Writes to stderr while the bar makes way.
pub fn beside_bar<R>(write: impl FnOnce() -> R) -> R {
    let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    match current.as_ref() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

impl Bar {
    /// A bar for one verb; `verbose` prints each step's name even without a terminal.
    pub fn new(verbose: bool) -> Self {
        Self { visible: std::io::stderr().is_terminal(), verbose, deadline: Deadline::NEVER }
    }

    /// The same for work that has to be done by then.
    pub fn until(self, deadline: Deadline) -> Self {
        Self { deadline, ..self }
    }

    fn with(act: impl FnOnce(&mut Option<ProgressBar>)) {
        act(&mut CURRENT.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Progress for Bar {
    fn start(&self, what: &str, total: u64) {
        if self.verbose {
            beside_bar(|| say(what));
        }
        if self.visible {
            let style = ProgressStyle::with_template("{msg} [{bar:32}] {percent}% {elapsed} (left: {eta})");
            let bar = ProgressBar::new(total).with_message(what.to_string());
            Self::with(|current| *current = Some(style.map_or(bar.clone(), |style| bar.with_style(style))));
        }
    }

    fn advance(&self, done: u64) {
        Self::with(|current| {
            if let Some(bar) = current {
                bar.inc(done);
            }
        });
    }

    fn note(&self, text: &str) {
        beside_bar(|| say(text));
    }

    fn deadline(&self) -> Deadline {
        self.deadline
    }

    fn finish(&self) {
        Self::with(|current| {
            if let Some(bar) = current.take() {
                bar.finish_and_clear();
            }
        });
    }
}

/// One step for work that comes in parts, each of which begins and ends a step of its own.
pub struct InParts<'a> {
    progress: &'a dyn Progress,
    /// All of the work, and the part that begins first.
    parts: (usize, usize),
    is_begun: AtomicBool,
}

impl<'a> InParts<'a> {
    /// Tells `progress` of `all` units of work, of which the first part is `first`.
    pub fn new(progress: &'a dyn Progress, all: usize, first: usize) -> Self {
        Self { progress, parts: (all, first.clamp(1, all.max(1))), is_begun: AtomicBool::new(false) }
    }
}

impl Progress for InParts<'_> {
    fn start(&self, what: &str, total: u64) {
        if !self.is_begun.swap(true, Ordering::Relaxed) {
            let (all, first) = self.parts;
            self.progress.start(what, (u128::from(total) * all as u128 / first as u128) as u64);
        }
    }

    fn advance(&self, done: u64) {
        self.progress.advance(done);
    }

    fn finish(&self) {}

    fn note(&self, text: &str) {
        self.progress.note(text);
    }
}

impl Drop for InParts<'_> {
    fn drop(&mut self) {
        self.progress.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes down what it is told.
    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Told {
        fn tell(&self, what: String) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        }
    }

    impl Progress for Told {
        fn start(&self, what: &str, total: u64) {
            self.tell(format!("{what} {total}"));
        }

        fn advance(&self, done: u64) {
            self.tell(format!("{done}"));
        }

        fn finish(&self) {
            self.tell("end".into());
        }

        fn note(&self, text: &str) {
            self.tell(text.into());
        }
    }

    #[test]
    fn parts_are_one_step_as_long_as_all_of_them() {
        let told = Told::default();
        let parts = InParts::new(&told, 10, 4);
        for (inputs, units) in [(4, 40), (4, 40), (2, 20)] {
            parts.start("inference", units);
            parts.advance(inputs);
            parts.finish();
        }
        drop(parts);
        let told = told.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(told, ["inference 100", "4", "4", "2", "end"]);
    }
}
