//! What travels as a file of its own: one way out and one way in for all kinds and both schemes.

use std::io::{self, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::files::chunks::{Reader, Writer, encoded_bytes, read_encoded, write_encoded};
use crate::files::container as format;
use crate::files::container::{Binding, Fingerprint, FormatError, Header, Kind};
use crate::files::scheme::Scheme;
use crate::model::decoding::bounded;

/// What a file is written and read with, beside its content.
pub trait Given {
    /// The parameters that a file must belong to; `None` where its body holds them.
    fn bound_to(&self) -> Option<Binding>;
}

impl Given for () {
    fn bound_to(&self) -> Option<Binding> {
        None
    }
}

/// The content of a file: how its body is written and read, and what it must agree with.
pub trait Sealed: Sized {
    /// What it is.
    const KIND: Kind;
    /// For which scheme.
    const SCHEME: Scheme;
    /// What it is written and read with: the public parameters, or `()` where the body holds them.
    type Given: Given;

    /// The parameters that it belongs to. Kinds whose body holds them override this.
    ///
    /// # Panics
    /// If `given` names none.
    fn binding(&self, given: &Self::Given) -> Binding {
        given.bound_to().expect("kinds that are read without parameters hold them")
    }

    /// The key that it belongs to.
    fn fingerprint(&self) -> Fingerprint;

    /// Length of the body, in bytes.
    fn body_bytes(&self, given: &Self::Given) -> u64;

    /// Writes the body.
    ///
    /// # Errors
    /// The target's.
    fn write(&self, given: &Self::Given, out: &mut dyn Write) -> io::Result<()>;

    /// Reads the body. Lengths follow from `given` or are bounded by what the file holds.
    ///
    /// # Errors
    /// [`FormatError`] for bodies that do not decode.
    fn read(given: &Self::Given, body: &mut Reader<'_>) -> Result<Self, FormatError>;

    /// Checks what decoding alone does not.
    ///
    /// # Errors
    /// [`FormatError::Body`] that names the first violation.
    fn check(&self, _given: &Self::Given) -> Result<(), FormatError> {
        Ok(())
    }

    /// Length of the file, in bytes.
    fn sealed_bytes(&self, given: &Self::Given) -> u64 {
        format::file_bytes(self.body_bytes(given))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The target's.
    fn seal_to(&self, given: &Self::Given, out: &mut dyn Write) -> io::Result<()> {
        let header = Header {
            kind: Self::KIND,
            scheme: Self::SCHEME,
            binding: self.binding(given),
            fingerprint: self.fingerprint(),
            body_bytes: self.body_bytes(given),
        };
        let mut writer = Writer::new(out, &header)?;
        self.write(given, &mut writer)?;
        writer.finish().map(|_| ())
    }

    /// The file's bytes, in memory that is never moved while it is filled. Who seals a secret so wipes them, or uses
    /// [`Sealed::seal_to`].
    ///
    /// # Panics
    /// If the body has another length than [`Sealed::body_bytes`].
    fn seal(&self, given: &Self::Given) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.sealed_bytes(given) as usize);
        self.seal_to(given, &mut bytes).expect("memory takes everything, and the body is as long as it says");
        bytes
    }

    /// Reads the rest of a file and checks it, against the key of that fingerprint if one is given.
    ///
    /// # Errors
    /// Every way in which it is not a sound file of this kind, for these parameters and this key.
    fn open(mut file: Reader<'_>, given: &Self::Given, of: Option<Fingerprint>) -> Result<Self, FormatError> {
        let header = *file.header();
        header.expect(Self::KIND, Self::SCHEME)?;
        if given.bound_to().is_some_and(|binding| binding != header.binding) {
            return Err(FormatError::Binding);
        }
        if of.is_some_and(|fingerprint| fingerprint != header.fingerprint) {
            return Err(FormatError::OtherKey);
        }
        let value = Self::read(given, &mut file)?;
        file.finish()?;
        value.check(given)?;
        if value.binding(given) != header.binding {
            return Err(FormatError::Body("its parameters do not belong to its header".into()));
        }
        Ok(value)
    }
}

/// Content that is encoded as a whole, with its own parameters inside: plans.
pub trait Whole: Serialize + DeserializeOwned {
    /// What it is.
    const KIND: Kind;
    /// For which scheme.
    const SCHEME: Scheme;

    /// The parameters that it holds.
    fn own_binding(&self) -> Binding;

    /// Checks what decoding alone does not.
    ///
    /// # Errors
    /// The first violation.
    fn check_whole(&self) -> Result<(), String>;
}

impl<T: Whole> Sealed for T {
    const KIND: Kind = T::KIND;
    const SCHEME: Scheme = T::SCHEME;
    type Given = ();

    fn binding(&self, (): &()) -> Binding {
        self.own_binding()
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::NONE
    }

    fn body_bytes(&self, (): &()) -> u64 {
        encoded_bytes(self)
    }

    fn write(&self, (): &(), out: &mut dyn Write) -> io::Result<()> {
        write_encoded(self, out)
    }

    fn read((): &(), body: &mut Reader<'_>) -> Result<Self, FormatError> {
        bounded(|| read_encoded(body))
    }

    fn check(&self, (): &()) -> Result<(), FormatError> {
        self.check_whole().map_err(FormatError::Body)
    }
}

/// How many inputs a file of ciphertexts is for: the first bytes of its body, for both schemes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Number of inputs.
    pub inputs: u32,
    /// Whether the client's file had a batch axis.
    pub batched: bool,
}

