//! What there is to say about CKKS parameters and plans.

use heman_core::ckks::files::ciphertexts::{EncryptedInput, EncryptedOutput};
use heman_core::ckks::params::packing::Packing;
use heman_core::ckks::params::public::Params;
use heman_core::ckks::params::set::RingKind;
use heman_core::ckks::plan::Plan;
use heman_core::ckks::plan::width::Width;
use heman_core::ckks::schedule::latency::LatencySchedule;
use heman_core::ckks::schedule::throughput::ThroughputSchedule;
use heman_core::files::params::REQUIRED_BITS;
use heman_core::files::sealed::OfBatch;
use serde_json::{Value, json};

use super::{Layer, bytes, client, input, loss, merge};
use crate::error::CliError;

/// Parameters, packing and promises.
pub fn params_json(params: &Params) -> Value {
    let (ckks, promised) = (&params.ckks, &params.prediction);
    let mut object = json!({
        "scheme": "ckks",
        "ring": ckks.ring,
        "log2_degree": ckks.log2_degree,
        "polynomial_size": 1_u64 << ckks.log2_degree,
        "primes": ckks.primes,
        "special_primes": ckks.special_primes,
        "scale_log2": ckks.scale_log2,
        "modulus_bits": ckks.modulus_bits(),
        "security_bits": REQUIRED_BITS,
        "packing": params.packing.describe(),
        "inputs_per_run": params.inputs_per_run(),
        "rotation_keys": params.keys.rotation_limbs.len(),
        "polynomial_degree": promised.degree,
        "bootstraps": promised.bootstraps,
        "outside_of_bounds": promised.outside,
        "predicted_noise": params.output.noise,
        "predicted_thread_seconds_per_run": promised.thread_seconds_per_run,
        "predicted_thread_seconds_per_input": promised.thread_seconds_per_run / params.inputs_per_run() as f64,
        "predicted_memory_bytes": promised.memory_bytes,
        "evaluation_key_bytes": params.keys.file_bytes(ckks),
        "encrypted_input_bytes": EncryptedInput::file_bytes(params, params.inputs_per_run() as u32),
        "encrypted_output_bytes": EncryptedOutput::file_bytes(params, params.inputs_per_run() as u32),
        "input": params.input.tensor,
        "output": params.output.tensor,
    });
    merge(&mut object, input::json(&params.input.columns, (params.input.low, params.input.high)));
    merge(&mut object, loss::json(&promised.loss));
    merge(&mut object, client::json(&params.input.parts, &params.output.tensor, &params.output.client_ops));
    object
}

/// Parameters, packing and promises, for people.
pub fn params_text(params: &Params) -> String {
    let (ckks, promised) = (&params.ckks, &params.prediction);
    let packing = match &params.packing {
        Packing::Throughput => format!("throughput: {} inputs a run, one a slot", ckks.slots()),
        Packing::Latency { lanes: 1, .. } => "latency: one input a run, over all slots".to_string(),
        Packing::Latency { lanes, .. } => format!("latency: {lanes} inputs a run, interleaved"),
    };
    let loss = loss::text(&promised.loss);
    let bootstraps = match promised.bootstraps {
        0 => String::new(),
        count => format!(
            "; {count} bootstrap(s) a run, whose bounds {:.2} % of the inputs held out leave somewhere",
            100.0 * promised.outside
        ),
    };
    let client = client::text(&params.output.tensor, &params.output.client_ops).unwrap_or_default();
    format!(
        "scheme        CKKS, N = 2^{}, {} {} slots, log2(QP) = {:.1}, {} levels of {} bits, {} special prime(s)\n\
         security      at least {REQUIRED_BITS:.0} bits\n\
         packing       {packing}; {} rotation key(s)\n\
         input         {} {:?}, {}\n\
         output        {} {:?}\n\
         {client}polynomials   of degree {} or less{bootstraps}\n\
         prediction    {loss}, noise {:.1e}; {:.2} thread-seconds a run\n\
         sizes         evaluation key {}, encrypted input {}, encrypted output {} a run; {} of memory beside keys",
        ckks.log2_degree,
        ckks.slots(),
        if ckks.ring == RingKind::Real { "real" } else { "complex" },
        ckks.modulus_bits(),
        ckks.primes.len() - 1,
        ckks.scale_log2,
        ckks.special_primes.len(),
        params.keys.rotation_limbs.len(),
        params.input.tensor.name,
        params.input.tensor.shape,
        input::text(&params.input.columns, (params.input.low, params.input.high)),
        params.output.tensor.name,
        params.output.tensor.shape,
        promised.degree,
        params.output.noise,
        promised.thread_seconds_per_run,
        bytes(params.keys.file_bytes(ckks)),
        bytes(EncryptedInput::file_bytes(params, params.inputs_per_run() as u32)),
        bytes(EncryptedOutput::file_bytes(params, params.inputs_per_run() as u32)),
        bytes(promised.memory_bytes),
    )
}

/// The layers of a plan.
pub fn plan_layers(plan: &Plan) -> Vec<Layer> {
    let terms = |rows: &[heman_core::model::network::Row]| rows.iter().map(|row| row.taps.len()).sum();
    let mut layers: Vec<Layer> = plan
        .network
        .stages
        .iter()
        .map(|stage| Layer {
            operator: stage.operator.clone(),
            name: stage.name.clone(),
            shape: stage.shape.clone(),
            activations: stage.rows.len(),
            terms: terms(&stage.rows),
            bits: None,
            seconds: None,
        })
        .collect();
    layers.push(Layer {
        operator: plan.network.output_operator.clone(),
        name: plan.network.output.name.clone(),
        shape: plan.network.output.shape.clone(),
        activations: 0,
        terms: terms(&plan.network.output_rows),
        bits: None,
        seconds: None,
    });
    layers
}

/// What a run does on this machine's threads.
pub fn schedule_text(plan: &Plan) -> Result<String, CliError> {
    let params = &plan.params.ckks;
    Ok(match &plan.latency {
        Some(latency) => LatencySchedule::new(&plan.network, latency, params)?.to_string(),
        None => {
            let width = Width::of_threads(params, rayon::current_num_threads());
            ThroughputSchedule::new(&plan.network, params, width)?.to_string()
        }
    })
}
