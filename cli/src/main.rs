//! The `heman` command: encrypted inference for ONNX models.

mod args;
mod device;
mod error;
mod io;
mod progress;
mod report;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    io::output::remove_temporaries_on_interrupt();
    let args = args::Args::parse();
    match verbs::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
