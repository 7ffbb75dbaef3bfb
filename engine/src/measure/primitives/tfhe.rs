//! Keyswitch, bootstrap and linear map.

use heman_core::device::error::BackendError;
use heman_core::tfhe::ops::TfheBackend;
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::plan::affine::{AffineBlock, AffineMap};
use heman_core::tfhe::table_set::TableSet;

use super::{Operation, Suite, Timed, sample};
use crate::error::EngineError;
use crate::measure::words::{uniform_key, uploaded};

/// Rows of a bootstrap and of a keyswitch: for latency and for throughput.
const ROWS: [usize; 2] = [1, 128];
/// Rows and terms of the linear map, of LeNet-5's first dense layer.
const MAP: (usize, usize) = (128, 400);

/// The frozen parameter sets with their names: what the planner picks for LeNet-5 and CryptoNets first, then the shapes
/// it chooses among.
#[must_use]
pub fn sets() -> Vec<(String, ParameterSet)> {
    [
        ParameterSet::with_least_noise(800, 4, 512, (23, 1), (2, 7)),
        ParameterSet { grouping_factor: 2, ..ParameterSet::with_least_noise(800, 4, 512, (23, 1), (3, 5)) },
        ParameterSet { grouping_factor: 2, ..ParameterSet::with_least_noise(800, 2, 1024, (15, 2), (3, 5)) },
        ParameterSet::with_least_noise(720, 4, 512, (23, 1), (2, 6)),
        ParameterSet::with_least_noise(640, 7, 256, (20, 1), (2, 5)),
        ParameterSet::with_least_noise(760, 2, 1024, (23, 1), (2, 7)),
        ParameterSet::with_least_noise(800, 1, 2048, (23, 1), (2, 7)),
        ParameterSet::with_least_noise(800, 2, 1024, (15, 2), (2, 7)),
        ParameterSet { grouping_factor: 3, ..ParameterSet::with_least_noise(801, 1, 2048, (15, 2), (2, 7)) },
    ]
    .into_iter()
    .map(|set| (name(&set), set))
    .collect()
}

fn name(p: &ParameterSet) -> String {
    let group = if p.grouping_factor == 1 { String::new() } else { format!("_g{}", p.grouping_factor) };
    format!("n{}{group}_k{}_N{}_l{}", p.lwe_dimension, p.glwe_dimension, p.polynomial_size, p.pbs_level)
}

/// A parameter set's keys on a device, ready to be timed. Keys are uniform words.
pub struct TfheBench<'a, B: TfheBackend> {
    backend: &'a B,
    params: ParameterSet,
    bootstrap_key: B::BootstrapKey,
    keyswitch_key: B::KeyswitchKey,
}

impl<'a, B: TfheBackend> TfheBench<'a, B> {
    /// Loads keys.
    ///
    /// # Errors
    /// The device's.
    pub fn new(backend: &'a B, params: ParameterSet) -> Result<Self, BackendError> {
        let key = uniform_key(params);
        let bootstrap_key = backend.load_bootstrap_key(&key)?;
        let keyswitch_key = backend.load_keyswitch_key(&key)?;
        Ok(Self { backend, params, bootstrap_key, keyswitch_key })
    }

    /// What keyswitches so many rows and waits.
    ///
    /// # Errors
    /// The device's.
    pub fn keyswitch(&self, rows: usize) -> Result<impl FnMut() -> Result<(), BackendError> + '_, BackendError> {
        let big = uploaded(self.backend, rows * self.params.big_row_words())?;
        let mut small = self.backend.allocate(rows * self.params.small_row_words())?;
        Ok(move || {
            self.backend.keyswitch(&self.keyswitch_key, rows, &big, &mut small)?;
            self.backend.sync()
        })
    }

    /// What bootstraps so many rows and waits.
    ///
    /// # Errors
    /// The device's.
    pub fn bootstrap(&self, rows: usize) -> Result<impl FnMut() -> Result<(), BackendError> + '_, BackendError> {
        let small = uploaded(self.backend, rows * self.params.small_row_words())?;
        let mut out = self.backend.allocate(rows * self.params.big_row_words())?;
        let table = vec![1 << 29; self.params.polynomial_size];
        let tables = self.backend.load_tables(TableSet::shared(table, rows))?;
        Ok(move || {
            self.backend.bootstrap(&self.bootstrap_key, &tables, 1, &small, &mut out)?;
            self.backend.sync()
        })
    }

    /// What applies a dense map to rows of the ring key and waits.
    ///
    /// # Errors
    /// The device's.
    pub fn linear(&self) -> Result<impl FnMut() -> Result<(), BackendError> + '_, BackendError> {
        let ((rows, terms), words) = (MAP, self.params.big_row_words());
        let map = self.backend.load_affine(&dense(rows, terms))?;
        let values = uploaded(self.backend, terms * words)?;
        let mut out = self.backend.allocate(rows * words)?;
        Ok(move || {
            self.backend.affine(&map, 1, words, &values, &mut out)?;
            self.backend.sync()
        })
    }
}

/// A dense map: every row reads every value.
fn dense(rows: usize, terms: usize) -> AffineMap {
    let block = AffineBlock {
        terms,
        weights: (0..rows * terms).map(|at| (at % 15) as i16 - 7).collect(),
        picks: (0..terms as u32).collect(),
        targets: (0..rows as u32).collect(),
        kernels: rows,
        positions: 1,
    };
    AffineMap { rows, blocks: vec![block], bias: vec![0; rows] }
}

/// All sets on one device.
pub(super) struct Runner<'a, B: TfheBackend>(pub &'a B);

impl<B: TfheBackend> Suite for Runner<'_, B> {
    fn operations(&self) -> Vec<Vec<Operation>> {
        let of_set = |(parameters, _): (String, ParameterSet)| {
            let of = |name, rows| Operation { scheme: "tfhe", name, parameters: parameters.clone(), rows };
            let by_rows = ROWS.into_iter().flat_map(|rows| [of("keyswitch", rows), of("bootstrap", rows)]);
            by_rows.chain([of("linear", MAP.0)]).collect()
        };
        sets().into_iter().map(of_set).collect()
    }

    fn time(&self, set: usize, wanted: Vec<Operation>, seconds: f64) -> Result<Vec<Timed>, EngineError> {
        let bench = TfheBench::new(self.0, sets().swap_remove(set).1)?;
        let timed = |run: &mut dyn FnMut() -> Result<(), BackendError>| sample(seconds, || Ok(()), |()| run());
        let time = |operation: Operation| {
            let seconds = match operation.name {
                "keyswitch" => timed(&mut bench.keyswitch(operation.rows)?),
                "bootstrap" => timed(&mut bench.bootstrap(operation.rows)?),
                _ => timed(&mut bench.linear()?),
            };
            Ok(Timed { operation, seconds: seconds? })
        };
        wanted.into_iter().map(time).collect()
    }
}
