//! `heman batch`: many encrypted inputs of many clients, streamed through all devices and written down one by one, so
//! that a run can end at any time and the next one goes on.

mod desk;
mod intake;
mod items;
mod journal;
mod keyring;
mod names;
mod store;
mod tally;
mod watch;

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use heman_core::progress::Progress;
use heman_engine::memory::available_bytes;
use heman_engine::scheduler::{Fleet, Limits};
use heman_engine::{DeviceChoice, EngineError};
use serde_json::json;

use super::Output;
use crate::args::Batch;
use crate::error::CliError;
use crate::io::sealed::{count_inputs, read_plan};
use crate::{memory, profile, report, threads};
use desk::{Desk, Outbox};
use intake::{Intake, Terms};
use items::Source;
use journal::Journal;
use keyring::Keyring;
use store::Store;
use tally::Tally;
use watch::{Unit, Watch};

/// Keys take no more memory than this unless it is named.
const MOST_KEY_BYTES: u64 = 8 << 30;
/// Inputs that devices are chosen for where nobody knows how many come.
const UNKNOWN_INPUTS: u64 = 1 << 10;
/// Inputs of a job that is simulated; beyond, time grows as they do.
const MOST_SIMULATED: u64 = 1 << 10;
/// Time between two looks at where a run stands.
const TICK: Duration = Duration::from_millis(200);

/// Runs the verb.
pub fn run(out: &Output, args: &Batch) -> Result<(), CliError> {
    let plan = read_plan(&args.model)?;
    let params = plan.params();
    let source = Source::of(&args.input)?;
    let survey = source.survey(args.shard)?;
    let (unit, total) = match &source {
        Source::One(item) => (Unit::Inputs, count_inputs(&item.path)?.map(|count| count as u64)),
        _ => (Unit::Items, survey.items),
    };
    let watch = Watch::new(out.verbose, unit, total);
    let keyring = Keyring::open(&args.key, &params, &watch)?;
    let limits = Limits {
        threads: threads::number(args.threads),
        memory_bytes: memory::budget(args.memory),
        key_bytes: args.key_memory.map_or_else(|| key_memory(&args.device), |size| size.bytes),
    };
    let profiles = profile::read_for(&DeviceChoice::Auto, &watch)?;
    let expected = total.unwrap_or(UNKNOWN_INPUTS).max(1) as usize;
    let fleet = Fleet::open(&args.device, limits, expected, &profiles, &plan, &watch)?.timed(out.trace.is_some());
    memory::check_job(fleet.needed_bytes(keyring.len()), args.memory)?;
    let root = Store::open(&args.output)?;
    if std::fs::canonicalize(&args.input).is_ok_and(|input| input == root) {
        let name = args.output.display();
        return Err(CliError::usage(format!("{name} holds the inputs; give another folder for the outputs")));
    }
    let stem = journal::stem(args.shard);
    let path = root.join(format!("{stem}.jsonl"));
    let journal = Journal::open(&path, &params.binding(), args.shard)?;
    let store = Store::begin(root, &stem)?;
    if out.verbose {
        let (names, keys, lanes) = (fleet.names(), keyring.len(), fleet.lanes());
        watch.note(&format!("{names}: {lanes} lanes, {} inputs at a time; {keys} key(s)", fleet.inputs_in_work()));
    }
    let terms = Terms {
        params: &params,
        keyring: &keyring,
        shard: args.shard,
        most: fleet.inputs_in_work().div_ceil(fleet.lanes().max(1)),
        is_retrying: args.retry_failed,
        is_looking_over: !survey.is_unique,
    };
    let start = Instant::now();
    let is_stopped = Arc::default();
    let items = source.items(&is_stopped)?;
    let desk = Desk::new(&params, &store, &watch, journal, is_stopped);
    let ended = evaluate(&fleet, Intake::new(terms, &desk, items), &keyring, &desk, &watch);
    let (tally, broken) = desk.close();
    watch.close();
    store.close();
    let seconds = start.elapsed().as_secs_f64();
    if let Some(error) = broken.or(ended.err().map(CliError::from)) {
        if tally.done == 0 {
            return Err(error);
        }
        let text = format!("{error}; {} item(s) are done, and the same command goes on from there", tally.done);
        return Err(CliError::of(error.failure(), text));
    }
    let predicted = predicted_seconds(&fleet, tally.inputs);
    let told = tell(out, args, &fleet.names(), &path.display().to_string(), (seconds, predicted), &tally);
    if tally.undone() > 0 {
        let again = if tally.failed_before > 0 { "; --retry-failed tries again what failed before" } else { "" };
        let (undone, items) = (tally.undone(), tally.items());
        return Err(CliError::new(format!("{undone} of {items} item(s) failed; see {}{again}", path.display())));
    }
    told
}

