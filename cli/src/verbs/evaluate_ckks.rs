//! `heman evaluate` under CKKS.

use std::time::Instant;

use heman_client::CkksKey;
use heman_core::ckks::ops::RnsDevice;
use heman_core::ckks::params::packing::Packing;
use heman_core::ckks::plan::CkksPlan;
use heman_core::ckks::planner::simulate::SlotNoise;
use heman_core::ckks::session::CkksSession;
use heman_core::device::Device;
use heman_core::progress::Progress;
use rayon::prelude::*;
use serde_json::json;

use super::evaluate::Run;
use crate::args::Running;
use crate::device::{ckks_device, memory_budget};
use crate::error::CliError;
use crate::io::samples::Samples;

/// Polynomials in plaintext, with the noise that encryption would add.
pub fn simulated(plan: &CkksPlan, samples: &Samples) -> Run {
    let start = Instant::now();
    let rotates = matches!(plan.params.packing, Packing::Latency { .. });
    let noise = SlotNoise::new(&plan.params.ckks, rotates, plan.network.output_bound);
    let inputs: Vec<&[f32]> = samples.iter().collect();
    let simulate = |(at, x): (usize, &&[f32])| plan.network.simulate(x, &noise, at as u64);
    let outputs = inputs.par_iter().enumerate().map(simulate).collect();
    let seconds = start.elapsed().as_secs_f64();
    Run { outputs, seconds, device: "noise model".into(), details: json!({}) }
}

/// All steps on real ciphertexts, run after run.
pub fn encrypted(
    running: &Running,
    plan: &CkksPlan,
    samples: &Samples,
    progress: &dyn Progress,
) -> Result<Run, CliError> {
    let device = ckks_device(running)?;
    let start = Instant::now();
    let key = CkksKey::generate(&plan.params)?;
    let seeded = key.evaluation_key(progress);
    let keygen = start.elapsed().as_secs_f64();
    let key_bytes = seeded.to_bytes(&plan.params.binding()).len();
    let start = Instant::now();
    let ring = device.ring(&plan.params.ckks, plan.params.packing.occupancy())?;
    let session = CkksSession::new(&ring, plan, &seeded, memory_budget(running))?;
    let loading = start.elapsed().as_secs_f64();
    let inputs: Vec<&[f32]> = samples.iter().collect();
    let per_run = plan.params.inputs_per_run();
    let mut outputs = Vec::with_capacity(samples.count);
    let (mut client, mut times) = (0.0, Vec::new());
    for batch in inputs.chunks(per_run) {
        let start = Instant::now();
        let input = key.encrypt(&batch.concat(), true)?;
        client += start.elapsed().as_secs_f64();
        let start = Instant::now();
        let output = session.run(&input, progress)?;
        times.push(start.elapsed().as_secs_f64());
        outputs.extend(key.decrypt_values(&output)?);
    }
    let exact: Vec<Vec<f64>> = inputs.par_iter().map(|x| plan.network.evaluate(x)).collect();
    let errors: Vec<f64> =
        outputs.iter().zip(&exact).flat_map(|(got, want)| got.iter().zip(want).map(|(g, w)| g - w)).collect();
    let seconds: f64 = times.iter().sum();
    let details = json!({
        "seconds_keygen": keygen,
        "seconds_loading": loading,
        "seconds_encrypt": client,
        "evaluation_peak_bytes": session.peak_bytes(),
        "seconds_per_run": seconds / times.len() as f64,
        "inputs_per_second_full_runs": (per_run * times.len()) as f64 / seconds,
        "max_abs_error_against_polynomials": errors.iter().fold(0.0_f64, |m, e| m.max(e.abs())),
        "measured_noise": (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt(),
        "measured_evaluation_key_bytes": key_bytes,
    });
    Ok(Run { outputs, seconds, device: device.name(), details })
}
