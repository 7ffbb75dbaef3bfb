//! Lanes at work: a thread each, and one that reads requests.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use heman_core::either::files::{EncryptedInput, EncryptedOutput};
use heman_core::files::container::Fingerprint;
use heman_core::files::sealed::Batch;
use heman_core::progress::Progress;
use tracing::info_span;

use crate::error::EngineError;
use crate::scheduler::backlog::{Asked, Backlog, Waiting};
use crate::scheduler::fleet::Fleet;
use crate::scheduler::requests::{Answer, Answers, Course, Keys, Requests};
use crate::scheduler::station::Station;

/// Passes of one request that may fail because of a device, until it is given up.
const MOST_ATTEMPTS: u32 = 3;
/// Failures in a row that a device may have, until it is left.
const MOST_FAILURES: u32 = 6;

impl Fleet<'_> {
    /// Answers all requests.
    ///
    /// # Errors
    /// What `answers` fails with; the last device's error if all have failed. What was not answered then was not done.
    pub fn run(
        &self,
        requests: &mut dyn Requests,
        keys: &dyn Keys,
        answers: &mut dyn Answers,
        progress: &dyn Progress,
    ) -> Result<(), EngineError> {
        let stations = self.stations();
        let lanes: usize = stations.iter().map(|station| station.lanes).sum();
        let each: usize = stations.iter().map(|station| station.lanes * station.most).sum();
        let joining = stations.iter().any(|station| station.is_joining);
        let least = if joining { 1 } else { stations.iter().map(|station| station.most).max().unwrap_or(1) };
        let backlog = &Backlog::new(stations.iter().map(|station| station.lanes).collect(), 2 * each, least);
        let start = Instant::now();
        let (send, receive) = sync_channel(2 * lanes);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let _guard = StopsOnPanic(backlog);
                while let Some(request) = requests.next() {
                    if !backlog.put(request) {
                        return;
                    }
                }
                backlog.complete();
            });
            let mut workers = Vec::with_capacity(lanes);
            for (at, station) in stations.iter().enumerate() {
                for number in 0..station.lanes {
                    let number = station.first_lane + number;
                    let lane = Lane { at, station, number, backlog, keys, answers: send.clone(), start, progress };
                    workers.push(scope.spawn(move || {
                        let _guard = StopsOnPanic(lane.backlog);
                        lane.work()
                    }));
                }
            }
            drop(send);
            let delivered = deliver(&receive, answers, backlog);
            answers.close();
            let failures = workers
                .into_iter()
                .filter_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            delivered?;
            failures.last().map_or(Ok(()), Err)
        })
    }
}

/// Hands answers on until no lane is left; after a failure they are dropped.
fn deliver(receive: &Receiver<Answer>, answers: &mut dyn Answers, backlog: &Backlog) -> Result<(), EngineError> {
    let mut delivered = Ok(());
    for answer in receive {
        if delivered.is_ok() {
            delivered = answers.put(answer);
            if delivered.is_err() {
                backlog.stop();
            }
        }
    }
    delivered
}

/// Lets nobody wait for a thread that is no more.
struct StopsOnPanic<'r>(&'r Backlog);

impl Drop for StopsOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// One of a device's two hands.
struct Lane<'r, 'a> {
    /// Number of the station.
    at: usize,
    station: &'r Station<'a>,
    number: usize,
    backlog: &'r Backlog,
    keys: &'r dyn Keys,
    answers: SyncSender<Answer>,
    start: Instant,
    progress: &'r dyn Progress,
}

impl Lane<'_, '_> {
    /// Works until everything is done; gives the error for which the last lane had to be left.
    fn work(self) -> Option<EngineError> {
        let mut failures = 0;
        loop {
            let loaded = self.station.loaded();
            let Station { most, is_joining, .. } = *self.station;
            let batch = self.backlog.take(&Asked { station: self.at, most, is_joining, loaded: &loaded })?;
            let taken = batch.len();
            let mut turn = Turn { again: Vec::new(), of_device: None, is_hopeless: false };
            self.pass(batch, &mut turn);
            failures = if turn.of_device.is_some() { failures + 1 } else { 0 };
            self.backlog.done(taken, turn.again);
            let is_left = turn.is_hopeless || failures >= MOST_FAILURES;
            let Some(error) = turn.of_device.filter(|_| is_left) else { continue };
            let name = &self.station.name;
            if self.backlog.leave(self.at) {
                self.progress.note(&format!("{name} is not used any more: {error}"));
                return None;
            }
            self.backlog.stop();
            return Some(error);
        }
    }

