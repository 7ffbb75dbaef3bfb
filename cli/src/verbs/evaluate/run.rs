//! The outputs of all inputs, simulated or encrypted, and what it took to get them.

use std::time::Instant;

use heman_client::{ClientError, SecretKey};
use heman_core::either::files::{EncryptedInput, EncryptedOutput};
use heman_core::either::params::Params;
use heman_core::either::plan::Plan;
use heman_core::progress::Progress;
use heman_engine::memory::available_bytes;
use heman_engine::{Devices, EngineError, Inputs, Outputs};
use rayon::prelude::*;
use serde_json::{Value, json};
use tracing::info_span;

use super::super::Output;
use crate::args::Running;
use crate::device::{memory_budget, open_devices};
use crate::error::CliError;
use crate::io::samples::Samples;
use crate::{memory, report};

/// Most inputs that a device is given at a time, but for those that cost no more than one.
const BATCH: usize = 64;

/// Outputs before the client's operators, and what it took to get them.
pub struct Run {
    /// One vector an input.
    pub outputs: Vec<Vec<f64>>,
    /// Ciphertext in to ciphertext out.
    pub seconds: f64,
    /// Where it ran.
    pub device: String,
    /// More fields for machines.
    pub details: Value,
}

/// In the clear, with the noise that encryption would add; what encryption would refuse is refused.
pub fn simulated(plan: &Plan, samples: &Samples) -> Result<Run, ClientError> {
    samples.check(&plan.params())?;
    let start = Instant::now();
    let simulator = plan.simulator();
    let outputs = (0..samples.count).into_par_iter().map(|at| simulator(&samples.input(at), at as u64)).collect();
    let seconds = start.elapsed().as_secs_f64();
    Ok(Run { outputs, seconds, device: "noise model".into(), details: json!({}) })
}

/// All steps on real ciphertexts, batch after batch.
pub fn encrypted(
    out: &Output,
    running: &Running,
    plan: &Plan,
    samples: &Samples,
    progress: &dyn Progress,
) -> Result<Run, CliError> {
    let params = plan.params();
    let per_run = params.inputs_per_run();
    let devices = open_devices(running, plan, samples.count, progress)?;
    let needed = needed_bytes(&devices, plan, samples.count);
    memory::check_evaluation(needed, running.memory, available_bytes())?;
    let start = Instant::now();
    let key = SecretKey::generate(&params)?;
    let evaluation = info_span!("make keys").in_scope(|| key.evaluation_key(progress));
    let keygen = start.elapsed().as_secs_f64();
    let key_bytes = evaluation.sealed_bytes(&params);
    let start = Instant::now();
    // Steps of TFHE are few and long: to tell them apart costs next to nothing.
    let is_timed = out.trace.is_some() || matches!(plan, Plan::Tfhe(_));
    let session = devices.session(plan, &evaluation, memory_budget(running), is_timed, progress)?;
    let loading = start.elapsed().as_secs_f64();
    let together = session.inputs_per_pass().min(most_at_a_time(&devices, plan));
    let mut encrypting =
        Encrypting { key: &key, params: &params, samples, next: 0, together, seconds: 0.0, bytes: 0, batches: 0 };
    let mut decrypting = Decrypting { key: &key, outputs: Vec::with_capacity(samples.count) };
    let timings = session.run(&mut encrypting, &mut decrypting, progress)?;
    let outputs = decrypting.outputs;
    let seconds = timings.total.as_secs_f64();
    let runs = samples.count.div_ceil(per_run);
    let mut details = json!({
        "seconds_keygen": keygen,
        "seconds_loading": loading,
        "seconds_encrypt": encrypting.seconds,
        "seconds_per_run": seconds / runs as f64,
        "inputs_per_second_full_runs": (per_run * runs) as f64 / seconds,
        "evaluation_peak_bytes": session.peak_bytes(),
        "needed_bytes": needed,
        "measured_evaluation_key_bytes": key_bytes,
        "measured_input_bytes": encrypting.bytes / encrypting.batches.max(1),
    });
    report::merge(&mut details, report::steps_json(&timings));
    let exact = (0..samples.count).into_par_iter().map(|at| plan.without_noise(&samples.input(at)));
    let exact: Option<Vec<Vec<f64>>> = exact.collect();
    if let Some(exact) = exact {
        let errors: Vec<f64> =
            outputs.iter().zip(&exact).flat_map(|(got, want)| got.iter().zip(want).map(|(g, w)| g - w)).collect();
        let noise = (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
        report::merge(
            &mut details,
            json!({
                "max_abs_error_against_polynomials": errors.iter().fold(0.0_f64, |m, e| m.max(e.abs())),
                "measured_noise": noise,
            }),
        );
    }
    Ok(Run { outputs, seconds, device: devices.names(), details })
}

/// Most inputs that are encrypted at a time.
fn most_at_a_time(devices: &Devices, plan: &Plan) -> usize {
    BATCH.max(plan.params().inputs_per_run()) * devices.count()
}

/// Bytes that the evaluation of so many inputs holds at one time on the host, keys and ciphertexts included; none where
/// another device evaluates.
fn needed_bytes(devices: &Devices, plan: &Plan, inputs: usize) -> Option<u64> {
    devices.needed_bytes(plan, inputs.min(most_at_a_time(devices, plan)))
}

/// The data owner encrypts what comes next.
struct Encrypting<'a> {
    key: &'a SecretKey,
    params: &'a Params,
    samples: &'a Samples,
    /// The first one that was not encrypted.
    next: usize,
    together: usize,
    seconds: f64,
    bytes: u64,
    batches: u64,
}

