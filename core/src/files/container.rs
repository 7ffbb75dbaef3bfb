//! The container that every binary file of ours has: a header with a checksum of its own, then the body in chunks
//! ([`crate::files::chunks`]).
//!
//! The *binding* is the digest of the public parameters that a file belongs to; keys, ciphertexts and plans of one
//! `params.json` carry the same binding, and a verb refuses files whose bindings differ. The *fingerprint* does the
//! same for the files of one key. Checksums catch accidents; they do not authenticate.

use crate::files::scheme::Scheme;

/// First bytes of every binary file.
pub const MAGIC: [u8; 6] = *b"HEMAN\x1a";
/// Version of the container and of all bodies.
pub const VERSION: u8 = 11;
/// Bytes before the body: magic, kind, version, scheme, binding, fingerprint, body length, checksum.
pub const HEADER_BYTES: usize = CHECKSUM_AT + DIGEST_BYTES;
/// Bytes of the body in every chunk but the last, which may be shorter.
pub const CHUNK_BYTES: usize = 4 << 20;
/// Bytes of a chunk's digest (BLAKE3), and of the header's checksum.
pub const DIGEST_BYTES: usize = 32;

const KIND_AT: usize = MAGIC.len();
const VERSION_AT: usize = KIND_AT + 1;
const SCHEME_AT: usize = VERSION_AT + 1;
const BINDING_AT: usize = SCHEME_AT + 1;
const FINGERPRINT_AT: usize = BINDING_AT + 32;
const LENGTH_AT: usize = FINGERPRINT_AT + 16;
const CHECKSUM_AT: usize = LENGTH_AT + 8;

/// Digest of the public parameters that a file belongs to.
pub type Binding = [u8; 32];

/// 128 random bits that a key draws when it is made, by which its files know each other. They say nothing about the
/// secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// That of files that belong to no key: plans.
    pub const NONE: Self = Self([0; 16]);
}

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
    /// A secret key under a passphrase (the client's).
    ProtectedKey = 6,
}

impl Kind {
    const ALL: [Kind; 6] =
        [Kind::Plan, Kind::SecretKey, Kind::EvaluationKey, Kind::Input, Kind::Output, Kind::ProtectedKey];

    /// For messages: "a secret key".
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Kind::Plan => "a model plan",
            Kind::SecretKey => "a secret key",
            Kind::EvaluationKey => "an evaluation key",
            Kind::Input => "an encrypted input",
            Kind::Output => "an encrypted output",
            Kind::ProtectedKey => "a secret key under a passphrase",
        }
    }

    /// Largest body that is read, in bytes.
    #[must_use]
    pub fn most_bytes(self) -> u64 {
        match self {
            Kind::Plan | Kind::EvaluationKey => 8 << 30,
            Kind::SecretKey => 128 << 20,
            // The whole file of a secret key, and what encrypts it.
            Kind::ProtectedKey => 130 << 20,
            Kind::Input | Kind::Output => 16 << 30,
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
    #[error(
        "this file has format version {found}; this build reads version {VERSION}, and files of other versions must be made again"
    )]
    Version {
        /// The version in the file.
        found: u8,
    },
    /// A file of other parameters.
    #[error("this file belongs to other parameters")]
    Binding,
    /// A file of another key.
    #[error("this file belongs to another key")]
    OtherKey,
    /// The length in the header disagrees with the file.
    #[error("the file is truncated or has bytes past its end: its header promises {promised} bytes")]
    Length {
        /// Length of the whole file, from its header.
        promised: u64,
    },
    /// The file is larger than this kind may be.
    #[error("the file's body has {found} bytes, more than the {} that {} may have", kind.most_bytes(), kind.describe())]
    TooLarge {
        /// Which kind.
        kind: Kind,
        /// Length of the body, from the header.
        found: u64,
    },
    /// A checksum does not fit.
    #[error("the file is corrupt (checksum mismatch)")]
    Checksum,
    /// The body does not decode, or breaks an invariant.
    #[error("the file's content is invalid: {0}")]
    Body(String),
}

/// What the first bytes of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the file holds.
    pub kind: Kind,
    /// For which scheme.
    pub scheme: Scheme,
    /// Digest of its public parameters.
    pub binding: Binding,
    /// Its key.
    pub fingerprint: Fingerprint,
    /// Length of the body in bytes, digests left out.
    pub body_bytes: u64,
}

