//! Where the steps of a pass are asked for.

use tracing::Span;

use crate::ckks::ops::RnsOps;

/// Runs a pass from one of the device's threads: a step that begins there waits for no thread to wake up, and a small
/// one is done before another would have.
pub(super) fn from_a_thread<B: RnsOps, T: Send>(ring: &B, pass: impl FnOnce() -> T + Send) -> T {
    let span = Span::current();
    ring.on_threads(|| span.in_scope(pass))
}
