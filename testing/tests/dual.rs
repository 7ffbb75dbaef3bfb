//! Two devices side by side: whole TFHE inferences without a difference, and wrong words that are found where they are.

use heman_core::ckks::cpu::CpuRing;
use heman_core::ckks::cpu::reference::ReferenceRing;
use heman_core::ckks::ops::{Constant, RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::ckks::ring::number::{Number, State};
use heman_core::device::Device;
use heman_core::device::cpu::CpuBackend;
use heman_core::device::error::BackendError;
use heman_core::device::reference::ReferenceBackend;
use heman_core::files::container::Fingerprint;
use heman_core::files::params::{FORMAT, VERSION};
use heman_core::files::scheme::Scheme;
use heman_core::model::client_op::ClientOps;
use heman_core::model::columns::Columns;
use heman_core::model::function::{Function, Unary};
use heman_core::model::network::TensorInfo;
use heman_core::progress::NoProgress;
use heman_core::tfhe::files::ciphertexts::EncryptedInput;
use heman_core::tfhe::ops::{BootstrapOps, KeyswitchOps, LinearOps};
use heman_core::tfhe::params::public::{InputEncoding, OutputEncoding, Params, Prediction};
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::plan::affine::{AffineBlock, AffineMap};
use heman_core::tfhe::plan::table::Table;
use heman_core::tfhe::plan::{Plan, PlanStage};
use heman_core::tfhe::session::Session;
use heman_core::tfhe::table_set::TableSet;
use heman_testing::ckks::keys::{ciphertexts, smallest};
use heman_testing::dual::ckks::DualRing;
use heman_testing::dual::{Dual, Pair};
use heman_testing::tfhe::keys::{TOY_INSECURE_GROUPS, TOY_INSECURE_K2, TestKeys, words};

type HostBesideReference = Dual<CpuBackend, ReferenceBackend>;

fn dual() -> HostBesideReference {
    Dual::new(CpuBackend::new(2).expect("threads"), ReferenceBackend)
}

/// A message of two devices that differ.
fn message(step: &'static str, message: &str) -> BackendError {
    BackendError::Device { step, device: "two devices that differ".into(), message: message.into() }
}

fn dense(rows: usize, terms: usize, first: u32) -> AffineMap {
    let block = AffineBlock {
        terms,
        weights: words(rows * terms, 3).iter().map(|word| (word % 5) as i16 - 2).collect(),
        picks: (first..first + terms as u32).collect(),
        targets: (0..rows as u32).collect(),
        kernels: rows,
        positions: 1,
    };
    AffineMap { rows, blocks: vec![block], bias: words(rows, 4) }
}

/// Two dense layers and an output, under a set that is quick and insecure.
fn plan(tfhe: ParameterSet) -> Plan {
    let tensor = |length| TensorInfo { name: "x".into(), shape: vec![1, length] };
    let table = Table {
        function: Function::unary(Unary::Relu),
        origin: -1.0,
        turns_per_unit: 0.25,
        step: None,
        output_origin: 0.0,
        output_turns_per_unit: 0.125,
    };
    let stage = |rows: usize, terms: usize, first: u32| PlanStage {
        name: "stage".into(),
        operator: "Gemm + Relu".into(),
        shape: vec![1, rows],
        affine: dense(rows, terms, first),
        table_of_value: vec![0; rows],
        tables: vec![table.clone()],
    };
    let params = Params {
        format: FORMAT.into(),
        version: VERSION,
        scheme: Scheme::Tfhe,
        tfhe,
        input: InputEncoding {
            tensor: tensor(6),
            parts: vec![tensor(6)],
            turns_per_unit: 0.25,
            low: -1.0,
            high: 1.0,
            columns: Columns::default(),
        },
        output: OutputEncoding {
            tensor: tensor(3),
            turns_per_unit: vec![0.25; 3],
            offset: vec![0.0; 3],
            steps: None,
            client_ops: ClientOps::default(),
        },
        plan_digest: String::new(),
        prediction: Prediction::default(),
    };
    Plan {
        params,
        stages: vec![stage(5, 6, 0), stage(4, 5, 6)],
        output: dense(3, 4, 11),
        output_operator: "Gemm".into(),
    }
}

#[test]
fn tfhe_inferences_have_no_difference() {
    for params in [TOY_INSECURE_K2, TOY_INSECURE_GROUPS[1]] {
        let (plan, keys) = (plan(params), TestKeys::new(params, 21));
        let inputs = 3;
        let seeds = (0..inputs).map(|input| std::array::from_fn(|byte| input as u8 * 16 + byte as u8)).collect();
        let input = EncryptedInput {
            fingerprint: Fingerprint::NONE,
            inputs,
            batched: true,
            seeds,
            bodies: words(6 * inputs as usize, 22),
        };
        let run = |dual: HostBesideReference| {
            let devices = [dual];
            let session = Session::new(&devices, &plan, &keys.evaluation).expect("loads");
            session.run(&input, &NoProgress).map(|(output, _)| output.rows)
        };
        let rows = run(dual()).expect("no difference");
        assert_eq!(rows.len(), 3 * inputs as usize * params.big_row_words());
        // The rounding of Fourier transforms moves phases by less than the bootstrap's own noise.
        let deviation = heman_core::tfhe::noise::bootstrap_variance(&params).sqrt() * 4_294_967_296.0;
        let compared = run(dual().with_phases(keys.big.clone(), (8.0 * deviation) as u32));
        assert_eq!(compared.expect("phases are alike").len(), rows.len());
        let strict = run(dual().with_phases(keys.big.iter().map(|bit| 1 - bit).collect(), 0));
        let Err(error) = strict else { panic!("under another key all phases differ") };
        assert!(
            error.to_string().starts_with("bootstrap failed on two devices that differ: row 0: phases "),
            "{error}"
        );
    }
}

#[test]
fn a_wrong_word_of_tfhe_is_named() {
    let (dual, keys) = (dual(), TestKeys::new(TOY_INSECURE_K2, 23));
    let p = keys.evaluation.params;
    let (big, small) = (p.big_row_words(), p.small_row_words());
    let mut values = dual.allocate(4 * big).expect("allocates");
    dual.upload(&words(4 * big, 24), &mut values, 0).expect("uploads");
    let right = values.pair.second[2 * big + 7];
    values.pair.second[2 * big + 7] = right.wrapping_add(1);
    let mut out = dual.allocate(4 * big).expect("allocates");
    let error = dual.download(&values, 2 * big, &mut [0; 9]).expect_err("a wrong word");
    let place = 2 * big + 7;
    assert_eq!(error, message("download", &format!("word {place}: {right} and {}", right.wrapping_add(1))));

    let map = AffineMap {
        rows: 3,
        blocks: vec![AffineBlock {
            terms: 1,
            weights: vec![1],
            picks: vec![0, 1, 2],
            targets: vec![2, 0, 1],
            kernels: 1,
            positions: 3,
        }],
        bias: vec![0; 3],
    };
    let loaded = dual.load_affine(&map).expect("loads");
    let error = dual.affine(&loaded, 1, big, &values, &mut out).expect_err("a wrong word");
    assert_eq!(error, message("linear map", &format!("row 1, word 7: {right} and {}", right.wrapping_add(1))));

    // Only the body goes through a keyswitch as it is.
    values.pair.second[2 * big + 7] = right;
    values.pair.second[3 * big - 1] = values.pair.first[3 * big - 1].wrapping_add(5);
    let key = dual.load_keyswitch_key(&keys.evaluation).expect("loads");
    let error = dual.keyswitch(&key, 4, &values, &mut out).expect_err("a wrong word");
    let (body, wrong) = (out.pair.first[3 * small - 1], out.pair.second[3 * small - 1]);
    assert_eq!(wrong, body.wrapping_add(5));
    assert_eq!(error, message("keyswitch", &format!("row 2, word {}: {body} and {wrong}", small - 1)));
}

#[test]
fn bootstraps_hand_the_first_device_s_words_to_both() {
    let (dual, keys) = (dual(), TestKeys::new(TOY_INSECURE_K2, 25));
    let p = keys.evaluation.params;
    let table = words(p.polynomial_size, 26);
    let tables = TableSet::new(p.polynomial_size, table, vec![0, 0], vec![2, 0]).expect("sound places");
    let tables = dual.load_tables(tables).expect("loads");
    let key = dual.load_bootstrap_key(&keys.evaluation).expect("loads");
    let mut input = dual.allocate(2 * p.small_row_words()).expect("allocates");
    dual.upload(&words(2 * p.small_row_words(), 27), &mut input, 0).expect("uploads");
    let mut out = dual.allocate(3 * p.big_row_words()).expect("allocates");
    dual.upload(&words(3 * p.big_row_words(), 28), &mut out, 0).expect("uploads");
    dual.bootstrap(&key, &tables, 1, &input, &mut out).expect("runs");
    assert!(out.pair.first == out.pair.second);
    assert!(out.pair.first[..p.big_row_words()] != words(3 * p.big_row_words(), 28)[..p.big_row_words()]);
}

#[test]
fn devices_that_do_not_fail_alike_differ() {
    let dual = dual();
    let mut buffer = dual.allocate(4).expect("allocates");
    assert!(matches!(dual.upload(&[0; 5], &mut buffer, 0), Err(BackendError::Shape { step: "upload", .. })));
    buffer.pair.second.pop();
    let Err(BackendError::Device { step, message, .. }) = dual.upload(&[0; 4], &mut buffer, 0) else {
        panic!("one device alone fails")
    };
    assert_eq!(step, "upload");
    assert!(message.starts_with("no error and Some(Shape"), "{message}");
}

#[test]
fn a_wrong_word_of_ckks_is_named() {
    let params = smallest();
    let ring: DualRing<CpuRing, ReferenceRing> = dual().ring(&params, Occupancy::Many).expect("a secure set");
    let scale = f64::from(params.scale_log2).exp2();
    let (batch, degree) = (ciphertexts(&params, 3, 3, scale, 1), 1 << params.log2_degree);
    let sound = ring.upload(batch.clone()).expect("uploads");
    assert_eq!(ring.download(sound.clone()).expect("no difference"), batch);
    let place = 2 * degree + 17;
    let wrong = |at: usize, part: usize| -> Vec<Pair<Ciphertext, Ciphertext>> {
        let mut wrong = sound.clone();
        wrong[at].second.parts[part][place] ^= 1;
        wrong
    };
    let word = batch[1].parts[1][place];
    let difference = format!("ciphertext 1, mask, limb 2, word 17: {word} and {}", word ^ 1);
    assert_eq!(ring.download(wrong(1, 1)).err(), Some(message("download", &difference).into()));
    let one = &wrong(1, 1)[1];
    assert_eq!(ring.sums(&[vec![&sound[0]], vec![one]]).err(), Some(message("sums", &difference).into()));

    // Times 1 each word stays.
    let one = Number::new(&params, 1.0, State { scale: 1.0, limbs: 3 });
    let (factors, ones) = (wrong(0, 0), [Constant::Number(&one); 3]);
    let error = ring.products(&factors.iter().collect::<Vec<_>>(), &ones).expect_err("a wrong word");
    let word = batch[0].parts[0][place];
    let difference = format!("ciphertext 0, body, limb 2, word 17: {word} and {}", word ^ 1);
    assert_eq!(error, message("products", &difference).into());
    let mut rescaled = sound;
    rescaled[1].second.scale *= 1.5;
    let difference = format!("ciphertext 1: scales {scale} and {}", 1.5 * scale);
    assert_eq!(ring.drop_to(rescaled, 1).err(), Some(message("drop_to", &difference).into()));
}