impl Header {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..KIND_AT].copy_from_slice(&MAGIC);
        bytes[KIND_AT..BINDING_AT].copy_from_slice(&[self.kind as u8, VERSION, self.scheme as u8]);
        bytes[BINDING_AT..FINGERPRINT_AT].copy_from_slice(&self.binding);
        bytes[FINGERPRINT_AT..LENGTH_AT].copy_from_slice(&self.fingerprint.0);
        bytes[LENGTH_AT..CHECKSUM_AT].copy_from_slice(&self.body_bytes.to_le_bytes());
        let checksum = blake3::hash(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(checksum.as_bytes());
        bytes
    }

    /// Reads and checks a file's first [`HEADER_BYTES`] bytes, or what there is of them.
    ///
    /// # Errors
    /// Every way in which they are not the sound header of a file that this build reads.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        if !bytes.starts_with(&MAGIC) || bytes.len() <= SCHEME_AT {
            return Err(FormatError::Magic);
        }
        if bytes[VERSION_AT] != VERSION {
            return Err(FormatError::Version { found: bytes[VERSION_AT] });
        }
        let Some((bytes, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(FormatError::Length { promised: HEADER_BYTES as u64 });
        };
        if *blake3::hash(&bytes[..CHECKSUM_AT]).as_bytes() != bytes[CHECKSUM_AT..] {
            return Err(FormatError::Checksum);
        }
        let kind = Kind::ALL.into_iter().find(|&kind| kind as u8 == bytes[KIND_AT]).ok_or(FormatError::Magic)?;
        let scheme = [Scheme::Tfhe, Scheme::Ckks].into_iter().find(|&scheme| scheme as u8 == bytes[SCHEME_AT]);
        let scheme = scheme.ok_or(FormatError::Magic)?;
        let header = Self {
            kind,
            scheme,
            binding: std::array::from_fn(|at| bytes[BINDING_AT + at]),
            fingerprint: Fingerprint(std::array::from_fn(|at| bytes[FINGERPRINT_AT + at])),
            body_bytes: u64::from_le_bytes(std::array::from_fn(|at| bytes[LENGTH_AT + at])),
        };
        if header.body_bytes > kind.most_bytes() {
            return Err(FormatError::TooLarge { kind, found: header.body_bytes });
        }
        Ok(header)
    }

    /// Checks that the file is what somebody asked for.
    ///
    /// # Errors
    /// [`FormatError::Kind`] and [`FormatError::Scheme`].
    pub fn expect(&self, kind: Kind, scheme: Scheme) -> Result<(), FormatError> {
        if self.kind != kind {
            return Err(FormatError::Kind { found: self.kind, expected: kind });
        }
        if self.scheme != scheme {
            return Err(FormatError::Scheme { found: self.scheme, expected: scheme });
        }
        Ok(())
    }

    /// Length of the whole file, in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        file_bytes(self.body_bytes)
    }
}

/// Length of the file around a body, in bytes.
#[must_use]
pub fn file_bytes(body_bytes: u64) -> u64 {
    let digests = body_bytes.div_ceil(CHUNK_BYTES as u64) * DIGEST_BYTES as u64;
    body_bytes.saturating_add(HEADER_BYTES as u64 + digests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: Kind, scheme: Scheme) -> Header {
        Header { kind, scheme, binding: [7; 32], fingerprint: Fingerprint([9; 16]), body_bytes: 1 << 20 }
    }

    #[test]
    fn headers_come_back_and_every_flipped_byte_is_noticed() {
        let want = header(Kind::Input, Scheme::Ckks);
        let bytes = want.encode();
        assert_eq!(Header::decode(&bytes).expect("just encoded"), want);
        for at in 0..bytes.len() {
            let mut bad = bytes;
            bad[at] ^= 0x10;
            assert!(Header::decode(&bad).is_err(), "byte {at}");
            assert!(Header::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_wrong_kind_and_the_wrong_scheme_are_named() {
        let header = header(Kind::SecretKey, Scheme::Ckks);
        let error = header.expect(Kind::EvaluationKey, Scheme::Ckks).expect_err("another kind");
        assert_eq!(error.to_string(), "this is a secret key; an evaluation key was expected");
        let error = header.expect(Kind::SecretKey, Scheme::Tfhe).expect_err("another scheme");
        assert_eq!(error.to_string(), "this file is for CKKS; one for TFHE was expected");
    }

    #[test]
    fn other_versions_are_refused_by_a_sentence_with_both() {
        for version in [VERSION - 1, VERSION + 1] {
            let mut bytes = header(Kind::Plan, Scheme::Tfhe).encode();
            bytes[VERSION_AT] = version;
            // Headers of other versions may be shorter, and lie otherwise.
            let error = Header::decode(&bytes[..60]).expect_err("another version").to_string();
            let both = [format!("version {version}"), format!("this build reads version {VERSION}")];
            assert!(both.iter().all(|named| error.contains(named)), "{error}");
        }
    }

    #[test]
    fn bodies_beyond_the_kinds_limit_are_refused_before_they_are_read() {
        let most = Header { body_bytes: Kind::SecretKey.most_bytes(), ..header(Kind::SecretKey, Scheme::Tfhe) };
        assert!(Header::decode(&most.encode()).is_ok());
        let more = Header { body_bytes: most.body_bytes + 1, ..most };
        assert!(matches!(Header::decode(&more.encode()), Err(FormatError::TooLarge { .. })));
    }
}
