//! Where a run stands, for whoever watches: a bar on a terminal, a line every ten seconds where more is asked for.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use heman_core::progress::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::say::say;

/// Time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// What is counted towards the end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Items of a folder or a list.
    Items,
    /// Inputs of one file.
    Inputs,
}

/// Tells where a run stands.
pub struct Watch {
    bar: Option<ProgressBar>,
    is_verbose: bool,
    unit: Unit,
    total: Option<u64>,
    start: Instant,
    /// When the last line was printed.
    told: Mutex<Instant>,
    /// Units that were done before.
    before: AtomicU64,
    /// Units that this run has done.
    done: AtomicU64,
    /// Inputs that this run has computed.
    inputs: AtomicU64,
}

impl Watch {
    /// Begins; a total is not always known.
    pub fn new(is_verbose: bool, unit: Unit, total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = if total.is_some() { "[{bar:32}] {pos}/{len} {msg}" } else { "{spinner} {pos} {msg}" };
            let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            ProgressStyle::with_template(template).map_or(bar.clone(), |style| bar.with_style(style))
        });
        let now = Instant::now();
        let (before, done, inputs) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { bar, is_verbose, unit, total, start: now, told: Mutex::new(now), before, done, inputs }
    }

    /// An item is answered, or was answered before.
    pub fn item(&self, is_new: bool) {
        if self.unit == Unit::Items {
            if is_new { &self.done } else { &self.before }.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Inputs are computed, or were computed before.
    pub fn inputs(&self, count: u64, is_new: bool) {
        if is_new {
            self.inputs.fetch_add(count, Ordering::Relaxed);
        }
        if self.unit == Unit::Inputs {
            if is_new { &self.done } else { &self.before }.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Shows where it stands; to be called again and again.
    pub fn tick(&self) {
        let [before, done, inputs] =
            [&self.before, &self.done, &self.inputs].map(|count| count.load(Ordering::Relaxed));
        let seconds = self.start.elapsed().as_secs_f64();
        let left = self.total.map(|total| total.saturating_sub(before + done) as f64 * seconds / done as f64);
        let left = left.filter(|left| left.is_finite()).map(|left| format!(", {left:.0} s left")).unwrap_or_default();
        let pace = format!("{:.1} inputs/s{left}", inputs as f64 / seconds);
        if let Some(bar) = &self.bar {
            bar.set_position(before + done);
            bar.set_message(pace);
        } else if self.is_verbose {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.elapsed() >= LINE_INTERVAL {
                *told = Instant::now();
                let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
                let unit = if self.unit == Unit::Items { "items" } else { "inputs" };
                say(&format!("{}{of} {unit}, {pace}", before + done));
            }
        }
    }

    /// Takes the bar away.
    pub fn close(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Watch {
    fn start(&self, what: &str, _total: u64) {
        if self.is_verbose {
            self.note(what);
        }
    }

    fn advance(&self, _done: u64) {}

    fn finish(&self) {}

    fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }
}
