//! Noise measured against noise predicted.

use heman_core::tfhe::noise;
use heman_core::tfhe::ops::TfheBackend;
use heman_core::tfhe::table_set::TableSet;
use heman_core::tfhe::torus::to_turns;

use crate::tfhe::keys::{TestKeys, phases, words};

/// Measured variance over predicted variance, a step.
#[derive(Clone, Copy, Debug)]
pub struct Ratios {
    /// Keyswitch alone.
    pub keyswitch: f64,
    /// Modulus switch alone.
    pub modulus_switch: f64,
    /// Bootstrap output.
    pub bootstrap: f64,
}

fn variance(samples: &[f64]) -> f64 {
    samples.iter().map(|x| x * x).sum::<f64>() / samples.len() as f64
}

fn upload<B: TfheBackend>(backend: &B, data: &[u32]) -> B::Buffer {
    let mut buffer = backend.allocate(data.len()).expect("allocates");
    backend.upload(data, &mut buffer, 0).expect("uploads");
    buffer
}

fn download<B: TfheBackend>(backend: &B, buffer: &B::Buffer, count: usize) -> Vec<u32> {
    let mut out = vec![0; count];
    backend.download(buffer, 0, &mut out).expect("downloads");
    out
}

/// Rows with phases in the middle of the half turn, masks arbitrary, no noise: only the modulus switch moves them.
fn noiseless_rows(keys: &TestKeys, samples: usize) -> Vec<u32> {
    let n = keys.evaluation.params.lwe_dimension;
    let mut rows = words(samples * (n + 1), 23);
    for row in rows.chunks_exact_mut(n + 1) {
        let (mask, body) = row.split_at_mut(n);
        body[0] = mask.iter().zip(&keys.small).fold(1 << 30, |sum, (&a, &s)| sum.wrapping_add(a.wrapping_mul(s)));
    }
    rows
}

/// Variance around a quarter of a turn of what rows become by one table.
fn variance_by_table<B: TfheBackend>(
    backend: &B,
    keys: &TestKeys,
    key: &B::BootstrapKey,
    table: Vec<u32>,
    rows: &[u32],
) -> f64 {
    let p = keys.evaluation.params;
    let samples = rows.len() / p.small_row_words();
    let input = upload(backend, rows);
    let mut out = backend.allocate(samples * p.big_row_words()).expect("allocates");
    let tables = backend.load_tables(TableSet::shared(table, samples)).expect("loads");
    backend.bootstrap(key, &tables, 1, &input, &mut out).expect("runs");
    let phases = phases(&keys.big, &download(backend, &out, samples * p.big_row_words()));
    let errors: Vec<f64> = phases.iter().map(|&phase| to_turns(phase.wrapping_sub(1 << 30))).collect();
    variance(&errors)
}

/// Variance of bootstraps' own noise over `samples` rows, which are the same for every backend: a constant table shows
/// it.
#[must_use]
pub fn measure_bootstrap<B: TfheBackend>(backend: &B, keys: &TestKeys, samples: usize) -> f64 {
    let key = backend.load_bootstrap_key(&keys.evaluation).expect("loads");
    let constant = vec![1 << 30; keys.evaluation.params.polynomial_size];
    variance_by_table(backend, keys, &key, constant, &noiseless_rows(keys, samples))
}

/// Measures `samples` rows of each step.
#[must_use]
pub fn measure<B: TfheBackend>(backend: &B, keys: &TestKeys, samples: usize) -> Ratios {
    let p = keys.evaluation.params;
    // Arbitrary rows decrypt to arbitrary phases; the keyswitch's error is the difference of the phases.
    let big = words(samples * p.big_row_words(), 21);
    let keyswitch_key = backend.load_keyswitch_key(&keys.evaluation).expect("loads");
    let input = upload(backend, &big);
    let mut small = backend.allocate(samples * p.small_row_words()).expect("allocates");
    backend.keyswitch(&keyswitch_key, samples, &input, &mut small).expect("runs");
    let small_rows = download(backend, &small, samples * p.small_row_words());
    let (before, after) = (phases(&keys.big, &big), phases(&keys.small, &small_rows));
    let errors: Vec<f64> = before.iter().zip(&after).map(|(b, a)| to_turns(a.wrapping_sub(*b))).collect();
    let keyswitch = variance(&errors) / noise::keyswitch_variance(&p);

    // A linear table reads off the exponent that the modulus switch gave; a constant one shows the bootstrap's own noise.
    let size = p.polynomial_size;
    let key = backend.load_bootstrap_key(&keys.evaluation).expect("loads");
    let rows = noiseless_rows(keys, samples);
    let bootstrap = variance_by_table(backend, keys, &key, vec![1 << 30; size], &rows);
    let linear = (0..size).map(|j| (j as u32) << (31 - size.trailing_zeros())).collect();
    // The table quantises to whole exponents already: what is read is the rounded phase plus the bootstrap's own noise.
    let switch = (variance_by_table(backend, keys, &key, linear, &rows) - bootstrap).max(0.0);
    Ratios {
        keyswitch,
        modulus_switch: switch / noise::modulus_switch_variance(&p),
        bootstrap: bootstrap / noise::bootstrap_variance(&p),
    }
}
