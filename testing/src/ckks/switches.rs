//! The suite's steps that switch keys: products of ciphertexts, rotations, and polynomials made of them.

use std::sync::Arc;

use heman_core::ckks::error::CkksError;
use heman_core::ckks::files::seeded::SeededSwitchKey;
use heman_core::ckks::ops::{Constant, RnsDevice, RnsOps, activate_in_steps, activate_open_in_steps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::plan::activation::FormKind;
use heman_core::ckks::plan::uses::{Uses, uses};
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::ckks::ring::number::{Number, State};

use crate::ckks::keys::{ciphertexts, long_digits, plaintext, switch_key};
use crate::ckks::twins::{
    MOST, Twins, assert_held, assert_refused, assert_same, download, of_all_sets, refs, small, upload,
};

const SCALE: f64 = 4_194_304.0;

/// Every set at every level, with keys of just so many limbs and of more.
fn each_level<D: RnsDevice>(device: &D, see: impl Fn(&Twins<D::Ring>, usize, usize)) {
    for twins in of_all_sets(device) {
        let most = twins.params().primes.len();
        for limbs in 1..most {
            see(&twins, limbs, limbs);
            see(&twins, limbs, most);
        }
        see(&twins, most, most);
    }
}

/// Products of pairs and squares at one level with a key for as many limbs or more.
fn see_products<R: RnsOps>(twins: &Twins<R>, limbs: usize, of_key: usize) {
    let params = twins.params();
    let key = switch_key(params, of_key, 30);
    let batch = ciphertexts(params, 4, limbs, SCALE, 31);
    macro_rules! run {
        ($ring:expr) => {{
            let (ring, own) = ($ring, upload($ring, &batch));
            let key = ring.load_switch_key(&key).expect("loads");
            let pairs = [(&own[0], &own[1]), (&own[2], &own[2]), (&own[3], &own[3])];
            let products = ring.multiply(&pairs, &key).expect("operands that fit");
            let rescaled = ring.multiply_rescale(&pairs, &key);
            assert_held("factors", ring, &own, &batch);
            (products, rescaled)
        }};
    }
    let (want, want_rescaled) = run!(&twins.reference);
    let (got, got_rescaled) = run!(&twins.candidate);
    let what = format!("{limbs} of {of_key} limbs, {} special primes", params.special_primes.len());
    assert_held(&format!("multiply, {what}"), &twins.candidate, &got, &download(&twins.reference, &want));
    match (got_rescaled, want_rescaled) {
        (Ok(got), Ok(want)) => {
            let want = download(&twins.reference, &want);
            assert_held(&format!("multiply_rescale, {what}"), &twins.candidate, &got, &want);
        }
        (got, want) => {
            assert_eq!((limbs, got.err(), want.err()), (1, Some(CkksError::Depth), Some(CkksError::Depth)))
        }
    }
}

/// Products of pairs and squares at every level with one, two and three special primes, with keys for the level and for
/// more limbs.
pub fn products<D: RnsDevice>(device: &D) {
    each_level(device, see_products);
    let twins = Twins::new(device, &long_digits(), Occupancy::Many);
    [7, 6, 5].into_iter().for_each(|limbs| see_products(&twins, limbs, 7));
    let twins = small(device);
    let params = twins.params().clone();
    let (a, b) = (ciphertexts(&params, MOST, 3, SCALE, 32), ciphertexts(&params, MOST, 3, SCALE, 33));
    let key = switch_key(&params, 3, 34);
    assert_same!(twins, "multiply", [a, b], |ring, own, range| {
        assert_eq!(own[0].len(), range.len());
        let pairs: Vec<_> = own[0].iter().zip(&own[1]).collect();
        ring.multiply(&pairs, &ring.load_switch_key(&key).expect("loads"))
    });
    let low = ciphertexts(&params, 1, 2, SCALE, 35);
    assert_refused!(twins, CkksError::Level { left: 3, right: 2 }, |ring| {
        let (a, low, key) = (upload(ring, &a[..1]), upload(ring, &low), ring.load_switch_key(&key).expect("loads"));
        ring.multiply(&[(&a[0], &low[0])], &key)
    });
    let short = switch_key(&params, 2, 36);
    assert_refused!(twins, CkksError::Level { left: 3, right: 2 }, |ring| {
        let (a, key) = (upload(ring, &a[..1]), ring.load_switch_key(&short).expect("loads"));
        ring.multiply(&[(&a[0], &a[0])], &key)
    });
}

/// Rotations at every level, each by itself, added to what was rotated, and many of one ciphertext.
pub fn rotations<D: RnsDevice>(device: &D) {
    each_level(device, |twins, limbs, of_key| {
        let params = twins.params();
        let steps = [1, params.slots() - 3];
        let keys = steps.map(|steps| switch_key(params, of_key, 70 + steps as u32 % 64));
        let batch = ciphertexts(params, 2, limbs, SCALE, 71);
        macro_rules! run {
            ($ring:expr) => {{
                let (ring, own) = ($ring, upload($ring, &batch));
                let key = |at: usize| ring.load_galois_key(&keys[at], steps[at]).expect("loads");
                let keys = [key(0), key(1)];
                let pairs: Vec<_> = own.iter().zip(&keys).collect();
                let rotated = ring.rotate(&pairs).expect("operands that fit");
                let mut sums = own.clone();
                ring.rotate_add(&mut sums, &keys[1]).expect("operands that fit");
                let keys = [Some(&keys[0]), None, Some(&keys[1])];
                // More limbs than there are stand for all.
                let hoisted = [1, limbs + 1].map(|at| {
                    let all = ring.rotate_hoisted(&refs(&own), at, &keys).expect("operands that fit");
                    assert!(all.len() == own.len() && all.iter().all(|all| all.len() == keys.len()));
                    all.into_iter().flatten().collect::<Vec<_>>()
                });
                let still = ring.rotate_hoisted(&refs(&own), 1, &[None, None]).expect("operands that fit");
                assert_held("what was rotated", ring, &own, &batch);
                [rotated, sums, still.into_iter().flatten().collect(), hoisted.concat()]
            }};
        }
        let (got, want) = (run!(&twins.candidate), run!(&twins.reference));
        for ((got, want), step) in got.iter().zip(&want).zip(["rotate", "rotate_add", "no rotation", "rotate_hoisted"])
        {
            let what = format!("{step}, {limbs} of {of_key} limbs, {} special primes", params.special_primes.len());
            assert_held(&what, &twins.candidate, got, &download(&twins.reference, want));
        }
    });
    let twins = small(device);
    let params = twins.params().clone();
    let batch = ciphertexts(&params, MOST, 3, SCALE, 72);
    let key = switch_key(&params, 3, 73);
    assert_same!(twins, "rotate", [batch], |ring, own, range| {
        assert_eq!(own[0].len(), range.len());
        let key = ring.load_galois_key(&key, 3).expect("loads");
        ring.rotate(&own[0].iter().map(|own| (own, &key)).collect::<Vec<_>>())
    });
    assert_same!(twins, "rotate_hoisted", [batch], |ring, own, range| {
        assert_eq!(own[0].len(), range.len());
        let key = ring.load_galois_key(&key, 3).expect("loads");
        let rotated = ring.rotate_hoisted(&refs(&own[0]), 2, &[None, Some(&key)]);
        rotated.map(|rotated| rotated.into_iter().flatten().collect())
    });
    let short = switch_key(&params, 2, 74);
    let level = CkksError::Level { left: 3, right: 2 };
    assert_refused!(twins, level, |ring| {
        let (own, key) = (upload(ring, &batch[..1]), ring.load_galois_key(&short, 1).expect("loads"));
        ring.rotate(&[(&own[0], &key)])
    });
    let level = CkksError::Level { left: 3, right: 2 };
    assert_refused!(twins, level, |ring| {
        let (own, key) = (upload(ring, &batch[..1]), ring.load_galois_key(&short, 1).expect("loads"));
        ring.rotate_hoisted(&refs(&own), 3, &[None, Some(&key)])
    });
}

/// Polynomials of every kind are their own steps on the reference, with numbers and with plaintexts.
pub fn activations<D: RnsDevice>(device: &D) {
    let kinds = [
        (FormKind::Product, 2),
        (FormKind::Square, 2),
        (FormKind::Cubic, 3),
        (FormKind::Quartic, 3),
        (FormKind::Sextic, 4),
        (FormKind::Octic, 4),
        (FormKind::Seventh, 4),
        (FormKind::Fifteenth, 5),
    ];
    for twins in of_all_sets(device) {
        let params = twins.params();
        let key = switch_key(params, params.primes.len(), 80);
        for (kind, least) in kinds {
            for limbs in least..=params.primes.len() {
                // The smallest ring takes more than one thread's share.
                let elements = if params.log2_degree == 12 { 7 } else { 2 };
                activation(&twins, &key, kind, limbs, elements);
            }
        }
    }
}

fn activation<R: RnsOps>(twins: &Twins<R>, key: &SeededSwitchKey, kind: FormKind, limbs: usize, elements: usize) {
    let params = twins.params();
    let arguments = if kind == FormKind::Product { 2 * elements } else { elements };
    let scale = f64::from(params.scale_log2).exp2();
    let u = ciphertexts(params, arguments, limbs, scale, 81);
    // Polynomials of the Chebyshev basis end in values.
    let endings: &[bool] = if kind.chebyshev_constants().is_some() { &[false] } else { &[false, true] };
    for &is_open in endings {
        polynomials(twins, key, kind, &u, uses(kind, params, State { scale, limbs }, is_open), is_open);
    }
}

/// Values of polynomials; where their last products stay open, of what is made of those.
fn polynomials<R: RnsOps>(
    twins: &Twins<R>,
    key: &SeededSwitchKey,
    kind: FormKind,
    u: &[Ciphertext],
    uses: Uses,
    is_open: bool,
) {
    let (params, states) = (twins.params(), &uses.constants);
    let elements = if kind == FormKind::Product { u.len() / 2 } else { u.len() };
    let numbers = |state: &State| -> Vec<Number> {
        (0..elements).map(|element| Number::new(params, 0.3 * element as f64 - 0.7, *state)).collect()
    };
    let numbers: Vec<Vec<Number>> = states.iter().map(numbers).collect();
    let slots: Vec<_> =
        states.iter().zip(82..).map(|(state, seed)| plaintext(params, state.limbs, state.scale, seed)).collect();
    macro_rules! run {
        ($ring:expr, |$own:ident, $key:ident, $constants:ident| $step:expr) => {{
            let ring = $ring;
            let loaded = slots.iter().map(|plaintext| ring.load_plaintext(plaintext.clone()));
            let loaded: Vec<_> = loaded.map(|plaintext| plaintext.expect("loads")).collect();
            let constant = |at: usize, element: usize| match element % 2 {
                0 => Constant::Number(&numbers[at][element]),
                _ => Constant::Slots(&loaded[at]),
            };
            let all = |at: usize| (0..elements).map(|element| constant(at, element)).collect();
            let $constants: Vec<Vec<_>> = (0..states.len()).map(all).collect();
            let ($own, $key) = (upload(ring, u), &ring.load_switch_key(key).expect("loads"));
            $step.expect("operands that fit")
        }};
    }
    let reference = &twins.reference;
    let want = run!(reference, |own, key, constants| match is_open {
        false => activate_in_steps(reference, key, kind, own, &constants),
        true => activate_open_in_steps(reference, key, kind, own, &constants)
            .and_then(|products| reference.relinearise(products, key)),
    });
    let candidate = &twins.candidate;
    let got = run!(candidate, |own, key, constants| match is_open {
        false => candidate.activate(key, kind, own, &constants),
        true => candidate
            .activate_open(key, kind, own, &constants)
            .and_then(|products| candidate.relinearise(products, key)),
    });
    let want = download(reference, &want);
    let limbs = u[0].parts[0].len() >> params.log2_degree;
    assert_held(&format!("{kind:?} polynomials at {limbs} limbs, open: {is_open}"), candidate, &got, &want);
    for State { scale, limbs } in got.iter().map(|value| candidate.state(value)) {
        assert_eq!(limbs, uses.value.limbs, "{kind:?} polynomials: the limbs that the plan counts on");
        // Factors of the Chebyshev basis have the scales that bring the value to its own, but for what a double rounds.
        let ratio = scale / uses.value.scale;
        assert!((ratio - 1.0).abs() < 1e-14, "{kind:?} polynomials: {ratio} of the scale that the plan counts on");
    }
}

/// Keys of a wrong length or with words that are no residues are refused, for every number of limbs.
pub fn keys<D: RnsDevice>(device: &D) {
    for twins in of_all_sets(device) {
        let params = twins.params();
        let (degree, most, special) = (1 << params.log2_degree, params.primes.len(), params.special_primes.len());
        for limbs in [1, most] {
            let sound = switch_key(params, limbs, 90);
            let with_word = |place: usize, word: u32| {
                let mut key = sound.clone();
                Arc::make_mut(&mut key.bodies)[place] = word;
                key
            };
            let with_length = |words: usize| {
                let mut key = sound.clone();
                Arc::make_mut(&mut key.bodies).resize(words, 0);
                key
            };
            let last_special = (limbs + special) * degree - 1;
            let wrong = [
                with_word(0, params.primes[0]),
                with_word(limbs * degree, params.special_primes[0]),
                with_word(last_special, params.special_primes[special - 1]),
                with_word(sound.bodies.len() - 1, u32::MAX),
                with_length(sound.bodies.len() - 1),
                with_length(sound.bodies.len() + degree),
                with_length(0),
                SeededSwitchKey { limbs: 0, bodies: Arc::default(), ..sound.clone() },
                SeededSwitchKey { limbs: most as u32 + 1, ..sound.clone() },
                SeededSwitchKey { limbs: u32::MAX, ..sound.clone() },
            ];
            for key in wrong {
                assert_refused!(twins, CkksError::Residues, |ring| ring.load_switch_key(&key).map(|_| ()));
                assert_refused!(twins, CkksError::Residues, |ring| ring.load_galois_key(&key, 1).map(|_| ()));
            }
        }
    }
}
