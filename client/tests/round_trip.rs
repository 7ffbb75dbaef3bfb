//! Encryption and decryption with real parameters, and the noise of fresh inputs.

use heman_client::{ClientError, SecretKey, TensorData};
use heman_core::backend::KeyswitchOps;
use heman_core::ciphertext::{EncryptedInput, EncryptedOutput};
use heman_core::network::TensorInfo;
use heman_core::noise;
use heman_core::params::{self, InputEncoding, OutputEncoding, Params, Prediction, Scheme};
use heman_core::plan::{to_turns, to_word};
use heman_core::progress::NoProgress;
use heman_core::security::smallest_noise_bound;
use heman_core::tfhe_params::TfheParams;

const VALUES: usize = 64;

/// Output encoding equal to the input's: what was encrypted can be decrypted as it is.
fn identity() -> Params {
    let tfhe = TfheParams {
        lwe_dimension: 640,
        glwe_dimension: 5,
        polynomial_size: 256,
        pbs_base_log: 20,
        pbs_level: 1,
        ks_base_log: 2,
        ks_level: 5,
        ks_noise_bound_log2: smallest_noise_bound(640, 32),
        pbs_noise_bound_log2: smallest_noise_bound(1280, 64),
        input_noise_bound_log2: smallest_noise_bound(1280, 32),
    };
    let tensor = TensorInfo { name: "x".into(), shape: vec![1, VALUES] };
    Params {
        format: params::FORMAT.into(),
        version: params::VERSION,
        scheme: Scheme::Tfhe,
        tfhe,
        input: InputEncoding { tensor: tensor.clone(), turns_per_unit: 0.25, low: -1.5, high: 1.5 },
        output: OutputEncoding {
            tensor,
            turns_per_unit: vec![0.25; VALUES],
            offset: vec![0.0; VALUES],
            steps: None,
            client_ops: vec![],
        },
        plan_digest: String::new(),
        prediction: Prediction {
            security_bits: 128.0,
            disagreement: None,
            relative_error: 0.0,
            p_fail_log2: 0.0,
            bootstraps: 0,
            thread_seconds_per_input: 0.0,
            evaluation_key_bytes: 0,
            input_bytes: 0,
            output_bytes: 0,
        },
    }
}

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37) % 97) as f32 / 48.0 - 1.0).collect()
}

fn as_output(input: &EncryptedInput, params: &Params) -> EncryptedOutput {
    let rows = input.expand(params.tfhe.big_row_words(), 0, input.images as usize);
    EncryptedOutput { images: input.images, batched: input.batched, rows }
}

#[test]
fn what_was_encrypted_is_decrypted() {
    let params = identity();
    let key = SecretKey::generate(&params).expect("secure parameters");
    let inputs = values(3 * VALUES);
    let encrypted = key.encrypt(&inputs, true).expect("in range");
    let body = EncryptedInput::from_body(&open(&encrypted.to_bytes(&params.binding())), &params).expect("sound");
    let tensor = key.decrypt(&as_output(&body, &params));
    assert_eq!(tensor.shape, [3, VALUES]);
    let TensorData::Real(got) = tensor.data else { panic!("real numbers") };
    assert!(got.iter().zip(&inputs).all(|(g, x)| (g - x).abs() < 1e-6));
}

fn open(bytes: &[u8]) -> Vec<u8> {
    bytes[heman_core::format::HEADER_BYTES..].to_vec()
}

#[test]
fn fresh_noise_is_as_predicted_and_never_the_same() {
    let params = identity();
    let key = SecretKey::generate(&params).expect("secure parameters");
    let inputs = values(64 * VALUES);
    let encrypted = key.encrypt(&inputs, true).expect("in range");
    assert_ne!(key.encrypt(&inputs, true).expect("in range").seeds, encrypted.seeds);
    assert_ne!(encrypted.seeds[0], encrypted.seeds[1]);
    let phases = key.phases(&encrypted.expand(params.tfhe.big_row_words(), 0, 64));
    let errors = (0..VALUES).flat_map(|v| (0..64).map(move |image| (v, image))).map(|(v, image)| {
        let want = to_word(f64::from(inputs[image * VALUES + v]) * 0.25);
        to_turns(phases[v * 64 + image].wrapping_sub(want)).powi(2)
    });
    let measured = errors.sum::<f64>() / (64.0 * VALUES as f64);
    let ratio = measured / noise::tuniform_variance(params.tfhe.input_noise_bound_log2, 32.0);
    // 4,096 samples: four standard deviations are 9 %.
    assert!((ratio - 1.0).abs() < 0.09, "measured {ratio} of the predicted variance");
}

#[test]
fn a_key_survives_its_file_and_makes_the_same_ciphertexts_readable() {
    let params = identity();
    let key = SecretKey::generate(&params).expect("secure parameters");
    let folder = std::env::temp_dir().join(format!("heman-client-{}", std::process::id()));
    std::fs::write(&folder, key.to_bytes().as_slice()).expect("a temporary file");
    let again = SecretKey::read(&folder).expect("just written");
    std::fs::remove_file(&folder).expect("it is there");
    assert_eq!(again.params(), &params);
    let encrypted = key.encrypt(&values(VALUES), false).expect("in range");
    let got = &again.decrypt_values(&as_output(&encrypted, &params))[0];
    assert!(got.iter().zip(values(VALUES)).all(|(g, x)| (g - f64::from(x)).abs() < 1e-6));
}

#[test]
fn an_expanded_evaluation_key_switches_right() {
    let params = identity();
    let p = params.tfhe;
    let key = SecretKey::generate(&params).expect("secure parameters");
    let seeded = key.evaluation_key(&NoProgress);
    let keys = seeded.expand();
    let encrypted = key.encrypt(&values(VALUES), false).expect("in range");
    let rows = encrypted.expand(p.big_row_words(), 0, 1);
    let backend = heman_core::cpu::CpuBackend::new(1).expect("a thread");
    let loaded = backend.load_keyswitch_key(&keys).expect("loads");
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
    let params = identity();
    let key = SecretKey::generate(&params).expect("secure parameters");
    assert!(matches!(key.encrypt(&values(VALUES - 1), false), Err(ClientError::InputLength { .. })));
    assert!(matches!(key.encrypt(&[], false), Err(ClientError::InputLength { .. })));
    assert!(matches!(key.encrypt(&[2.0; VALUES], false), Err(ClientError::InputRange { image: 0, index: 0, .. })));
    let weak = Params { tfhe: TfheParams { pbs_noise_bound_log2: 4, ..params.tfhe }, ..params };
    assert!(matches!(SecretKey::generate(&weak), Err(ClientError::Params(_))));
}
