//! What happens, on stderr.

use std::io::{self, Write};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::fmt::time::uptime;
use tracing_subscriber::registry::LookupSpan;

use crate::error::CliError;
use crate::progress::beside_bar;

/// Says what is told, as `RUST_LOG` does for other programs: a level, or `crate::module=level`, with commas between.
const VARIABLE: &str = "HEMAN_LOG";

/// What is told: what the environment asks for, or else by how often more was asked for; none if nothing is.
///
/// # Errors
/// A sentence for a filter that cannot be read.
pub fn filter(verbosity: u8) -> Result<Option<Targets>, CliError> {
    if let Some(value) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        let text = value.to_string_lossy();
        let filter = text.parse::<Targets>().map_err(|error| {
            CliError::usage(format!("{VARIABLE} is {text:?}, and filters are like info or heman_core=debug: {error}"))
        })?;
        return Ok(Some(filter));
    }
    let level = match verbosity {
        0 => return Ok(None),
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    Ok(Some(Targets::new().with_default(level)))
}

/// A line for each event, and for each span when it is over.
pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(filter: Targets) -> impl Layer<S> {
    tracing_subscriber::fmt::layer()
        .with_writer(Lines)
        .with_timer(uptime())
        .with_span_events(FmtSpan::CLOSE)
        .with_filter(filter)
}

/// Writes lines that a progress bar makes way for.
struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line
    }
}

/// A line, which comes in one piece.
struct Line;

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        beside_bar(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
