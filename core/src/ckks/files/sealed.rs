//! Files of CKKS: what [`crate::ckks::files::ciphertexts`] and [`crate::ckks::plan`] hold, in bytes.

use std::io::{self, Write};
use std::sync::Arc;

use rayon::prelude::*;

use crate::ckks::files::ciphertexts::{EncryptedInput, EncryptedOutput, Parts};
use crate::ckks::files::evaluation_key::{SeededBootstrapKeys, SeededEvaluationKey};
use crate::ckks::files::packed::{LOAD, packed_bytes, read_residues, unpack_residues, write_residues};
use crate::ckks::files::seeded::{Seed, SeededCiphertext, SeededSwitchKey};
use crate::ckks::params::key_request::KeyRequest;
use crate::ckks::params::public::Params;
use crate::ckks::params::set::ParameterSet;
use crate::files::chunks::{Reader, value_bytes, write_value};
use crate::files::container as format;
use crate::files::container::{Fingerprint, FormatError, Kind};
use crate::files::scheme::Scheme;
use crate::files::sealed::{Batch, OfBatch, Sealed};

/// Bytes of keys or ciphertexts that are read and unpacked together, so that all threads have some.
const STRETCH_BYTES: usize = 32 << 20;

const SEED_BYTES: u64 = size_of::<Seed>() as u64;

/// Bytes of a polynomial over the given primes.
fn polynomial_bytes(params: &ParameterSet, primes: &[u32]) -> u64 {
    primes.iter().map(|&p| packed_bytes(p, params.degree())).sum()
}

/// Primes of a key for ciphertexts of so many limbs, and its digits.
fn key_shape(params: &ParameterSet, limbs: usize) -> (Vec<u32>, usize) {
    let special = &params.special_primes;
    ([&params.primes[..limbs], special].concat(), limbs.div_ceil(special.len()))
}

/// Bytes of a key for ciphertexts of so many limbs.
fn key_bytes(params: &ParameterSet, limbs: usize) -> u64 {
    let (primes, digits) = key_shape(params, limbs);
    SEED_BYTES + digits as u64 * polynomial_bytes(params, &primes)
}

/// Primes of an output's ciphertexts.
fn output_primes(params: &ParameterSet) -> &[u32] {
    &params.primes[..params.primes.len().min(2)]
}

impl KeyRequest {
    /// Length of the evaluation key file, in bytes.
    ///
    /// # Panics
    /// If it asks for more limbs than there are: [`Params::check`] finds that.
    #[must_use]
    pub fn file_bytes(&self, params: &ParameterSet) -> u64 {
        format::file_bytes(value_bytes(self) + self.rest_bytes(params))
    }

    fn rest_bytes(&self, params: &ParameterSet) -> u64 {
        self.all_limbs().map(|limbs| key_bytes(params, limbs)).sum()
    }
}

impl SeededEvaluationKey {
    /// The request that it answers: the head of the file's body.
    #[must_use]
    pub fn request(&self) -> KeyRequest {
        KeyRequest {
            relinearisation_limbs: self.relinearise.as_ref().map_or(0, |key| key.limbs as usize),
            rotation_limbs: self.rotations.iter().map(|(&steps, key)| (steps as usize, key.limbs as usize)).collect(),
            bootstrap: self.bootstrap.as_ref().map(SeededBootstrapKeys::limbs),
        }
    }
}

fn write_key(params: &ParameterSet, key: &SeededSwitchKey, out: &mut dyn Write) -> io::Result<()> {
    let (primes, _) = key_shape(params, key.limbs as usize);
    out.write_all(&key.seed)?;
    let digits = key.bodies.chunks(primes.len() * params.degree());
    digits.into_iter().try_for_each(|digit| write_residues(&primes, digit, params.degree(), out))
}

