//! What must hold for every device that computes with CKKS ciphertexts: its words are the reference's.
//!
//! Here are the steps that need no key; those that do are in [`crate::ckks::switches`].

use heman_core::ckks::error::CkksError;
use heman_core::ckks::files::seeded::SeededCiphertext;
use heman_core::ckks::ops::{Constant, Position, RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::ckks::ring::matrix::Matrix;
use heman_core::ckks::ring::number::{Number, State};
use heman_core::ckks::ring::plaintext::Plaintext;

use crate::ckks::keys::{ciphertexts, largest_residues, plaintext, seeded_ciphertext, smallest};
use crate::ckks::products;
use crate::ckks::raises;
use crate::ckks::switches;
use crate::ckks::twins::{
    MOST, Twins, assert_held, assert_refused, assert_same, download, of_all_sets, refs, small, upload,
};
use crate::tfhe::keys::words;

const SCALE: f64 = 4_194_304.0;

/// All of the suite.
pub fn all<D: RnsDevice>(device: &D) {
    uploads(device);
    sums(device);
    constants(device);
    maps(device);
    inner_products(device);
    rescales(device);
    raises::rescales_by(device);
    raises::raises(device);
    raises::raises_ends(device);
    raises::plaintexts(device);
    memory(device);
    switches::products(device);
    products::open(device);
    products::sums(device);
    switches::rotations(device);
    raises::automorphisms(device);
    switches::activations(device);
    switches::keys(device);
}

fn scale_error(left: f64, right: f64) -> CkksError {
    CkksError::Scale { left: left.log2(), right: right.log2() }
}

/// What is uploaded is downloaded, at every level; fresh ciphertexts get the masks of their seeds; malformed ones are
/// refused.
pub fn uploads<D: RnsDevice>(device: &D) {
    for twins in of_all_sets(device) {
        for limbs in 1..=twins.params().primes.len() {
            let batch = ciphertexts(twins.params(), 3, limbs, SCALE, 1);
            assert_held("upload", &twins.candidate, &upload(&twins.candidate, &batch), &batch);
        }
    }
    let twins = small(device);
    let params = twins.params().clone();
    for limbs in 1..=params.primes.len() {
        let seeded: Vec<_> = (0..MOST as u32).map(|at| seeded_ciphertext(&params, limbs, 40 + at)).collect();
        assert_same!(twins, format!("fresh ciphertexts of {limbs} limbs"), [], |ring, own, range| {
            assert!(own.is_empty(), "seeds alone");
            ring.upload_seeded(&refs(&seeded[range]), SCALE)
        });
    }
    let sound = seeded_ciphertext(&params, 3, 7);
    let degree = sound.body.len() / 3;
    let with_body = |body: Vec<u32>| SeededCiphertext { seed: sound.seed, body };
    let with_word = |at: usize, word: u32| {
        let mut body = sound.body.clone();
        body[at] = word;
        with_body(body)
    };
    for broken in [
        with_word(0, params.primes[0]),
        with_word(2 * degree + 5, params.primes[2]),
        with_word(3 * degree - 1, u32::MAX),
        with_body(Vec::new()),
        with_body(sound.body[..degree + 1].to_vec()),
        with_body(vec![0; degree - 1]),
        with_body(vec![0; 4 * degree]),
    ] {
        assert_refused!(twins, CkksError::Residues, |ring| {
            ring.upload_seeded(&[&sound, &broken], SCALE).and_then(|batch| ring.download(batch))
        });
    }
}

/// Sums of two and of groups.
pub fn sums<D: RnsDevice>(device: &D) {
    for twins in of_all_sets(device) {
        let params = twins.params().clone();
        for limbs in 1..=params.primes.len() {
            let (a, b) = (ciphertexts(&params, MOST, limbs, SCALE, 2), ciphertexts(&params, MOST, limbs, SCALE, 3));
            assert_same!(twins, format!("add_assign at {limbs} limbs"), [a, b], |ring, own, range| {
                assert_eq!(range.len(), own[0].len());
                let mut sums = own[0].clone();
                ring.add_assign(&mut sums, &refs(&own[1])).map(|()| sums)
            });
        }
    }
    let twins = small(device);
    let params = twins.params().clone();
    let columns: Vec<Vec<Ciphertext>> = (0..3).map(|at| ciphertexts(&params, MOST, 2, SCALE, 4 + at)).collect();
    assert_same!(twins, "sums of groups", [columns[0], columns[1], columns[2]], |ring, own, range| {
        // Groups of one, two and of all elements' first members.
        let group = |at: usize| match (range.start + at) % 3 {
            0 => vec![&own[0][at]],
            1 => vec![&own[0][at], &own[2][at]],
            _ => (0..11).flat_map(|_| own.iter().map(move |column| &column[at])).collect(),
        };
        ring.sums(&(0..own[0].len()).map(group).collect::<Vec<_>>())
    });
    let (low, mut scaled) = (ciphertexts(&params, 1, 1, SCALE, 1), ciphertexts(&params, 1, 2, SCALE, 1));
    scaled[0].scale *= 1.0 + 1e-8;
    for (other, error) in
        [(&low, CkksError::Level { left: 2, right: 1 }), (&scaled, scale_error(SCALE, scaled[0].scale))]
    {
        assert_refused!(twins, error, |ring| {
            let mut sums = upload(ring, &columns[0][..1]);
            ring.add_assign(&mut sums, &refs(&upload(ring, other)))
        });
    }
    assert_refused!(twins, CkksError::Level { left: 2, right: 1 }, |ring| {
        let (a, b) = (upload(ring, &columns[0][..2]), upload(ring, &low));
        ring.sums(&[vec![&a[0]], vec![&a[0], &a[1], &b[0]]])
    });
    assert_refused!(twins, CkksError::Depth, |ring| ring.sums(&[vec![]]));
}

/// Numbers for all slots, and one for each, added and multiplied; constants and terms may have limbs that are not used.
pub fn constants<D: RnsDevice>(device: &D) {
    let twins = small(device);
    let params = twins.params().clone();
    let most = params.primes.len();
    for (limbs, more) in [(1, 0), (1, 2), (2, 1), (3, 0)] {
        let at = State { scale: SCALE, limbs: limbs + more };
        let numbers: Vec<Number> = (0..MOST).map(|i| Number::new(&params, i as f64 * 1.7 - 20.0, at)).collect();
        let slots: Vec<_> = (0..3).map(|i| plaintext(&params, limbs + more, SCALE, 50 + i)).collect();
        let terms = ciphertexts(&params, MOST, limbs, SCALE, 8);
        let sums = ciphertexts(&params, MOST, limbs, SCALE * SCALE, 9);
        let wide = ciphertexts(&params, MOST, most, SCALE, 10);
        let what = |step: &str| format!("{step} at {limbs} limbs, constants of {}", limbs + more);
        macro_rules! constants {
            ($ring:ident, $range:ident, $loaded:ident) => {
                let slots = slots.iter().map(|plaintext| $ring.load_plaintext(plaintext.clone()).expect("loads"));
                let slots: Vec<_> = slots.collect();
                let constant = |at: usize| match at % 2 {
                    0 => Constant::Number(&numbers[at]),
                    _ => Constant::Slots(&slots[at % slots.len()]),
                };
                let $loaded: Vec<_> = $range.map(constant).collect();
            };
        }
        assert_same!(twins, what("add_constants"), [terms], |ring, own, range| {
            constants!(ring, range, loaded);
            let mut sums = own[0].clone();
            ring.add_constants(&mut sums, &loaded).map(|()| sums)
        });
        assert_same!(twins, what("products"), [terms], |ring, own, range| {
            constants!(ring, range, loaded);
            ring.products(&refs(&own[0]), &loaded)
        });
        for terms in [&terms, &wide] {
            assert_same!(twins, what("add_products"), [sums, terms], |ring, own, range| {
                constants!(ring, range, loaded);
                let mut sums = own[0].clone();
                ring.add_products(&mut sums, &refs(&own[1]), &loaded).map(|()| sums)
            });
        }
    }
    refused_constants(&twins);
}

fn refused_constants<R: RnsOps>(twins: &Twins<R>) {
    let params = twins.params().clone();
    let number = |scale: f64, limbs: usize| Number::new(&params, 1.5, State { scale, limbs });
    let (short, other) = (number(SCALE, 1), number(2.0 * SCALE, 2));
    let short_slots = plaintext(&params, 1, SCALE, 1);
    let other_slots = plaintext(&params, 2, 2.0 * SCALE, 1);
    let (term, sum) = (ciphertexts(&params, 1, 2, SCALE, 1), ciphertexts(&params, 1, 2, SCALE * SCALE, 2));
    let level = || CkksError::Level { left: 2, right: 1 };
    macro_rules! refused {
        ($number:expr, $slots:expr, $error:expr, |$ring:ident, $constant:ident| $step:expr) => {
            assert_refused!(twins, $error, |$ring| {
                let $constant = Constant::Number(&$number);
                $step
            });
            assert_refused!(twins, $error, |$ring| {
                let plaintext = $ring.load_plaintext($slots.clone()).expect("loads");
                let $constant = Constant::Slots(&plaintext);
                $step
            });
        };
    }
    refused!(short, short_slots, level(), |ring, constant| ring.add_constants(&mut upload(ring, &term), &[constant]));
    let scales = || scale_error(SCALE, 2.0 * SCALE);
    refused!(other, other_slots, scales(), |ring, constant| ring.add_constants(&mut upload(ring, &term), &[constant]));
    refused!(short, short_slots, level(), |ring, constant| ring.products(&refs(&upload(ring, &term)), &[constant]));
    refused!(short, short_slots, level(), |ring, constant| {
        ring.add_products(&mut upload(ring, &sum), &refs(&upload(ring, &term)), &[constant])
    });
    let scales = || scale_error(SCALE * SCALE, 2.0 * SCALE * SCALE);
    refused!(other, other_slots, scales(), |ring, constant| {
        ring.add_products(&mut upload(ring, &sum), &refs(&upload(ring, &term)), &[constant])
    });
    let low = ciphertexts(&params, 1, 1, SCALE, 3);
    let fitting = number(SCALE, 2);
    assert_refused!(twins, level(), |ring| {
        ring.add_products(&mut upload(ring, &sum), &refs(&upload(ring, &low)), &[Constant::Number(&fitting)])
    });
}

/// A matrix of arbitrary residues, its last row of the largest ones.
fn matrix(primes: &[u32], kernels: usize, terms: usize, seed: u32) -> Matrix {
    let limb = |(limb, &p): (usize, &u32)| {
        let mut words: Vec<u32> = words(kernels * terms, seed + limb as u32).iter().map(|word| word % p).collect();
        words[(kernels - 1) * terms..].fill(p - 1);
        words
    };
    let words = primes.iter().enumerate().flat_map(limb).collect();
    Matrix { words, kernels, limbs: primes.len(), scale: 3.0 * SCALE, term_scales: vec![SCALE; terms] }
}

/// Rows of matrices at many positions: all rows and a few in any order, terms with more limbs, one term at many places.
pub fn maps<D: RnsDevice>(device: &D) {
    for twins in of_all_sets(device) {
        let params = twins.params().clone();
        let most = params.primes.len();
        let inputs = [ciphertexts(&params, 5, most, SCALE, 11), ciphertexts(&params, 4, most - 1, SCALE, 12)].concat();
        // Kernels, terms, limbs, positions; more terms than lazy sums or tiles take at a time on the smallest ring only.
        let large = [(2, 600, 2, 1), (17, 40, 3, 2)];
        let shapes = [(1, 1, 1, 1), (3, 5, most - 1, 33), (9, 13, 2, 3)];
        let shapes = shapes.into_iter().chain(large.into_iter().filter(|_| params.log2_degree == 12));
        for (kernels, terms, limbs, positions) in shapes {
            let matrix = matrix(&params.primes[..limbs], kernels, terms, 13);
            let usable = if limbs == most { 5 } else { inputs.len() };
            let term = |position: usize, term: usize| (3 * position + term * term + term) % usable;
            let kernels_at = |position: usize| -> Vec<u32> {
                let all = 0..kernels as u32;
                match position % 3 {
                    0 => all.collect(),
                    1 => all.rev().step_by(2).collect(),
                    _ => vec![(position % kernels) as u32],
                }
            };
            macro_rules! run {
                ($ring:expr) => {{
                    let (ring, own) = ($ring, upload($ring, &inputs));
                    let map = ring.load_map(matrix.clone()).expect("loads");
                    let position = |at: usize| Position {
                        terms: (0..terms).map(|i| &own[term(at, i)]).collect(),
                        kernels: kernels_at(at),
                    };
                    let positions: Vec<_> = (0..positions).map(position).collect();
                    let results = ring.apply_map(&map, &positions).expect("operands that fit");
                    assert_held("terms of a map", ring, &own, &inputs);
                    let halves = positions.split_at(positions.len() / 2);
                    let parts = [halves.0, halves.1].map(|half| ring.apply_map(&map, half).expect("operands that fit"));
                    (results, parts.into_iter().flatten().collect::<Vec<_>>())
                }};
            }
            let want = download(&twins.reference, &run!(&twins.reference).0);
            let (whole, halves) = run!(&twins.candidate);
            let what = format!("{positions} positions of {kernels} x {terms} at {limbs} limbs");
            assert_held(&what, &twins.candidate, &whole, &want);
            assert_held(&format!("{what}, in halves"), &twins.candidate, &halves, &want);
        }
    }
    let twins = small(device);
    let params = twins.params().clone();
    let map = matrix(&params.primes[..2], 3, 2, 14);
    let (full, low) = (ciphertexts(&params, 2, 3, SCALE, 15), ciphertexts(&params, 1, 1, SCALE, 15));
    let mut scaled = full.clone();
    scaled[1].scale *= 2.0;
    macro_rules! refused {
        ($error:expr, $terms:expr, $kernels:expr) => {
            assert_refused!(twins, $error, |ring| {
                let (map, own) = (ring.load_map(map.clone()).expect("loads"), upload(ring, &$terms));
                ring.apply_map(&map, &[Position { terms: own.iter().collect(), kernels: $kernels }])
            });
        };
    }
    refused!(CkksError::Plan("a matrix of 2 terms was applied to 1".into()), full[..1], vec![0]);
    refused!(CkksError::Plan("a matrix of 3 kernels has none of number 3".into()), full, vec![0, 3]);
    refused!(CkksError::Level { left: 1, right: 2 }, [full[0].clone(), low[0].clone()], vec![0]);
    refused!(scale_error(2.0 * SCALE, SCALE), scaled, vec![0]);
}

/// Sums of products with plaintexts, of one term and of many, with plaintexts of more limbs.
pub fn inner_products<D: RnsDevice>(device: &D) {
    for occupancy in [Occupancy::Many, Occupancy::Few] {
        let twins = Twins::new(device, &smallest(), occupancy);
        let params = twins.params().clone();
        for limbs in 1..=params.primes.len() {
            let inputs = ciphertexts(&params, MOST, limbs, SCALE, 16);
            let mut plaintexts: Vec<_> = (0..4).map(|i| plaintext(&params, 3, 2.0 * SCALE, 60 + i)).collect();
            plaintexts[3] = Plaintext::new(largest_residues(&params.primes, params.log2_degree), 2.0 * SCALE);
            macro_rules! run {
                ($ring:expr) => {{
                    let (ring, own) = ($ring, upload($ring, &inputs));
                    let loaded = plaintexts.iter().map(|plaintext| ring.load_plaintext(plaintext.clone()));
                    let loaded: Vec<_> = loaded.map(|plaintext| plaintext.expect("loads")).collect();
                    let terms = |count: usize| (0..count).map(|i| ((5 * i + count) % MOST, &loaded[i % 4])).collect();
                    let largest = (0..40).map(|_| (MOST - 1, &loaded[3])).collect();
                    let sums: Vec<Vec<_>> = [1, 2, 3, 12, 13, 31, 33].map(terms).into_iter().chain([largest]).collect();
                    let results = ring.inner_products(&own, &sums).expect("operands that fit");
                    assert_held("inputs of inner products", ring, &own, &inputs);
                    let alone = sums.iter().flat_map(|sum| ring.inner_products(&own, std::slice::from_ref(sum)));
                    (results, alone.flatten().collect::<Vec<_>>())
                }};
            }
            let want = download(&twins.reference, &run!(&twins.reference).0);
            let (all, alone) = run!(&twins.candidate);
            assert_held(&format!("inner products at {limbs} limbs"), &twins.candidate, &all, &want);
            assert_held(&format!("single inner products at {limbs} limbs"), &twins.candidate, &alone, &want);
        }
    }
    let twins = small(device);
    let params = twins.params().clone();
    let plaintexts = [plaintext(&params, 2, SCALE, 1), plaintext(&params, 1, SCALE, 1)];
    let mut inputs = ciphertexts(&params, 3, 2, SCALE, 17);
    inputs[1].scale *= 2.0;
    let mixed = [ciphertexts(&params, 1, 2, SCALE, 1), ciphertexts(&params, 1, 1, SCALE, 1)].concat();
    macro_rules! refused {
        ($error:expr, $inputs:expr, $terms:expr) => {
            assert_refused!(twins, $error, |ring| {
                let loaded = plaintexts.clone().map(|plaintext| ring.load_plaintext(plaintext).expect("loads"));
                let terms: &[(usize, usize)] = &$terms;
                let terms = terms.iter().map(|&(input, plaintext)| (input, &loaded[plaintext])).collect();
                ring.inner_products(&upload(ring, &$inputs), &[terms])
            });
        };
    }
    refused!(CkksError::Depth, inputs, []);
    refused!(CkksError::Depth, [], []);
    refused!(CkksError::Level { left: 2, right: 1 }, inputs, [(0, 0), (2, 1)]);
    refused!(CkksError::Level { left: 2, right: 1 }, mixed, [(0, 0)]);
    refused!(scale_error(SCALE * SCALE, 2.0 * SCALE * SCALE), inputs, [(0, 0), (1, 0)]);
}

/// Division by the last prime at every level; the last one cannot be divided.
pub fn rescales<D: RnsDevice>(device: &D) {
    for twins in of_all_sets(device) {
        let params = twins.params().clone();
        for limbs in 2..=params.primes.len() {
            let batch = ciphertexts(&params, 3, limbs, SCALE * SCALE, 18);
            let want = twins.reference.rescale(batch.clone()).expect("a level is left");
            let own = upload(&twins.candidate, &batch);
            let got = twins.candidate.rescale(own.clone()).expect("a level is left");
            assert_held(&format!("rescale at {limbs} limbs"), &twins.candidate, &got, &want);
            assert_held("the copy of what was rescaled", &twins.candidate, &own, &batch);
        }
        assert_refused!(twins, CkksError::Depth, |ring| {
            ring.rescale(upload(ring, &ciphertexts(&params, 2, 1, SCALE, 19)))
        });
    }
    let twins = small(device);
    let batch = ciphertexts(twins.params(), MOST, 3, SCALE * SCALE, 18);
    assert_same!(twins, "rescale", [batch], |ring, own, range| {
        assert_eq!(own[0].len(), range.len());
        ring.rescale(own[0].clone())
    });
}

/// Dropped limbs, shrunk copies, and memory that was given back: whatever is used again, ciphertexts that live stay
/// what they are.
pub fn memory<D: RnsDevice>(device: &D) {
    let twins = small(device);
    let params = twins.params().clone();
    let batch = ciphertexts(&params, MOST, 3, SCALE, 20);
    for limbs in 1..=3 {
        assert_same!(twins, format!("drop_to {limbs} limbs"), [batch], |ring, own, range| {
            assert_eq!(own[0].len(), range.len());
            ring.drop_to(own[0].clone(), limbs)
        });
        assert_same!(twins, "shrink", [batch], |ring, own, range| {
            assert_eq!(own[0].len(), range.len());
            ring.drop_to(own[0].clone(), limbs).map(|low| ring.shrink(low))
        });
    }
    for limbs in [0, 4] {
        assert_refused!(twins, CkksError::Depth, |ring| ring.drop_to(upload(ring, &batch[..2]), limbs));
    }
    let ring = &twins.candidate;
    let (kept, copy) = (upload(ring, &batch), upload(ring, &batch));
    ring.release(kept.clone());
    ring.release(copy);
    let others = ciphertexts(&params, MOST, 3, SCALE, 21);
    let mut sums = upload(ring, &others);
    ring.add_assign(&mut sums, &refs(&kept)).expect("alike");
    let rescaled = ring.rescale(sums).expect("a level is left");
    assert_held("ciphertexts beside given back memory", ring, &kept, &batch);
    let mut want = others;
    twins.reference.add_assign(&mut want, &refs(&batch)).expect("alike");
    let want = twins.reference.rescale(want).expect("a level is left");
    assert_held("results in given back memory", ring, &rescaled, &want);
}
