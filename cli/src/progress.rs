//! A progress bar on stderr, where that is a terminal.

use std::io::IsTerminal;
use std::sync::Mutex;

use heman_core::progress::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// Draws one bar a step; silent where nobody watches.
pub struct Bar {
    visible: bool,
    verbose: bool,
    current: Mutex<Option<ProgressBar>>,
}

impl Bar {
    /// A bar for one verb; `verbose` prints each step's name even without a terminal.
    pub fn new(verbose: bool) -> Self {
        Self { visible: std::io::stderr().is_terminal(), verbose, current: Mutex::new(None) }
    }

    fn with(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        if let Ok(mut current) = self.current.lock() {
            act(&mut current);
        }
    }
}

impl Progress for Bar {
    fn start(&self, what: &str, total: u64) {
        if self.verbose {
            eprintln!("{what}");
        }
        if self.visible {
            let style = ProgressStyle::with_template("{msg} [{bar:32}] {percent}% {elapsed} (left: {eta})");
            let bar = ProgressBar::new(total).with_message(what.to_string());
            self.with(|current| *current = Some(style.map_or(bar.clone(), |style| bar.with_style(style))));
        }
    }

    fn advance(&self, done: u64) {
        self.with(|current| {
            if let Some(bar) = current {
                bar.inc(done);
            }
        });
    }

    fn note(&self, text: &str) {
        self.with(|current| match current {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        });
    }

    fn finish(&self) {
        self.with(|current| {
            if let Some(bar) = current.take() {
                bar.finish_and_clear();
            }
        });
    }
}
