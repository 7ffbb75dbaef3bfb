//! The suite on bootstraps by exact transforms, and their noise beside that of the FFT.

use heman_core::device::cpu::CpuBackend;
use heman_core::tfhe::cpu::ExactBackend;
use heman_core::tfhe::noise::{bootstrap_variance, exact_bootstrap_variance};
use heman_core::tfhe::params::set::ParameterSet;
use heman_testing::tfhe::keys::{
    TOY_INSECURE_GROUPS, TOY_INSECURE_K1, TOY_INSECURE_K2, TOY_INSECURE_RINGS, TestKeys, toy_insecure_rings_in_groups,
};
use heman_testing::tfhe::{noise, suite};

fn host() -> CpuBackend {
    CpuBackend::new(2).expect("threads")
}

fn backend() -> ExactBackend {
    ExactBackend::new(host())
}

#[test]
fn the_other_steps_are_the_cpus() {
    suite::inputs(&backend());
    suite::linear(&backend());
    suite::keyswitch(&backend(), &TestKeys::new(TOY_INSECURE_K1, 1));
}

#[test]
fn bootstraps_of_all_rings_decrypt_to_the_table() {
    for params in [TOY_INSECURE_K1, TOY_INSECURE_K2].into_iter().chain(TOY_INSECURE_RINGS) {
        suite::bootstrap(&backend(), &TestKeys::new(params, 2));
    }
}

#[test]
fn bootstraps_in_groups_decrypt_to_the_table() {
    for params in TOY_INSECURE_GROUPS.into_iter().chain(toy_insecure_rings_in_groups()) {
        suite::bootstrap(&backend(), &TestKeys::new(params, 3));
    }
}

#[test]
fn results_do_not_depend_on_the_batch() {
    for params in [TOY_INSECURE_K2].into_iter().chain(TOY_INSECURE_RINGS).chain(toy_insecure_rings_in_groups()) {
        suite::batch_independence(&backend(), &TestKeys::new(params, 4));
    }
}

/// Sets of which `cpu.rs` measures all steps; fewer rows where they take long.
#[test]
fn measured_noise_is_as_predicted_and_not_above_the_ffts() {
    for (params, samples) in [
        (ParameterSet::with_least_noise(800, 4, 512, (23, 1), (2, 7)), 1024),
        (ParameterSet::with_least_noise(640, 7, 256, (20, 1), (2, 5)), 512),
        (ParameterSet::with_least_noise(880, 2, 1024, (15, 2), (2, 8)), 256),
        (ParameterSet { grouping_factor: 2, ..ParameterSet::with_least_noise(720, 4, 512, (22, 1), (2, 7)) }, 512),
        (ParameterSet { grouping_factor: 3, ..ParameterSet::with_least_noise(810, 1, 2048, (15, 2), (2, 7)) }, 256),
    ] {
        let keys = TestKeys::new(params, 5);
        let exact = noise::measure_bootstrap(&backend(), &keys, samples);
        let fft = noise::measure_bootstrap(&host(), &keys, samples);
        let (predicted, predicted_fft) = (exact_bootstrap_variance(&params), bootstrap_variance(&params));
        let (ratio, beside, predicted_beside) = (exact / predicted, exact / fft, predicted / predicted_fft);
        println!("{params:?}: {ratio:.3} of the prediction, {beside:.3} of the FFT's, {predicted_beside:.3} predicted");
        // Four standard deviations of a variance estimated from so many samples, and of a quotient of two, and some room for
        // the model itself.
        let deviation = (2.0 / samples as f64).sqrt();
        let (tolerance, of_quotient) = (4.0 * deviation + 0.05, 4.0 * 2.0_f64.sqrt() * deviation + 0.05);
        assert!((ratio - 1.0).abs() < tolerance, "measured {ratio:.3} of the predicted variance, {params:?}");
        assert!((beside / predicted_beside - 1.0).abs() < of_quotient, "{beside:.3} of the FFT's, {params:?}");
        assert!(beside < 1.0 + of_quotient, "{beside:.3} of the FFT's, {params:?}");
    }
}
