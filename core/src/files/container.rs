//! The container that every binary file of ours has: magic, kind, version, scheme, binding, length, checksum, body.
//!
//! The *binding* is the digest of the public parameters that a file belongs to; keys, ciphertexts and plans of one
//! `params.json` carry the same binding, and a verb refuses files whose bindings differ. The checksum (BLAKE3) catches
//! accidents; it does not authenticate.

use std::io::Read;
use std::path::Path;

use serde::Serialize;

use crate::files::scheme::Scheme;

/// First bytes of every binary file.
pub const MAGIC: [u8; 6] = *b"HEMAN\x1a";
/// Version of the container and of all bodies.
pub const VERSION: u8 = 2;
/// Bytes before the body: magic, kind, version, scheme, binding, body length, checksum.
pub const HEADER_BYTES: usize = CHECKSUM_AT + 32;
const BINDING_AT: usize = 6 + 1 + 1 + 1;
const LENGTH_AT: usize = BINDING_AT + 32;
const CHECKSUM_AT: usize = LENGTH_AT + 8;

/// Digest of the public parameters that a file belongs to.
pub type Binding = [u8; 32];

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A model's plan (the model owner's).
    Plan = 1,
    /// A secret key (the client's).
    SecretKey = 2,
    /// An evaluation key (public).
    EvaluationKey = 3,
    /// Encrypted inputs.
    Input = 4,
    /// Encrypted outputs.
    Output = 5,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Plan, Kind::SecretKey, Kind::EvaluationKey, Kind::Input, Kind::Output];

    /// For messages: "a secret key".
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Kind::Plan => "a model plan",
            Kind::SecretKey => "a secret key",
            Kind::EvaluationKey => "an evaluation key",
            Kind::Input => "an encrypted input",
            Kind::Output => "an encrypted output",
        }
    }
}

/// What can be wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Not one of our files.
    #[error("this is not a heman file (wrong magic)")]
    Magic,
    /// Another kind of file than the verb takes.
    #[error("this is {}; {} was expected", found.describe(), expected.describe())]
    Kind {
        /// What it is.
        found: Kind,
        /// What it should be.
        expected: Kind,
    },
    /// A file of the other scheme.
    #[error("this file is for {}; one for {} was expected", found.describe(), expected.describe())]
    Scheme {
        /// What it is for.
        found: Scheme,
        /// What it should be for.
        expected: Scheme,
    },
    /// A version that this build cannot read.
    #[error("file version {found}; this build reads version {VERSION}")]
    Version {
        /// The version in the file.
        found: u8,
    },
    /// The length in the header disagrees with the file.
    #[error(
        "the file is truncated or has bytes past its end: its header promises {expected} body bytes, it has {found}"
    )]
    Length {
        /// From the header.
        expected: u64,
        /// In the file.
        found: u64,
    },
    /// The file is larger than this kind may be.
    #[error("the file is larger than {limit} bytes, the limit for {}", kind.describe())]
    TooLarge {
        /// Which kind.
        kind: Kind,
        /// Its limit.
        limit: u64,
    },
    /// The checksum does not fit.
    #[error("the file is corrupt (checksum mismatch)")]
    Checksum,
    /// The body does not decode, or breaks an invariant.
    #[error("the file's content is invalid: {0}")]
    Body(String),
}

/// Wraps a body into a file image.
#[must_use]
pub fn seal(kind: Kind, scheme: Scheme, binding: &Binding, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.resize(HEADER_BYTES, 0);
    bytes.extend_from_slice(body);
    write_header(kind, scheme, binding, &mut bytes);
    bytes
}

/// A file image with a value as its body, which is written once.
///
/// # Panics
/// If the value does not serialise: plain data always does.
#[must_use]
pub fn seal_value<T: Serialize>(kind: Kind, scheme: Scheme, binding: &Binding, value: &T) -> Vec<u8> {
    let mut bytes = postcard::to_extend(value, vec![0; HEADER_BYTES]).expect("plain data always serialises");
    write_header(kind, scheme, binding, &mut bytes);
    bytes
}

fn write_header(kind: Kind, scheme: Scheme, binding: &Binding, bytes: &mut [u8]) {
    let (header, body) = bytes.split_at_mut(HEADER_BYTES);
    header[..6].copy_from_slice(&MAGIC);
    header[6..BINDING_AT].copy_from_slice(&[kind as u8, VERSION, scheme as u8]);
    header[BINDING_AT..LENGTH_AT].copy_from_slice(binding);
    header[LENGTH_AT..CHECKSUM_AT].copy_from_slice(&(body.len() as u64).to_le_bytes());
    let checksum = blake3::Hasher::new().update(&header[..CHECKSUM_AT]).update(body).finalize();
    header[CHECKSUM_AT..].copy_from_slice(checksum.as_bytes());
}

