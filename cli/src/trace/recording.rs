//! What a trace knows while it grows: the file, its rows, and how busy processors are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::events::Events;
use super::processor;
use super::rows::{Row, Rows};
use crate::error::CliError;

/// A trace that grows; all threads write to it.
pub struct Recording {
    start: Instant,
    /// Threads that evaluate on the host; 0 as long as no device is opened, or none is the host.
    threads: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    /// None once the file is finished: what still happens is not recorded.
    events: Option<Events>,
    rows: Rows,
    /// The last sample of the processors.
    sample: Option<Sample>,
    /// The first upload's beginning, and the last download's end.
    first_upload: Option<Sample>,
    last_download: Option<Sample>,
}

/// Time since the start, and processor time until then.
#[derive(Clone, Copy)]
struct Sample {
    at: Duration,
    busy: Duration,
}

impl Recording {
    /// Begins with an empty file.
    pub fn new(events: Events) -> Self {
        let rows = Rows::default();
        let state = State { events: Some(events), rows, sample: None, first_upload: None, last_download: None };
        Self { start: Instant::now(), threads: AtomicUsize::new(0), state: Mutex::new(state) }
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sample_at(&self, at: Duration) -> Option<Sample> {
        processor::busy().map(|busy| Sample { at, busy })
    }

    /// A lane of a row, until it is given back.
    pub fn take(&self, row: &Row) -> usize {
        let mut state = self.state();
        let (lane, name) = state.rows.take(row);
        if let (Some(name), Some(events)) = (name, &mut state.events) {
            events.name_row(lane, &name);
        }
        lane
    }

    /// A lane is free again.
    pub fn give_back(&self, lane: usize) {
        self.state().rows.give_back(lane);
    }

    /// A queue's device.
    pub fn name_queue(&self, queue: u64, device: &str) {
        let mut state = self.state();
        for (lane, name) in state.rows.name_queue(queue, device) {
            if let Some(events) = &mut state.events {
                events.name_row(lane, &name);
            }
        }
    }

    /// How many threads of the host evaluate.
    pub fn set_threads(&self, threads: usize) {
        self.threads.store(threads, Ordering::Relaxed);
    }

    /// A batch begins.
    pub fn upload_begins(&self, at: Duration) {
        let sample = self.sample_at(at);
        let mut state = self.state();
        state.first_upload = state.first_upload.or(sample);
    }

    /// Results of a batch are there.
    pub fn download_ends(&self, at: Duration) {
        let sample = self.sample_at(at);
        self.state().last_download = sample;
    }

    /// A span is over.
    pub fn span(&self, lane: usize, name: &str, times: (Duration, Duration), args: &Map<String, Value>) {
        if let Some(events) = &mut self.state().events {
            events.span(lane, name, times, args);
        }
    }

    /// Something happened now.
    pub fn instant(&self, lane: usize, name: &str, args: &Map<String, Value>) {
        let at = self.now();
        if let Some(events) = &mut self.state().events {
            events.instant(lane, name, at, args);
        }
    }

    /// Notes how busy processors were since the last sample, in percent of the threads that evaluate, or of all cores.
    pub fn sample(&self) {
        let Some(now) = self.sample_at(self.now()) else { return };
        let threads = match self.threads.load(Ordering::Relaxed) {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            threads => threads,
        };
        let mut state = self.state();
        let before = state.sample.replace(now).unwrap_or(Sample { at: now.at, busy: now.busy });
        let share = processor::share(now.busy.saturating_sub(before.busy), now.at.saturating_sub(before.at), threads);
        if let (Some(share), Some(events)) = (share, &mut state.events) {
            events.counter("busy processors", before.at, "percent", 100.0 * share);
        }
    }

    /// The share of the time of the host's threads in which processors did nothing, between the first upload and the
    /// last download; none where another device evaluates, or nothing was evaluated.
    pub fn idle_share(&self) -> Option<f64> {
        let threads = self.threads.load(Ordering::Relaxed);
        let state = self.state();
        let (first, last) = (state.first_upload?, state.last_download?);
        let share = processor::share(last.busy.saturating_sub(first.busy), last.at.saturating_sub(first.at), threads);
        share.map(|share| (1.0 - share).max(0.0))
    }

    /// Finishes the file.
    ///
    /// # Errors
    /// What could not be written.
    pub fn finish(&self) -> Result<(), CliError> {
        self.sample();
        let facts = json!({ "version": env!("CARGO_PKG_VERSION"), "idle_share": self.idle_share() });
        let events = self.state().events.take();
        events.map_or(Ok(()), |events| events.finish(&facts))
    }
}
