//! Results of CKKS that leave the client's hands: noise of the size that is promised, or nothing.

use std::f64::consts::PI;

use heman_client::ckks::{SecretKey, Sharing};
use heman_client::{ClientError, Tensor, TensorData};
use heman_core::ckks::files::ciphertexts::{EncryptedOutput, Parts};
use heman_core::ckks::ops::RnsDevice;
use heman_core::ckks::params::packing::Packing;
use heman_core::ckks::params::set::RingKind;
use heman_core::ckks::plan::Plan;
use heman_core::ckks::planner::{Options, plan};
use heman_core::ckks::ring::context::Ring;
use heman_core::ckks::ring::encode::{Complex, Encoder};
use heman_core::ckks::session::Session;
use heman_core::device::cpu::CpuBackend;
use heman_core::files::chunks::Reader;
use heman_core::files::sealed::Sealed;
use heman_core::planning::loss::LossBudget;
use heman_core::planning::task::Task;
use heman_core::progress::NoProgress;
use heman_testing::networks::{network, row};

const VALUES: [f32; 4] = [0.5, -0.5, 0.25, 0.0];
/// Outputs of a model here.
const OUTPUTS: usize = 2000;
/// Half of 30 bits.
const FLOOD: f64 = 32_768.0;

/// Copies of the inputs, each with `offset` added, in the ring whose slots have imaginary parts.
fn planned(offset: f64) -> Plan {
    let rows = (0..OUTPUTS).map(|o| row(offset, [(o % 4, 1.0)])).collect();
    let network = network(&[1, 4], Vec::new(), rows);
    let options = Options {
        budget: LossBudget { max_loss: 0.05, task: Task::Regress, ..LossBudget::default() },
        rings: &[RingKind::Complex],
        ..Options::default()
    };
    let sample = |at: usize| (0..4).map(|i| ((at * 4 + i) as f32).sin()).collect();
    let samples: Vec<Vec<f32>> = (0..64).map(sample).collect();
    plan(&network, &samples, &options, &NoProgress).expect("a linear map")
}

fn evaluated(plan: &Plan, key: &SecretKey) -> EncryptedOutput {
    let ring = CpuBackend::new(0).expect("threads").ring(&plan.params.ckks, plan.params.packing.occupancy());
    let ring = ring.expect("sound parameters");
    let session = Session::new(std::slice::from_ref(&ring), plan, &key.evaluation_key(&NoProgress), u64::MAX)
        .expect("a plan and its keys");
    let input = key.encrypt(&VALUES, false).expect("values in range");
    session.run(&input, &NoProgress).expect("fresh ciphertexts").0
}

fn trusting(most_values: usize) -> Sharing {
    Sharing { most_values: most_values as u64, is_evaluation_trusted: true }
}

fn numbers(tensor: &Tensor) -> &[f32] {
    let TensorData::Real(values) = &tensor.data else { panic!("real outputs") };
    values
}

/// Deviation of what sharing adds to an honest evaluation.
fn added(plan: &Plan, most_values: usize) -> f64 {
    let key = SecretKey::generate(&plan.params).expect("sound parameters");
    let output = evaluated(plan, &key);
    let exact = key.decrypt(&output, None).expect("sound ciphertexts").remove(0).tensor;
    let shared = key.decrypt(&output, Some(trusting(most_values))).expect("little noise beside the values").remove(0);
    let pairs = numbers(&exact).iter().zip(numbers(&shared.tensor));
    let square: f64 = pairs.map(|(a, b)| f64::from(a - b) * f64::from(a - b)).sum();
    (square / OUTPUTS as f64).sqrt()
}

#[test]
fn shared_results_carry_noise_of_the_size_that_is_promised() {
    let mut plan = planned(1e8);
    // More than the evaluation's own, so that it is what counts.
    plan.params.output.noise = 1e-2;
    for values in [OUTPUTS, 10 * OUTPUTS] {
        let promised = (12.0 * values as f64).sqrt() * FLOOD * 8e-2;
        let ratio = added(&plan, values) / promised;
        assert!((ratio - 1.0).abs() < 0.1, "{values}: {ratio}");
    }
}

/// Parameters come from others, who could state no noise and learn the secret key from what is shared.
#[test]
fn parameters_that_state_no_noise_switch_nothing_off() {
    let mut plan = planned(1e8);
    plan.params.output.noise = 0.0;
    // A fresh ciphertext's error in a slot: sqrt(N) times that of a coefficient.
    let set = &plan.params.ckks;
    let fresh = f64::from(set.log2_degree).exp2().sqrt() * 3.2 / f64::from(set.scale_log2).exp2();
    let least = (12.0 * OUTPUTS as f64).sqrt() * FLOOD * 8.0 * fresh;
    let added = added(&plan, OUTPUTS);
    assert!(added > 0.9 * least, "{added} beside {least}");
}

#[test]
fn what_the_noise_would_drown_is_refused_before_it_is_decrypted() {
    let plan = planned(1.0);
    let key = SecretKey::generate(&plan.params).expect("sound parameters");
    let none = EncryptedOutput { ciphertexts: Vec::new(), ..evaluated(&plan, &key) };
    assert!(matches!(key.decrypt(&none, Some(trusting(OUTPUTS))), Err(ClientError::Flooded { .. })));
}

