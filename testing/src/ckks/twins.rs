//! A ring of a device beside the reference's, and how their results are compared.

use std::ops::Range;

use heman_core::ckks::cpu::reference::ReferenceRing;
use heman_core::ckks::ops::{RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::params::set::ParameterSet;
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::device::reference::ReferenceBackend;

use crate::ckks::keys::{real, sets, smallest};
use crate::difference;

/// Elements of the largest batch.
pub const MOST: usize = 33;

/// Batches of 1, 2, 3, 31 and 33 of [`MOST`] elements: each element gets the same words in all that it is part of.
pub const BATCHES: [Range<usize>; 5] = [0..1, 1..3, 3..6, 2..33, 0..33];

/// One ring twice.
pub struct Twins<R> {
    /// The device's.
    pub candidate: R,
    /// What it must equal.
    pub reference: ReferenceRing,
}

impl<R: RnsOps> Twins<R> {
    /// Rings of one set.
    #[must_use]
    pub fn new<D: RnsDevice<Ring = R>>(device: &D, params: &ParameterSet, occupancy: Occupancy) -> Self {
        let candidate = device.ring(params, occupancy).expect("a sound set");
        let reference = ReferenceBackend.ring(params, occupancy).expect("a sound set");
        Self { candidate, reference }
    }

    /// The parameters of both.
    #[must_use]
    pub fn params(&self) -> &ParameterSet {
        self.reference.params()
    }
}

/// Rings of all of [`sets`], for few ciphertexts and for many, and of [`real`] where the device takes it.
#[must_use]
pub fn of_all_sets<D: RnsDevice>(device: &D) -> Vec<Twins<D::Ring>> {
    let ([one, two, three], real) = (sets(), real());
    let mut occupancies =
        vec![(&one, Occupancy::Few), (&one, Occupancy::Many), (&two, Occupancy::Few), (&three, Occupancy::Many)];
    if device.ring(&real, Occupancy::Many).is_ok() {
        occupancies.push((&real, Occupancy::Many));
    }
    occupancies.into_iter().map(|(params, occupancy)| Twins::new(device, params, occupancy)).collect()
}

/// Rings of the smallest set, for many ciphertexts.
#[must_use]
pub fn small<D: RnsDevice>(device: &D) -> Twins<D::Ring> {
    Twins::new(device, &smallest(), Occupancy::Many)
}

/// Ciphertexts of the host on a ring.
#[must_use]
pub fn upload<R: RnsOps>(ring: &R, batch: &[Ciphertext]) -> Vec<R::Ciphertext> {
    ring.upload(batch.to_vec()).expect("uploads")
}

/// Ciphertexts of a ring on the host, by way of copies.
#[must_use]
pub fn download<R: RnsOps>(ring: &R, batch: &[R::Ciphertext]) -> Vec<Ciphertext> {
    ring.download(batch.to_vec()).expect("downloads")
}

/// References to all of a batch.
pub fn refs<C>(batch: &[C]) -> Vec<&C> {
    batch.iter().collect()
}

/// Fails unless a ring's ciphertexts are those of the host, in words, scale and state.
pub fn assert_held<R: RnsOps>(what: &str, ring: &R, got: &[R::Ciphertext], want: &[Ciphertext]) {
    let degree = 1 << ring.params().log2_degree;
    if let Some(difference) = difference::of_ciphertexts(&download(ring, got), want, degree) {
        panic!("{what}, device and reference: {difference}");
    }
    for (got, want) in got.iter().zip(want) {
        let state = ring.state(got);
        assert_eq!((state.limbs, state.scale), (want.parts[0].len() / degree, want.scale), "{what}: the state");
    }
}

/// Runs a step on the reference with all elements, and on the candidate in [`BATCHES`]: results must be equal, operands
/// unchanged.
///
/// Operands are columns of [`MOST`] ciphertexts each; the step sees its part of each column, and which elements they
/// are.
macro_rules! assert_same {
    ($twins:expr, $what:expr, [$($column:expr),* $(,)?], |$ring:ident, $own:ident, $range:ident| $step:expr) => {{
        use $crate::ckks::twins::{BATCHES, MOST, assert_held, download, upload};
        use heman_core::ckks::error::CkksError;
        let columns: Vec<&[heman_core::ckks::ring::ciphertext::Ciphertext]> = vec![$(&$column),*];
        let want = {
            let ($ring, $range) = (&$twins.reference, 0..MOST);
            let $own: Vec<_> = columns.iter().map(|column| upload($ring, column)).collect();
            let results: Result<Vec<_>, CkksError> = $step;
            download($ring, &results.expect("the reference takes the operands"))
        };
        let each = want.len() / MOST;
        for $range in BATCHES {
            let what = format!("{}, {} from {}", $what, $range.len(), $range.start);
            let $ring = &$twins.candidate;
            let $own: Vec<_> = columns.iter().map(|column| upload($ring, &column[$range.clone()])).collect();
            let part = each * $range.start..each * $range.end;
            let before = ($own.clone(), $range.clone());
            let results: Result<Vec<_>, CkksError> = $step;
            assert_held(&what, $ring, &results.expect("the device takes the operands"), &want[part]);
            for (own, column) in before.0.iter().zip(&columns) {
                assert_held(&format!("operands of {what}"), $ring, own, &column[before.1.clone()]);
            }
        }
    }};
}

/// Runs a step on both rings: it must be refused on both with the given error.
macro_rules! assert_refused {
    ($twins:expr, $error:expr, |$ring:ident| $step:expr) => {{
        let error = $error;
        {
            let $ring = &$twins.reference;
            assert_eq!(($step).err().as_ref(), Some(&error), "the reference");
        }
        let $ring = &$twins.candidate;
        assert_eq!(($step).err(), Some(error), "the device");
    }};
}

pub(crate) use {assert_refused, assert_same};
