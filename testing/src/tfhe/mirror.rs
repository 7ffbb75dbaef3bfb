//! Bootstraps by exact transforms beside those of the host, word for word.

use heman_core::device::cpu::CpuBackend;
use heman_core::tfhe::cpu::ExactBackend;
use heman_core::tfhe::ops::{BootstrapOps, TfheBackend};
use heman_core::tfhe::table_set::TableSet;

use crate::tfhe::keys::{TestKeys, words};

/// The host's mirror of exact devices.
///
/// # Panics
/// Without threads.
#[must_use]
pub fn mirror() -> ExactBackend {
    ExactBackend::new(CpuBackend::new(0).expect("threads"))
}

/// Rows of arbitrary words through tables of arbitrary words, with a key that is loaded.
///
/// # Panics
/// If a step fails.
pub fn bootstrapped<B: TfheBackend>(
    backend: &B,
    key: &B::BootstrapKey,
    keys: &TestKeys,
    values: usize,
    inputs: usize,
) -> Vec<u32> {
    let p = keys.evaluation.params;
    let table_of_value = (0..values as u32).map(|value| value % 3).collect();
    let row_of_value = (0..values as u32).rev().collect();
    let tables = TableSet::new(p.polynomial_size, words(3 * p.polynomial_size, 3), table_of_value, row_of_value);
    let tables = backend.load_tables(tables.expect("sound places")).expect("loads");
    let rows = words(values * inputs * p.small_row_words(), 5);
    let mut input = backend.allocate(rows.len()).expect("allocates");
    backend.upload(&rows, &mut input, 0).expect("uploads");
    let mut out = backend.allocate(values * inputs * p.big_row_words()).expect("allocates");
    backend.bootstrap(key, &tables, inputs, &input, &mut out).expect("runs");
    let mut got = vec![0; values * inputs * p.big_row_words()];
    backend.download(&out, 0, &mut got).expect("downloads");
    got
}

/// Batches of values and inputs have the mirror's words.
///
/// # Panics
/// If they have not.
pub fn equals_mirror<B: TfheBackend>(backend: &B, keys: &TestKeys, batches: &[(usize, usize)]) {
    let mirror = mirror();
    let key = backend.load_bootstrap_key(&keys.evaluation).expect("loads");
    let host_key = mirror.load_bootstrap_key(&keys.evaluation).expect("loads");
    for &(values, inputs) in batches {
        let got = bootstrapped(backend, &key, keys, values, inputs);
        let want = bootstrapped(&mirror, &host_key, keys, values, inputs);
        let differ = got.iter().zip(&want).position(|(got, want)| got != want);
        assert_eq!(differ, None, "{:?}, {values} values of {inputs} inputs", keys.evaluation.params);
    }
}