/// The key that `bytes` begin with; there are [`LOAD`] bytes more than it needs.
fn read_key(params: &ParameterSet, limbs: usize, bytes: &[u8]) -> Result<SeededSwitchKey, FormatError> {
    let ((primes, digits), degree) = (key_shape(params, limbs), params.degree());
    let each = polynomial_bytes(params, &primes) as usize;
    let (seed, packed) = bytes.split_first_chunk().ok_or_else(other_parts)?;
    let mut bodies = vec![0; digits * primes.len() * degree];
    let digit = |(at, words): (usize, &mut [u32])| unpack_residues(&primes, degree, &packed[at * each..], words);
    bodies.par_chunks_exact_mut(primes.len() * degree).enumerate().try_for_each(digit)?;
    Ok(SeededSwitchKey { seed: *seed, limbs: limbs as u32, bodies: Arc::new(bodies) })
}

fn other_parts() -> FormatError {
    FormatError::Body("the key's parts are not those that its parameters ask for".into())
}

impl Sealed for SeededEvaluationKey {
    const KIND: Kind = Kind::EvaluationKey;
    const SCHEME: Scheme = Scheme::Ckks;
    type Given = Params;

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn body_bytes(&self, params: &Params) -> u64 {
        let request = self.request();
        value_bytes(&request) + request.rest_bytes(&params.ckks)
    }

    fn write(&self, params: &Params, out: &mut dyn Write) -> io::Result<()> {
        write_value(&self.request(), out)?;
        let bootstrap = self.bootstrap.iter().flat_map(SeededBootstrapKeys::all);
        let keys = self.relinearise.iter().chain(self.rotations.values()).chain(bootstrap);
        keys.into_iter().try_for_each(|key| write_key(&params.ckks, key, out))
    }

    fn read(params: &Params, body: &mut Reader<'_>) -> Result<Self, FormatError> {
        let fingerprint = body.header().fingerprint;
        let request: KeyRequest = body.value()?;
        if request != params.keys || body.remaining() != request.rest_bytes(&params.ckks) {
            return Err(other_parts());
        }
        let mut left: Vec<usize> = request.all_limbs().collect();
        left.reverse();
        let (mut keys, mut bytes) = (Vec::with_capacity(left.len()), Vec::new());
        // A stretch of the file at a time: memory grows with what the file really holds, not with what it promises.
        while !left.is_empty() {
            let (mut stretch, mut length) = (Vec::new(), 0);
            while length < STRETCH_BYTES
                && let Some(limbs) = left.pop()
            {
                stretch.push((limbs, length));
                length += key_bytes(&params.ckks, limbs) as usize;
            }
            bytes.resize(length + LOAD, 0);
            body.fill(&mut bytes[..length])?;
            let key = |(limbs, at): (usize, usize)| read_key(&params.ckks, limbs, &bytes[at..]);
            keys.extend(stretch.into_par_iter().map(key).collect::<Result<Vec<_>, FormatError>>()?);
        }
        let mut keys = keys.into_iter();
        let relinearise = if request.relinearisation_limbs > 0 { keys.next() } else { None };
        let rotations = request.rotation_limbs.keys().map(|&steps| steps as u32).zip(keys.by_ref()).collect();
        let mut next = || keys.next().ok_or_else(other_parts);
        let bootstrap = match request.bootstrap {
            Some(_) => Some(SeededBootstrapKeys { conjugate: next()?, to_sparse: next()?, from_sparse: next()? }),
            None => None,
        };
        Ok(Self { fingerprint, relinearise, rotations, bootstrap })
    }
}

/// Ciphertexts of a batch of `inputs` inputs, at so many a run.
fn ciphertexts(params: &Params, inputs: u32, per_run: usize) -> u64 {
    (inputs as usize).div_ceil(params.inputs_per_run()) as u64 * per_run as u64
}

impl OfBatch for EncryptedInput {
    type Given = Params;

    fn ciphertext_bytes(params: &Params, inputs: u32) -> u64 {
        let one = SEED_BYTES + polynomial_bytes(&params.ckks, &params.ckks.primes);
        ciphertexts(params, inputs, params.ciphertexts_per_run().0).saturating_mul(one)
    }

    fn batch(&self) -> Batch {
        Batch { inputs: self.inputs, batched: self.batched }
    }