impl Batch {
    /// Bytes in a body.
    pub const BYTES: u64 = 5;

    /// Writes it.
    ///
    /// # Errors
    /// The target's.
    pub fn write(self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.inputs.to_le_bytes())?;
        out.write_all(&[u8::from(self.batched)])
    }

    /// Reads it from the front of a body, and checks that ciphertexts of that many bytes for its inputs follow.
    ///
    /// # Errors
    /// As [`Batch::read`]; [`FormatError::Body`] if another number of bytes follows.
    pub fn read_before(body: &mut Reader<'_>, ciphertexts: impl Fn(u32) -> u64) -> Result<Self, FormatError> {
        let batch = Self::read(body)?;
        check_rest(body, ciphertexts(batch.inputs))?;
        Ok(batch)
    }

    /// Reads it from the front of a body.
    ///
    /// # Errors
    /// As [`Reader::fill`]; [`FormatError::Body`] if there are no inputs, or several without a batch axis.
    pub fn read(body: &mut Reader<'_>) -> Result<Self, FormatError> {
        let inputs = u32::from_le_bytes(body.array()?);
        let [batched] = body.array()?;
        if inputs == 0 || batched > 1 || (inputs > 1 && batched == 0) {
            return Err(FormatError::Body("the number of inputs is 0, or does not fit the batch axis".into()));
        }
        Ok(Self { inputs, batched: batched == 1 })
    }
}

/// A file of ciphertexts for a batch of inputs: a [`Batch`], then input after input, so that it can be read and written
/// in parts.
pub trait OfBatch: Sized {
    /// What it is written and read with.
    type Given;

    /// Bytes of the ciphertexts of so many inputs.
    fn ciphertext_bytes(given: &Self::Given, inputs: u32) -> u64;

    /// Length of the file of a batch, in bytes.
    #[must_use]
    fn file_bytes(given: &Self::Given, inputs: u32) -> u64 {
        format::file_bytes(Self::ciphertext_bytes(given, inputs).saturating_add(Batch::BYTES))
    }

    /// The inputs that it is for.
    fn batch(&self) -> Batch;

    /// Reads the ciphertexts of the next inputs. Inputs that share ciphertexts are never parted.
    ///
    /// # Errors
    /// [`FormatError`] for what does not decode.
    fn read_part(given: &Self::Given, body: &mut Reader<'_>, part: Batch) -> Result<Self, FormatError>;

    /// Writes the ciphertexts.
    ///
    /// # Errors
    /// The target's.
    fn write_part(&self, given: &Self::Given, out: &mut dyn Write) -> io::Result<()>;

    /// Writes a body that is the whole batch.
    ///
    /// # Errors
    /// The target's.
    fn write_all(&self, given: &Self::Given, out: &mut dyn Write) -> io::Result<()> {
        self.batch().write(out)?;
        self.write_part(given, out)
    }

    /// Reads a body that is the whole batch.
    ///
    /// # Errors
    /// As [`OfBatch::read_part`], and where the body has another length than its inputs take.
    fn read_all(given: &Self::Given, body: &mut Reader<'_>) -> Result<Self, FormatError> {
        let batch = Batch::read_before(body, |inputs| Self::ciphertext_bytes(given, inputs))?;
        Self::read_part(given, body, batch)
    }
}

/// Checks that what is left of a body has the length that follows from its head.
///
/// # Errors
/// [`FormatError::Body`].
pub fn check_rest(body: &Reader<'_>, expected: u64) -> Result<(), FormatError> {
    if expected == body.remaining() {
        return Ok(());
    }
    Err(FormatError::Body("the number of ciphertexts disagrees with the batch or the parameters".into()))
}
