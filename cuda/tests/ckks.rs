//! The suite of CKKS on the emulated driver, word for word against the reference, and large rings against the CPU.

mod common;

use common::backend;
use heman_core::device::cpu::CpuBackend;
use heman_testing::ckks::{deep, degrees, suite};

#[test]
fn ckks_equals_the_reference() {
    let Some(backend) = backend() else { return };
    suite::all(&backend);
}

#[test]
fn large_rings_equal_the_host() {
    let Some(backend) = backend() else { return };
    degrees::large(&backend, &CpuBackend::new(0).expect("threads"));
}

/// As on cards whose shared memory holds no polynomial: transforms in two launches, one to four depths on columns.
#[test]
fn cards_with_less_shared_memory_give_the_same_words() {
    let Some(backend) = backend() else { return };
    let backend = backend.with_shared_bytes(20 << 10);
    suite::all(&backend);
    degrees::large(&backend, &CpuBackend::new(0).expect("threads"));
}

#[test]
fn a_network_with_a_bootstrap_equals_the_host() {
    let Some(backend) = backend() else { return };
    deep::equals(&backend, &CpuBackend::new(0).expect("threads"));
}