    /// Evaluates a batch of one key, and answers what is done.
    fn pass(&self, batch: Vec<Waiting>, turn: &mut Turn) {
        let Some(first) = batch.first() else { return };
        let key = first.request.input.fingerprint();
        let sizes: Vec<Batch> = batch.iter().map(|waiting| waiting.request.input.batch()).collect();
        let together = sizes.iter().map(|size| size.inputs as usize).sum();
        let queue = format!("{}, lane {}", self.station.name, self.number);
        let _batch = info_span!("batch", row = queue, requests = batch.len(), inputs = together).entered();
        let started = self.start.elapsed();
        let course = |attempts| Course {
            queue: queue.clone(),
            attempts,
            together,
            started,
            took: self.start.elapsed() - started,
        };
        match self.evaluate(key, &batch) {
            Ok(output) => {
                let outputs = output.divided(self.station.params, &sizes);
                for (waiting, output) in batch.into_iter().zip(outputs) {
                    self.answer(waiting.request.ticket, Ok(output), course(waiting.attempts + 1));
                }
            }
            Err(error) if error.is_for_all() => {
                turn.again = batch;
                (turn.of_device, turn.is_hopeless) = (Some(error), true);
            }
            Err(error) if error.is_of_a_device() => {
                self.station.forget();
                for mut waiting in batch {
                    let attempts = waiting.attempts + 1;
                    if attempts < MOST_ATTEMPTS {
                        waiting.failed_on.push(self.at);
                        turn.again.push(Waiting { attempts, is_alone: true, ..waiting });
                    } else {
                        let error = EngineError::GivenUp { attempts, reason: error.to_string() };
                        self.answer(waiting.request.ticket, Err(error), course(attempts));
                    }
                }
                turn.of_device = Some(error);
            }
            Err(error) if batch.len() == 1 => {
                let waiting = &batch[0];
                self.answer(waiting.request.ticket, Err(error), course(waiting.attempts + 1));
            }
            // One of them is not sound.
            Err(_) => turn.again = batch.into_iter().map(|waiting| Waiting { is_alone: true, ..waiting }).collect(),
        }
    }

    fn evaluate(&self, key: Fingerprint, batch: &[Waiting]) -> Result<EncryptedOutput, EngineError> {
        let session = self.station.session(key, self.keys, self.progress)?;
        let quiet = Notes(self.progress);
        if let [one] = batch {
            return session.pass(&one.request.input, &quiet).map(|(output, _)| output);
        }
        let inputs: Vec<&EncryptedInput> = batch.iter().map(|waiting| &waiting.request.input).collect();
        let joined = EncryptedInput::joined(&inputs).ok_or(EngineError::Scheme("encrypted input"))?;
        session.pass(&joined, &quiet).map(|(output, _)| output)
    }

    fn answer(&self, ticket: u64, outcome: Result<EncryptedOutput, EngineError>, course: Course) {
        // Nobody receives any more only where another thread panicked.
        let _ = self.answers.send(Answer { ticket, outcome, course });
    }
}

/// What a pass leaves behind.
struct Turn {
    /// Requests to be tried again.
    again: Vec<Waiting>,
    /// The device's error.
    of_device: Option<EngineError>,
    /// Whether it would be the same with every request.
    is_hopeless: bool,
}

/// Hands notes on, and leaves the steps of single passes out.
struct Notes<'p>(&'p dyn Progress);

impl Progress for Notes<'_> {
    fn start(&self, _what: &str, _total: u64) {}
    fn advance(&self, _done: u64) {}
    fn finish(&self) {}

    fn note(&self, text: &str) {
        self.0.note(text);
    }
}