#[test]
fn without_trust_in_the_evaluation_nothing_is_shared() {
    for offset in [1.0, 1e8] {
        let plan = planned(offset);
        let key = SecretKey::generate(&plan.params).expect("sound parameters");
        let sharing = Sharing { is_evaluation_trusted: false, ..trusting(1) };
        let Err(ClientError::Untrusted { deviation, largest }) = key.decrypt(&evaluated(&plan, &key), Some(sharing))
        else {
            panic!("refused")
        };
        // Half of the modulus of the output, by rings and scale alone.
        let set = &plan.params.ckks;
        let modulus = f64::from(set.primes[0]) * f64::from(set.primes[1]);
        assert!((largest / (modulus / 2.0 / plan.params.output.scale) - 1.0).abs() < 1e-9);
        assert!(deviation > FLOOD * largest, "it hides whatever can be expressed");
    }
}

/// The secret's coefficients, by the format of its file.
fn coefficients(key: &SecretKey) -> Vec<i8> {
    let bytes = key.seal(&());
    let mut body = Reader::of_bytes(&bytes).expect("just sealed");
    let length = u32::from_le_bytes(body.array().expect("a length"));
    body.words::<u8>(length as usize).expect("the parameters");
    body.rest().expect("the coefficients").iter().map(|&byte| byte as i8).collect()
}

/// The secret's value where slot `slot` lies, by the definition of the embedding.
fn secret_slot(coefficients: &[i8], slot: usize) -> Complex {
    let degree = coefficients.len();
    let power = (0..slot).fold(1, |power, _| power * 5 % (2 * degree));
    let term = |sum: Complex, (k, &s): (usize, &i8)| {
        let angle = PI * (power * k % (2 * degree)) as f64 / degree as f64;
        sum + Complex::new(angle.cos(), angle.sin()) * f64::from(s)
    };
    coefficients.iter().enumerate().fold(Complex::new(0.0, 0.0), term)
}

/// An output whose body is 0 and whose mask lies on the first ten values alone: each decrypts to the secret's slot.
fn crafted(plan: &Plan, honest: &EncryptedOutput, unit: f64) -> (EncryptedOutput, Vec<usize>) {
    let Packing::Latency { lanes, output, .. } = &plan.params.packing else { panic!("one input is planned for") };
    let places: Vec<usize> = (0..10).map(|at| output.place(at).1 * lanes).collect();
    let ring = Ring::new(plan.params.ckks.clone()).expect("sound parameters");
    let mut slots = vec![Complex::new(0.0, 0.0); plan.params.ckks.slots()];
    places.iter().for_each(|&place| slots[place].re = unit);
    let encoder = Encoder::new(plan.params.ckks.log2_degree);
    let mask: Vec<i64> =
        encoder.coefficients(&slots, plan.params.output.scale).iter().map(|c| c.round() as i64).collect();
    let mut crafted = honest.clone();
    let limbs = honest.ciphertexts[0].mask.len() / ring.degree();
    crafted.ciphertexts[0] = Parts { body: vec![0; limbs * ring.degree()], mask: ring.lift(0..limbs, &mask) };
    (crafted, places)
}

/// A plan that states no noise, with a key and an honest output.
fn silenced() -> (Plan, SecretKey, EncryptedOutput) {
    let mut plan = planned(1e8);
    plan.params.output.noise = 0.0;
    let key = SecretKey::generate(&plan.params).expect("sound parameters");
    let honest = evaluated(&plan, &key);
    (plan, key, honest)
}

#[test]
fn a_crafted_output_reads_no_slot_of_the_secret_from_a_shared_result() {
    let (plan, key, honest) = silenced();
    // As large as results are, and so small that it would pass for noise in them.
    for unit in [1e5, 1e3] {
        let (crafted, places) = crafted(&plan, &honest, unit);
        let read = key.decrypt(&crafted, None).expect("sound words").remove(0).tensor;
        let secret = coefficients(&key);
        for (value, &place) in numbers(&read).iter().zip(&places) {
            let wanted = unit * secret_slot(&secret, place).re;
            assert!((f64::from(*value) - wanted).abs() < 0.1 * unit, "the attack works: {value} for {wanted}");
        }
        let untrusted = Sharing { is_evaluation_trusted: false, ..trusting(OUTPUTS) };
        assert!(matches!(key.decrypt(&crafted, Some(untrusted)), Err(ClientError::Untrusted { .. })));
        let error = key.decrypt(&crafted, Some(trusting(OUTPUTS))).expect_err("refused");
        assert!(matches!(error, ClientError::Outside), "{error}");
        assert!(!error.to_string().contains(|c: char| c.is_ascii_digit()), "nothing of the result is told: {error}");
    }
}

/// Below the noise nothing is refused, and nothing can be read.
#[test]
fn a_crafted_output_below_the_noise_drowns_in_it() {
    let (plan, key, honest) = silenced();
    let (crafted, places) = crafted(&plan, &honest, 1e-8);
    let shared = key.decrypt(&crafted, Some(trusting(OUTPUTS))).expect("small").remove(0).tensor;
    let secret = coefficients(&key);
    let secret: Vec<f64> = places.iter().map(|&place| 1e-8 * secret_slot(&secret, place).re).collect();
    let signal = secret.iter().map(|s| s * s).sum::<f64>().sqrt();
    let noise = numbers(&shared)[..10].iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    assert!(noise > FLOOD * signal, "{noise} beside {signal}");
}
