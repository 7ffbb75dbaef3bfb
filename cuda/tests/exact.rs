//! Bootstraps by exact transforms, on the emulated driver.

mod common;

use common::backend;
use heman_core::tfhe::ops::BootstrapOps;
use heman_core::tfhe::params::set::ParameterSet;
use heman_cuda::{CudaBackend, Transform, Waves};
use heman_kernels::EXACT_BOOTSTRAP_SHAPES;
use heman_testing::tfhe::keys::{TOY_INSECURE_RINGS, TestKeys, toy_insecure, toy_insecure_rings_in_groups};
use heman_testing::tfhe::mirror::{bootstrapped, equals_mirror};
use heman_testing::tfhe::suite;

fn exact() -> Option<CudaBackend> {
    backend().map(|backend| backend.with_transform(Transform::Exact))
}

/// Every shape that has a kernel, with so many levels and bits a step.
fn toy_insecure_shapes(level: usize, grouping_factor: usize) -> impl Iterator<Item = ParameterSet> {
    let base_log = [23, 12, 8][level - 1];
    EXACT_BOOTSTRAP_SHAPES.into_iter().map(move |shape| ParameterSet {
        grouping_factor,
        ..toy_insecure(shape.polynomial_size, shape.glwe_dimension, 6, (base_log, level), (2, 7))
    })
}

#[test]
fn all_shapes_equal_the_mirror_with_one_level() {
    let Some(backend) = exact() else { return };
    for grouping_factor in 1..=3 {
        for params in toy_insecure_shapes(1, grouping_factor) {
            equals_mirror(&backend, &TestKeys::new(params, 2), &[(1, 1), (5, 3)]);
        }
    }
}

#[test]
fn all_shapes_equal_the_mirror_with_several_levels() {
    let Some(backend) = exact() else { return };
    for (level, grouping_factor) in [(2, 1), (2, 2), (3, 1), (3, 3)] {
        for params in toy_insecure_shapes(level, grouping_factor) {
            equals_mirror(&backend, &TestKeys::new(params, 3), &[(3, 1)]);
        }
    }
}

#[test]
fn words_do_not_depend_on_how_many_ciphertexts_share_a_block() {
    let Some(backend) = exact() else { return };
    let mut compared = 0;
    for params in toy_insecure_shapes(1, 1).chain(toy_insecure_shapes(1, 2)) {
        let keys = TestKeys::new(params, 6);
        let mut key = backend.load_bootstrap_key(&keys.evaluation).expect("loads");
        assert_eq!(key.transform(), Transform::Exact);
        let mut waves = key.waves().to_vec();
        compared += waves.len() - 1;
        // Blocks that are so slow that a launch has one wave of them.
        waves.push(Waves { seconds: vec![1e9], ..waves[0].clone() });
        let results: Vec<Vec<u32>> = waves
            .into_iter()
            .map(|blocks| {
                key.fix_blocks(blocks);
                bootstrapped(&backend, &key, &keys, 7, 1)
            })
            .collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{params:?}");
    }
    assert!(compared >= 16, "only {compared} of the shapes left a choice");
}

#[test]
fn bootstraps_decrypt_to_the_table() {
    let Some(backend) = exact() else { return };
    for params in TOY_INSECURE_RINGS.into_iter().chain(toy_insecure_rings_in_groups()) {
        suite::bootstrap(&backend, &TestKeys::new(params, 2));
    }
}

#[test]
fn results_do_not_depend_on_the_batch() {
    let Some(backend) = exact() else { return };
    for params in [TOY_INSECURE_RINGS[0], TOY_INSECURE_RINGS[4], toy_insecure_rings_in_groups()[2]] {
        suite::batch_independence(&backend, &TestKeys::new(params, 4));
    }
}

/// The emulated device is one with fast doubles.
#[test]
fn bases_that_doubles_have_no_precision_for_are_left_to_exact_transforms() {
    let Some(backend) = backend() else { return };
    for grouping_factor in [1, 2] {
        let params = ParameterSet { grouping_factor, ..toy_insecure(1024, 2, 6, (22, 1), (2, 7)) };
        assert_eq!(backend.transform(&params), Transform::Doubles);
        let params = ParameterSet { pbs_base_log: 31, ..params };
        assert_eq!(backend.transform(&params), Transform::Exact);
        equals_mirror(&backend, &TestKeys::new(params, 2), &[(2, 2)]);
    }
}
