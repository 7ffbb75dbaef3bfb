//! The suites on whatever adapter there is, a software one as well. With `HEMAN_REQUIRE=wgpu` a missing driver is a
//! failure.

use heman_core::device::cpu::CpuBackend;
use heman_core::tfhe::params::set::ParameterSet;
use heman_kernels::wgsl::{Variant, WideProducts};
use heman_testing::ckks::suite as ckks;
use heman_testing::required::is_required;
use heman_testing::tfhe::keys::{TOY_INSECURE_RINGS, TestKeys, toy_insecure_rings_in_groups};
use heman_testing::tfhe::mirror::equals_mirror;
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
    for params in all_rings() {
        equals_mirror(&backend, &TestKeys::new(params, 2), &[(1, 1), (5, 3)]);
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
    for params in [TOY_INSECURE_RINGS[2], TOY_INSECURE_RINGS[3], toy_insecure_rings_in_groups()[2]] {
        let keys = TestKeys::new(params, 2);
        equals_mirror(&backend, &keys, &[(5, 3)]);
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
