//! Files of ciphertexts that are read and written part by part, so that a batch of any size takes bounded memory.

use std::io::{self, Write};

use crate::either::files::{EncryptedInput, EncryptedOutput};
use crate::either::params::Params;
use crate::files::chunks::{Reader, Writer};
use crate::files::container::{Fingerprint, FormatError, Header, Kind, file_bytes};
use crate::files::sealed::{Batch, OfBatch};
use crate::{ckks, tfhe};

/// A file of encrypted inputs, read part by part.
///
/// What was given out before an error belongs to a file that is not sound; nothing of a chunk is given out before its
/// checksum was compared.
pub struct InputReader<'a>(Parts<'a>);

/// A file of encrypted outputs, read part by part as an [`InputReader`] does it.
pub struct OutputReader<'a>(Parts<'a>);

/// A file of ciphertexts of which some were read.
struct Parts<'a> {
    body: Option<Reader<'a>>,
    params: &'a Params,
    batch: Batch,
    fingerprint: Fingerprint,
    left: u32,
}

impl<'a> Parts<'a> {
    fn open(
        mut file: Reader<'a>,
        params: &'a Params,
        (of, kind): (Option<Fingerprint>, Kind),
        bytes: fn(&Params, u32) -> u64,
    ) -> Result<Self, FormatError> {
        let header = *file.header();
        header.expect(kind, params.scheme())?;
        if params.binding() != header.binding {
            return Err(FormatError::Binding);
        }
        if of.is_some_and(|fingerprint| fingerprint != header.fingerprint) {
            return Err(FormatError::OtherKey);
        }
        let batch = Batch::read_before(&mut file, |inputs| bytes(params, inputs))?;
        Ok(Self { body: Some(file), params, batch, fingerprint: header.fingerprint, left: batch.inputs })
    }

    fn next<T>(
        &mut self,
        most: usize,
        read: impl FnOnce(&Params, &mut Reader<'a>, Batch) -> Result<T, FormatError>,
    ) -> Result<Option<T>, FormatError> {
        let Some(body) = &mut self.body else { return Ok(None) };
        let unit = self.params.inputs_per_run();
        let whole = (most / unit * unit).max(unit);
        let inputs = u32::try_from(whole).unwrap_or(u32::MAX).min(self.left);
        let part = read(self.params, body, Batch { inputs, ..self.batch })?;
        self.left -= inputs;
        if self.left == 0
            && let Some(body) = self.body.take()
        {
            body.finish()?;
        }
        Ok(Some(part))
    }
}

impl<'a> InputReader<'a> {
    /// Begins a file that belongs to the parameters, and to the key of that fingerprint if one is given.
    ///
    /// # Errors
    /// Every way in which it is not an encrypted input for these parameters and this key, as far as its head tells.
    pub fn open(file: Reader<'a>, params: &'a Params, of: Option<Fingerprint>) -> Result<Self, FormatError> {
        Parts::open(file, params, (of, Kind::Input), input_bytes).map(Self)
    }

    /// The whole batch.
    #[must_use]
    pub fn batch(&self) -> Batch {
        self.0.batch
    }

    /// The client's key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    /// Whether all inputs have been given out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.body.is_none()
    }

    /// The next inputs, at most `most` of them, but never a part of those that share ciphertexts; none behind the last.
    ///
    /// # Errors
    /// [`FormatError`] for what does not decode, and behind the last part for anything that follows.
    pub fn next(&mut self, most: usize) -> Result<Option<EncryptedInput>, FormatError> {
        self.0.next(most, |params, body, part| {
            Ok(match params {
                Params::Tfhe(params) => EncryptedInput::Tfhe(OfBatch::read_part(params, body, part)?),
                Params::Ckks(params) => EncryptedInput::Ckks(OfBatch::read_part(params, body, part)?),
            })
        })
    }
}

impl<'a> OutputReader<'a> {
    /// Begins a file that belongs to the parameters, and to the key of that fingerprint if one is given.
    ///
    /// # Errors
    /// As [`InputReader::open`].
    pub fn open(file: Reader<'a>, params: &'a Params, of: Option<Fingerprint>) -> Result<Self, FormatError> {
        Parts::open(file, params, (of, Kind::Output), output_bytes).map(Self)
    }

    /// The whole batch.
    #[must_use]
    pub fn batch(&self) -> Batch {
        self.0.batch
    }

    /// The next outputs, at most `most` of them, as [`InputReader::next`] gives inputs.
    ///
    /// # Errors
    /// As [`InputReader::next`].
    pub fn next(&mut self, most: usize) -> Result<Option<EncryptedOutput>, FormatError> {
        self.0.next(most, |params, body, part| {
            Ok(match params {
                Params::Tfhe(params) => EncryptedOutput::Tfhe(OfBatch::read_part(params, body, part)?),
                Params::Ckks(params) => EncryptedOutput::Ckks(OfBatch::read_part(params, body, part)?),
            })
        })
    }
}

/// A file of encrypted inputs, written part by part.
pub struct InputWriter<'a, W: Write> {
    body: Writer<W>,
    params: &'a Params,
}

impl<'a, W: Write> InputWriter<'a, W> {
    /// Begins the file of a whole batch.
    ///
    /// # Errors
    /// The target's.
    pub fn new(out: W, params: &'a Params, batch: Batch, fingerprint: Fingerprint) -> io::Result<Self> {
        let body = begin(out, params, (Kind::Input, input_bytes(params, batch.inputs)), batch, fingerprint)?;
        Ok(Self { body, params })
    }