/// Checks a file image and returns its binding and body.
///
/// # Errors
/// Every way in which the image is not a sound file of the expected kind.
pub fn open(bytes: &[u8], expected: Kind, scheme: Scheme) -> Result<(Binding, &[u8]), FormatError> {
    let kind = kind_of(bytes)?;
    if kind != expected {
        return Err(FormatError::Kind { found: kind, expected });
    }
    let found = scheme_of(bytes)?;
    if found != scheme {
        return Err(FormatError::Scheme { found, expected: scheme });
    }
    let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(FormatError::Length { expected: HEADER_BYTES as u64, found: bytes.len() as u64 });
    };
    let mut binding = [0; 32];
    binding.copy_from_slice(&header[BINDING_AT..LENGTH_AT]);
    let mut length = [0; 8];
    length.copy_from_slice(&header[LENGTH_AT..CHECKSUM_AT]);
    let promised = u64::from_le_bytes(length);
    if promised != body.len() as u64 {
        return Err(FormatError::Length { expected: promised, found: body.len() as u64 });
    }
    let checksum = blake3::Hasher::new().update(&header[..CHECKSUM_AT]).update(body).finalize();
    if checksum.as_bytes() != &header[CHECKSUM_AT..] {
        return Err(FormatError::Checksum);
    }
    Ok((binding, body))
}

/// The kind that a file image claims to be.
///
/// # Errors
/// [`FormatError::Magic`] if it is none of ours.
pub fn kind_of(bytes: &[u8]) -> Result<Kind, FormatError> {
    if bytes.len() < 8 || bytes[..6] != MAGIC {
        return Err(FormatError::Magic);
    }
    Kind::ALL.into_iter().find(|&kind| kind as u8 == bytes[6]).ok_or(FormatError::Magic)
}

/// The scheme that a file image claims to be for.
///
/// # Errors
/// [`FormatError::Magic`] if it is none of ours, [`FormatError::Version`] if this build cannot read it.
pub fn scheme_of(bytes: &[u8]) -> Result<Scheme, FormatError> {
    kind_of(bytes)?;
    if bytes[7] != VERSION {
        return Err(FormatError::Version { found: bytes[7] });
    }
    match bytes.get(8) {
        Some(&byte) if byte == Scheme::Tfhe as u8 => Ok(Scheme::Tfhe),
        Some(&byte) if byte == Scheme::Ckks as u8 => Ok(Scheme::Ckks),
        _ => Err(FormatError::Magic),
    }
}

/// The first bytes of a file: enough for [`kind_of`] and [`scheme_of`].
///
/// # Errors
/// If the file cannot be read.
pub fn read_start(path: &Path) -> Result<Vec<u8>, FormatError> {
    let fail = |source| FormatError::Read { path: path.display().to_string(), source };
    let mut start = Vec::new();
    std::fs::File::open(path).map_err(fail)?.take(64).read_to_end(&mut start).map_err(fail)?;
    Ok(start)
}

/// Reads a file of at most `limit` bytes and checks it; returns binding and body.
///
/// # Errors
/// As [`open`], and for files that cannot be read or exceed the limit, without reading past it.
pub fn read_file(path: &Path, expected: Kind, scheme: Scheme, limit: u64) -> Result<(Binding, Vec<u8>), FormatError> {
    let fail = |source| FormatError::Read { path: path.display().to_string(), source };
    let file = std::fs::File::open(path).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit {
        return Err(FormatError::TooLarge { kind: expected, limit });
    }
    let (binding, body) = open(&bytes, expected, scheme)?;
    let start = bytes.len() - body.len();
    bytes.drain(..start);
    Ok((binding, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_opens_and_every_flipped_byte_is_noticed() {
        let bytes = seal(Kind::Plan, Scheme::Tfhe, &[7; 32], b"body");
        let (binding, body) = open(&bytes, Kind::Plan, Scheme::Tfhe).expect("just sealed");
        assert_eq!((binding, body), ([7; 32], b"body".as_slice()));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(open(&bad, Kind::Plan, Scheme::Tfhe).is_err(), "byte {at}");
            assert!(open(&bytes[..at], Kind::Plan, Scheme::Tfhe).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_wrong_kind_is_named() {
        let bytes = seal(Kind::SecretKey, Scheme::Ckks, &[0; 32], b"");
        let error = open(&bytes, Kind::EvaluationKey, Scheme::Ckks).expect_err("another kind");
        assert_eq!(error.to_string(), "this is a secret key; an evaluation key was expected");
        let error = open(&bytes, Kind::SecretKey, Scheme::Tfhe).expect_err("another scheme");
        assert_eq!(error.to_string(), "this file is for CKKS; one for TFHE was expected");
    }
}
