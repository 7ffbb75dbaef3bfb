//! Spans of reading and writing files, each in a row of a trace of its own.

use std::path::Path;

use tracing::{Span, info_span};

use crate::report;

/// The span in which a file is read; `what` says what for.
pub fn reading(path: &Path, what: &'static str) -> Span {
    info_span!("read", row = "reading files", what, file = report::path(path))
}

/// The span in which a file is written.
pub fn writing(path: &Path) -> Span {
    info_span!("write", row = "writing files", file = report::path(path))
}
