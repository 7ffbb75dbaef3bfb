//! The suites on whatever adapter there is, a software one as well. With `HEMAN_REQUIRE=wgpu` a missing driver is a
//! failure.

use heman_testing::ckks::suite;
use heman_testing::required::is_required;
use heman_wgpu::{Restrictions, WgpuBackend};

/// The first adapter, or nothing where there is none.
fn backend(restrictions: Restrictions) -> Option<WgpuBackend> {
    match WgpuBackend::restricted(0, restrictions) {
        Ok(backend) => Some(backend),
        Err(error) => {
            assert!(!is_required("wgpu"), "{error}");
            println!("skipped: {error}");
            None
        }
    }
}

#[test]
fn ckks_equals_the_reference() {
    let Some(backend) = backend(Restrictions::default()) else { return };
    suite::all(&backend);
}
