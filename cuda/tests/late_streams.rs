//! CKKS on an emulated driver whose streams run when somebody waits for them, and at random before: copies beside the
//! kernels, frees and events as they fall on a device. The only test of its binary, which sets the driver's mode.

mod common;

use common::backend;
use heman_testing::ckks::{suite, switches};

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
}
