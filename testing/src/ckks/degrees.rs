//! Steps of large rings, for which the reference is too slow: against another device.

use heman_core::ckks::ops::{Constant, RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::params::set::{ParameterSet, RingKind};
use heman_core::ckks::ring::ciphertext::Ciphertext;

use crate::ckks::keys::{ciphertexts, plaintext, switch_key};
use crate::ckks::twins::{download, upload};

const SCALE: f64 = 268_435_456.0;

/// Products, rescaling, rotations, inner products, raised ciphertexts and plaintexts on one ring.
fn steps<R: RnsOps>(ring: &R, batch: &[Ciphertext]) -> Vec<Vec<Ciphertext>> {
    let params = ring.params().clone();
    let limbs = params.primes.len();
    let own = upload(ring, batch);
    let key = ring.load_switch_key(&switch_key(&params, limbs, 1)).expect("loads");
    let turn = ring.load_galois_key(&switch_key(&params, limbs, 2), 3).expect("loads");
    let factor = ring.load_plaintext(plaintext(&params, limbs, SCALE, 3)).expect("loads");
    let products = ring.multiply(&[(&own[0], &own[1]), (&own[1], &own[1])], &key).expect("fits");
    let rescaled = ring.rescale(products.clone()).expect("a level is left");
    let rotated = ring.rotate(&[(&own[0], &turn)]).expect("fits");
    let hoisted = ring.rotate_hoisted(&[&own[1]], limbs - 1, &[None, Some(&turn)]).expect("fits");
    let sums = ring.inner_products(&own, &[vec![(0, &factor), (1, &factor)]]).expect("fits");
    let low = ring.drop_to(own, 2).expect("fewer limbs");
    let raised = ring.raise(low, limbs).expect("limbs that there are");
    let numbers: Vec<f64> = (0..8).map(|at| 2_f64.powi(50) * (0.3 + f64::from(at)).sin()).collect();
    let kept = ring.load_coefficients(ring.host().coefficients(&numbers, SCALE)).expect("loads");
    let made = ring.plaintexts(&[&kept], limbs).expect("limbs that there are");
    let masked = ring.products(&[&raised[0]], &[Constant::Slots(&made[0])]).expect("fits");
    let mut all = vec![products, rescaled, rotated, sums, raised, masked];
    all.extend(hoisted);
    all.iter().map(|batch| download(ring, batch)).collect()
}

/// The same words as another device's, in rings of 2^14 to 2^16, and in the smallest one of real slots.
///
/// # Panics
/// If words differ.
pub fn large<D: RnsDevice, T: RnsDevice>(device: &D, trusted: &T) {
    let (real, complex) = (RingKind::Real, RingKind::Complex);
    let all = (14..=16).flat_map(|log2_degree| [real, complex].map(|kind| (kind, log2_degree)));
    for (kind, log2_degree) in all.chain([(real, 12)]) {
        let (scale_log2, special) = if log2_degree == 12 { (22, 1) } else { (28, 2) };
        let params = ParameterSet::of(kind, log2_degree, 2, scale_log2, special).expect("a secure set");
        let batch = ciphertexts(&params, 2, 3, SCALE, 4);
        let got = steps(&device.ring(&params, Occupancy::Many).expect("a ring"), &batch);
        let want = steps(&trusted.ring(&params, Occupancy::Many).expect("a ring"), &batch);
        for (step, (got, want)) in got.iter().zip(&want).enumerate() {
            assert!(got == want, "{kind:?}, N = 2^{log2_degree}, step {step}");
        }
    }
}
