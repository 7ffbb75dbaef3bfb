//! What the benches share: parameter sets, keys, batches, medians.

mod backends;
mod cpu_rates;

use std::process::ExitCode;

pub use backends::{OnBackend, on_every_backend};
pub use cpu_rates::cpu_rates;
use heman_client::tfhe::SecretKey;
use heman_core::device::Device;
use heman_core::device::error::BackendError;
use heman_core::files::scheme::Scheme;
use heman_core::model::client_op::ClientOps;
use heman_core::model::columns::Columns;
use heman_core::model::network::TensorInfo;
use heman_core::progress::NoProgress;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::params::public::{InputEncoding, OutputEncoding, Params, Prediction};
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::plan::affine::{AffineBlock, AffineMap};
pub use heman_engine::measure::primitives::sets;

/// Public parameters around a set, for one input and one output value.
#[must_use]
pub fn identity(tfhe: ParameterSet) -> Params {
    let tensor = |name: &str| TensorInfo { name: name.into(), shape: vec![1] };
    Params {
        format: heman_core::files::params::FORMAT.into(),
        version: heman_core::files::params::VERSION,
        scheme: Scheme::Tfhe,
        tfhe,
        input: InputEncoding {
            tensor: tensor("x"),
            parts: vec![tensor("x")],
            turns_per_unit: 1.0,
            low: -0.5,
            high: 0.5,
            columns: Columns::default(),
        },
        output: OutputEncoding {
            tensor: tensor("y"),
            turns_per_unit: vec![1.0],
            offset: vec![0.0],
            steps: None,
            client_ops: ClientOps::default(),
        },
        plan_digest: String::new(),
        prediction: Prediction { security_bits: 128.0, ..Prediction::default() },
    }
}

/// Fresh keys of a set.
///
/// # Panics
/// If the set is not secure: benches measure what can be emitted.
#[must_use]
pub fn keys(tfhe: ParameterSet) -> SeededEvaluationKey {
    let key = SecretKey::generate(&identity(tfhe)).expect("secure sets only");
    key.evaluation_key(&NoProgress)
}

/// Arbitrary words: time does not depend on them.
#[must_use]
pub fn words(count: usize) -> Vec<u32> {
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// A buffer of arbitrary words on a backend.
///
/// # Errors
/// If there is no memory for it.
pub fn filled<B: Device>(backend: &B, count: usize) -> Result<B::Buffer, BackendError> {
    let mut buffer = backend.allocate(count)?;
    backend.upload(&words(count), &mut buffer, 0)?;
    Ok(buffer)
}

/// The middle value.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How a process ends; an error goes to stderr.
#[must_use]
pub fn exit_code(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A dense map: every output reads every value.
#[must_use]
pub fn dense(outputs: usize, values: usize) -> AffineMap {
    AffineMap {
        rows: outputs,
        blocks: vec![AffineBlock {
            terms: values,
            weights: (0..outputs * values).map(|i| (i % 15) as i16 - 7).collect(),
            picks: (0..values as u32).collect(),
            targets: (0..outputs as u32).collect(),
            kernels: outputs,
            positions: 1,
        }],
        bias: vec![0; outputs],
    }
}
