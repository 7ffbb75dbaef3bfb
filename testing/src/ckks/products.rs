//! The suite's steps on products of three parts, which are relinearised when they have been summed.

use heman_core::ckks::error::CkksError;
use heman_core::ckks::ops::{Position, RnsDevice, RnsOps};
use heman_core::ckks::ring::matrix::Matrix;
use heman_core::ckks::ring::number::State;

use crate::ckks::keys::{ciphertexts, switch_key};
use crate::ckks::twins::{MOST, assert_held, assert_refused, assert_same, download, of_all_sets, small, upload};

const SCALE: f64 = 4_194_304.0;

/// A product that is relinearised at once is what `multiply` gives; divided by a prime first, it has a limb less.
pub fn open<D: RnsDevice>(device: &D) {
    for twins in of_all_sets(device) {
        let params = twins.params();
        for limbs in 1..=params.primes.len() {
            let key = switch_key(params, limbs, 30);
            let batch = ciphertexts(params, 3, limbs, SCALE, 31);
            macro_rules! run {
                ($ring:expr) => {{
                    let (ring, own) = ($ring, upload($ring, &batch));
                    let key = ring.load_switch_key(&key).expect("loads");
                    let pairs = [(&own[0], &own[1]), (&own[2], &own[2])];
                    let products = ring.tensor(&pairs).expect("operands that fit");
                    let divided = ring.rescale_products(products.clone());
                    let divided = divided.and_then(|divided| ring.relinearise(divided, &key));
                    if limbs > 1 {
                        let rescaled = ring.relinearise_rescale(products.clone(), &key).expect("operands that fit");
                        let at_once = ring.multiply_rescale(&pairs, &key).expect("operands that fit");
                        assert_held("relinearised and rescaled", ring, &rescaled, &download(ring, &at_once));
                    }
                    let closed = ring.relinearise(products, &key).expect("operands that fit");
                    let at_once = ring.multiply(&pairs, &key).expect("operands that fit");
                    assert_held("factors", ring, &own, &batch);
                    assert_held("relinearised at once", ring, &closed, &download(ring, &at_once));
                    (closed, divided)
                }};
            }
            let (want, want_divided) = run!(&twins.reference);
            let (got, got_divided) = run!(&twins.candidate);
            let what = format!("{limbs} limbs, {} special primes", params.special_primes.len());
            assert_held(&format!("tensor, {what}"), &twins.candidate, &got, &download(&twins.reference, &want));
            match (got_divided, want_divided) {
                (Ok(got), Ok(want)) => {
                    let want = download(&twins.reference, &want);
                    assert_held(&format!("rescale_products, {what}"), &twins.candidate, &got, &want);
                }
                (got, want) => {
                    assert_eq!((limbs, got.err(), want.err()), (1, Some(CkksError::Depth), Some(CkksError::Depth)))
                }
            }
        }
    }
    let twins = small(device);
    let params = twins.params().clone();
    let (a, b) = (ciphertexts(&params, MOST, 3, SCALE, 32), ciphertexts(&params, MOST, 3, SCALE, 33));
    let key = switch_key(&params, 3, 34);
    assert_same!(twins, "tensor", [a, b], |ring, own, range| {
        assert_eq!(own[0].len(), range.len());
        let pairs: Vec<_> = own[0].iter().zip(&own[1]).collect();
        let products = ring.tensor(&pairs).expect("operands that fit");
        ring.relinearise(products, &ring.load_switch_key(&key).expect("loads"))
    });
    let low = ciphertexts(&params, 1, 2, SCALE, 35);
    assert_refused!(twins, CkksError::Level { left: 3, right: 2 }, |ring| {
        let (a, low) = (upload(ring, &a[..1]), upload(ring, &low));
        ring.tensor(&[(&a[0], &low[0])]).map(|products| products.len())
    });
    let short = switch_key(&params, 2, 36);
    assert_refused!(twins, CkksError::Level { left: 3, right: 2 }, |ring| {
        let (a, key) = (upload(ring, &a[..1]), ring.load_switch_key(&short).expect("loads"));
        ring.tensor(&[(&a[0], &a[0])]).and_then(|products| ring.relinearise(products, &key))
    });
}

/// Sums of groups, and rows of a matrix at several positions.
pub fn sums<D: RnsDevice>(device: &D) {
    let twins = small(device);
    let params = twins.params().clone();
    let (a, b) = (ciphertexts(&params, MOST, 3, SCALE, 37), ciphertexts(&params, MOST, 3, SCALE, 38));
    let key = switch_key(&params, 3, 39);
    assert_same!(twins, "sums of products", [a, b], |ring, own, range| {
        let pairs: Vec<_> = own[0].iter().zip(&own[1]).collect();
        let products = ring.tensor(&pairs).expect("operands that fit");
        // Groups of one, and of one member several times.
        let group = |at: usize| vec![&products[at]; 1 + (range.start + at) % 3];
        let groups: Vec<_> = (0..products.len()).map(group).collect();
        let sums = ring.sums_of_products(&groups).expect("operands that fit");
        ring.relinearise(sums, &ring.load_switch_key(&key).expect("loads"))
    });
    let moduli = params.moduli();
    let weights: Vec<f64> = (0..6).map(|at| f64::from(at) * 0.4 - 1.1).collect();
    let matrix = Matrix::new(&weights, vec![SCALE * SCALE; 2], SCALE * SCALE * SCALE, &moduli[..2]).expect("rows");
    assert_same!(twins, "a matrix of products", [a, b], |ring, own, range| {
        assert_eq!(own[0].len(), range.len());
        let pairs: Vec<_> = own[0].iter().zip(&own[1]).chain(own[0].iter().zip(&own[0])).collect();
        let products = ring.tensor(&pairs).expect("operands that fit");
        let map = ring.load_map(matrix.clone()).expect("loads");
        let position =
            |at: usize| Position { terms: vec![&products[at], &products[own[0].len() + at]], kernels: vec![2, 0] };
        let positions: Vec<_> = (0..own[0].len()).map(position).collect();
        let rows = ring.apply_map_to_products(&map, &positions).expect("operands that fit");
        assert!(rows.iter().all(|row| ring.state(&row.low) == State { scale: SCALE * SCALE * SCALE, limbs: 2 }));
        ring.relinearise(rows, &ring.load_switch_key(&key).expect("loads"))
    });
}
