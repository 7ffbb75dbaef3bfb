//! Encryption and decryption with real parameters, and the noise of fresh inputs.

use std::io::Write;
use std::sync::Mutex;

use heman_client::tfhe::SecretKey;
use heman_client::{ClientError, TensorData};
use heman_core::device::Device;
use heman_core::device::cpu::CpuBackend;
use heman_core::device::error::BackendError;
use heman_core::files::chunks::{Reader, Writer};
use heman_core::files::container::{Fingerprint, FormatError, Header, Kind};
use heman_core::files::scheme::Scheme;
use heman_core::files::sealed::Sealed;
use heman_core::progress::{NoProgress, Progress};
use heman_core::tfhe::cpu::{CpuBootstrapKey, CpuKeyswitchKey};
use heman_core::tfhe::files::ciphertexts::{EncryptedInput, EncryptedOutput};
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::noise;
use heman_core::tfhe::ops::{BootstrapOps, InputOps, KeyswitchOps, LinearOps};
use heman_core::tfhe::params::public::Params;
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::plan::Plan;
use heman_core::tfhe::plan::affine::{AffineBlock, AffineMap};
use heman_core::tfhe::session::Session;
use heman_core::tfhe::table_set::TableSet;
use heman_core::tfhe::torus::{to_turns, to_word};
use heman_testing::tfhe::params::identity;

const VALUES: usize = 64;

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37) % 97) as f32 / 48.0 - 1.0).collect()
}

fn as_output(input: &EncryptedInput, params: &Params) -> EncryptedOutput {
    let rows = input.expand(params.tfhe.big_row_words(), 0, input.inputs as usize);
    EncryptedOutput { fingerprint: input.fingerprint, inputs: input.inputs, batched: input.batched, rows }
}

#[test]
fn what_was_encrypted_is_decrypted() {
    let params = identity(VALUES);
    let key = SecretKey::generate(&params).expect("secure parameters");
    let inputs = values(3 * VALUES);
    let encrypted = key.encrypt(&inputs, true).expect("in range");
    let bytes = encrypted.seal(&params);
    let file = Reader::of_bytes(&bytes).expect("just sealed");
    let read = EncryptedInput::open(file, &params, Some(key.fingerprint())).expect("sound");
    let tensor = key.decrypt(&as_output(&read, &params)).remove(0).tensor;
    assert_eq!(tensor.shape, [3, VALUES]);
    let TensorData::Real(got) = tensor.data else { panic!("real numbers") };
    assert!(got.iter().zip(&inputs).all(|(g, x)| (g - x).abs() < 1e-6));
}

#[test]
fn ciphertexts_that_lie_about_their_batch_are_refused() {
    let params = identity(VALUES);
    // A sound container around any body: whoever wants to harm can compute checksums.
    let opened = |kind: Kind, body: &[u8]| {
        let (binding, fingerprint) = (params.binding(), Fingerprint::NONE);
        let header = Header { kind, scheme: Scheme::Tfhe, binding, fingerprint, body_bytes: body.len() as u64 };
        let mut writer = Writer::new(Vec::new(), &header).expect("memory takes everything");
        writer.write_all(body).expect("memory takes everything");
        let bytes = writer.finish().expect("the body is complete");
        let file = Reader::of_bytes(&bytes).expect("a sound header");
        match kind {
            Kind::Input => EncryptedInput::open(file, &params, None).map(|input| input.inputs),
            _ => EncryptedOutput::open(file, &params, None).map(|output| output.inputs),
        }
    };
    let input = 16 + 4 * VALUES;
    assert!(matches!(opened(Kind::Input, &[&[1, 0, 0, 0, 0], &vec![0; input][..]].concat()), Ok(1)));
    for kind in [Kind::Input, Kind::Output] {
        for head in [[0, 0, 0, 0, 0], [1, 0, 0, 0, 2], [2, 0, 0, 0, 0], [255, 255, 255, 255, 1]] {
            let error = opened(kind, &[&head, &vec![0; input][..]].concat()).expect_err("too few ciphertexts");
            assert!(matches!(error, FormatError::Body(_)), "{error}");
        }
        assert!(opened(kind, &[1, 0]).is_err(), "a head cut off");
    }
}

