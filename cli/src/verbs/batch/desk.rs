//! Where items come in and answers go out: who has what in work, and what is written down of it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use heman_core::either::files::EncryptedOutput;
use heman_core::either::params::Params;
use heman_core::either::streams::OutputWriter;
use heman_core::files::chunks::Reader;
use heman_core::files::container::Fingerprint;
use heman_core::files::sealed::Batch;
use heman_core::progress::Progress;
use heman_engine::EngineError;
use heman_engine::scheduler::{Answer, Answers, Course};
use serde_json::{Value, json};

use super::journal::{Journal, Past};
use super::names::Item;
use super::store::Store;
use super::tally::Tally;
use super::watch::Watch;
use crate::error::{CliError, one_line, printable};
use crate::report;

/// Longest time between an answer and its line in the journal, while answers come.
const SYNC_INTERVAL: Duration = Duration::from_millis(200);

/// An item in work.
pub struct Whole {
    /// Its names.
    pub item: Item,
    /// The digest of its name.
    pub digest: u128,
    /// Where its output goes.
    pub place: PathBuf,
    /// Its inputs.
    pub batch: Batch,
    /// Its key.
    pub fingerprint: Fingerprint,
    /// How far it is, where it is answered in parts.
    pub parts: Mutex<Parts>,
}

/// How far an item is that is answered in parts.
#[derive(Default)]
pub struct Parts {
    /// Parts that are in work.
    pending: usize,
    /// Whether all parts have been read.
    is_read: bool,
    /// Why it has failed.
    error: Option<String>,
}

/// What happens to an item in parts.
#[derive(Clone, Copy)]
pub enum Step {
    /// A part is answered.
    Answered,
    /// No more parts will be read.
    Read,
}

/// A request in work.
pub struct Work {
    /// The item that it is, or belongs to.
    pub whole: Arc<Whole>,
    /// The first input of a part; none for a whole item.
    pub first: Option<u32>,
    /// Its inputs.
    pub inputs: u32,
    /// When it was read.
    pub since: Instant,
}

/// What reader, answers and clock share.
pub struct Desk<'a> {
    params: &'a Params,
    store: &'a Store,
    watch: &'a Watch,
    ledger: Mutex<Ledger>,
    in_work: Mutex<HashMap<u64, Work>>,
    tally: Mutex<Tally>,
    is_stopped: Arc<AtomicBool>,
    start: (Instant, SystemTime),
}

/// The journal, and lines that wait for it.
struct Ledger {
    journal: Journal,
    lines: String,
    flushed: Instant,
    error: Option<CliError>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file of the part that begins with that input.
pub fn part_name(first: u32) -> String {
    format!("{first:010}.out")
}

/// Where an item's output lies in the output folder.
fn named(whole: &Whole) -> Value {
    json!({ "output": report::path(&whole.item.output) })
}

impl<'a> Desk<'a> {
    /// Begins; the clock of a run starts here.
    pub fn new(
        params: &'a Params,
        store: &'a Store,
        watch: &'a Watch,
        journal: Journal,
        is_stopped: Arc<AtomicBool>,
    ) -> Self {
        let now = Instant::now();
        Self {
            params,
            store,
            watch,
            ledger: Mutex::new(Ledger { journal, lines: String::new(), flushed: now, error: None }),
            in_work: Mutex::default(),
            tally: Mutex::default(),
            is_stopped,
            start: (now, SystemTime::now()),
        }
    }

    /// What earlier runs made of an item.
    pub fn past(&self, item: u128) -> Past {
        lock(&self.ledger).journal.past(item)
    }

    /// The output folder.
    pub fn store(&self) -> &Store {
        self.store
    }

    /// Counts an item that needs no work.
    pub fn pass_over(&self, past: Past) {
        let mut tally = lock(&self.tally);
        *(if past == Past::Failed { &mut tally.failed_before } else { &mut tally.skipped }) += 1;
        self.watch.item(false);
    }

