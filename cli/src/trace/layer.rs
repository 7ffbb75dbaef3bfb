//! From spans and events of `tracing` to those of a trace.
//!
//! A span with a field `queue` (a number) or `row` (a name) begins in that row; any other one is in its parent's row,
//! or in the host's. Within a row that has a name, queues are no rows of their own: they are a session's, and the name
//! says which of several sessions. A field `device` beside `queue` names the queue; `threads` says how many threads of
//! the host evaluate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::recording::Recording;
use super::rows::Row;

/// Writes to a recording.
pub struct TraceLayer(pub Arc<Recording>);

/// A span that is not over.
struct Open {
    row: Row,
    lane: usize,
    /// Whether the lane was taken for this span, and not for one around it.
    is_outermost: bool,
    start: Duration,
    args: Map<String, Value>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TraceLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let own = fields.row();
        let around = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            extensions.get::<Open>().map(|open| (open.row.clone(), open.lane))
        });
        let (row, lane, is_outermost) = match (own, around) {
            (None, Some((row, lane))) => (row, lane, false),
            (Some(own), Some((row, lane))) if own == row => (row, lane, false),
            // A session's own queue, within a row of whoever runs several sessions.
            (Some(Row::Queue(_)), Some((row, lane))) if row != Row::Host => (row, lane, false),
            (own, _) => {
                let row = own.unwrap_or(Row::Host);
                let lane = self.0.take(&row);
                (row, lane, true)
            }
        };
        let start = self.0.now();
        if span.name() == "upload" {
            self.0.upload_begins(start);
        }
        span.extensions_mut().insert(Open { row, lane, is_outermost, start, args: fields.0 });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            let mut fields = Fields(std::mem::take(&mut open.args));
            values.record(&mut fields);
            open.args = fields.0;
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(threads) = fields.number("threads") {
            self.0.set_threads(usize::try_from(threads).unwrap_or(0));
        }
        let row = fields.row();
        if let (Some(Row::Queue(queue)), Some(Value::String(device))) = (&row, fields.0.get("device")) {
            self.0.name_queue(*queue, device);
        }
        let around = context.event_span(event).and_then(|span| {
            let extensions = span.extensions();
            extensions.get::<Open>().map(|open| open.lane)
        });
        let message = match fields.0.remove("message") {
            Some(Value::String(message)) => message,
            _ => event.metadata().name().to_string(),
        };
        match around {
            Some(lane) => self.0.instant(lane, &message, &fields.0),
            None => {
                let lane = self.0.take(&row.unwrap_or(Row::Host));
                self.0.instant(lane, &message, &fields.0);
                self.0.give_back(lane);
            }
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Open { lane, is_outermost, start, args, .. }) = span.extensions_mut().remove::<Open>() else { return };
        let end = self.0.now();
        if span.name() == "download" {
            self.0.download_ends(end);
        }
        self.0.span(lane, span.name(), (start, end), &args);
        if is_outermost {
            self.0.give_back(lane);
        }
    }
}

/// Fields as JSON.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    /// Takes out what names a row.
    fn row(&mut self) -> Option<Row> {
        if let Some(queue) = self.number("queue") {
            self.0.remove("queue");
            return Some(Row::Queue(queue));
        }
        match self.0.remove("row") {
            Some(Value::String(name)) => Some(Row::Named(name)),
            _ => None,
        }
    }

    fn set(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_string(), value);
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::output::{Access, Replace, Target};
    use crate::trace::events::Events;
    use tracing::info_span;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::registry::Registry;

    /// The row of each span, by its name.
    fn rows(spans: impl FnOnce()) -> Vec<(String, String)> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("trace.json");
        let target = Target::claim_for(&path, Access::Everybody, Replace::Trace, &[]).expect("a place");
        let recording = Arc::new(Recording::new(Events::begin(target.begin().expect("a file"))));
        tracing::subscriber::with_default(Registry::default().with(TraceLayer(recording.clone())), spans);
        recording.finish().expect("written");
        let trace: Value = serde_json::from_slice(&std::fs::read(&path).expect("a trace")).expect("JSON");
        let events = trace["traceEvents"].as_array().expect("events");
        let name = |tid: &Value| {
            let named = |event: &&Value| event["name"] == "thread_name" && event["tid"] == *tid;
            events.iter().find(named).and_then(|event| event["args"]["name"].as_str()).expect("a name").to_string()
        };
        let spans = events.iter().filter(|event| event["ph"] == "X");
        spans.map(|span| (span["name"].as_str().expect("a name").to_string(), name(&span["tid"]))).collect()
    }

    #[test]
    fn spans_are_in_the_row_that_they_or_those_around_them_name() {
        let found = rows(|| {
            let _plan = info_span!("plan").entered();
            let _pass = info_span!("pass", queue = 1).entered();
            let _step = info_span!("linear", rows = 3).entered();
            let _read = info_span!("read", row = "files").entered();
        });
        let want = [("read", "files"), ("linear", "queue 1"), ("pass", "queue 1"), ("plan", "host")];
        assert_eq!(found, want.map(|(span, row)| (span.to_string(), row.to_string())));
    }

    #[test]
    fn queues_within_a_row_with_a_name_are_no_rows() {
        let found = rows(|| {
            let _batch = info_span!("batch", row = "card, lane 1").entered();
            let _pass = info_span!("pass", queue = 0).entered();
        });
        let want = [("pass", "card, lane 1"), ("batch", "card, lane 1")];
        assert_eq!(found, want.map(|(span, row)| (span.to_string(), row.to_string())));
    }
}