impl Inputs for Encrypting<'_> {
    fn next(&mut self, most: usize) -> Result<Option<EncryptedInput>, EngineError> {
        let count = (self.samples.count - self.next).min(most).min(self.together);
        if count == 0 {
            return Ok(None);
        }
        let values = self.samples.inputs(self.next..self.next + count);
        self.next += count;
        let _encrypting = info_span!("encrypt", inputs = count).entered();
        let start = Instant::now();
        let input = self.key.encrypt(&values, true).map_err(|error| EngineError::Outside(Box::new(error)))?;
        self.seconds += start.elapsed().as_secs_f64();
        self.batches += 1;
        self.bytes += input.sealed_bytes(self.params);
        Ok(Some(input))
    }
}

/// The data owner decrypts what comes back.
struct Decrypting<'a> {
    key: &'a SecretKey,
    outputs: Vec<Vec<f64>>,
}

impl Outputs for Decrypting<'_> {
    fn put(&mut self, output: EncryptedOutput) -> Result<(), EngineError> {
        let _decrypting = info_span!("decrypt").entered();
        let values = self.key.decrypt_values(&output).map_err(|error| EngineError::Outside(Box::new(error)))?;
        self.outputs.extend(values);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::MemorySize;
    use crate::verbs::demo::planned;
    use heman_core::files::scheme::Scheme;
    use heman_core::progress::NoProgress;
    use heman_engine::{DeviceChoice, Profiles, Wanted};

    #[test]
    fn what_does_not_fit_is_refused_before_the_work_keys_and_ciphertexts_included() {
        for scheme in [Scheme::Tfhe, Scheme::Ckks] {
            let plan = planned(Some(scheme), &NoProgress).expect("a plan").1.plan;
            let profiles = Profiles::default();
            let wanted = Wanted { choice: &DeviceChoice::Cpu, threads: 1, inputs: 1, profiles: &profiles };
            let devices = Devices::open(&wanted, &plan, &NoProgress).expect("the host");
            let needed = |inputs| needed_bytes(&devices, &plan, inputs).expect("the host evaluates");
            let (key_bytes, input_bytes) = match plan.params() {
                Params::Tfhe(params) => (params.prediction.evaluation_key_bytes, params.prediction.input_bytes),
                Params::Ckks(params) => (params.prediction.evaluation_key_bytes, params.prediction.input_bytes),
            };
            assert!(needed(1) > key_bytes + input_bytes, "{scheme:?}: {}", needed(1));
            let most = most_at_a_time(&devices, &plan);
            assert!(needed(most) > needed(1) && needed(most) == needed(100 * most), "{scheme:?}");

            let check = |asked, available| memory::check_evaluation(Some(needed(1)), asked, Some(available));
            assert!(check(None, needed(1)).is_ok());
            let sentence = check(None, needed(1) - 1).expect_err("too much").to_string();
            assert!(sentence.contains(&report::bytes(needed(1))) && sentence.contains("--number"), "{sentence}");
            assert!(check(Some(MemorySize { bytes: 1 }), 1).is_ok(), "what was named is believed");
        }
    }
}
