//! The operations of both schemes on one device.

use heman_core::progress::Progress;
use heman_engine::DeviceChoice;
use heman_engine::measure::Subject;
use heman_engine::measure::primitives::{Timed, Wanted};
use heman_load::figure::Figure;
use serde_json::{Value, json};

use super::figures::{Unit, figure};
use super::sampler::sampled;
use crate::args::Running;
use crate::error::CliError;
use crate::progress::Bar;
use crate::threads;
use crate::verbs::Output;

/// Times the frozen set.
pub fn run(out: &Output, running: &Running, wanted: Wanted<'_>) -> Result<Value, CliError> {
    let bar = Bar::new(out.verbose);
    let (subject, on_nvidia) = match &running.device {
        DeviceChoice::Auto | DeviceChoice::Cpu => (Subject::CPU, false),
        DeviceChoice::Wgpu(index) => (Subject::wgpu(*index), false),
        DeviceChoice::Cuda(indices) => match indices[..] {
            [index] => (Subject::cuda(index), true),
            _ => return Err(CliError::usage("operations are measured on one device at a time")),
        },
    };
    let work = || subject.primitives(threads::number(running.threads), wanted, &bar);
    let (measured, samples) = sampled(on_nvidia, work);
    let measured = measured?;
    if measured.timed.is_empty() && measured.missing.is_empty() {
        return Err(CliError::usage(format!("no operation's id contains {:?}", wanted.filter)));
    }
    measured.missing.iter().for_each(|reason| bar.note(reason));
    Ok(json!({
        "device": measured.device,
        "operations": measured.timed.iter().map(operation).collect::<Vec<_>>(),
        "missing": measured.missing,
        "samples": samples,
    }))
}

fn operation(timed: &Timed) -> Value {
    let operation = &timed.operation;
    let mut sorted = timed.seconds.clone();
    sorted.sort_by(f64::total_cmp);
    let mean = Figure::mean(&sorted);
    json!({
        "scheme": operation.scheme,
        "operation": operation.name,
        "parameters": operation.parameters,
        "rows": operation.rows,
        "id": operation.id(),
        "runs": sorted.len(),
        "seconds": mean.map(|mean| figure(mean, Unit::Seconds)),
        "median": Figure::percentile(&sorted, 0.5).map(|median| figure(median, Unit::Seconds)),
        "least": sorted.first().map(|&least| figure(Figure::single(least), Unit::Seconds)),
        "throughput": mean.map(|mean| figure(mean.rate(operation.rows as f64), Unit::PerSecond)),
    })
}
