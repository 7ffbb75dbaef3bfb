//! The suite's steps that a bootstrap takes beside all others: divisions by several primes, raised ciphertexts,
//! plaintexts that are made at each use, and keys of any automorphism.

use heman_core::ckks::error::CkksError;
use heman_core::ckks::ops::{Constant, RnsDevice, RnsOps};
use heman_core::ckks::params::set::RingKind;
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::ckks::ring::coefficients::Coefficients;

use crate::ckks::keys::{ciphertexts, switch_key};
use crate::ckks::twins::{MOST, assert_held, assert_refused, assert_same, download, of_all_sets, refs, small, upload};

const SCALE: f64 = 4_194_304.0;

/// Divisions by none, one and several primes at every level: the reference divides by one after the other.
pub fn rescales_by<D: RnsDevice>(device: &D) {
    for twins in of_all_sets(device) {
        let params = twins.params().clone();
        for limbs in 1..=params.primes.len() {
            let batch = ciphertexts(&params, 3, limbs, SCALE * SCALE, 118);
            for primes in 0..limbs {
                let want = twins.reference.rescale_by(batch.clone(), primes).expect("levels are left");
                assert!(want.iter().all(|value| value.parts[0].len() >> params.log2_degree == limbs - primes));
                let own = upload(&twins.candidate, &batch);
                let got = twins.candidate.rescale_by(own.clone(), primes).expect("levels are left");
                let got = download(&twins.candidate, &got);
                let what = format!("rescale by {primes} primes at {limbs} limbs");
                assert_words(&what, &got, &want);
                assert_held("the copy of what was rescaled", &twins.candidate, &own, &batch);
            }
            assert_refused!(twins, CkksError::Depth, |ring| ring.rescale_by(upload(ring, &batch), limbs));
        }
    }
    let twins = small(device);
    let batch = ciphertexts(twins.params(), MOST, 3, SCALE * SCALE, 119);
    assert_same!(twins, "rescale_by two primes", [batch], |ring, own, range| {
        assert_eq!(own[0].len(), range.len());
        ring.rescale_by(own[0].clone(), 2)
    });
}

/// Equal words; a scale that is divided by two primes may be rounded once or twice.
fn assert_words(what: &str, got: &[Ciphertext], want: &[Ciphertext]) {
    for (got, want) in got.iter().zip(want) {
        assert!(got.parts == want.parts, "{what}: words differ");
        assert!((got.scale / want.scale - 1.0).abs() < 1e-15, "{what}: the scale");
    }
    assert_eq!(got.len(), want.len(), "{what}");
}

/// Ciphertexts of one limb and of two, raised to every number of limbs.
pub fn raises<D: RnsDevice>(device: &D) {
    for twins in of_all_sets(device) {
        let params = twins.params().clone();
        let most = params.primes.len();
        for own in 1..=2 {
            let batch = ciphertexts(&params, 3, own, SCALE, 120);
            for limbs in own..=most {
                let want = twins.reference.raise(batch.clone(), limbs).expect("limbs that there are");
                let low = twins.reference.drop_to(want.clone(), own).expect("fewer limbs");
                assert_held("what was raised, dropped", &twins.reference, &low, &batch);
                let got = twins.candidate.raise(upload(&twins.candidate, &batch), limbs).expect("limbs that there are");
                assert_held(&format!("raise {own} limbs to {limbs}"), &twins.candidate, &got, &want);
            }
            assert_refused!(twins, CkksError::Depth, |ring| ring.raise(upload(ring, &batch), most + 1));
        }
        for (own, limbs, right) in [(2, 1, 1), (3, most, 2), (1, 0, 0)] {
            let batch = ciphertexts(&params, 2, own, SCALE, 121);
            assert_refused!(twins, CkksError::Level { left: own, right }, |ring| ring
                .raise(upload(ring, &batch), limbs));
        }
    }
    let twins = small(device);
    let batch = ciphertexts(twins.params(), MOST, 2, SCALE, 122);
    assert_same!(twins, "raise", [batch], |ring, own, range| {
        assert_eq!(own[0].len(), range.len());
        ring.raise(own[0].clone(), 3)
    });
}

/// Numbers at both ends of what two limbs hold, and around them, where the nearest to 0 is beyond the other end.
pub fn raises_ends<D: RnsDevice>(device: &D) {
    let twins = small(device);
    let params = twins.params().clone();
    let primes = [0, 1].map(|limb| f64::from(params.primes[limb]));
    for own in 1..=2 {
        let half = (primes[..own].iter().product::<f64>() - 1.0) / 2.0;
        assert!(half < 2_f64.powi(53), "all its neighbours are doubles");
        let numbers = [half, -half, half - 1.0, half + 1.0, -half - 1.0, primes[0] / 2.0 - 0.5, -primes[0], 0.0];
        let host = twins.reference.host();
        let words = host.plaintext_of(&host.coefficients(&numbers, 1.0), own).into_words();
        let batch = [Ciphertext { parts: [words.clone(), words], scale: SCALE }];
        let want = twins.reference.raise(batch.to_vec(), 3).expect("limbs that there are");
        let got = twins.candidate.raise(upload(&twins.candidate, &batch), 3).expect("limbs that there are");
        assert_held(&format!("the ends of {own} limbs"), &twins.candidate, &got, &want);
    }
}

