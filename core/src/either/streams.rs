//! Files of ciphertexts that are read and written part by part, so that a batch of any size takes bounded memory.

use std::io::{self, Write};
use std::marker::PhantomData;

use crate::either::files::{EncryptedInput, EncryptedOutput};
use crate::either::params::Params;
use crate::files::chunks::{Reader, Writer};
use crate::files::container::{Fingerprint, FormatError, Header, Kind, file_bytes};
use crate::files::sealed::{Batch, OfBatch};
use crate::{ckks, tfhe};

/// Ciphertexts that files are made of: inputs or outputs, of either scheme.
pub trait Ciphertexts: Sized {
    /// The kind of their files.
    const KIND: Kind;

    /// Bytes of the ciphertexts of so many inputs.
    fn bytes(params: &Params, inputs: u32) -> u64;

    /// Reads those of a part of a batch.
    ///
    /// # Errors
    /// [`FormatError`] for what does not decode.
    fn read(params: &Params, body: &mut Reader<'_>, part: Batch) -> Result<Self, FormatError>;

    /// Writes them.
    ///
    /// # Errors
    /// The target's; ciphertexts of the other scheme.
    fn write(&self, params: &Params, out: &mut dyn Write) -> io::Result<()>;
}

macro_rules! ciphertexts {
    ($($of:ident: $kind:expr),*) => {
        $(impl Ciphertexts for $of {
            const KIND: Kind = $kind;

            fn bytes(params: &Params, inputs: u32) -> u64 {
                match params {
                    Params::Tfhe(params) => tfhe::files::ciphertexts::$of::ciphertext_bytes(params, inputs),
                    Params::Ckks(params) => ckks::files::ciphertexts::$of::ciphertext_bytes(params, inputs),
                }
            }

            fn read(params: &Params, body: &mut Reader<'_>, part: Batch) -> Result<Self, FormatError> {
                Ok(match params {
                    Params::Tfhe(params) => Self::Tfhe(OfBatch::read_part(params, body, part)?),
                    Params::Ckks(params) => Self::Ckks(OfBatch::read_part(params, body, part)?),
                })
            }

            fn write(&self, params: &Params, out: &mut dyn Write) -> io::Result<()> {
                match (self, params) {
                    (Self::Tfhe(own), Params::Tfhe(params)) => own.write_part(params, out),
                    (Self::Ckks(own), Params::Ckks(params)) => own.write_part(params, out),
                    _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "parameters of the other scheme")),
                }
            }
        })*
    };
}

ciphertexts!(EncryptedInput: Kind::Input, EncryptedOutput: Kind::Output);

/// A file of ciphertexts, read part by part.
///
/// What was given out before an error belongs to a file that is not sound; nothing of a chunk is given out before its
/// checksum was compared.
pub struct PartReader<'a, C> {
    body: Option<Reader<'a>>,
    params: &'a Params,
    batch: Batch,
    fingerprint: Fingerprint,
    left: u32,
    of: PhantomData<C>,
}

/// A file of encrypted inputs, read part by part.
pub type InputReader<'a> = PartReader<'a, EncryptedInput>;

/// A file of encrypted outputs, read part by part.
pub type OutputReader<'a> = PartReader<'a, EncryptedOutput>;

impl<'a, C: Ciphertexts> PartReader<'a, C> {
    /// Begins a file that belongs to the parameters, and to the key of that fingerprint if one is given.
    ///
    /// # Errors
    /// Every way in which it is no such file for these parameters and this key, as far as its head tells.
    pub fn open(mut file: Reader<'a>, params: &'a Params, of: Option<Fingerprint>) -> Result<Self, FormatError> {
        let header = *file.header();
        header.expect(C::KIND, params.scheme())?;
        if params.binding() != header.binding {
            return Err(FormatError::Binding);
        }
        if of.is_some_and(|fingerprint| fingerprint != header.fingerprint) {
            return Err(FormatError::OtherKey);
        }
        let batch = Batch::read_before(&mut file, |inputs| C::bytes(params, inputs))?;
        let (fingerprint, left) = (header.fingerprint, batch.inputs);
        Ok(Self { body: Some(file), params, batch, fingerprint, left, of: PhantomData })
    }

    /// The whole batch.
    #[must_use]
    pub fn batch(&self) -> Batch {
        self.batch
    }

    /// The client's key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whether everything has been given out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.is_none()
    }

    /// The ciphertexts of the next inputs, at most `most` of them, but never a part of those that share ciphertexts;
    /// none behind the last.
    ///
    /// # Errors
    /// [`FormatError`] for what does not decode, and behind the last part for anything that follows.
    pub fn next(&mut self, most: usize) -> Result<Option<C>, FormatError> {
        let Some(body) = &mut self.body else { return Ok(None) };
        let unit = self.params.inputs_per_run();
        let whole = (most / unit * unit).max(unit);
        let inputs = u32::try_from(whole).unwrap_or(u32::MAX).min(self.left);
        let part = C::read(self.params, body, Batch { inputs, ..self.batch })?;
        self.left -= inputs;
        if self.left == 0
            && let Some(body) = self.body.take()
        {
            body.finish()?;
        }
        Ok(Some(part))
    }
}

/// A file of ciphertexts, written part by part.
pub struct PartWriter<'a, W: Write, C> {
    body: Writer<W>,
    params: &'a Params,
    of: PhantomData<C>,
}

/// A file of encrypted inputs, written part by part.
pub type InputWriter<'a, W> = PartWriter<'a, W, EncryptedInput>;

/// A file of encrypted outputs, written part by part.
pub type OutputWriter<'a, W> = PartWriter<'a, W, EncryptedOutput>;

impl<'a, W: Write, C: Ciphertexts> PartWriter<'a, W, C> {
    /// Begins the file of a whole batch: its header, and the front of its body.
    ///
    /// # Errors
    /// The target's.
    pub fn new(out: W, params: &'a Params, batch: Batch, fingerprint: Fingerprint) -> io::Result<Self> {
        let (binding, scheme) = (params.binding(), params.scheme());
        let body_bytes = Batch::BYTES + C::bytes(params, batch.inputs);
        let mut body = Writer::new(out, &Header { kind: C::KIND, scheme, binding, fingerprint, body_bytes })?;
        batch.write(&mut body)?;
        Ok(Self { body, params, of: PhantomData })
    }

    /// Writes the ciphertexts of the next inputs: all of a run at a time but at the end.
    ///
    /// # Errors
    /// The target's; ciphertexts of the other scheme, or more than the batch has.
    pub fn put(&mut self, part: &C) -> io::Result<()> {
        part.write(self.params, &mut self.body)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// If ciphertexts are missing.
    pub fn finish(self) -> io::Result<W> {
        self.body.finish()
    }
}

/// Length of a file of encrypted inputs, in bytes.
#[must_use]
pub fn input_file_bytes(params: &Params, inputs: u32) -> u64 {
    file_bytes(EncryptedInput::bytes(params, inputs).saturating_add(Batch::BYTES))
}

/// Length of a file of encrypted outputs, in bytes.
#[must_use]
pub fn output_file_bytes(params: &Params, inputs: u32) -> u64 {
    file_bytes(EncryptedOutput::bytes(params, inputs).saturating_add(Batch::BYTES))
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
