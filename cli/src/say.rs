//! What is said on stderr, and how an error is: stderr may be closed or full, and that ends nothing.

use std::io::Write;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::process::ExitCode;

use serde_json::json;

use crate::error::{CliError, printable};
use crate::exit::Failure;

/// Writes a line to stderr; where that cannot be written to, nothing.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable(text));
}

/// Writes an error to stderr, for machines as one line with one object, and gives its exit status.
pub fn failed(is_json: bool, error: &CliError) -> ExitCode {
    tell(is_json, error.failure(), &error.to_string());
    ExitCode::from(error.failure().status())
}

fn tell(is_json: bool, failure: Failure, message: &str) {
    if is_json {
        let error = json!({ "kind": failure.kind(), "status": failure.status(), "message": message });
        say(&json!({ "error": error }).to_string());
    } else {
        say(&format!("error: {message}"));
    }
}

/// Runs the program. A panic is a fault of ours, and becomes one sentence with a status of its own.
pub fn guarded(is_json: bool, run: impl FnOnce() -> ExitCode) -> ExitCode {
    std::panic::set_hook(Box::new(move |info| tell(is_json, Failure::Internal, &sentence(info))));
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| ExitCode::from(Failure::Internal.status()))
}

/// What a panic says, where, and how to see more of it.
fn sentence(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("no reason is known");
    let place = info.location().map(|place| format!(" ({place})")).unwrap_or_default();
    let trace = std::backtrace::Backtrace::capture();
    let trace = match trace.status() {
        std::backtrace::BacktraceStatus::Captured => format!("\n{trace}"),
        _ => String::new(),
    };
    format!("this is a fault of heman itself, please report it: {message}{place}{trace}")
}

/// What the command line's parser says: help and versions on stdout, all else as a usage error.
pub fn not_parsed(error: &clap::Error) -> ExitCode {
    let is_json = std::env::args_os().any(|arg| arg == "--json");
    if error.use_stderr() && is_json {
        tell(true, Failure::Usage, error.to_string().trim_end().trim_start_matches("error: "));
        return ExitCode::from(Failure::Usage.status());
    }
    let printed = error.print().and_then(|()| std::io::stdout().flush());
    match printed {
        Err(cause) if !error.use_stderr() && cause.kind() != std::io::ErrorKind::BrokenPipe => {
            failed(is_json, &CliError::bad_file(format!("cannot write to standard output: {cause}")))
        }
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Failure::Usage.status())),
    }
}