/// Runs the fleet, with a clock beside it.
fn evaluate(
    fleet: &Fleet<'_>,
    mut intake: Intake<'_>,
    keyring: &Keyring<'_>,
    desk: &Desk<'_>,
    watch: &Watch,
) -> Result<(), EngineError> {
    std::thread::scope(|scope| {
        let (end, ended) = channel::<()>();
        scope.spawn(move || {
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                desk.flush(false);
                watch.tick();
            }
        });
        let result = fleet.run(&mut intake, keyring, &mut Outbox(desk), watch);
        drop(end);
        result
    })
}

/// Bytes for keys on each device: a share of what the host has, and of what each CUDA device that is named has.
fn key_memory(choices: &[DeviceChoice]) -> u64 {
    let named = |index: usize| {
        choices.iter().any(|choice| matches!(choice, DeviceChoice::Cuda(indices) if indices.contains(&index)))
    };
    let devices = if choices.iter().any(|choice| matches!(choice, DeviceChoice::Cuda(_))) {
        heman_cuda::devices().unwrap_or_default()
    } else {
        Vec::new()
    };
    let of_devices = devices.iter().filter(|device| named(device.index)).map(|device| device.memory_bytes);
    available_bytes().into_iter().chain(of_devices).map(|bytes| bytes / 4).fold(MOST_KEY_BYTES, u64::min)
}

/// What the devices were predicted to take for so many inputs; none where nobody knows how fast one is. What a key
/// takes to load, and files, are not in it.
fn predicted_seconds(fleet: &Fleet<'_>, inputs: u64) -> Option<f64> {
    let simulated = inputs.min(MOST_SIMULATED);
    let timeline = fleet.timeline(simulated as usize)?;
    Some(if simulated > 0 { timeline.seconds * inputs as f64 / simulated as f64 } else { 0.0 })
}

fn tell(
    out: &Output,
    args: &Batch,
    device: &str,
    journal: &str,
    (seconds, predicted): (f64, Option<f64>),
    tally: &Tally,
) -> Result<(), CliError> {
    let rate = tally.inputs as f64 / seconds;
    let (idle_object, idle_text) = out.idle_share();
    let mut object = json!({
        "output": report::path(&args.output),
        "journal": journal,
        "device": device,
        "shard": args.shard.map(|shard| shard.to_string()),
        "items": tally.items(),
        "done": tally.done,
        "skipped": tally.skipped,
        "failed": tally.failed,
        "failed_before": tally.failed_before,
        "inputs": tally.inputs,
        "seconds": seconds,
        "predicted_seconds": predicted,
        "inputs_per_second": rate,
        "queues": tally.queues_json(),
        "peak_rss_bytes": report::peak_rss_bytes(),
    });
    report::merge(&mut object, idle_object);
    let mut text = format!(
        "{device}: {} item(s): {} done, {} done before, {} failed",
        tally.items(),
        tally.done,
        tally.skipped,
        tally.failed
    );
    if tally.failed_before > 0 {
        text += &format!(", {} failed before", tally.failed_before);
    }
    text += &format!("\n{} input(s) in {seconds:.2} s, {rate:.2} a second", tally.inputs);
    if let Some(predicted) = predicted {
        text += &format!("; {predicted:.2} s were predicted");
    }
    text += &tally.queues_text();
    text += &idle_text;
    text += &format!("\noutputs and journal are in {}", args.output.display());
    report::print_either(out.json, &object, &text)
}