    /// Writes the next inputs: all of a run at a time but at the end.
    ///
    /// # Errors
    /// The target's; inputs of the other scheme, or more than the batch has.
    pub fn put(&mut self, part: &EncryptedInput) -> io::Result<()> {
        match (part, self.params) {
            (EncryptedInput::Tfhe(own), Params::Tfhe(params)) => own.write_part(params, &mut self.body),
            (EncryptedInput::Ckks(own), Params::Ckks(params)) => own.write_part(params, &mut self.body),
            _ => Err(other_scheme()),
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// If inputs are missing.
    pub fn finish(self) -> io::Result<W> {
        self.body.finish()
    }
}

/// A file of encrypted outputs, written part by part.
pub struct OutputWriter<'a, W: Write> {
    body: Writer<W>,
    params: &'a Params,
}

impl<'a, W: Write> OutputWriter<'a, W> {
    /// Begins the file of the outputs of a whole batch.
    ///
    /// # Errors
    /// The target's.
    pub fn new(out: W, params: &'a Params, batch: Batch, fingerprint: Fingerprint) -> io::Result<Self> {
        let body = begin(out, params, (Kind::Output, output_bytes(params, batch.inputs)), batch, fingerprint)?;
        Ok(Self { body, params })
    }

    /// Writes the next outputs.
    ///
    /// # Errors
    /// The target's; outputs of the other scheme, or more than the batch has.
    pub fn put(&mut self, part: &EncryptedOutput) -> io::Result<()> {
        match (part, self.params) {
            (EncryptedOutput::Tfhe(own), Params::Tfhe(params)) => own.write_part(params, &mut self.body),
            (EncryptedOutput::Ckks(own), Params::Ckks(params)) => own.write_part(params, &mut self.body),
            _ => Err(other_scheme()),
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// If outputs are missing.
    pub fn finish(self) -> io::Result<W> {
        self.body.finish()
    }
}

/// Writes the header of a file of ciphertexts, and the front of its body.
fn begin<W: Write>(
    out: W,
    params: &Params,
    (kind, ciphertext_bytes): (Kind, u64),
    batch: Batch,
    fingerprint: Fingerprint,
) -> io::Result<Writer<W>> {
    let (binding, scheme, body_bytes) = (params.binding(), params.scheme(), Batch::BYTES + ciphertext_bytes);
    let mut body = Writer::new(out, &Header { kind, scheme, binding, fingerprint, body_bytes })?;
    batch.write(&mut body)?;
    Ok(body)
}

fn other_scheme() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "parameters of the other scheme")
}

/// Length of a file of encrypted inputs, in bytes.
#[must_use]
pub fn input_file_bytes(params: &Params, inputs: u32) -> u64 {
    file_bytes(input_bytes(params, inputs).saturating_add(Batch::BYTES))
}

/// Length of a file of encrypted outputs, in bytes.
#[must_use]
pub fn output_file_bytes(params: &Params, inputs: u32) -> u64 {
    file_bytes(output_bytes(params, inputs).saturating_add(Batch::BYTES))
}

fn input_bytes(params: &Params, inputs: u32) -> u64 {
    match params {
        Params::Tfhe(params) => tfhe::files::ciphertexts::EncryptedInput::ciphertext_bytes(params, inputs),
        Params::Ckks(params) => ckks::files::ciphertexts::EncryptedInput::ciphertext_bytes(params, inputs),
    }
}

fn output_bytes(params: &Params, inputs: u32) -> u64 {
    match params {
        Params::Tfhe(params) => tfhe::files::ciphertexts::EncryptedOutput::ciphertext_bytes(params, inputs),
        Params::Ckks(params) => ckks::files::ciphertexts::EncryptedOutput::ciphertext_bytes(params, inputs),
    }
}

impl EncryptedInput {
    /// Puts batches of one key together, in order; none if they cannot share a batch: ciphertexts of CKKS hold several
    /// inputs, and only whole ones can follow each other.
    #[must_use]
    pub fn joined(parts: &[&Self]) -> Option<Self> {
        let (first, others) = parts.split_first()?;
        let Self::Tfhe(first) = first else { return None };
        let mut all = first.clone();
        for part in others {
            let Self::Tfhe(part) = part else { return None };
            if part.fingerprint != all.fingerprint {
                return None;
            }
            all.inputs = all.inputs.checked_add(part.inputs)?;
            all.seeds.extend(&part.seeds);
            all.bodies.extend(&part.bodies);
        }
        Some(Self::Tfhe(all))
    }
}

impl EncryptedOutput {
    /// The outputs of the batches that [`EncryptedInput::joined`] put together.
    #[must_use]
    pub fn divided(self, params: &Params, batches: &[Batch]) -> Vec<Self> {
        let (all, words) = match (self, params) {
            (Self::Tfhe(all), Params::Tfhe(params)) if batches.len() > 1 => (all, params.tfhe.big_row_words()),
            (whole, _) => return vec![whole],
        };
        let mut first = 0;
        let part = |&Batch { inputs, batched }: &Batch| {
            let own = first * words..(first + inputs as usize) * words;
            let of_values = all.rows.chunks_exact(all.inputs as usize * words);
            let rows = of_values.flat_map(|rows| &rows[own.clone()]).copied().collect();
            first += inputs as usize;
            let fingerprint = all.fingerprint;
            Self::Tfhe(tfhe::files::ciphertexts::EncryptedOutput { fingerprint, inputs, batched, rows })
        };
        batches.iter().map(part).collect()
    }
}
