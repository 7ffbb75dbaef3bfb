//! What callers hand in, and what they get back.

use std::time::Duration;

use heman_core::either::files::{EncryptedInput, EncryptedOutput, EvaluationKey};
use heman_core::files::container::Fingerprint;

use crate::error::EngineError;

/// One or more encrypted inputs of one key.
pub struct Request {
    /// The caller's name for it.
    pub ticket: u64,
    /// The inputs.
    pub input: EncryptedInput,
}

/// What became of a request.
pub struct Answer {
    /// The caller's name for it.
    pub ticket: u64,
    /// Outputs, or why there are none.
    pub outcome: Result<EncryptedOutput, EngineError>,
    /// How it came about.
    pub course: Course,
}

/// How an answer came about.
#[derive(Clone, Debug)]
pub struct Course {
    /// Device and lane of the last pass.
    pub queue: String,
    /// Passes that the request took part in.
    pub attempts: u32,
    /// Inputs that shared the last pass.
    pub together: usize,
    /// When that pass began, from the start of the run on.
    pub started: Duration,
    /// How long it took.
    pub took: Duration,
}

/// Where requests come from.
pub trait Requests: Send {
    /// The next request; none at the end. It may take its time: nobody else waits for it.
    fn next(&mut self) -> Option<Request>;
}

/// Where answers go, in the order in which they come about.
pub trait Answers {
    /// Takes an answer.
    ///
    /// # Errors
    /// Whatever ends the run.
    fn put(&mut self, answer: Answer) -> Result<(), EngineError>;

    /// No more answers come, and no more requests are wanted: whoever waits for one need not wait any longer.
    fn close(&mut self) {}
}

/// Evaluation keys by fingerprint.
pub trait Keys: Sync {
    /// The key of that fingerprint.
    ///
    /// # Errors
    /// Why there is none. The requests that need it are answered so.
    fn key(&self, of: Fingerprint) -> Result<EvaluationKey, EngineError>;
}
