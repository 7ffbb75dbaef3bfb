//! A progress bar on stderr, where that is a terminal.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use heman_core::progress::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::say::say;

/// Draws one bar a step; silent where nobody watches.
pub struct Bar {
    visible: bool,
    verbose: bool,
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
        Self { visible: std::io::stderr().is_terminal(), verbose }
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

    fn finish(&self) {
        Self::with(|current| {
            if let Some(bar) = current.take() {
                bar.finish_and_clear();
            }
        });
    }
}
