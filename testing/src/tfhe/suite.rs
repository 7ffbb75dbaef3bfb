//! The steps of a backend against the reference.

use heman_core::device::Device;
use heman_core::device::reference::ReferenceBackend;
use heman_core::files::container::Fingerprint;
use heman_core::tfhe::files::ciphertexts::EncryptedInput;
use heman_core::tfhe::ops::{InputOps, KeyswitchOps, LinearOps, TfheBackend};
use heman_core::tfhe::plan::affine::{AffineBlock, AffineMap};
use heman_core::tfhe::table_set::TableSet;

use crate::tfhe::keys::{TestKeys, phases, words};

/// Batch sizes around the widths at which implementations change their path.
const ROWS: [usize; 8] = [1, 2, 3, 31, 32, 33, 100, 129];

fn download<B: Device>(backend: &B, buffer: &B::Buffer, count: usize) -> Vec<u32> {
    let mut out = vec![0; count];
    backend.download(buffer, 0, &mut out).expect("downloads");
    out
}

fn uploaded<B: Device>(backend: &B, data: &[u32]) -> B::Buffer {
    let mut buffer = backend.allocate(data.len()).expect("allocates");
    backend.upload(data, &mut buffer, 0).expect("uploads");
    buffer
}

/// Fresh inputs with their masks: those of the host, word for word, and nothing beside them.
pub fn inputs<B: InputOps>(backend: &B) {
    let (inputs, values) = (3, 7);
    let seed = |input: u32| std::array::from_fn(|byte| (words(16, input + 1)[byte] >> 8) as u8);
    let bodies = words((inputs * values) as usize, 9);
    let (fingerprint, seeds) = (Fingerprint::NONE, (0..inputs).map(seed).collect());
    let inputs = EncryptedInput { fingerprint, inputs, batched: true, seeds, bodies };
    for row_words in [258, 1025, 1281] {
        for (first, count) in [(0, 3), (1, 2), (2, 1)] {
            let want = inputs.expand(row_words, first, count);
            let mut buffer = uploaded(backend, &vec![7; want.len() + 20]);
            backend.upload_inputs(&inputs, (first, count), row_words, &mut buffer, 10).expect("fits");
            let got = download(backend, &buffer, want.len() + 20);
            assert!(got[10..10 + want.len()] == want, "{row_words} words, inputs {first} + {count}");
            assert!(got[..10].iter().chain(&got[10 + want.len()..]).all(|&word| word == 7), "nothing beside them");
        }
        let mut short = uploaded(backend, &vec![0; row_words]);
        assert!(backend.upload_inputs(&inputs, (0, 1), row_words, &mut short, 0).is_err(), "short buffers are refused");
    }
}

/// Maps of every kind: dense, convolution-like, constant rows, one and several inputs; outputs start as junk.
pub fn linear<B: LinearOps>(backend: &B) {
    let reference = ReferenceBackend;
    let shapes = [(1, 1, 1, 1), (3, 5, 9, 40), (6, 7, 25, 60), (17, 1, 200, 200), (2, 3, 0, 4)];
    // Weights of two bytes and of one.
    for ((kernels, positions, terms, values), shift) in shapes.into_iter().flat_map(|shape| [(shape, 0), (shape, 8)]) {
        let rows = kernels * positions;
        let draw = |count: usize, below: usize, seed: u32| -> Vec<u32> {
            words(count, seed).into_iter().map(|w| w % below as u32).collect()
        };
        let map = AffineMap {
            rows: rows + 1,
            blocks: vec![
                AffineBlock {
                    terms,
                    weights: words(kernels * terms, 3).into_iter().map(|w| w as i16 >> shift).collect(),
                    picks: draw(positions * terms, values, 5),
                    targets: (0..rows as u32).rev().collect(),
                    kernels,
                    positions,
                },
                AffineBlock { targets: vec![rows as u32], kernels: 1, positions: 1, ..AffineBlock::default() },
            ],
            bias: words(rows + 1, 7),
        };
        map.validate(values).expect("a sound map");
        for (inputs, row_words) in [(1, 1), (1, 33), (2, 257), (3, 1025)] {
            let input = words(values * inputs * row_words, 11);
            let run_on = |out_junk: u32| {
                let loaded = backend.load_affine(&map).expect("loads");
                let buffer = uploaded(backend, &input);
                let mut out = uploaded(backend, &words((rows + 1) * inputs * row_words, out_junk));
                backend.affine(&loaded, inputs, row_words, &buffer, &mut out).expect("runs");
                assert_eq!(download(backend, &buffer, input.len()), input, "inputs are left alone");
                download(backend, &out, (rows + 1) * inputs * row_words)
            };
            let mut want = vec![0; (rows + 1) * inputs * row_words];
            reference.affine(&map, inputs, row_words, &input, &mut want).expect("reference");
            assert_eq!(
                run_on(1),
                want,
                "{kernels}x{positions}x{terms}, weights >> {shift}, {inputs} inputs of {row_words} words"
            );
            assert_eq!(run_on(2), want, "what was in the output does not matter");
        }
    }
    let map = backend.load_affine(&AffineMap { rows: 1, blocks: vec![], bias: vec![0] }).expect("loads");
    let input = uploaded(backend, &[0; 4]);
    let mut short = uploaded(backend, &[0; 3]);
    assert!(backend.affine(&map, 1, 4, &input, &mut short).is_err(), "short buffers are refused");
}

