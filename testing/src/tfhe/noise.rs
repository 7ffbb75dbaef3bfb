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

/// Measures `samples` rows of each step.
#[must_use]
pub fn measure<B: TfheBackend>(backend: &B, keys: &TestKeys, samples: usize) -> Ratios {
    let p = keys.evaluation.params;
    let upload = |data: &[u32]| {
        let mut buffer = backend.allocate(data.len()).expect("allocates");
        backend.upload(data, &mut buffer, 0).expect("uploads");
        buffer
    };
    let download = |buffer: &B::Buffer, count: usize| {
        let mut out = vec![0; count];
        backend.download(buffer, 0, &mut out).expect("downloads");
        out
    };
    // Arbitrary rows decrypt to arbitrary phases; the keyswitch's error is the difference of the phases.
    let big = words(samples * p.big_row_words(), 21);
    let keyswitch_key = backend.load_keyswitch_key(&keys.evaluation).expect("loads");
    let input = upload(&big);
    let mut small = backend.allocate(samples * p.small_row_words()).expect("allocates");
    backend.keyswitch(&keyswitch_key, samples, &input, &mut small).expect("runs");
    let small_rows = download(&small, samples * p.small_row_words());
    let (before, after) = (phases(&keys.big, &big), phases(&keys.small, &small_rows));
    let errors: Vec<f64> = before.iter().zip(&after).map(|(b, a)| to_turns(a.wrapping_sub(*b))).collect();
    let keyswitch = variance(&errors) / noise::keyswitch_variance(&p);

    // A linear table reads off the exponent that the modulus switch gave; a constant one shows the bootstrap's own noise.
    let size = p.polynomial_size;
    let constant = vec![1_u32 << 30; size];
    let key = backend.load_bootstrap_key(&keys.evaluation).expect("loads");
    let bootstrap_with = |table: &[u32], rows: &[u32]| {
        let input = upload(rows);
        let mut out = backend.allocate(samples * p.big_row_words()).expect("allocates");
        let tables = backend.load_tables(TableSet::shared(table.to_vec(), samples)).expect("loads");
        backend.bootstrap(&key, &tables, 1, &input, &mut out).expect("runs");
        phases(&keys.big, &download(&out, samples * p.big_row_words()))
    };
    // Phases in the middle of the half turn, masks arbitrary, no noise: only the modulus switch moves them.
    let n = p.lwe_dimension;
    let mut rows = words(samples * (n + 1), 23);
    for row in rows.chunks_exact_mut(n + 1) {
        let (mask, body) = row.split_at_mut(n);
        body[0] = mask.iter().zip(&keys.small).fold(1 << 30, |sum, (&a, &s)| sum.wrapping_add(a.wrapping_mul(s)));
    }
    let own = bootstrap_with(&constant, &rows);
    let errors: Vec<f64> = own.iter().map(|&phase| to_turns(phase.wrapping_sub(1 << 30))).collect();
    let bootstrap_measured = variance(&errors);
    let linear: Vec<u32> = (0..size).map(|j| (j as u32) << (31 - size.trailing_zeros())).collect();
    let read = bootstrap_with(&linear, &rows);
    let errors: Vec<f64> = read.iter().map(|&phase| to_turns(phase.wrapping_sub(1 << 30))).collect();
    // The table quantises to whole exponents already: what is read is the rounded phase plus the bootstrap's own noise.
    let switch = (variance(&errors) - bootstrap_measured).max(0.0);
    Ratios {
        keyswitch,
        modulus_switch: switch / noise::modulus_switch_variance(&p),
        bootstrap: bootstrap_measured / noise::bootstrap_variance(&p),
    }
}
