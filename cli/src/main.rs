//! The `heman` command: encrypted inference for ONNX models.

mod args;
mod device;
mod error;
mod io;
mod memory;
mod profile;
mod progress;
mod report;
mod threads;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let threads = threads::check_environment();
    io::temporaries::remove_on_signals();
    match threads.and_then(|()| verbs::run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
