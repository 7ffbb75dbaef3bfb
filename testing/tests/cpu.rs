//! The suite on the CPU backend and on the reference itself.

use heman_core::device::cpu::CpuBackend;
use heman_core::device::reference::ReferenceBackend;
use heman_core::tfhe::params::set::ParameterSet;
use heman_testing::tfhe::keys::{TOY_INSECURE_GROUPS, TOY_INSECURE_K1, TOY_INSECURE_K2, TestKeys};
use heman_testing::tfhe::{noise, suite};

fn backend() -> CpuBackend {
    CpuBackend::new(2).expect("threads")
}

#[test]
fn inputs_are_those_of_the_host() {
    suite::inputs(&backend());
}

#[test]
fn linear_maps_equal_the_reference() {
    suite::linear(&backend());
}

#[test]
fn keyswitches_equal_the_reference() {
    for params in [TOY_INSECURE_K1, TOY_INSECURE_K2] {
        suite::keyswitch(&backend(), &TestKeys::new(params, 1));
    }
}

#[test]
fn bootstraps_decrypt_to_the_table() {
    for params in [TOY_INSECURE_K1, TOY_INSECURE_K2].into_iter().chain(TOY_INSECURE_GROUPS) {
        suite::bootstrap(&backend(), &TestKeys::new(params, 2));
    }
}

#[test]
fn every_instruction_set_passes_the_suite() {
    for simd in ["scalar", "avx2"] {
        let backend = CpuBackend::with_simd(2, Some(simd)).expect("threads");
        println!("{}", heman_core::device::Device::name(&backend));
        suite::linear(&backend);
        suite::keyswitch(&backend, &TestKeys::new(TOY_INSECURE_K1, 6));
        suite::bootstrap(&backend, &TestKeys::new(TOY_INSECURE_K2, 6));
        suite::bootstrap(&backend, &TestKeys::new(TOY_INSECURE_GROUPS[0], 6));
    }
}

#[test]
fn the_reference_decrypts_to_the_table_too() {
    for params in [TOY_INSECURE_K2].into_iter().chain(TOY_INSECURE_GROUPS) {
        suite::bootstrap(&ReferenceBackend, &TestKeys::new(params, 3));
    }
}

#[test]
fn results_do_not_depend_on_the_batch() {
    suite::batch_independence(&backend(), &TestKeys::new(TOY_INSECURE_K2, 4));
}

/// The sets that the planner picks for the evaluation models, and neighbours in which other terms dominate.
#[test]
fn measured_noise_is_as_predicted() {
    const SAMPLES: usize = 1024;
    // Four standard deviations of a variance estimated from so many samples, and some room for the model itself.
    let tolerance = 4.0 * (2.0 / SAMPLES as f64).sqrt() + 0.05;
    for params in [
        ParameterSet::with_least_noise(800, 4, 512, (23, 1), (2, 7)),
        ParameterSet::with_least_noise(640, 7, 256, (20, 1), (2, 5)),
        ParameterSet::with_least_noise(760, 2, 1024, (23, 1), (2, 7)),
        ParameterSet::with_least_noise(880, 2, 1024, (15, 2), (2, 8)),
        ParameterSet::with_least_noise(700, 1, 2048, (23, 1), (3, 4)),
        ParameterSet { grouping_factor: 2, ..ParameterSet::with_least_noise(800, 2, 1024, (15, 2), (2, 7)) },
        ParameterSet { grouping_factor: 2, ..ParameterSet::with_least_noise(720, 4, 512, (22, 1), (2, 7)) },
        ParameterSet { grouping_factor: 3, ..ParameterSet::with_least_noise(810, 1, 2048, (15, 2), (2, 7)) },
    ] {
        let ratios = noise::measure(&backend(), &TestKeys::new(params, 5), SAMPLES);
        println!("{params:?}: {ratios:?}");
        for (what, ratio) in [
            ("keyswitch", ratios.keyswitch),
            ("modulus switch", ratios.modulus_switch),
            ("bootstrap", ratios.bootstrap),
        ] {
            assert!(
                (ratio - 1.0).abs() < tolerance,
                "{what}: measured {ratio:.3} of the predicted variance, {params:?}"
            );
        }
    }
}