    fn read_part(params: &Params, source: &mut Reader<'_>, part: Batch) -> Result<Self, FormatError> {
        let fingerprint = source.header().fingerprint;
        let (primes, degree) = (&params.ckks.primes, params.ckks.degree());
        let one = (SEED_BYTES + polynomial_bytes(&params.ckks, primes)) as usize;
        let mut left = ciphertexts(params, part.inputs, params.ciphertexts_per_run().0) as usize;
        let mut ciphertexts = Vec::new();
        let mut bytes = Vec::new();
        // A stretch of the file at a time: memory grows with what the file really holds, not with what it promises.
        while left > 0 {
            let count = left.min((STRETCH_BYTES / one).max(1));
            bytes.resize(count * one + LOAD, 0);
            source.fill(&mut bytes[..count * one])?;
            let ciphertext = |at: usize| {
                let own = &bytes[at * one..];
                let (seed, packed) = own.split_first_chunk().expect("a ciphertext is longer than its seed");
                let mut body = vec![0; primes.len() * degree];
                unpack_residues(primes, degree, packed, &mut body)?;
                Ok(SeededCiphertext { seed: *seed, body })
            };
            let stretch: Result<Vec<_>, FormatError> = (0..count).into_par_iter().map(ciphertext).collect();
            ciphertexts.extend(stretch?);
            left -= count;
        }
        Ok(Self { fingerprint, inputs: part.inputs, batched: part.batched, ciphertexts })
    }

    fn write_part(&self, params: &Params, out: &mut dyn Write) -> io::Result<()> {
        for SeededCiphertext { seed, body } in &self.ciphertexts {
            out.write_all(seed)?;
            write_residues(&params.ckks.primes, body, params.ckks.degree(), out)?;
        }
        Ok(())
    }
}

impl Sealed for EncryptedInput {
    const KIND: Kind = Kind::Input;
    const SCHEME: Scheme = Scheme::Ckks;
    type Given = Params;

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn body_bytes(&self, params: &Params) -> u64 {
        Batch::BYTES + Self::ciphertext_bytes(params, self.inputs)
    }

    fn write(&self, params: &Params, out: &mut dyn Write) -> io::Result<()> {
        self.write_all(params, out)
    }

    fn read(params: &Params, body: &mut Reader<'_>) -> Result<Self, FormatError> {
        Self::read_all(params, body)
    }
}

impl OfBatch for EncryptedOutput {
    type Given = Params;

    fn ciphertext_bytes(params: &Params, inputs: u32) -> u64 {
        let one = 2 * polynomial_bytes(&params.ckks, output_primes(&params.ckks));
        ciphertexts(params, inputs, params.ciphertexts_per_run().1).saturating_mul(one)
    }

    fn batch(&self) -> Batch {
        Batch { inputs: self.inputs, batched: self.batched }
    }

    fn read_part(params: &Params, source: &mut Reader<'_>, part: Batch) -> Result<Self, FormatError> {
        let fingerprint = source.header().fingerprint;
        let mut polynomial = || {
            let mut words = Vec::new();
            read_residues(output_primes(&params.ckks), params.ckks.degree(), source, &mut words)?;
            Ok::<_, FormatError>(words)
        };
        let count = ciphertexts(params, part.inputs, params.ciphertexts_per_run().1);
        let parts = (0..count).map(|_| Ok(Parts { body: polynomial()?, mask: polynomial()? }));
        let ciphertexts = parts.collect::<Result<_, FormatError>>()?;
        Ok(Self { fingerprint, inputs: part.inputs, batched: part.batched, ciphertexts })
    }

    fn write_part(&self, params: &Params, out: &mut dyn Write) -> io::Result<()> {
        let parts = self.ciphertexts.iter().flat_map(|parts| [&parts.body, &parts.mask]);
        let primes = output_primes(&params.ckks);
        parts.into_iter().try_for_each(|part| write_residues(primes, part, params.ckks.degree(), out))
    }
}

impl Sealed for EncryptedOutput {
    const KIND: Kind = Kind::Output;
    const SCHEME: Scheme = Scheme::Ckks;
    type Given = Params;

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn body_bytes(&self, params: &Params) -> u64 {
        Batch::BYTES + Self::ciphertext_bytes(params, self.inputs)
    }

    fn write(&self, params: &Params, out: &mut dyn Write) -> io::Result<()> {
        self.write_all(params, out)
    }

    fn read(params: &Params, body: &mut Reader<'_>) -> Result<Self, FormatError> {
        Self::read_all(params, body)
    }
}
