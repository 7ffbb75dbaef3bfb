//! Networks with bootstraps on real key sets, through all files, against their polynomials in plaintext.

use std::collections::BTreeMap;
use std::time::Instant;

use heman_client::ckks::SecretKey;
use heman_core::ckks::cost::CkksCost;
use heman_core::ckks::cpu::CpuRing;
use heman_core::ckks::files::ciphertexts::{EncryptedInput, EncryptedOutput};
use heman_core::ckks::files::evaluation_key::SeededEvaluationKey;
use heman_core::ckks::ops::RnsDevice;
use heman_core::ckks::params::key_request::{BootstrapLimbs, KeyRequest};
use heman_core::ckks::params::public::Params;
use heman_core::ckks::plan::Plan;
use heman_core::ckks::plan::activation::FormKind;
use heman_core::ckks::plan::polynomials::PolynomialNetwork;
use heman_core::ckks::planner::deep::pack;
use heman_core::ckks::planner::simulate::SlotNoise;
use heman_core::ckks::session::Session;
use heman_core::device::cpu::CpuBackend;
use heman_core::files::chunks::{Reader, Writer, value_bytes};
use heman_core::files::container::Header;
use heman_core::files::sealed::Sealed;
use heman_core::progress::NoProgress;
use heman_testing::ckks::deep::{inputs, planned, set, squared, two_stages};

fn root_mean_square(errors: &[f64]) -> f64 {
    (errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64).sqrt()
}

/// Differences between the polynomials' outputs and others.
fn errors(plan: &Plan, inputs: &[Vec<f32>], outputs: impl Iterator<Item = Vec<f64>>) -> Vec<f64> {
    let own = |(input, other): (&Vec<f32>, Vec<f64>)| {
        plan.network.evaluate(input).into_iter().zip(other).map(|(exact, other)| exact - other).collect::<Vec<f64>>()
    };
    inputs.iter().zip(outputs).flat_map(own).collect()
}

fn again<T: Sealed>(value: &T, given: &T::Given) -> T {
    let bytes = value.seal(given);
    T::open(Reader::of_bytes(&bytes).expect("just written"), given, None).expect("just written")
}

/// What the session gives for the inputs, with a file between any two steps.
fn run(plan: &Plan, inputs: &[Vec<f32>]) -> Vec<Vec<f64>> {
    let start = Instant::now();
    let plan = again(plan, &());
    let params = Params::from_json(plan.params.to_json().as_bytes()).expect("just written");
    assert_eq!(params, plan.params);
    let client = again(&SecretKey::generate(&params).expect("sound parameters"), &());
    let key = client.evaluation_key(&NoProgress);
    assert_eq!(key.request(), params.keys);
    assert_eq!(key.sealed_bytes(&params), params.keys.file_bytes(&params.ckks));
    let key = again(&key, &params);
    let made = start.elapsed();
    let ring: CpuRing =
        CpuBackend::new(0).expect("threads").ring(&params.ckks, params.packing.occupancy()).expect("sound parameters");
    let session = Session::new(std::slice::from_ref(&ring), &plan, &key, u64::MAX).expect("a plan and its keys");
    let loaded = start.elapsed();
    let input: EncryptedInput = again(&client.encrypt(&inputs.concat(), true).expect("values in range"), &params);
    let (output, _) = session.run(&input, &NoProgress).expect("fresh ciphertexts");
    let output: EncryptedOutput = again(&output, &params);
    let results = client.decrypt_values(&output).expect("sound ciphertexts");
    println!(
        "{} keys, {:.0} MB: made in {:.1} s; loaded in {:.1} s; {} inputs in {:.1} s",
        4 + params.keys.rotation_limbs.len(),
        params.keys.file_bytes(&params.ckks) as f64 / 1e6,
        made.as_secs_f64(),
        (loaded - made).as_secs_f64(),
        inputs.len(),
        (start.elapsed() - loaded).as_secs_f64()
    );
    results
}

