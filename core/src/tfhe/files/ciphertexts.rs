//! Ciphertexts as they travel.

use std::io::{self, Write};

use rayon::prelude::*;

use crate::files::chunks::Reader;
use crate::files::container::{Fingerprint, FormatError, Kind};
use crate::files::scheme::Scheme;
use crate::files::sealed::{Batch, OfBatch, Sealed};
use crate::tfhe::files::masks::Masks;
use crate::tfhe::params::public::Params;

/// Bytes of a seed.
const SEED_BYTES: u64 = 16;
/// Rows that a thread expands at a time at the least.
const ROWS: usize = 16;

/// A batch of encrypted inputs: one body a value, input after input, and a seed of masks for each input.
#[derive(Clone)]
pub struct EncryptedInput {
    /// The client's key.
    pub fingerprint: Fingerprint,
    /// Number of inputs in the batch.
    pub inputs: u32,
    /// Whether the client's file had a batch axis, so that the result gets one too.
    pub batched: bool,
    /// Seeds of the masks, one an input: its values are the LWE ciphertexts of a list expanded in order.
    pub seeds: Vec<[u8; 16]>,
    /// Bodies, `input x value`, words mod 2^32.
    pub bodies: Vec<u32>,
}

/// A batch of encrypted outputs: LWE rows under the flattened GLWE key, value-major; in files input after input.
#[derive(Clone)]
pub struct EncryptedOutput {
    /// The client's key.
    pub fingerprint: Fingerprint,
    /// Number of inputs in the batch.
    pub inputs: u32,
    /// Whether the input had a batch axis.
    pub batched: bool,
    /// Rows `value x input` of `k N + 1` words mod 2^32.
    pub rows: Vec<u32>,
}

impl EncryptedInput {
    /// Expands the masks of `count` inputs from `first` on to rows of `k N + 1` words, `value x input`.
    ///
    /// # Panics
    /// If there are not so many inputs; [`Sealed::open`] has checked the rest.
    #[must_use]
    pub fn expand(&self, row_words: usize, first: usize, count: usize) -> Vec<u32> {
        let values = self.bodies.len() / self.inputs as usize;
        let mask = row_words - 1;
        let streams: Vec<Masks> = self.seeds[first..][..count].iter().map(Masks::new).collect();
        let mut rows = vec![0; values * count * row_words];
        let expand = |(at, row): (usize, &mut [u32])| {
            let (value, input) = (at / count, at % count);
            streams[input].fill_u32((value * mask) as u64, &mut row[..mask]);
            row[mask] = self.bodies[(first + input) * values + value];
        };
        rows.par_chunks_exact_mut(row_words).enumerate().with_min_len(ROWS).for_each(expand);
        rows
    }
}

impl OfBatch for EncryptedInput {
    type Given = Params;

    fn ciphertext_bytes(params: &Params, inputs: u32) -> u64 {
        let input = SEED_BYTES + 4 * params.input.tensor.len() as u64;
        input.saturating_mul(u64::from(inputs))
    }

    fn batch(&self) -> Batch {
        Batch { inputs: self.inputs, batched: self.batched }
    }

    fn read_part(params: &Params, body: &mut Reader<'_>, part: Batch) -> Result<Self, FormatError> {
        let fingerprint = body.header().fingerprint;
        let (mut seeds, mut bodies) = (Vec::new(), Vec::new());
        for _ in 0..part.inputs {
            seeds.push(body.array()?);
            bodies.extend(body.words::<u32>(params.input.tensor.len())?);
        }
        Ok(Self { fingerprint, inputs: part.inputs, batched: part.batched, seeds, bodies })
    }

    fn write_part(&self, params: &Params, out: &mut dyn Write) -> io::Result<()> {
        let bodies = self.bodies.chunks_exact(params.input.tensor.len());
        self.seeds.iter().zip(bodies).try_for_each(|(seed, bodies)| {
            out.write_all(seed)?;
            out.write_all(bytemuck::cast_slice(bodies))
        })
    }
}

impl OfBatch for EncryptedOutput {
    type Given = Params;

    fn ciphertext_bytes(params: &Params, inputs: u32) -> u64 {
        let input = 4 * params.output.tensor.len() as u64 * params.tfhe.big_row_words() as u64;
        input.saturating_mul(u64::from(inputs))
    }

    fn batch(&self) -> Batch {
        Batch { inputs: self.inputs, batched: self.batched }
    }

    fn read_part(params: &Params, body: &mut Reader<'_>, part: Batch) -> Result<Self, FormatError> {
        let fingerprint = body.header().fingerprint;
        let (inputs, values) = (part.inputs as usize, params.output.tensor.len());
        // As they come, so that memory grows with what the file really holds.
        let mut by_input: Vec<u32> = Vec::new();
        for _ in 0..inputs {
            by_input.extend(body.words::<u32>(values * params.tfhe.big_row_words())?);
        }
        let rows = transposed(&by_input, inputs, values, params.tfhe.big_row_words());
        Ok(Self { fingerprint, inputs: part.inputs, batched: part.batched, rows })
    }

    fn write_part(&self, params: &Params, out: &mut dyn Write) -> io::Result<()> {
        let (inputs, words) = (self.inputs as usize, params.tfhe.big_row_words());
        for input in 0..inputs {
            let rows = self.rows.chunks_exact(words).skip(input).step_by(inputs);
            rows.into_iter().try_for_each(|row| out.write_all(bytemuck::cast_slice(row)))?;
        }
        Ok(())
    }
}

/// Rows `input x value` as rows `value x input`.
fn transposed(rows: &[u32], inputs: usize, values: usize, words: usize) -> Vec<u32> {
    let mut to = vec![0; rows.len()];
    for (at, row) in rows.chunks_exact(words).enumerate() {
        let (input, value) = (at / values, at % values);
        to[(value * inputs + input) * words..][..words].copy_from_slice(row);
    }
    to
}

impl Sealed for EncryptedInput {
    const KIND: Kind = Kind::Input;
    const SCHEME: Scheme = Scheme::Tfhe;
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

impl Sealed for EncryptedOutput {
    const KIND: Kind = Kind::Output;
    const SCHEME: Scheme = Scheme::Tfhe;
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
