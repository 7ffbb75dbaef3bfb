//! Keyswitch and bootstrap of our CUDA backend beside tfhe-rs's own on the same device, at equal parameters,
//! interleaved in one run.
//!
//! `tfhe_gpu_ratio [--rounds N] [--json FILE] [SET]...`: tfhe-rs's default set and those of ours that take one key bit
//! a step, or the sets named. tfhe-rs works mod 2^64 with its scratch allocated beforehand, no noise reduction at the
//! modulus switch, and the faster of its two keyswitches; ours mod 2^32. The ratio is our time over theirs. Ends with
//! status 1 if there is no device, or if what tfhe-rs computes does not decrypt to the table. `benches/tfhe_gpu` builds
//! it.

mod theirs;

use std::process::ExitCode;
use std::time::Instant;

use heman_benches::{exit_code, filled, keys, median, sets, words};
use heman_core::device::Device;
use heman_core::tfhe::ops::{BootstrapOps, KeyswitchOps};
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::table_set::TableSet;
use heman_cuda::CudaBackend;
use serde_json::{Value, json};
use theirs::Theirs;

/// Rows a multiprocessor of the batches that fill the device.
const FILLING: [usize; 4] = [8, 32, 64, 128];
/// Seconds that each side is measured for in a round, one call at least.
const SECONDS: f64 = 0.1;

/// What was asked for.
struct Options {
    rounds: usize,
    json: Option<String>,
    names: Vec<String>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { rounds: 5, json: None, names: vec![] };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => options.json = Some(args.next().ok_or("--json takes a file")?),
            "--rounds" => {
                let rounds = args.next().and_then(|text| text.parse().ok()).filter(|&rounds| rounds > 0);
                options.rounds = rounds.ok_or("--rounds takes a number")?;
            }
            name if !name.starts_with('-') => options.names.push(name.into()),
            other => {
                return Err(format!("{other} is not known; tfhe_gpu_ratio [--rounds N] [--json FILE] [SET]..."));
            }
        }
    }
    Ok(options)
}

/// tfhe-rs's default set, then ours that its bootstrap without groups of key bits takes.
fn measured() -> Vec<(String, ParameterSet)> {
    let default = ParameterSet::with_least_noise(918, 1, 2048, (23, 1), (4, 4));
    let ours = sets().into_iter().filter(|(_, params)| params.grouping_factor == 1);
    [("tfhe_rs_2_2_default".to_string(), default)].into_iter().chain(ours).collect()
}

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<(), String> {
    let options = options()?;
    let mut sets = measured();
    if let Some(name) = options.names.iter().find(|name| !sets.iter().any(|(set, _)| set == *name)) {
        let known: Vec<_> = sets.iter().map(|(set, _)| set.as_str()).collect();
        return Err(format!("{name} is none of {}", known.join(", ")));
    }
    sets.retain(|(set, _)| options.names.is_empty() || options.names.contains(set));
    // Ours says what is missing where tfhe-rs's aborts the process.
    let backend = CudaBackend::open(0).map_err(|error| error.to_string())?;
    if !tfhe::core_crypto::gpu::is_cuda_available() {
        return Err("tfhe-rs's backend finds no CUDA device".into());
    }
    println!("{}; medians of {} interleaved rounds", backend.name(), options.rounds);
    println!(
        "{:22} {:>7} {:>11} {:>11} {:>7} {:>11} {:>11}",
        "set", "batch", "tfhe ms", "ours ms", "ratio", "tfhe /s", "ours /s"
    );
    let mut results = Vec::new();
    for (name, params) in sets {
        results.push(compare(&backend, &name, params, options.rounds)?);
        // After each set: tfhe-rs's backend aborts the process where it fails.
        if let Some(path) = &options.json {
            let report = json!({
                "device": backend.name(),
                "version": env!("CARGO_PKG_VERSION"),
                "rounds": options.rounds,
                "sets": results,
            });
            std::fs::write(path, format!("{report:#}\n")).map_err(|error| format!("{path}: {error}"))?;
        }
    }
    Ok(())
}

/// Times of one set, batch by batch, then each side at its best batch.
fn compare(backend: &CudaBackend, name: &str, params: ParameterSet, rounds: usize) -> Result<Value, String> {
    let theirs = Theirs::new(params);
    let evaluation = keys(params);
    let device = |error: heman_core::device::error::BackendError| error.to_string();
    let keyswitch_key = backend.load_keyswitch_key(&evaluation).map_err(device)?;
    let bootstrap_key = backend.load_bootstrap_key(&evaluation).map_err(device)?;
    drop(evaluation);
    let mut batches = Vec::new();
    let mut best = [0.0_f64; 2];
    for rows in [1].into_iter().chain(FILLING.map(|filling| filling * backend.multiprocessors())) {
        let mut batch = theirs.batch(rows);
        batch.check()?;
        let big = filled(backend, rows * params.big_row_words()).map_err(device)?;
        let mut small = filled(backend, rows * params.small_row_words()).map_err(device)?;
        let mut out = backend.allocate(rows * params.big_row_words()).map_err(device)?;
        let tables = backend.load_tables(TableSet::shared(words(params.polynomial_size), rows)).map_err(device)?;
        let mut run_theirs = || {
            batch.run();
            batch.sync();
        };
        let mut run_ours = || {
            backend.keyswitch(&keyswitch_key, rows, &big, &mut small).expect("runs");
            backend.bootstrap(&bootstrap_key, &tables, 1, &small, &mut out).expect("runs");
            backend.sync().expect("the device answers");
        };
        run_theirs();
        run_ours();
        let times: Vec<[f64; 2]> = (0..rounds)
            .map(|_| [seconds_of_call(SECONDS, &mut run_theirs), seconds_of_call(SECONDS, &mut run_ours)])
            .collect();
        let [tfhe, ours] = [0, 1].map(|side| median(times.iter().map(|time| time[side]).collect()));
        let ratio = median(times.iter().map(|[tfhe, ours]| ours / tfhe).collect());
        let rates = [tfhe, ours].map(|seconds| rows as f64 / seconds);
        best = [best[0].max(rates[0]), best[1].max(rates[1])];
        println!(
            "{name:22} {rows:>7} {:>11.3} {:>11.3} {ratio:>7.3} {:>11.0} {:>11.0}",
            1e3 * tfhe,
            1e3 * ours,
            rates[0],
            rates[1]
        );
        batches.push(json!({
            "batch": rows,
            "tfhe_seconds": tfhe,
            "ours_seconds": ours,
            "ratio": ratio,
            "tfhe_per_second": rates[0],
            "ours_per_second": rates[1],
        }));
    }
    let [tfhe, ours] = best;
    println!("{name:22} {:>7} {:>11} {:>11} {:>7.3} {tfhe:>11.0} {ours:>11.0}", "best", "", "", tfhe / ours);
    Ok(json!({
        "set": name,
        "parameters": params,
        "batches": batches,
        "best": { "tfhe_per_second": tfhe, "ours_per_second": ours, "ratio": tfhe / ours },
    }))
}

/// Median seconds of one call, measured until `limit` seconds are over.
fn seconds_of_call(limit: f64, mut run: impl FnMut()) -> f64 {
    let mut times = Vec::new();
    let all = Instant::now();
    while times.is_empty() || all.elapsed().as_secs_f64() < limit {
        let start = Instant::now();
        run();
        times.push(start.elapsed().as_secs_f64());
    }
    median(times)
}