/// Errors are of the size that is predicted.
fn agrees(what: &str, network: &PolynomialNetwork, after: usize, kinds: &[FormKind]) {
    let plan = planned(network, after);
    let of_stages = plan.network.stages.iter().map(|stage| stage.activation(0).form.kind());
    assert_eq!(of_stages.collect::<Vec<_>>(), kinds);
    assert!(plan.network.refreshed().iter().any(|(_, tensors)| !tensors.is_empty()));
    let noise = SlotNoise::packed(&plan.network, &plan.params.ckks, plan.latency.as_ref()).expect("enough levels");
    let many = inputs(64, 0.2);
    let simulated = many.iter().enumerate().map(|(seed, input)| plan.network.simulate(input, &noise, seed as u64));
    let predicted = root_mean_square(&errors(&plan, &many, simulated));
    let few = inputs(2, 0.1);
    let measured = root_mean_square(&errors(&plan, &few, run(&plan, &few).into_iter()));
    let share = measured / plan.network.output_bound;
    println!("{what}: {:.2} of the predicted error, 2^{:.1} of the output's bound", measured / predicted, share.log2());
    assert!(measured < 4.0 * predicted, "{what}: {measured}, predicted {predicted}");
    assert!(measured > 0.02 * predicted, "{what}: {measured}, predicted {predicted}");
}

#[test]
fn stages_before_a_bootstrap_that_the_output_reads() {
    agrees("two stages", &two_stages(), 1, &[FormKind::Seventh, FormKind::Seventh]);
}

#[test]
fn a_stage_behind_a_bootstrap() {
    agrees("squares", &squared(), 0, &[FormKind::Seventh, FormKind::Square]);
}

#[test]
fn what_a_bootstrap_leaves_is_too_few_levels_for_more() {
    let pack = |after| pack(&two_stages(), vec![after], &set(), &CkksCost::default(), None);
    assert!(pack(1).is_ok());
    assert!(pack(0).is_err_and(|error| error.contains("too few levels")));
}

#[test]
fn keys_of_bootstraps_come_back_from_their_file_all_or_not_at_all() {
    let mut params = planned(&squared(), 0).params;
    let limbs = BootstrapLimbs { conjugation_limbs: 4, to_sparse_limbs: 2, from_sparse_limbs: 3 };
    params.keys =
        KeyRequest { relinearisation_limbs: 1, rotation_limbs: BTreeMap::from([(5, 2)]), bootstrap: Some(limbs) };
    let key = SecretKey::generate(&params).expect("sound parameters").evaluation_key(&NoProgress);
    let read = again(&key, &params);
    let parts = |key: &SeededEvaluationKey| {
        let all = key.bootstrap.as_ref().expect("keys of bootstraps").all();
        all.map(|key| (key.limbs, key.seed, key.bodies.to_vec()))
    };
    assert_eq!(parts(&read), parts(&key));
    assert_eq!((read.request(), read.fingerprint), (key.request(), key.fingerprint));

    let refused = |file: &[u8]| {
        let file = Reader::of_bytes(file).expect("a container");
        SeededEvaluationKey::open(file, &params, None).err().expect("keys are missing").to_string()
    };
    let without = SeededEvaluationKey { bootstrap: None, ..key.clone() };
    let other_parts = "not those that its parameters ask for";
    assert!(refused(&without.seal(&params)).contains(other_parts));
    // The head promises keys that do not follow.
    let own = |key: &SeededEvaluationKey| key.body_bytes(&params) - value_bytes(&key.request());
    let sealed = key.seal(&params);
    let mut file = Reader::of_bytes(&sealed).expect("just written");
    let header = *file.header();
    let body = file.rest().expect("just written");
    let body = &body[..body.len() - (own(&key) - own(&without)) as usize];
    let mut writer =
        Writer::new(Vec::new(), &Header { body_bytes: body.len() as u64, ..header }).expect("memory takes everything");
    std::io::Write::write_all(&mut writer, body).expect("memory takes everything");
    assert!(refused(&writer.finish().expect("the body is complete")).contains(other_parts));
    // So does a file that ends early.
    let short = Reader::of_bytes(&sealed[..sealed.len() - 4096]);
    assert!(short.and_then(|file| SeededEvaluationKey::open(file, &params, None)).is_err());
}
