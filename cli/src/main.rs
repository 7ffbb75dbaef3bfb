//! The `heman` command: encrypted inference for ONNX models.

mod args;
mod core_dumps;
mod device;
mod error;
mod exit;
mod io;
mod memory;
mod profile;
mod progress;
mod report;
mod say;
mod shard;
mod target;
mod threads;
mod trace;
mod verbs;

use std::process::ExitCode;

use clap::Parser;
use heman_engine::large_pages::LargePages;

#[global_allocator]
static ALLOCATOR: LargePages = LargePages;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => return say::not_parsed(&error),
    };
    say::guarded(args.json, || {
        let threads = threads::check_environment();
        quiet_drivers();
        io::temporaries::remove_on_signals();
        match threads.and_then(|()| threads::start()).and_then(|()| run(&args)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => say::failed(args.json, &error),
        }
    })
}

/// Runs the verb, and finishes the trace however it ends.
fn run(args: &args::Args) -> Result<(), error::CliError> {
    let trace = trace::begin(args.verbose, args.trace.as_deref())?;
    let result = verbs::run(args, trace.as_ref());
    result.and(trace.map_or(Ok(()), trace::Trace::finish))
}

/// Keeps a layer of Mesa's Vulkan drivers from printing an error where there is no desktop whose device it could ask
/// for.
fn quiet_drivers() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread runs yet that could read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
