//! CKKS on an emulated driver whose streams run when somebody waits for them, and at random before: copies beside the
//! kernels, frees and events as they fall on a device. The only test of its binary, which sets the driver's mode.

mod common;

use common::backend;
use heman_core::ckks::ops::{RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::device::cpu::CpuBackend;
use heman_testing::ckks::keys::{ciphertexts, plaintext, smallest};
use heman_testing::ckks::{suite, switches};

/// Sums of so many terms that their addresses are more than the driver takes over at once.
fn long_sums<D: RnsDevice>(device: &D) -> Vec<Ciphertext> {
    const TERMS: usize = 3000;
    let (params, scale) = (smallest(), 22.0_f64.exp2());
    let ring = device.ring(&params, Occupancy::Many).expect("a ring");
    let own = ring.upload(ciphertexts(&params, 2, 3, scale, 1)).expect("memory");
    let factor = ring.load_plaintext(plaintext(&params, 3, scale, 2)).expect("loads");
    let sum = |first: usize| (0..TERMS).map(|at| ((first + at) % 3 % 2, &factor)).collect();
    let sums = ring.inner_products(&own, &[sum(0), sum(1)]).expect("fits");
    ring.download(sums).expect("downloads")
}

#[test]
fn words_do_not_depend_on_when_streams_run() {
    // SAFETY: no other thread runs yet, and the driver is loaded behind it.
    unsafe { std::env::set_var("HEMAN_EMULATION_STREAMS", "random") };
    let Some(backend) = backend() else { return };
    suite::uploads(&backend);
    suite::maps(&backend);
    suite::inner_products(&backend);
    suite::memory(&backend);
    switches::products(&backend);
    switches::rotations(&backend);
    switches::keys(&backend);
    assert!(long_sums(&backend) == long_sums(&CpuBackend::new(0).expect("threads")));
}
