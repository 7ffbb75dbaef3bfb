//! CKKS's suite on the host: one thread and two, every instruction set.

use heman_core::device::cpu::CpuBackend;
use heman_testing::ckks::{raises, suite, switches};

fn backend() -> CpuBackend {
    CpuBackend::new(2).expect("threads")
}

#[test]
fn uploads_and_masks_equal_the_reference() {
    suite::uploads(&backend());
}

#[test]
fn sums_equal_the_reference() {
    suite::sums(&backend());
}

#[test]
fn constants_equal_the_reference() {
    suite::constants(&backend());
}

#[test]
fn matrices_equal_the_reference() {
    suite::maps(&backend());
}

#[test]
fn inner_products_equal_the_reference() {
    suite::inner_products(&backend());
}

#[test]
fn rescaled_ciphertexts_equal_the_reference() {
    suite::rescales(&backend());
}

#[test]
fn divisions_by_several_primes_equal_the_reference() {
    raises::rescales_by(&backend());
}

#[test]
fn raised_ciphertexts_equal_the_reference() {
    raises::raises(&backend());
}

#[test]
fn automorphisms_equal_the_reference() {
    raises::automorphisms(&backend());
}

#[test]
fn memory_is_used_again_without_harm() {
    suite::memory(&backend());
}

#[test]
fn products_equal_the_reference() {
    switches::products(&backend());
}

#[test]
fn rotations_equal_the_reference() {
    switches::rotations(&backend());
}

#[test]
fn activations_equal_the_reference() {
    switches::activations(&backend());
}

#[test]
fn malformed_keys_are_refused() {
    switches::keys(&backend());
}

#[test]
fn one_thread_passes_the_suite() {
    suite::all(&CpuBackend::new(1).expect("a thread"));
}

#[test]
fn every_instruction_set_passes_the_suite() {
    for simd in ["scalar", "avx2"] {
        let backend = CpuBackend::with_simd(2, Some(simd)).expect("threads");
        println!("{}", heman_core::device::Device::name(&backend));
        suite::all(&backend);
    }
}

#[test]
fn real_slots_are_part_of_the_suite() {
    use heman_core::ckks::ops::RnsDevice;
    use heman_core::ckks::params::packing::Occupancy;
    assert!(backend().ring(&heman_testing::ckks::keys::real(), Occupancy::Few).is_ok());
}