/// Keyswitches equal tfhe's, word for word, for every batch size.
pub fn keyswitch<B: KeyswitchOps>(backend: &B, keys: &TestKeys) {
    let p = keys.evaluation.params;
    let reference = ReferenceBackend;
    let ours = backend.load_keyswitch_key(&keys.evaluation).expect("loads");
    let theirs = reference.load_keyswitch_key(&keys.evaluation).expect("loads");
    for rows in ROWS {
        let input = words(rows * p.big_row_words(), rows as u32);
        let mut want = vec![0; rows * p.small_row_words()];
        reference.keyswitch(&theirs, rows, &input, &mut want).expect("reference");
        let buffer = uploaded(backend, &input);
        let mut out = uploaded(backend, &words(want.len(), 77));
        backend.keyswitch(&ours, rows, &buffer, &mut out).expect("runs");
        assert_eq!(download(backend, &out, want.len()), want, "{rows} rows");
        assert_eq!(download(backend, &buffer, input.len()), input, "inputs are left alone");
    }
    let mut short = uploaded(backend, &[0; 1]);
    let input = uploaded(backend, &vec![0; p.big_row_words()]);
    assert!(backend.keyswitch(&ours, 1, &input, &mut short).is_err(), "short buffers are refused");
}

/// Bootstraps decrypt to the table's entry, on both halves of the torus, for every batch size, place and number of
/// inputs.
pub fn bootstrap<B: TfheBackend>(backend: &B, keys: &TestKeys) {
    let p = keys.evaluation.params;
    let size = p.polynomial_size;
    let key = backend.load_bootstrap_key(&keys.evaluation).expect("loads");
    // Steps of an eighth of the half turn, wide enough for the noise of small parameters; the second table falls.
    let up: Vec<u32> = (0..size).map(|j| ((8 * j / size) as u32) << 28).collect();
    let down: Vec<u32> = (0..size).map(|j| (7 - (8 * j / size) as u32) << 28).collect();
    for values in ROWS {
        let inputs = if values % 2 == 1 { 1 } else { 3 };
        let rows = values * inputs;
        let messages: Vec<u32> = words(rows, 13).into_iter().map(|w| w % 16).collect();
        // The middle of each box of a sixteenth of a turn.
        let encoded: Vec<u32> = messages.iter().map(|&m| (2 * m + 1) << 27).collect();
        let input = keys.encrypt(&keys.small, &encoded, p.ks_noise_bound_log2, 99);
        let table_of_value: Vec<u32> = (0..values as u32).map(|v| v % 2).collect();
        let row_of_value: Vec<u32> = (0..values as u32).rev().map(|v| v + 1).collect();
        let both = [up.clone(), down.clone()].concat();
        let tables = TableSet::new(size, both, table_of_value, row_of_value.clone()).expect("sound places");
        let tables = backend.load_tables(tables).expect("loads");
        let buffer = uploaded(backend, &input);
        let junk = words((values + 1) * inputs * p.big_row_words(), 17);
        let mut out = uploaded(backend, &junk);
        backend.bootstrap(&key, &tables, inputs, &buffer, &mut out).expect("runs");
        let got = download(backend, &out, junk.len());
        assert_eq!(download(backend, &buffer, input.len()), input, "inputs are left alone");
        let untouched = inputs * p.big_row_words();
        assert_eq!(got[..untouched], junk[..untouched], "rows that are nobody's are left alone");
        let got = phases(&keys.big, &got);
        for value in 0..values {
            for input in 0..inputs {
                let message = messages[value * inputs + input];
                let table = if value % 2 == 0 { &up } else { &down };
                let entry = table[(message as usize % 8) * size / 8 + size / 16];
                let want = if message < 8 { entry } else { entry.wrapping_neg() };
                let phase = got[row_of_value[value] as usize * inputs + input];
                let error = phase.wrapping_sub(want).cast_signed().unsigned_abs();
                assert!(error < 1 << 27, "{values} values: value {value}, input {input} is off by {error}");
            }
        }
    }
    let short = uploaded(backend, &[0; 1]);
    let mut out = uploaded(backend, &[0; 1]);
    let tables = backend.load_tables(TableSet::shared(up, 1)).expect("loads");
    assert!(backend.bootstrap(&key, &tables, 1, &short, &mut out).is_err(), "short buffers are refused");
    let tables = backend.load_tables(TableSet::shared(down.repeat(2), 1)).expect("loads");
    let input = uploaded(backend, &vec![0; p.small_row_words()]);
    let mut out = uploaded(backend, &vec![0; p.big_row_words()]);
    assert!(backend.bootstrap(&key, &tables, 1, &input, &mut out).is_err(), "tables of another ring are refused");
}

/// Rows give the same words whatever batch they are part of: a device rounds each of them alike.
pub fn batch_independence<B: TfheBackend>(backend: &B, keys: &TestKeys) {
    let p = keys.evaluation.params;
    let key = backend.load_bootstrap_key(&keys.evaluation).expect("loads");
    let table = words(p.polynomial_size, 3);
    let input = words(40 * p.small_row_words(), 5);
    let run_rows = |first: usize, count: usize| {
        let rows = &input[first * p.small_row_words()..][..count * p.small_row_words()];
        let buffer = uploaded(backend, rows);
        let mut out = uploaded(backend, &vec![0; count * p.big_row_words()]);
        let tables = backend.load_tables(TableSet::shared(table.clone(), count)).expect("loads");
        backend.bootstrap(&key, &tables, 1, &buffer, &mut out).expect("runs");
        download(backend, &out, count * p.big_row_words())
    };
    let whole = run_rows(0, 40);
    let split = [run_rows(0, 7), run_rows(7, 32), run_rows(39, 1)].concat();
    assert_eq!(whole, split, "a backend is deterministic, whatever the batch");
}
