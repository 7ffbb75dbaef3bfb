//! One configuration of a model, from keys to figures.

use std::time::Instant;

use heman_client::SecretKey;
use heman_core::either::plan::Plan;
use heman_core::progress::Progress;
use heman_engine::{Devices, Session};
use heman_load::figure::Figure;
use heman_load::run::System;
use heman_load::scenario::{MULTI_STREAM_SAMPLES, Scenario};
use serde_json::{Value, json};

use super::breakdown;
use super::figures::{Unit, figure, single};
use super::pool::{Answering, Pool};
use super::sampler::sampled;
use super::scenarios::{Together, Wanted, run};
use super::setup::Planned;
use super::sweep::{Configuration, device_name};
use crate::args::{MemorySize, Running};
use crate::device::{memory_budget, open_devices};
use crate::error::CliError;
use crate::{memory, profile, report, threads};

/// Most inputs at a time where a device would take more, but for those that cost no more than one.
const BATCH: usize = 64;
/// Most waiting queries that a server answers at a time, but for those that cost no more than one.
const SERVED: usize = 16;
/// Passes before time is taken, and the seconds beyond which one is enough.
const WARM_UP: (usize, f64) = (3, 5.0);
/// Decryptions that are timed.
const DECRYPTIONS: usize = 5;
/// Share of a scenario's seconds that a breakdown lasts.
const BREAKDOWN_SHARE: f64 = 0.2;

/// Runs the scenarios on one configuration.
pub fn measure(
    configuration: &Configuration,
    planned: &Planned,
    scenarios: &[Scenario],
    wanted: &Wanted,
    memory: Option<MemorySize>,
    progress: &dyn Progress,
) -> Result<Value, CliError> {
    let Planned { plan, inputs, .. } = planned;
    let params = plan.params();
    let unit = params.inputs_per_run();
    let device = configuration.device.clone();
    let running = Running { device, threads: configuration.threads, memory };
    let start = Instant::now();
    let devices = open_devices(&running, plan, configuration.batch.unwrap_or(1), progress)?;
    let opening = start.elapsed().as_secs_f64();
    let most = configuration.batch.unwrap_or_else(|| BATCH.max(unit) * devices.count());
    memory::check_inference(devices.needed_bytes(plan, most), memory)?;
    let start = Instant::now();
    let key = SecretKey::generate(&params)?;
    let evaluation = key.evaluation_key(progress);
    let generation = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let session = devices.session(plan, &evaluation, memory_budget(&running), false, progress)?;
    let loading = start.elapsed().as_secs_f64();
    let peak_bytes = session.peak_bytes();
    let mut pool = Pool::new(&key, inputs, unit);

    let warm = warm_up(session.as_ref(), &mut pool, progress)?;
    let offline = configuration.batch.unwrap_or_else(|| {
        let most = session.inputs_per_pass().min(most);
        // A pass should not last longer than the run.
        let fitting = (wanted.seconds / warm.seconds.max(1e-9)).min(most as f64) as usize;
        fitting.max(1).next_multiple_of(unit).min(most)
    });
    let together = Together { offline, server: offline.min(SERVED.max(unit)) };
    let (mut results, mut output) = (Vec::new(), warm.output);
    let on_nvidia = device_name(&running.device).starts_with("cuda") || devices.names().starts_with("CUDA");
    for &scenario in scenarios {
        announce(scenario, wanted, warm.seconds, progress);
        match scenario {
            Scenario::SingleStream => pool.prepare(1)?,
            Scenario::MultiStream => pool.prepare(MULTI_STREAM_SAMPLES)?,
            Scenario::Offline => pool.prepare(together.offline)?,
            Scenario::Server => (1..=together.server).try_for_each(|count| pool.prepare(count))?,
        }
        let mut system = Answering { session: session.as_ref(), pool: &mut pool, last: None };
        let (result, samples) = sampled(on_nvidia, || run(scenario, wanted, together, &mut system, progress));
        output = system.last.take().or(output);
        let mut result = result?;
        report::merge(&mut result, samples);
        results.push(result);
    }
    drop(session);
    let decrypt = |_| {
        let start = Instant::now();
        let output = output.as_ref().ok_or_else(|| CliError::new("nothing was evaluated"))?;
        key.decrypt_values(output)?;
        Ok(start.elapsed().as_secs_f64() / output.count() as f64)
    };
    let decryption = (0..DECRYPTIONS).map(decrypt).collect::<Result<Vec<f64>, CliError>>()?;
    let session = devices.session(plan, &evaluation, memory_budget(&running), true, progress)?;
    let mut counts: Vec<usize> = scenarios.iter().map(|&scenario| inputs_of(scenario, together)).collect();
    counts.dedup();
    let breakdowns = breakdowns(&devices, plan, session.as_ref(), &mut pool, &counts, wanted, &running, progress)?;
    let mean = |values: &[f64]| Figure::mean(values).map(|mean| figure(mean, Unit::Seconds));
    let output_bytes = output.as_ref().map(|output| (output.sealed_bytes(&params), output.count()));
    let input_bytes = pool.bytes(1)?;
    Ok(json!({
        "device": devices.names(),
        "device_choice": device_name(&running.device),
        "threads": configuration.threads.map_or_else(rayon::current_num_threads, |_| threads::number(running.threads)),
        "batch": configuration.batch,
        "inputs_together": { "offline": together.offline, "server": together.server },
        "parameters": report::plan(plan).0,
        "sizes": {
            "evaluation_key": single(evaluation.sealed_bytes(&params) as f64, Unit::Bytes),
            "encrypted_input": single(input_bytes as f64, Unit::Bytes),
            "encrypted_output": output_bytes.map(|(bytes, _)| single(bytes as f64, Unit::Bytes)),
            "encrypted_output_inputs": output_bytes.map(|(_, count)| count),
        },
        "setup": {
            "planning": planned.seconds.map(|seconds| single(seconds, Unit::Seconds)),
            "opening": single(opening, Unit::Seconds),
            "key_generation": single(generation, Unit::Seconds),
            "loading": single(loading, Unit::Seconds),
            "encryption_per_input": mean(&pool.seconds),
            "decryption_per_input": mean(&decryption),
        },
        "warm_up_passes": warm.passes,
        "scenarios": results,
        "breakdowns": breakdowns,
        "evaluation_peak_bytes": peak_bytes,
        "peak_rss": single(report::peak_rss_bytes() as f64, Unit::Bytes),
    }))
}