/// Plaintexts of short and long integers, halves and repeated ones, at every number of limbs.
pub fn plaintexts<D: RnsDevice>(device: &D) {
    for twins in of_all_sets(device) {
        let params = twins.params().clone();
        let host = twins.reference.host();
        let number = |at: usize, most: f64| most * (0.3 + 1.7 * at as f64).sin();
        let numbers = |count: usize, most: f64| (0..count).map(|at| number(at, most)).collect::<Vec<f64>>();
        let of = |count: usize, log2: i32| host.coefficients(&numbers(count, 2_f64.powi(log2)), SCALE);
        let degree = 1 << params.log2_degree;
        let all = [of(degree, 30), of(degree, 61), of(16, 61), of(degree / 4, 30).of_real_slots()];
        for limbs in 1..=params.primes.len() {
            let batch = ciphertexts(&params, 1, limbs, SCALE, 125);
            macro_rules! products {
                ($ring:expr, $all:expr) => {{
                    let (ring, all) = ($ring, $all);
                    let own = upload(ring, &batch);
                    let load = |own: &Coefficients| ring.load_coefficients(own.clone()).expect("loads");
                    let loaded: Vec<_> = all.iter().map(load).collect();
                    let plaintexts = ring.plaintexts(&refs(&loaded), limbs).expect("limbs that there are");
                    let factors: Vec<_> = plaintexts.iter().map(Constant::Slots).collect();
                    ring.products(&vec![&own[0]; factors.len()], &factors).expect("operands that fit")
                }};
            }
            let want = download(&twins.reference, &products!(&twins.reference, &all));
            let what = format!("plaintexts at {limbs} limbs");
            assert_held(&what, &twins.candidate, &products!(&twins.candidate, &all), &want);
            let ready = all.each_ref().map(|own| host.plaintext_of(own, limbs));
            let ready = ready.map(|own| twins.candidate.load_plaintext(own).expect("loads"));
            let factors: Vec<_> = ready.iter().map(Constant::Slots).collect();
            let term = upload(&twins.candidate, &batch);
            let got = twins.candidate.products(&vec![&term[0]; factors.len()], &factors).expect("operands that fit");
            assert_held(&format!("{what}, made by the host"), &twins.candidate, &got, &want);
        }
        assert_eq!(twins.candidate.plaintexts(&[], 1).map(|none| none.len()), Ok(0));
        let most = params.primes.len();
        assert_refused!(twins, CkksError::Level { left: most + 1, right: most }, |ring| {
            let own = ring.load_coefficients(all[0].clone()).expect("loads");
            ring.plaintexts(&[&own], most + 1).map(|_| ())
        });
    }
}

/// Keys of automorphisms that are no rotations: the one that conjugates complex slots, the one that moves nothing, and
/// one that rotates and conjugates.
pub fn automorphisms<D: RnsDevice>(device: &D) {
    for twins in of_all_sets(device) {
        let params = twins.params().clone();
        let (limbs, order) = (params.primes.len(), params.root_order());
        let batch = ciphertexts(&params, 2, limbs, SCALE, 123);
        let key = switch_key(&params, limbs, 124);
        let elements = match params.ring {
            RingKind::Complex => vec![1, order - 1, order - 5],
            RingKind::Real => vec![1, 5, 25],
        };
        for element in elements {
            macro_rules! run {
                ($ring:expr) => {{
                    let (ring, own) = ($ring, upload($ring, &batch));
                    let key = ring.load_automorphism_key(&key, element).expect("loads");
                    let pairs: Vec<_> = own.iter().map(|own| (own, &key)).collect();
                    let mut turned = ring.rotate(&pairs).expect("operands that fit");
                    let hoisted = ring.rotate_hoisted(&refs(&own), limbs, &[Some(&key)]).expect("operands that fit");
                    turned.extend(hoisted.into_iter().flatten());
                    turned
                }};
            }
            let want = download(&twins.reference, &run!(&twins.reference));
            assert_held(&format!("X -> X^{element}"), &twins.candidate, &run!(&twins.candidate), &want);
        }
        for element in [0, 2, order, order + 1] {
            let text = format!("X -> X^{element} is no automorphism by an odd exponent below {order}");
            assert_refused!(twins, CkksError::Plan(text), |ring| ring.load_automorphism_key(&key, element).map(|_| ()));
        }
    }
}
