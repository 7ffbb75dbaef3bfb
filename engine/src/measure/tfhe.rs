//! Keyswitches and bootstraps of one parameter set.

use std::time::Instant;

use heman_core::device::cpu::CpuBackend;
use heman_core::device::error::BackendError;
use heman_core::tfhe::cost::CostModel;
use heman_core::tfhe::cpu::ExactBackend;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::ops::TfheBackend;
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::plan::affine::{AffineBlock, AffineMap};
use heman_core::tfhe::table_set::TableSet;

use super::rings::rings;
use super::words::{uniform_key, uploaded};
use super::{Part, speed, step_seconds};
use crate::error::EngineError;
use crate::profile::Speed;

/// Rows of the largest batch.
const MOST_ROWS: usize = 1 << 14;

/// One row that is another.
fn copying() -> AffineMap {
    let block = AffineBlock { terms: 1, weights: vec![1], picks: vec![0], targets: vec![0], kernels: 1, positions: 1 };
    AffineMap { rows: 1, blocks: vec![block], bias: vec![0] }
}

/// The set that is measured: what the planner takes for many networks.
fn params() -> ParameterSet {
    ParameterSet::with_least_noise(800, 4, 512, (23, 1), (2, 7))
}

/// One row, keyswitched and bootstrapped.
fn row<B: TfheBackend>(backend: &B, key: &SeededEvaluationKey) -> Result<Vec<u32>, BackendError> {
    let params = key.params;
    let (bootstrap_key, keyswitch_key) = (backend.load_bootstrap_key(key)?, backend.load_keyswitch_key(key)?);
    let big = uploaded(backend, params.big_row_words())?;
    let mut small = backend.allocate(params.small_row_words())?;
    let mut out = backend.allocate(params.big_row_words())?;
    let tables = backend.load_tables(TableSet::shared(vec![1 << 29; params.polynomial_size], 1))?;
    backend.keyswitch(&keyswitch_key, 1, &big, &mut small)?;
    backend.bootstrap(&bootstrap_key, &tables, 1, &small, &mut out)?;
    let mut words = vec![0; params.big_row_words()];
    backend.download(&out, 0, &mut words)?;
    Ok(words)
}

/// Compares a row of a device that computes exactly with the host's.
pub(super) fn check_exact<B: TfheBackend>(backend: &B) -> Result<(), EngineError> {
    let key = uniform_key(params());
    if row(backend, &key)? == row(&ExactBackend::new(CpuBackend::new(0)?), &key)? {
        return Ok(());
    }
    Err(EngineError::Wrong(backend.name()))
}

/// Measures a device.
pub(super) fn measure<B: TfheBackend>(backend: &B) -> Result<Part, EngineError> {
    let params = params();
    let key = uniform_key(params);
    let (bootstrap_key, keyswitch_key) = (backend.load_bootstrap_key(&key)?, backend.load_keyswitch_key(&key)?);
    let row_words = params.big_row_words();
    let mut time = |rows: usize| {
        let big = uploaded(backend, rows * row_words)?;
        let (mut small, mut out) =
            (backend.allocate(rows * params.small_row_words())?, backend.allocate(rows * row_words)?);
        let tables = backend.load_tables(TableSet::shared(vec![1 << 29; params.polynomial_size], rows))?;
        backend.sync()?;
        let start = Instant::now();
        backend.keyswitch(&keyswitch_key, rows, &big, &mut small)?;
        backend.bootstrap(&bootstrap_key, &tables, 1, &small, &mut out)?;
        backend.sync()?;
        Ok::<_, BackendError>(start.elapsed())
    };
    let speed: Speed = speed(CostModel::default().bootstrap_seconds(&params), MOST_ROWS, &mut time)?;
    let map = backend.load_affine(&copying())?;
    let (values, mut out) = (uploaded(backend, row_words)?, backend.allocate(row_words)?);
    let step = || backend.affine(&map, 1, row_words, &values, &mut out);
    let step_seconds = step_seconds(step, || backend.sync())?;
    Ok(Part { speed, step_seconds, rings: rings(backend, speed.rows as usize), rates: None })
}
