//! Events in the JSON format that Chrome and Perfetto read, written as they come.
//!
//! Source: "Trace Event Format", <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::error::CliError;
use crate::io::output::{Writing, commit};
use crate::io::place::TRACE_START;

/// The one process of a trace.
const PROCESS: u32 = 1;

/// A file of events that grows beside its place. What cannot be written is told at the end.
pub struct Events {
    out: BufWriter<Writing>,
    failure: Option<io::Error>,
}

impl Events {
    /// Begins a file.
    pub fn begin(out: Writing) -> Self {
        let mut events = Self { out: BufWriter::new(out), failure: None };
        events.write(TRACE_START);
        let name = json!({ "name": "heman" });
        events.write(&json!({ "ph": "M", "pid": PROCESS, "name": "process_name", "args": name }).to_string());
        events
    }

    /// A row's name.
    pub fn name_row(&mut self, lane: usize, name: &str) {
        let args = json!({ "name": name });
        self.event(json!({ "ph": "M", "pid": PROCESS, "tid": lane + 1, "name": "thread_name", "args": args }));
    }

    /// Something that took from `start` to `end`.
    pub fn span(&mut self, lane: usize, name: &str, (start, end): (Duration, Duration), args: &Map<String, Value>) {
        let (at, lasted) = (microseconds(start), microseconds(end.saturating_sub(start)));
        self.event(json!({
            "ph": "X", "pid": PROCESS, "tid": lane + 1, "name": name, "ts": at, "dur": lasted, "args": args,
        }));
    }

    /// Something that happened at one moment.
    pub fn instant(&mut self, lane: usize, name: &str, at: Duration, args: &Map<String, Value>) {
        let at = microseconds(at);
        self.event(json!({
            "ph": "i", "s": "t", "pid": PROCESS, "tid": lane + 1, "name": name, "ts": at, "args": args,
        }));
    }

    /// A number that changes with time.
    pub fn counter(&mut self, name: &str, at: Duration, unit: &str, value: f64) {
        self.event(json!({
            "ph": "C", "pid": PROCESS, "name": name, "ts": microseconds(at), "args": { unit: value },
        }));
    }

    /// Ends the file and renames it to its place; `facts` stand beside the events.
    ///
    /// # Errors
    /// What could not be written.
    pub fn finish(mut self, facts: &Value) -> Result<(), CliError> {
        self.write(&format!("\n],\"otherData\":{facts}}}\n"));
        let Self { out, failure } = self;
        let (writing, flushed) = match out.into_inner() {
            Ok(writing) => (writing, None),
            Err(error) => {
                let (error, out) = error.into_parts();
                (out.into_parts().0, Some(error))
            }
        };
        match failure.or(flushed) {
            Some(error) => Err(writing.failed(error)),
            None => commit(vec![writing.finish()?]),
        }
    }

    fn event(&mut self, event: Value) {
        self.write(",\n");
        self.write(&event.to_string());
    }

    fn write(&mut self, text: &str) {
        if self.failure.is_none() {
            self.failure = self.out.write_all(text.as_bytes()).err();
        }
    }
}

/// To the nanosecond.
fn microseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}