    /// Inputs of an item that were answered before.
    pub fn parts_found(&self, inputs: u32) {
        self.watch.inputs(u64::from(inputs), false);
    }

    /// An output was there already, and the journal did not know of it.
    pub fn found(&self, whole: &Whole) {
        let mut facts = json!({ "inputs": whole.batch.inputs, "attempts": 0 });
        report::merge(&mut facts, named(whole));
        self.record(&whole.item.name, "done", facts);
        self.watch.inputs(u64::from(whole.batch.inputs), false);
        self.pass_over(Past::Done);
    }

    /// Takes a request in work.
    pub fn put_in_work(&self, ticket: u64, work: Work) {
        if work.first.is_some() {
            lock(&work.whole.parts).pending += 1;
        }
        lock(&self.in_work).insert(ticket, work);
    }

    /// An item has failed.
    pub fn fail(&self, name: &str, error: &str, mut facts: Value) {
        self.watch.note(&format!("failed: {}: {}", one_line(name), printable(error)));
        facts.as_object_mut().map(|facts| facts.remove("output"));
        report::merge(&mut facts, json!({ "error": error }));
        self.record(name, "failed", facts);
        lock(&self.tally).failed += 1;
        self.watch.item(true);
    }

    /// Nothing more can be done.
    pub fn break_off(&self, error: CliError) {
        lock(&self.ledger).error.get_or_insert(error);
        self.stop();
    }

    /// Nothing more is to be read.
    fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Whether nothing more is to be read.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    fn record(&self, name: &str, status: &str, facts: Value) {
        let mut line = json!({ "item": name, "status": status });
        report::merge(&mut line, facts);
        let mut ledger = lock(&self.ledger);
        ledger.lines += &line.to_string();
        ledger.lines.push('\n');
    }

    /// Writes waiting lines to the journal once they have waited long enough, or at once: behind the files that they
    /// speak of.
    pub fn flush(&self, is_due: bool) {
        let mut ledger = lock(&self.ledger);
        if ledger.lines.is_empty() || !(is_due || ledger.flushed.elapsed() >= SYNC_INTERVAL) {
            return;
        }
        let lines = std::mem::take(&mut ledger.lines);
        let written = self.store.sync().and_then(|()| ledger.journal.append(&lines));
        ledger.flushed = Instant::now();
        if let Err(error) = written {
            let path = ledger.journal.path().display().to_string();
            drop(ledger);
            self.break_off(CliError::bad_file(format!("cannot keep the journal {path}: {error}")));
        }
    }

    /// Ends: what was done, and what broke it off.
    pub fn close(self) -> (Tally, Option<CliError>) {
        self.flush(true);
        let error = self.ledger.into_inner().unwrap_or_else(PoisonError::into_inner).error;
        (self.tally.into_inner().unwrap_or_else(PoisonError::into_inner), error)
    }

    fn facts(&self, work: &Work, course: &Course) -> Value {
        let waited = (self.start.0 + course.started).saturating_duration_since(work.since);
        let mut facts = json!({
            "inputs": work.inputs,
            "queue": course.queue,
            "attempts": course.attempts,
            "together": course.together,
            "started": humantime::format_rfc3339_millis(self.start.1 + course.started).to_string(),
            "seconds_waiting": waited.as_secs_f64(),
            "seconds_computing": course.took.as_secs_f64(),
        });
        let more = match work.first {
            Some(first) => json!({ "first": first }),
            None => named(&work.whole),
        };
        report::merge(&mut facts, more);
        facts
    }