#[test]
fn fresh_noise_is_as_predicted_and_never_the_same() {
    let params = identity(VALUES);
    let key = SecretKey::generate(&params).expect("secure parameters");
    let inputs = values(64 * VALUES);
    let encrypted = key.encrypt(&inputs, true).expect("in range");
    assert_ne!(key.encrypt(&inputs, true).expect("in range").seeds, encrypted.seeds);
    assert_ne!(encrypted.seeds[0], encrypted.seeds[1]);
    let phases = key.phases(&encrypted.expand(params.tfhe.big_row_words(), 0, 64));
    let errors = (0..VALUES).flat_map(|v| (0..64).map(move |input| (v, input))).map(|(v, input)| {
        let want = to_word(f64::from(inputs[input * VALUES + v]) * 0.25);
        to_turns(phases[v * 64 + input].wrapping_sub(want)).powi(2)
    });
    let measured = errors.sum::<f64>() / (64.0 * VALUES as f64);
    let ratio = measured / noise::tuniform_variance(params.tfhe.input_noise_bound_log2, 32.0);
    // 4,096 samples: four standard deviations are 9 %.
    assert!((ratio - 1.0).abs() < 0.09, "measured {ratio} of the predicted variance");
}

#[test]
fn a_key_survives_its_file_and_makes_the_same_ciphertexts_readable() {
    let params = identity(VALUES);
    let key = SecretKey::generate(&params).expect("secure parameters");
    let path = std::env::temp_dir().join(format!("heman-client-{}", std::process::id()));
    std::fs::write(&path, key.seal(&())).expect("a temporary file");
    let again = SecretKey::open(Reader::open(&path).expect("just written"), &(), None).expect("just written");
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!((again.params(), again.fingerprint()), (&params, key.fingerprint()));
    let encrypted = key.encrypt(&values(VALUES), false).expect("in range");
    let got = &again.decrypt_values(&as_output(&encrypted, &params))[0];
    assert!(got.iter().zip(values(VALUES)).all(|(g, x)| (g - f64::from(x)).abs() < 1e-6));
}

#[test]
fn an_expanded_evaluation_key_switches_right() {
    let params = identity(VALUES);
    let p = params.tfhe;
    let key = SecretKey::generate(&params).expect("secure parameters");
    let seeded = key.evaluation_key(&NoProgress);
    let encrypted = key.encrypt(&values(VALUES), false).expect("in range");
    let rows = encrypted.expand(p.big_row_words(), 0, 1);
    let backend = heman_core::device::cpu::CpuBackend::new(1).expect("a thread");
    let loaded = backend.load_keyswitch_key(&seeded).expect("loads");
    let mut out = vec![0; VALUES * p.small_row_words()];
    backend.keyswitch(&loaded, VALUES, &rows, &mut out).expect("runs");
    let small = key.small_key_for_tests();
    let deviation = 6.0 * (noise::keyswitch_variance(&p) + noise::input_variance(&p)).sqrt();
    for (row, x) in out.chunks(p.small_row_words()).zip(values(VALUES)) {
        let (mask, body) = row.split_at(p.lwe_dimension);
        let phase = mask.iter().zip(small.iter()).fold(body[0], |sum, (&a, &s)| sum.wrapping_sub(a.wrapping_mul(s)));
        assert!(to_turns(phase.wrapping_sub(to_word(f64::from(x) * 0.25))).abs() < deviation);
    }
}

#[test]
fn inputs_and_parameters_that_do_not_fit_are_refused() {
    let params = identity(VALUES);
    let key = SecretKey::generate(&params).expect("secure parameters");
    assert!(matches!(key.encrypt(&values(VALUES - 1), false), Err(ClientError::InputLength { .. })));
    assert!(matches!(key.encrypt(&[], false), Err(ClientError::InputLength { .. })));
    assert!(matches!(key.encrypt(&[2.0; VALUES], false), Err(ClientError::InputRange { input: 0, index: 0, .. })));
    let weak = Params { tfhe: ParameterSet { pbs_noise_bound_log2: 4, ..params.tfhe }, ..params };
    assert!(matches!(SecretKey::generate(&weak), Err(ClientError::Params(_))));
}

/// The CPU backend with room for so many words a buffer.
struct Cramped {
    backend: CpuBackend,
    words: usize,
}

impl InputOps for Cramped {}

impl Device for Cramped {
    type Buffer = Vec<u32>;

    fn name(&self) -> String {
        "a cramped device".into()
    }

    fn allocate(&self, words: usize) -> Result<Vec<u32>, BackendError> {
        if words > self.words {
            return Err(BackendError::OutOfMemory { step: "allocate", bytes: 4 * words as u64, device: self.name() });
        }
        self.backend.allocate(words)
    }

