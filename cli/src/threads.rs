//! What the environment says of threads and instruction sets. There are never more threads than cores, whatever is
//! asked for.

use std::num::NonZeroUsize;

use heman_core::device::cpu::forced_simd;

use crate::error::CliError;
use crate::say::say;

/// What rayon takes its number of threads from, the first one first.
const VARIABLES: [&str; 2] = ["RAYON_NUM_THREADS", "RAYON_RS_NUM_CPUS"];

/// Cores that this process may use; its affinity and its control group's quota count.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Checks the environment's instruction set and number of threads, and lowers the number to that of the cores.
///
/// This must be called before any other thread starts.
///
/// # Errors
/// A sentence for what is no instruction set or no number of threads.
pub fn check_environment() -> Result<(), CliError> {
    forced_simd().map_err(CliError::usage)?;
    for variable in VARIABLES {
        let Some(value) = std::env::var_os(variable).filter(|value| !value.is_empty()) else { continue };
        let text = value.to_string_lossy();
        let Ok(asked) = text.trim().parse::<NonZeroUsize>() else {
            return Err(CliError::usage(format!(
                "{variable} is {text:?}; it must be a number of threads from 1 on, or not be set"
            )));
        };
        if asked.get() > cores() {
            warn(variable, asked);
            // SAFETY: no other thread runs yet that could read the environment.
            unsafe { std::env::set_var(variable, cores().to_string()) };
        }
    }
    Ok(())
}

/// Starts the threads that work is shared out to.
///
/// # Errors
/// A sentence where the operating system allows no more threads.
pub fn start() -> Result<(), CliError> {
    rayon::ThreadPoolBuilder::new().build_global().map_err(|error| {
        CliError::refusal(format!(
            "no further threads can be started ({error}); allow more processes (ulimit -u), or set \
             RAYON_NUM_THREADS=1"
        ))
    })
}

/// The number of threads to start, 0 for as many as the environment says.
pub fn number(asked: Option<NonZeroUsize>) -> usize {
    match asked {
        Some(asked) if asked.get() > cores() => {
            warn("--threads", asked);
            cores()
        }
        other => other.map_or(0, NonZeroUsize::get),
    }
}

fn warn(what: &str, asked: NonZeroUsize) {
    say(&format!("warning: {what} asks for {asked} threads; {} are started, one a core", cores()));
}
