//! The suite on the CUDA backend, kernels and host code alike, with a stand-in for the driver that runs the kernels' own source
//! on the host (`cuda/emulation`). Needs g++; with `HEMAN_REQUIRE=emulation` its absence is a failure.

mod common;

use common::backend;
use heman_core::device::Device;
use heman_core::device::cpu::CpuBackend;
use heman_core::tfhe::ops::BootstrapOps;
use heman_core::tfhe::params::security::smallest_noise_bound;
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::table_set::TableSet;
use heman_cuda::Waves;
use heman_testing::tfhe::keys::{TOY_INSECURE_RINGS, TestKeys, toy_insecure, toy_insecure_rings_in_groups};
use heman_testing::tfhe::{noise, suite};

#[test]
fn inputs_are_those_of_the_host() {
    let Some(backend) = backend() else { return };
    suite::inputs(&backend);
}

#[test]
fn linear_maps_equal_the_reference() {
    let Some(backend) = backend() else { return };
    suite::linear(&backend);
}

#[test]
fn keyswitches_equal_the_reference() {
    let Some(backend) = backend() else { return };
    for params in TOY_INSECURE_RINGS {
        suite::keyswitch(&backend, &TestKeys::new(params, 1));
    }
}

#[test]
fn bootstraps_decrypt_to_the_table() {
    let Some(backend) = backend() else { return };
    for params in TOY_INSECURE_RINGS.into_iter().chain(toy_insecure_rings_in_groups()) {
        suite::bootstrap(&backend, &TestKeys::new(params, 2));
    }
}

#[test]
fn results_do_not_depend_on_the_batch() {
    let Some(backend) = backend() else { return };
    for params in [TOY_INSECURE_RINGS[0], TOY_INSECURE_RINGS[4], toy_insecure_rings_in_groups()[2]] {
        suite::batch_independence(&backend, &TestKeys::new(params, 4));
    }
}

#[test]
fn words_do_not_depend_on_how_many_ciphertexts_share_a_block() {
    let Some(backend) = backend() else { return };
    let in_groups = toy_insecure_rings_in_groups();
    let mut compared = 0;
    for params in TOY_INSECURE_RINGS.into_iter().chain([in_groups[0], in_groups[2]]) {
        let keys = TestKeys::new(params, 6);
        let mut key = backend.load_bootstrap_key(&keys.evaluation).expect("loads");
        let rows = 7;
        let words: Vec<u32> =
            (0..(rows * params.small_row_words()) as u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
        let mut input = backend.allocate(words.len()).expect("memory");
        backend.upload(&words, &mut input, 0).expect("fits");
        let table = (0..params.polynomial_size as u32).map(|j| j << 20).collect();
        let tables = backend.load_tables(TableSet::shared(table, rows)).expect("loads");
        let mut results = Vec::new();
        let mut waves = key.waves().to_vec();
        compared += waves.len() - 1;
        // Blocks that are so slow that a launch has one wave of them: the batch takes several.
        waves.push(Waves { seconds: vec![1e9], ..waves[0].clone() });
        for wave in &waves {
            key.fix_blocks(wave.clone());
            let mut out = backend.allocate(rows * params.big_row_words()).expect("memory");
            backend.bootstrap(&key, &tables, 1, &input, &mut out).expect("runs");
            let mut words = vec![0; rows * params.big_row_words()];
            backend.download(&out, 0, &mut words).expect("arrives");
            results.push(words);
        }
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{params:?}");
    }
    assert!(compared >= 8, "only {compared} of the shapes left a choice");
}

/// Rings, bases and key noise as in use, but few key bits: what one key's errors do to a short rotation differs from key to
/// key, so the CPU backend with the same keys and rows is the measure. Only the rounding of the FFT differs: ours is less (the key is
/// transformed more precisely), which shows where rounding is most of the noise. Bounds are four deviations of such a ratio.
#[test]
fn noise_is_that_of_the_cpu() {
    const SAMPLES: usize = 1000;
    let Some(backend) = backend() else { return };
    let cpu = CpuBackend::new(0).expect("threads");
    for (size, k, pbs, grouping_factor) in
        [(512, 4, (23, 1), 1), (2048, 1, (23, 1), 1), (1024, 2, (15, 2), 1), (1024, 2, (15, 2), 2)]
    {
        let params = ParameterSet {
            grouping_factor,
            ks_noise_bound_log2: smallest_noise_bound(800, 32),
            pbs_noise_bound_log2: smallest_noise_bound(k * size, 64),
            ..toy_insecure(size, k, 40, pbs, (2, 7))
        };
        let keys = TestKeys::new(params, 5);
        let (ours, theirs) = (noise::measure(&backend, &keys, SAMPLES), noise::measure(&cpu, &keys, SAMPLES));
        println!("{params:?}: {ours:?} against {theirs:?}");
        for (what, ours, theirs) in [
            ("keyswitch", ours.keyswitch, theirs.keyswitch),
            ("modulus switch", ours.modulus_switch, theirs.modulus_switch),
            ("bootstrap", ours.bootstrap, theirs.bootstrap),
        ] {
            assert!(
                (0.6..1.25).contains(&(ours / theirs)),
                "{what}: {ours:.3} of the prediction, on the CPU {theirs:.3}"
            );
        }
    }
}