    fn upload(&self, words: &[u32], buffer: &mut Vec<u32>, at: usize) -> Result<(), BackendError> {
        self.backend.upload(words, buffer, at)
    }

    fn download(&self, buffer: &Vec<u32>, at: usize, words: &mut [u32]) -> Result<(), BackendError> {
        self.backend.download(buffer, at, words)
    }

    fn sync(&self) -> Result<(), BackendError> {
        self.backend.sync()
    }
}

impl LinearOps for Cramped {
    type Affine = AffineMap;

    fn load_affine(&self, map: &AffineMap) -> Result<AffineMap, BackendError> {
        self.backend.load_affine(map)
    }

    fn affine(
        &self,
        map: &AffineMap,
        inputs: usize,
        row_words: usize,
        values: &Vec<u32>,
        out: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        self.backend.affine(map, inputs, row_words, values, out)
    }
}

impl KeyswitchOps for Cramped {
    type KeyswitchKey = CpuKeyswitchKey;

    fn load_keyswitch_key(&self, key: &SeededEvaluationKey) -> Result<CpuKeyswitchKey, BackendError> {
        self.backend.load_keyswitch_key(key)
    }

    fn keyswitch(
        &self,
        key: &CpuKeyswitchKey,
        rows: usize,
        input: &Vec<u32>,
        out: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        self.backend.keyswitch(key, rows, input, out)
    }
}

impl BootstrapOps for Cramped {
    type BootstrapKey = CpuBootstrapKey;
    type Tables = TableSet;

    fn load_bootstrap_key(&self, key: &SeededEvaluationKey) -> Result<CpuBootstrapKey, BackendError> {
        self.backend.load_bootstrap_key(key)
    }

    fn load_tables(&self, tables: TableSet) -> Result<TableSet, BackendError> {
        self.backend.load_tables(tables)
    }

    fn bootstrap(
        &self,
        key: &CpuBootstrapKey,
        tables: &TableSet,
        inputs: usize,
        input: &Vec<u32>,
        out: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        self.backend.bootstrap(key, tables, inputs, input, out)
    }
}

/// Keeps what the user was told.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn start(&self, _what: &str, _total: u64) {}
    fn advance(&self, _done: u64) {}
    fn finish(&self) {}
    fn note(&self, text: &str) {
        self.0.lock().expect("nobody panicked").push(text.into());
    }
}

#[test]
fn a_batch_that_does_not_fit_the_device_is_split_and_the_user_told() {
    let params = identity(VALUES);
    let rows = VALUES as u32;
    let block = AffineBlock {
        terms: 1,
        weights: vec![1],
        picks: (0..rows).collect(),
        targets: (0..rows).collect(),
        kernels: 1,
        positions: VALUES,
    };
    let output = AffineMap { rows: VALUES, blocks: vec![block], bias: vec![0; VALUES] };
    let plan = Plan { params, stages: vec![], output, output_operator: "Identity".into() };
    let key = SecretKey::generate(&plan.params).expect("secure parameters");
    let keys = key.evaluation_key(&NoProgress);
    let inputs = values(7 * VALUES);
    let encrypted = key.encrypt(&inputs, true).expect("in range");
    let one_input = VALUES * plan.params.tfhe.big_row_words();
    let run_with = |inputs: usize, backends: usize| {
        let cramped = || Cramped { backend: CpuBackend::new(2).expect("threads"), words: inputs * one_input };
        let backends: Vec<Cramped> = (0..backends).map(|_| cramped()).collect();
        let session = Session::new(&backends, &plan, &keys).expect("loads");
        let notes = Notes::default();
        let result = session.run(&encrypted, &notes).map(|(output, _)| key.decrypt_values(&output));
        (result, notes.0.into_inner().expect("nobody panicked"))
    };
    // Two backends take three and four of the seven inputs.
    for (room, backends, told) in [(7, 1, 0), (3, 1, 1), (1, 1, 2), (4, 2, 0), (3, 2, 1), (1, 9, 0)] {
        let (result, notes) = run_with(room, backends);
        let got: Vec<f64> = result.expect("runs in parts").concat();
        assert!(
            got.iter().zip(&inputs).all(|(g, &x)| (g - f64::from(x)).abs() < 1e-6),
            "room for {room} on each of {backends}"
        );
        assert_eq!(notes.len(), told, "{notes:?}");
        assert!(notes.iter().all(|note| note.contains("do not fit into the memory of a cramped device")));
    }
    assert!(run_with(0, 1).0.is_err() && run_with(0, 2).0.is_err(), "one input must fit");
}
