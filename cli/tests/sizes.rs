//! Predicted sizes are those of the files, to the byte.

mod common;

use common::{SCHEMES, Work, npy};
use heman_core::ckks::files::ciphertexts as ckks;
use heman_core::either::params::Params;
use heman_core::files::sealed::OfBatch;
use heman_core::tfhe::files::ciphertexts::{EncryptedInput, EncryptedOutput};

/// Sizes of the encrypted input and output of a batch, by the functions that the planners use.
fn batch_bytes(params: &Params, inputs: u32) -> (u64, u64) {
    match params {
        Params::Tfhe(p) => (EncryptedInput::file_bytes(p, inputs), EncryptedOutput::file_bytes(p, inputs)),
        Params::Ckks(p) => (ckks::EncryptedInput::file_bytes(p, inputs), ckks::EncryptedOutput::file_bytes(p, inputs)),
    }
}

/// Inputs of one run, and what `params.json` promises for key, input and output of it.
fn promised(params: &Params) -> (u32, [u64; 3]) {
    match params {
        Params::Tfhe(p) => {
            let own = &p.prediction;
            (1, [own.evaluation_key_bytes, own.input_bytes, own.output_bytes])
        }
        Params::Ckks(p) => {
            let own = &p.prediction;
            (p.inputs_per_run() as u32, [own.evaluation_key_bytes, own.input_bytes, own.output_bytes])
        }
    }
}

#[test]
fn predicted_sizes_are_those_of_the_files() {
    for scheme in SCHEMES {
        let work = Work::with_keys(scheme);
        let params = Params::from_json(&work.read("params.json")).expect("just written");
        let (per_run, [key, input, output]) = promised(&params);
        let length = |file: &str| work.read(file).len() as u64;
        assert_eq!(length("key.pub"), key, "{scheme}: key.pub");
        assert_eq!(batch_bytes(&params, per_run), (input, output), "{scheme}: one run");
        for inputs in [1, 3] {
            work.write("in.npy", &npy(&format!("({inputs}, 1, 8, 8)"), &vec![0.5; 64 * inputs]));
            work.ok(&["encrypt", "-k", "key", "-i", "in.npy", "-o", "in.enc"]);
            work.ok(&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "in.enc", "-o", "out.enc"]);
            let found = (length("in.enc"), length("out.enc"));
            assert_eq!(found, batch_bytes(&params, inputs as u32), "{scheme}: {inputs} inputs");
        }
    }
}

#[test]
fn predicted_sizes_of_throughput_packing_are_those_of_the_files() {
    let work = Work::new();
    let files = ["-m", "digits.onnx", "-c", "calibration.npz", "-o", "params.json"];
    work.ok(&[&["keyparams", "--scheme", "ckks", "--goal", "throughput"], &files[..]].concat());
    work.ok(&["keygen", "-i", "params.json", "-o", "key"]);
    let params = Params::from_json(&work.read("params.json")).expect("just written");
    work.write("in.npy", &npy("(3, 1, 8, 8)", &[0.5; 192]));
    work.ok(&["encrypt", "-k", "key", "-i", "in.npy", "-o", "in.enc"]);
    let (per_run, [key, input, _]) = promised(&params);
    assert_eq!((work.read("key.pub").len() as u64, work.read("in.enc").len() as u64), (key, input));
    assert_eq!(batch_bytes(&params, 3), batch_bytes(&params, per_run), "a run takes both");
}
