//! What happens while a verb runs: lines on stderr, and a trace that Perfetto (<https://ui.perfetto.dev>) shows.

mod events;
mod layer;
mod log;
mod processor;
mod recording;
mod rows;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use self::events::Events;
use self::layer::TraceLayer;
use self::recording::Recording;
use crate::error::CliError;
use crate::io::output::{Access, Replace, Target};

/// From one sample of the processors to the next.
const SAMPLED: Duration = Duration::from_millis(50);

/// A trace that is being written.
pub struct Trace {
    recording: Arc<Recording>,
    /// The thread that samples ends when this is dropped.
    end: Option<Sender<()>>,
    sampler: Option<JoinHandle<()>>,
}

/// Begins to tell what happens: on stderr as `verbosity` and the environment say, and in the file of a trace if one is
/// to be written. Where neither is asked for, spans cost nothing.
///
/// This must be called once, and after signals are left to one thread.
///
/// # Errors
/// A sentence for a filter that cannot be read, or a file that cannot be written or replaced.
pub fn begin(verbosity: u8, file: Option<&Path>) -> Result<Option<Trace>, CliError> {
    let filter = log::filter(verbosity)?;
    let recording = match file {
        None => None,
        Some(file) => {
            let target = Target::claim_for(file, Access::Everybody, Replace::Trace, &[])?;
            target.keep_for_trace();
            Some(Arc::new(Recording::new(Events::begin(target.begin()?))))
        }
    };
    if filter.is_none() && recording.is_none() {
        return Ok(None);
    }
    let ours = Targets::new().with_target("heman", tracing::Level::TRACE);
    let traced = recording.clone().map(|recording| TraceLayer(recording).with_filter(ours));
    let subscriber = Registry::default().with(filter.map(log::layer)).with(traced);
    tracing::subscriber::set_global_default(subscriber).map_err(|error| CliError::new(error.to_string()))?;
    Ok(recording.map(Trace::sampled))
}

impl Trace {
    /// Samples the processors until the end.
    fn sampled(recording: Arc<Recording>) -> Self {
        let (end, ended) = channel();
        recording.sample();
        let sampled = recording.clone();
        let sample = move || {
            while ended.recv_timeout(SAMPLED) == Err(RecvTimeoutError::Timeout) {
                sampled.sample();
            }
        };
        // Without the thread there are fewer samples, and everything else is as it was.
        let sampler = std::thread::Builder::new().name("trace".into()).spawn(sample).ok();
        Self { recording, end: Some(end), sampler }
    }

    /// As [`Recording::idle_share`].
    pub fn idle_share(&self) -> Option<f64> {
        self.recording.idle_share()
    }

    /// Writes the rest, and renames the file to its place.
    ///
    /// # Errors
    /// What could not be written.
    pub fn finish(mut self) -> Result<(), CliError> {
        self.close()
    }

    fn close(&mut self) -> Result<(), CliError> {
        drop(self.end.take());
        if let Some(sampler) = self.sampler.take() {
            let _ = sampler.join();
        }
        self.recording.finish()
    }
}

/// A panic leaves a trace that can be read, and no unfinished file.
impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.close();
    }
}
