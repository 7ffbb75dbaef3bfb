//! The suites on whatever adapter there is, a software one as well. With `HEMAN_REQUIRE=wgpu` a missing driver is a
//! failure.

use heman_core::device::cpu::CpuBackend;
use heman_core::tfhe::cpu::ExactBackend;
use heman_core::tfhe::ops::TfheBackend;
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::table_set::TableSet;
use heman_kernels::wgsl::{Variant, WideProducts};
use heman_testing::ckks::suite as ckks;
use heman_testing::required::is_required;
use heman_testing::tfhe::keys::{TOY_INSECURE_RINGS, TestKeys, toy_insecure_rings_in_groups, words};
use heman_testing::tfhe::suite as tfhe;
use heman_wgpu::{Restrictions, WgpuBackend};

/// The first adapter, or nothing where there is none.
fn restricted(restrictions: Restrictions) -> Option<WgpuBackend> {
    match WgpuBackend::restricted(0, restrictions) {
        Ok(backend) => Some(backend),
        Err(error) => {
            assert!(!is_required("wgpu"), "{error}");
            println!("skipped: {error}");
            None
        }
    }
}

fn backend() -> Option<WgpuBackend> {
    restricted(Restrictions::default())
}

/// Rows of arbitrary words through tables of arbitrary words.
fn bootstrapped<B: TfheBackend>(backend: &B, keys: &TestKeys, values: usize, inputs: usize) -> Vec<u32> {
    let p = keys.evaluation.params;
    let key = backend.load_bootstrap_key(&keys.evaluation).expect("loads");
    let table_of_value = (0..values as u32).map(|value| value % 3).collect();
    let row_of_value = (0..values as u32).rev().collect();
    let tables = TableSet::new(p.polynomial_size, words(3 * p.polynomial_size, 3), table_of_value, row_of_value);
    let tables = backend.load_tables(tables.expect("sound places")).expect("loads");
    let rows = words(values * inputs * p.small_row_words(), 5);
    let mut input = backend.allocate(rows.len()).expect("allocates");
    backend.upload(&rows, &mut input, 0).expect("uploads");
    let mut out = backend.allocate(values * inputs * p.big_row_words()).expect("allocates");
    backend.bootstrap(&key, &tables, inputs, &input, &mut out).expect("runs");
    let mut got = vec![0; values * inputs * p.big_row_words()];
    backend.download(&out, 0, &mut got).expect("downloads");
    got
}

fn all_rings() -> impl Iterator<Item = ParameterSet> {
    TOY_INSECURE_RINGS.into_iter().chain(toy_insecure_rings_in_groups())
}

#[test]
fn inputs_are_those_of_the_host() {
    let Some(backend) = backend() else { return };
    tfhe::inputs(&backend);
}

#[test]
fn linear_maps_equal_the_reference() {
    let Some(backend) = backend() else { return };
    tfhe::linear(&backend);
}

#[test]
fn keyswitches_equal_the_reference() {
    let Some(backend) = backend() else { return };
    for params in TOY_INSECURE_RINGS {
        tfhe::keyswitch(&backend, &TestKeys::new(params, 1));
    }
}

#[test]
fn bootstraps_equal_the_exact_mirror() {
    let Some(backend) = backend() else { return };
    let mirror = ExactBackend::new(CpuBackend::new(0).expect("threads"));
    for params in all_rings() {
        let keys = TestKeys::new(params, 2);
        for (values, inputs) in [(1, 1), (5, 3)] {
            let (got, want) =
                (bootstrapped(&backend, &keys, values, inputs), bootstrapped(&mirror, &keys, values, inputs));
            let differ = got.iter().zip(&want).position(|(got, want)| got != want);
            assert_eq!(differ, None, "{params:?}, {values} values of {inputs} inputs");
        }
    }
}

#[test]
fn bootstraps_decrypt_to_the_table() {
    let Some(backend) = backend() else { return };
    for params in [TOY_INSECURE_RINGS[2], toy_insecure_rings_in_groups()[3]] {
        tfhe::bootstrap(&backend, &TestKeys::new(params, 2));
    }
}

#[test]
fn ckks_equals_the_reference() {
    let Some(backend) = backend() else { return };
    ckks::all(&backend);
}

#[test]
fn large_rings_of_ckks_equal_the_host() {
    let Some(backend) = backend() else { return };
    heman_testing::ckks::degrees::large(&backend, &CpuBackend::new(0).expect("threads"));
}

/// Bindings so short that keys lie in several blocks and ciphertexts in several slabs, and products from half words.
#[test]
fn adapters_with_less_give_the_same_words() {
    let restrictions = Restrictions {
        binding_bytes: Some(1_100_000),
        variant: Some(Variant { wide: WideProducts::HalfWords, subgroups: false }),
    };
    let Some(backend) = restricted(restrictions) else { return };
    let mirror = ExactBackend::new(CpuBackend::new(0).expect("threads"));
    for params in [TOY_INSECURE_RINGS[2], TOY_INSECURE_RINGS[3], toy_insecure_rings_in_groups()[2]] {
        let keys = TestKeys::new(params, 2);
        assert!(bootstrapped(&backend, &keys, 5, 3) == bootstrapped(&mirror, &keys, 5, 3), "{params:?}");
        tfhe::keyswitch(&backend, &keys);
    }
    let restrictions = Restrictions {
        binding_bytes: Some(12 << 20),
        variant: Some(Variant { wide: WideProducts::HalfWords, subgroups: false }),
    };
    let Some(backend) = restricted(restrictions) else { return };
    tfhe::linear(&backend);
    ckks::sums(&backend);
    ckks::rescales(&backend);
    heman_testing::ckks::switches::rotations(&backend);
}
