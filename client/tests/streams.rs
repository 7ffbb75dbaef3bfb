//! Files of ciphertexts in parts: the bytes, and the results, are those of the whole.

use heman_client::SecretKey;
use heman_core::ckks::files::ciphertexts as ckks;
use heman_core::ckks::planner::Options as CkksOptions;
use heman_core::either::files::{EncryptedInput, EncryptedOutput};
use heman_core::either::params::Params;
use heman_core::either::planner::{self, Options};
use heman_core::either::streams::{InputReader, InputWriter, OutputReader, OutputWriter, input_file_bytes};
use heman_core::files::chunks::Reader;
use heman_core::files::scheme::Scheme;
use heman_core::files::sealed::Batch;
use heman_core::planning::loss::LossBudget;
use heman_core::planning::task::Task;
use heman_core::progress::NoProgress;
use heman_core::tfhe::files::ciphertexts as tfhe;
use heman_core::tfhe::planner::options::Options as TfheOptions;
use heman_testing::networks::{network, row};

/// Parameters of either scheme for four inputs and two outputs.
fn params() -> [Params; 2] {
    let rows = vec![row(0.1, [(0, 0.5), (2, -1.0)]), row(-0.2, [(1, 0.7), (3, 0.4)])];
    let network = network(&[1, 4], Vec::new(), rows);
    let samples: Vec<Vec<f32>> = (0..32).map(|at| values(at + 1).split_off(4 * at)).collect();
    let (max_loss, task) = (0.05, Task::Regress);
    let tfhe = TfheOptions { budget: LossBudget { max_loss, task, ..LossBudget::default() }, ..TfheOptions::default() };
    let ckks = CkksOptions {
        budget: LossBudget { max_loss, task, ..LossBudget::default() },
        batch: 64,
        ..CkksOptions::default()
    };
    let options = Options { tfhe, ckks };
    [Scheme::Tfhe, Scheme::Ckks].map(|scheme| {
        let derived = planner::plan(Some(scheme), &network, &samples, &options, &NoProgress);
        derived.expect("a plan").plan.params()
    })
}

fn values(inputs: usize) -> Vec<f32> {
    (0..4 * inputs).map(|at| (at as f32 * 0.7).sin() / 2.0).collect()
}

/// Ciphertexts that nobody computed.
fn output(params: &Params, key: &SecretKey, inputs: u32) -> EncryptedOutput {
    let fingerprint = key.fingerprint();
    match params {
        Params::Tfhe(params) => {
            let words = params.output.tensor.len() * inputs as usize * params.tfhe.big_row_words();
            let rows = (0..words as u32).map(|at| at.wrapping_mul(0x9e37_79b9)).collect();
            EncryptedOutput::Tfhe(tfhe::EncryptedOutput { fingerprint, inputs, batched: true, rows })
        }
        Params::Ckks(params) => {
            let words = params.ckks.primes.len().min(2) * params.ckks.degree();
            let runs = (inputs as usize).div_ceil(params.inputs_per_run()) * params.ciphertexts_per_run().1;
            let part = |seed: u32| (0..words as u32).map(|at| at.wrapping_mul(seed) % 1000).collect();
            let ciphertext = |at: usize| ckks::Parts { body: part(at as u32 + 1), mask: part(at as u32 + 7) };
            let ciphertexts = (0..runs).map(ciphertext).collect();
            EncryptedOutput::Ckks(ckks::EncryptedOutput { fingerprint, inputs, batched: true, ciphertexts })
        }
    }
}

#[test]
fn inputs_in_parts_are_the_file_of_all() {
    for params in params() {
        let key = SecretKey::generate(&params).expect("sound parameters");
        let run = params.inputs_per_run();
        let count = 2 * run + run.div_ceil(2);
        let whole = key.encrypt(&values(count), true).expect("in range");
        let mut bytes = Vec::new();
        whole.seal_to(&params, &mut bytes).expect("memory takes everything");
        assert_eq!(bytes.len() as u64, input_file_bytes(&params, count as u32));
        let mut reader =
            InputReader::open(Reader::of_bytes(&bytes).expect("ours"), &params, Some(key.fingerprint())).expect("ours");
        let batch = Batch { inputs: count as u32, batched: true };
        assert_eq!(reader.batch(), batch);
        let mut writer = InputWriter::new(Vec::new(), &params, batch, key.fingerprint()).expect("memory");
        let mut parts = 0;
        while let Some(part) = reader.next(1).expect("a sound part") {
            writer.put(&part).expect("memory takes everything");
            parts += 1;
        }
        assert!(reader.is_empty() && parts == count.div_ceil(run) && parts > 1);
        assert!(writer.finish().expect("all inputs") == bytes);
        let mut short = InputWriter::new(Vec::new(), &params, batch, key.fingerprint()).expect("memory");
        short.put(&key.encrypt(&values(run), true).expect("in range")).expect("memory takes everything");
        assert!(short.finish().is_err(), "inputs are missing");
    }
}

#[test]
fn outputs_in_parts_decrypt_as_the_file_of_all() {
    for params in params() {
        let key = SecretKey::generate(&params).expect("sound parameters");
        let count = 2 * params.inputs_per_run() as u32 + 1;
        let whole = output(&params, &key, count);
        let mut bytes = Vec::new();
        whole.seal_to(&params, &mut bytes).expect("memory takes everything");
        let want = key.decrypt(&whole, None).expect("its key");
        let file = Reader::of_bytes(&bytes).expect("ours");
        let mut reader = OutputReader::open(file, &params, Some(key.fingerprint())).expect("ours");
        let batch = reader.batch();
        let mut writer = OutputWriter::new(Vec::new(), &params, batch, key.fingerprint()).expect("memory");
        let mut got = Vec::new();
        while let Some(part) = reader.next(2).expect("a sound part") {
            writer.put(&part).expect("memory takes everything");
            let answers = key.decrypt(&part, None).expect("its key");
            if got.is_empty() {
                got = answers;
            } else {
                got.iter_mut().zip(answers).for_each(|(all, more)| all.tensor.append(more.tensor));
            }
        }
        assert_eq!(got, want);
        assert!(writer.finish().expect("all outputs") == bytes);
    }
}

#[test]
fn several_inputs_without_a_batch_axis_are_refused() {
    for params in params() {
        let key = SecretKey::generate(&params).expect("sound parameters");
        let mut bytes = Vec::new();
        let mut input = key.encrypt(&values(2), false).expect("in range");
        input.seal_to(&params, &mut bytes).expect("memory takes everything");
        assert!(EncryptedInput::open(Reader::of_bytes(&bytes).expect("ours"), &params, None).is_err());
        match &mut input {
            EncryptedInput::Tfhe(input) => input.batched = true,
            EncryptedInput::Ckks(input) => input.batched = true,
        }
        bytes.clear();
        input.seal_to(&params, &mut bytes).expect("memory takes everything");
        assert!(EncryptedInput::open(Reader::of_bytes(&bytes).expect("ours"), &params, None).is_ok());
    }
}