/// Inputs of the passes whose steps are told apart.
fn inputs_of(scenario: Scenario, together: Together) -> usize {
    scenario.samples_per_query().unwrap_or(together.offline)
}

/// What the passes before the first one that counts took.
struct Warm {
    passes: usize,
    /// Seconds of the last of them, with one input.
    seconds: f64,
    output: Option<heman_core::either::files::EncryptedOutput>,
}

fn warm_up(session: &dyn Session, pool: &mut Pool<'_>, progress: &dyn Progress) -> Result<Warm, CliError> {
    progress.start("warming up", WARM_UP.0 as u64);
    pool.prepare(1)?;
    let mut system = Answering { session, pool, last: None };
    let (mut passes, mut seconds) = (0, 0.0);
    while passes < WARM_UP.0 && seconds < WARM_UP.1 {
        let start = Instant::now();
        system.answer(1)?;
        seconds = start.elapsed().as_secs_f64();
        passes += 1;
        progress.advance(1);
    }
    progress.finish();
    Ok(Warm { passes, seconds, output: system.last })
}

/// Says beforehand where the rules ask for much more than their least duration.
fn announce(scenario: Scenario, wanted: &Wanted, seconds: f64, progress: &dyn Progress) {
    let limits = wanted.limits(scenario);
    let each = scenario.samples_per_query().unwrap_or(1) as f64 * seconds;
    let expected = limits.least_queries as f64 * each;
    if expected > 1.5 * limits.least_seconds {
        progress.note(&format!(
            "{}: {} {} of about {:.2} s are needed, which takes up to {:.1} hours; --quick takes seconds",
            scenario.name(),
            limits.least_queries,
            if scenario == Scenario::Offline { "inputs" } else { "queries" },
            each,
            expected / 3600.0
        ));
    }
}

#[allow(clippy::too_many_arguments, reason = "all of it belongs to one configuration")]
fn breakdowns(
    devices: &Devices,
    plan: &Plan,
    session: &dyn Session,
    pool: &mut Pool<'_>,
    counts: &[usize],
    wanted: &Wanted,
    running: &Running,
    progress: &dyn Progress,
) -> Result<Vec<Value>, CliError> {
    progress.start("breakdown", 1 + counts.len() as u64);
    let peaks = devices.peaks(plan)?;
    progress.advance(1);
    let profiles = profile::read().unwrap_or_default();
    let profile = devices.profile(threads::number(running.threads), &profiles)?;
    let mut all = Vec::with_capacity(counts.len());
    for &count in counts {
        pool.prepare(count)?;
        let passes = breakdown::measure(session, pool, count, wanted.seconds * BREAKDOWN_SHARE)?;
        let forecast = devices.forecast(plan, count, profile.as_ref(), &peaks);
        all.push(breakdown::json(plan, count, &passes, &forecast));
        progress.advance(1);
    }
    progress.finish();
    Ok(all)
}
