//! The evaluation key as it travels: bodies and two seeds, the masks left out.

use std::io::{self, Write};

use rayon::prelude::*;

use crate::files::chunks::{Reader, value_bytes, write_value};
use crate::files::container as format;
use crate::files::container::{Fingerprint, FormatError, Kind};
use crate::files::scheme::Scheme;
use crate::files::sealed::{Sealed, check_rest};
use crate::tfhe::files::masks::Masks;
use crate::tfhe::params::public::Params;
use crate::tfhe::params::set::ParameterSet;

/// Bytes of both seeds.
const SEED_BYTES: u64 = 32;
/// Rows that a thread expands at a time.
const ROWS: usize = 8;

/// Seeded bootstrapping and keyswitching key, with the parameters they were made for.
#[derive(Clone)]
pub struct SeededEvaluationKey {
    /// The client's key.
    pub fingerprint: Fingerprint,
    /// The public parameters.
    pub params: ParameterSet,
    /// Seed of the bootstrapping key's masks.
    pub bootstrap_seed: [u8; 16],
    /// Bodies of the rows of GGSW encryptions, under the GLWE key, of the small key's bits, or of which bits of each
    /// group are set ([`ParameterSet::indicators`]): `n (2^g - 1) / g x l x (k + 1) x N` words mod 2^64.
    pub bootstrap_bodies: Vec<u64>,
    /// Seed of the keyswitching key's masks.
    pub keyswitch_seed: [u8; 16],
    /// Bodies of the flattened GLWE key under the small key: `k N x l` words mod 2^32.
    pub keyswitch_bodies: Vec<u32>,
}

impl SeededEvaluationKey {
    /// Number of body words of the bootstrapping key.
    #[must_use]
    pub fn bootstrap_body_words(params: &ParameterSet) -> usize {
        params.bootstrap_key_length() * params.pbs_level * (params.glwe_dimension + 1) * params.polynomial_size
    }

    /// Number of body words of the keyswitching key.
    #[must_use]
    pub fn keyswitch_body_words(params: &ParameterSet) -> usize {
        params.big_dimension() * params.ks_level
    }

    /// Length of the file, in bytes.
    #[must_use]
    pub fn file_bytes(params: &ParameterSet) -> u64 {
        format::file_bytes(value_bytes(params) + Self::rest_bytes(params))
    }

    fn rest_bytes(params: &ParameterSet) -> u64 {
        let words = 8 * Self::bootstrap_body_words(params) + 4 * Self::keyswitch_body_words(params);
        SEED_BYTES + words as u64
    }

    /// The bootstrapping key's rows with their masks, as many as `out` has room for: rows of k mask polynomials and a
    /// body of N words mod 2^64 each, from row `first` on. A GGSW ciphertext has `l (k + 1)` of them.
    ///
    /// # Panics
    /// If the key has fewer rows, or `out` is no whole number of them.
    pub fn expand_bootstrap_rows(&self, first: usize, out: &mut [u64]) {
        let (size, mask) = (self.params.polynomial_size, self.params.big_dimension());
        assert!(out.len().is_multiple_of(mask + size), "whole rows");
        let masks = Masks::new(&self.bootstrap_seed);
        let bodies = &self.bootstrap_bodies[first * size..][..out.len() / (mask + size) * size];
        for (at, (row, body)) in out.chunks_exact_mut(mask + size).zip(bodies.chunks_exact(size)).enumerate() {
            masks.fill_u64(((first + at) * mask) as u64, &mut row[..mask]);
            row[mask..].copy_from_slice(body);
        }
    }

    /// As [`Self::expand_bootstrap_rows`], all of them; takes `k + 1` times the memory of the bodies.
    #[must_use]
    pub fn expand_bootstrap(&self) -> Vec<u64> {
        let rows = self.bootstrap_bodies.len() / self.params.polynomial_size;
        let row_words = self.params.big_dimension() + self.params.polynomial_size;
        let mut words = vec![0; rows * row_words];
        let expand = |(at, part): (usize, &mut [u64])| self.expand_bootstrap_rows(at * ROWS, part);
        words.par_chunks_mut(ROWS * row_words).enumerate().for_each(expand);
        words
    }

    /// The keyswitching key's rows with their masks, as many as `out` has room for: n words of mask and a body mod
    /// 2^32 each, from row `first` on; l rows for each word that is switched.
    ///
    /// # Panics
    /// As [`Self::expand_bootstrap_rows`].
    pub fn expand_keyswitch_rows(&self, first: usize, out: &mut [u32]) {
        let mask = self.params.lwe_dimension;
        assert!(out.len().is_multiple_of(mask + 1), "whole rows");
        let masks = Masks::new(&self.keyswitch_seed);
        let bodies = &self.keyswitch_bodies[first..][..out.len() / (mask + 1)];
        for (at, (row, &body)) in out.chunks_exact_mut(mask + 1).zip(bodies).enumerate() {
            masks.fill_u32(((first + at) * mask) as u64, &mut row[..mask]);
            row[mask] = body;
        }
    }

    /// As [`Self::expand_keyswitch_rows`], all of them: `n + 1` times the memory of the bodies.
    #[must_use]
    pub fn expand_keyswitch(&self) -> Vec<u32> {
        let row_words = self.params.small_row_words();
        let mut words = vec![0; self.keyswitch_bodies.len() * row_words];
        let expand = |(at, part): (usize, &mut [u32])| self.expand_keyswitch_rows(at * ROWS, part);
        words.par_chunks_mut(ROWS * row_words).enumerate().for_each(expand);
        words
    }
}

impl Sealed for SeededEvaluationKey {
    const KIND: Kind = Kind::EvaluationKey;
    const SCHEME: Scheme = Scheme::Tfhe;
    type Given = Params;

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn body_bytes(&self, _params: &Params) -> u64 {
        value_bytes(&self.params) + Self::rest_bytes(&self.params)
    }

    fn write(&self, _params: &Params, out: &mut dyn Write) -> io::Result<()> {
        write_value(&self.params, out)?;
        out.write_all(&self.bootstrap_seed)?;
        out.write_all(&self.keyswitch_seed)?;
        out.write_all(bytemuck::cast_slice(&self.bootstrap_bodies))?;
        out.write_all(bytemuck::cast_slice(&self.keyswitch_bodies))
    }

    fn read(given: &Params, body: &mut Reader<'_>) -> Result<Self, FormatError> {
        let fingerprint = body.header().fingerprint;
        let params: ParameterSet = body.value()?;
        if params != given.tfhe {
            return Err(FormatError::Body("the key was made for other parameters than its header says".into()));
        }
        check_rest(body, Self::rest_bytes(&params))?;
        Ok(Self {
            fingerprint,
            params,
            bootstrap_seed: body.array()?,
            keyswitch_seed: body.array()?,
            bootstrap_bodies: body.words(Self::bootstrap_body_words(&params))?,
            keyswitch_bodies: body.words(Self::keyswitch_body_words(&params))?,
        })
    }
}