    fn answer(&self, work: &Work, answer: Answer) -> Result<(), CliError> {
        let Answer { outcome, course, .. } = answer;
        let (whole, mut facts) = (&work.whole, self.facts(work, &course));
        let mut failure = None;
        match outcome {
            Ok(output) => {
                let path = match work.first {
                    None => whole.place.clone(),
                    Some(first) => {
                        let folder = self.store.parts(whole.digest);
                        folder.map_err(|error| CliError::file(&whole.place, error))?.join(part_name(first))
                    }
                };
                let bytes = self.store.write(&path, |out| output.seal_to(self.params, out).map(|_| ()))?;
                report::merge(&mut facts, json!({ "bytes": bytes }));
                self.record(&whole.item.name, "done", facts);
                self.watch.inputs(u64::from(work.inputs), true);
                lock(&self.tally).count(&course, work.inputs);
                if work.first.is_none() {
                    self.done();
                }
            }
            Err(error) if work.first.is_none() => self.fail(&whole.item.name, &error.to_string(), facts),
            Err(error) => {
                report::merge(&mut facts, json!({ "error": error.to_string() }));
                self.record(&whole.item.name, "failed", facts);
                failure = Some(error.to_string());
            }
        }
        if work.first.is_some() { self.settle(whole, Step::Answered, failure) } else { Ok(()) }
    }

    fn done(&self) {
        lock(&self.tally).done += 1;
        self.watch.item(true);
    }

    /// Notes a step of an item in parts, and ends it once all of them are read and answered.
    ///
    /// # Errors
    /// What breaks the run off.
    pub fn settle(&self, whole: &Whole, step: Step, failure: Option<String>) -> Result<(), CliError> {
        let mut parts = lock(&whole.parts);
        match step {
            Step::Read => parts.is_read = true,
            Step::Answered => parts.pending -= 1,
        }
        parts.error = parts.error.take().or(failure);
        if !parts.is_read || parts.pending > 0 {
            return Ok(());
        }
        let error = parts.error.take();
        drop(parts);
        let mut facts = json!({ "inputs": whole.batch.inputs });
        report::merge(&mut facts, named(whole));
        let bytes = match error {
            Some(error) => Err(error),
            None => self.join(whole)?,
        };
        match bytes {
            Err(error) => self.fail(&whole.item.name, &error, facts),
            Ok(bytes) => {
                report::merge(&mut facts, json!({ "bytes": bytes }));
                self.record(&whole.item.name, "done", facts);
                // Parts go once the journal says that they are not needed any more.
                self.flush(true);
                self.store.forget_parts(whole.digest);
                self.done();
            }
        }
        Ok(())
    }

    /// Puts the parts of an item together; the inner error is of a part, which is removed.
    fn join(&self, whole: &Whole) -> Result<Result<u64, String>, CliError> {
        let folder = self.store.parts(whole.digest).map_err(|error| CliError::file(&whole.place, error))?;
        let mut unsound = None;
        let written = self.store.write(&whole.place, |out| {
            let mut writer = OutputWriter::new(out, self.params, whole.batch, whole.fingerprint)?;
            let mut first = 0;
            while first < whole.batch.inputs {
                let path = folder.join(part_name(first));
                let part = Reader::open(&path)
                    .and_then(|file| EncryptedOutput::open(file, self.params, Some(whole.fingerprint)));
                let part = part.map_err(|error| {
                    let _ = std::fs::remove_file(&path);
                    unsound = Some(format!("the part from input {first} on is not sound: {error}"));
                    std::io::Error::other("a part is not sound")
                })?;
                writer.put(&part)?;
                first += part.count() as u32;
            }
            writer.finish().map(|_| ())
        });
        match (written, unsound) {
            (Ok(bytes), _) => Ok(Ok(bytes)),
            (Err(_), Some(unsound)) => Ok(Err(unsound)),
            (Err(error), None) => Err(error),
        }
    }
}

/// Hands answers to a desk.
pub struct Outbox<'d, 'a>(pub &'d Desk<'a>);

impl Answers for Outbox<'_, '_> {
    fn put(&mut self, answer: Answer) -> Result<(), EngineError> {
        let work = lock(&self.0.in_work).remove(&answer.ticket);
        if let Some(work) = work
            && let Err(error) = self.0.answer(&work, answer)
        {
            self.0.break_off(error);
        }
        self.0.flush(false);
        if self.0.is_stopped() {
            return Err(EngineError::Outside("the run was broken off".into()));
        }
        Ok(())
    }

    fn close(&mut self) {
        self.0.stop();
    }
}
