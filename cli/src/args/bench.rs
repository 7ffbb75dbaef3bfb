//! The command line of `heman bench`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, ValueEnum};
use heman_engine::DeviceChoice;
use heman_load::scenario::Scenario;

use super::{Planning, Running};

/// `heman bench`
#[derive(ClapArgs)]
pub struct Bench {
    /// How parameters are derived
    #[command(flatten)]
    pub planning: Option<Planning>,
    /// A plan in the place of a model; --data gives its inputs
    #[arg(long, conflicts_with = "model", requires = "data")]
    pub plan: Option<PathBuf>,
    /// Inputs; by default the calibration data
    #[arg(short, long)]
    pub data: Option<PathBuf>,
    /// Measure single operations of both schemes for a frozen set of parameters, or those whose ids contain a text, as
    /// in --primitives=bootstrap
    #[arg(long, value_name = "TEXT", num_args = 0..=1, require_equals = true, default_missing_value = "",
        conflicts_with_all = ["model", "plan", "sweep", "scenario"])]
    pub primitives: Option<String>,
    /// Compare two reports that --json wrote, figure by figure
    #[arg(long, num_args = 2, value_names = ["FIRST", "SECOND"],
        conflicts_with_all = ["model", "plan", "primitives", "sweep", "scenario", "csv", "html"])]
    pub compare: Option<Vec<PathBuf>>,
    /// How queries come, by MLPerf Inference's rules; may be given several times. By default single-stream and offline
    #[arg(long, value_enum)]
    pub scenario: Vec<ScenarioChoice>,
    /// Seconds in which the server answers 99 % of the queries, like 0.5 or 200ms
    #[arg(long)]
    pub latency_bound: Option<Span>,
    /// Queries a second that the server is tested with; by default the highest rate that holds is searched
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
    /// Ten seconds a scenario, whatever the number of queries, in the place of what the rules ask for
    #[arg(long)]
    pub quick: bool,
    /// Seconds that each scenario lasts at the least; below 600, the run is not by the rules
    #[arg(long)]
    pub duration: Option<Span>,
    /// Runs all combinations, as in batch=1,8,64 device=cpu,cuda threads=1,2
    #[arg(long, num_args = 1.., value_name = "AXIS=VALUE[,VALUE]...")]
    pub sweep: Vec<Axis>,
    /// Also write a table, a row a configuration and scenario
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Also write a report with plots, in one file that needs no others
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Where it runs
    #[command(flatten)]
    pub running: Running,
}

/// How queries come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScenarioChoice {
    /// One input a query, the next when the last is answered; the 90th percentile counts
    SingleStream,
    /// Eight inputs a query, the next when the last is answered; the 99th percentile counts
    MultiStream,
    /// Queries come at random times; the highest rate counts at which 99 % are answered within the bound
    Server,
    /// All inputs come at once; throughput counts
    Offline,
}

impl From<ScenarioChoice> for Scenario {
    fn from(choice: ScenarioChoice) -> Self {
        match choice {
            ScenarioChoice::SingleStream => Self::SingleStream,
            ScenarioChoice::MultiStream => Self::MultiStream,
            ScenarioChoice::Server => Self::Server,
            ScenarioChoice::Offline => Self::Offline,
        }
    }
}

/// A time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Seconds.
    pub seconds: f64,
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, factor) = match text {
            _ if text.ends_with("ms") => (&text[..text.len() - 2], 1e-3),
            _ if text.ends_with('s') => (&text[..text.len() - 1], 1.0),
            _ => (text, 1.0),
        };
        let seconds: Option<f64> = digits.parse().ok().map(|count: f64| factor * count);
        match seconds.filter(|seconds| (1e-6..=1e7).contains(seconds)) {
            Some(seconds) => Ok(Self { seconds }),
            None => Err("expected a time like 0.5, 2s or 200ms".into()),
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    rate.filter(|rate| (1e-6..=1e9).contains(rate)).ok_or_else(|| "expected a number of queries a second".into())
}

/// An axis of a sweep and its values.
#[derive(Clone, Debug, PartialEq)]
pub enum Axis {
    /// Inputs at a time.
    Batch(Vec<usize>),
    /// Devices.
    Device(Vec<DeviceChoice>),
    /// Threads of the CPU backend.
    Threads(Vec<NonZeroUsize>),
}

impl FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, values) = text.split_once('=').ok_or("expected an axis and its values, like batch=1,8")?;
        let values = values.split(',');
        let none = |value: &str, what: &str| format!("{value:?} is no {what}");
        match name {
            "batch" => {
                let batch = |value: &str| {
                    let batch: Option<usize> = value.parse().ok();
                    batch.filter(|batch| (1..=1 << 24).contains(batch)).ok_or_else(|| none(value, "number of inputs"))
                };
                values.map(batch).collect::<Result<_, _>>().map(Self::Batch)
            }
            "device" => values.map(str::parse).collect::<Result<_, _>>().map(Self::Device),
            "threads" => {
                let threads = |value: &str| value.parse().map_err(|_| none(value, "number of threads"));
                values.map(threads).collect::<Result<_, _>>().map(Self::Threads)
            }
            _ => Err(format!("{name:?} is no axis; there are batch, device and threads")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_parse() {
        assert_eq!("200ms".parse::<Span>().map(|span| span.seconds), Ok(0.2));
        assert_eq!("2s".parse::<Span>().map(|span| span.seconds), Ok(2.0));
        assert_eq!("0.5".parse::<Span>().map(|span| span.seconds), Ok(0.5));
        for wrong in ["", "0", "-1", "1h", "nan", "inf", "ms"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn axes_parse() {
        assert_eq!("batch=1,8,64".parse(), Ok(Axis::Batch(vec![1, 8, 64])));
        assert_eq!("device=cpu,cuda".parse(), Ok(Axis::Device(vec![DeviceChoice::Cpu, DeviceChoice::Cuda(vec![0])])));
        for wrong in ["batch", "batch=", "batch=0", "threads=0", "device=gpu", "colour=red"] {
            assert!(wrong.parse::<Axis>().is_err(), "{wrong}");
        }
    }
}
