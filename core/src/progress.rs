//! How long work tells its caller where it stands.

use crate::deadline::Deadline;

/// Receives the progress of one long step after the other.
pub trait Progress: Sync {
    /// A step of `total` units begins.
    fn start(&self, what: &str, total: u64);
    /// `done` more units of the current step are done; called from any thread.
    fn advance(&self, done: u64);
    /// The current step is over.
    fn finish(&self);
    /// Something that the user should know happened.
    fn note(&self, text: &str);
    /// When the work has to be done.
    fn deadline(&self) -> Deadline {
        Deadline::NEVER
    }
}

/// Tells nobody.
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _what: &str, _total: u64) {}
    fn advance(&self, _done: u64) {}
    fn finish(&self) {}
    fn note(&self, _text: &str) {}
}
