//! Files of secret keys: as they are, or under a passphrase.
//!
//! A protected file has the header of a plain one but for its kind, so that its scheme, parameters and fingerprint are
//! known without the passphrase. Its body is a salt of 16 bytes, log2 of scrypt's work N as a byte, a nonce of 24
//! bytes, the plain file encrypted with XChaCha20-Poly1305, and the tag of 16 bytes. The header, the salt and the work
//! are authenticated with it. The key is scrypt's with r = 8 and p = 1. Sources: RFC 7914 (scrypt); RFC 8439 and
//! draft-irtf-cfrg-xchacha (XChaCha20-Poly1305); age (C2SP), whose work this is.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::path::Path;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use heman_core::files::chunks::{Reader, Writer};
use heman_core::files::container::{FormatError, HEADER_BYTES, Header, Kind};
use heman_core::files::scheme::Scheme;
use heman_core::files::sealed::Sealed;
use zeroize::Zeroizing;

use crate::error::ClientError;
use crate::key::SecretKey;
use crate::random::{fresh_seed, os_seeder};
use crate::{ckks, tfhe};

const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// Bytes before the encrypted file: salt, work, nonce.
const LEAD_BYTES: usize = SALT_BYTES + 1 + NONCE_BYTES;

/// log2 of scrypt's work: 256 MiB, and about a second.
const WORK_LOG2: u8 = 18;
/// The most that a file may ask for: 1 GiB, and a few seconds.
const MOST_WORK_LOG2: u8 = 20;
const BLOCK: u32 = 8;

/// A file of a secret key that was read.
pub enum KeyFile {
    /// As it is.
    Plain(SecretKey),
    /// Under a passphrase.
    Protected(ProtectedKey),
}

/// A secret key that a passphrase protects.
pub struct ProtectedKey {
    header: Header,
    lead: [u8; LEAD_BYTES],
    /// The encrypted file and its tag; what is decrypted takes the place of a copy.
    sealed: Vec<u8>,
}

impl KeyFile {
    /// Reads a secret key, from a file or a stream. Nobody but its owner may have a right to a file (mode 0600).
    ///
    /// # Errors
    /// [`ClientError::Permissions`] for files that others have rights to, [`ClientError::Format`] for anything that
    /// is no sound secret key.
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        Self::read(path, true)
    }

    /// The same by a name of a file that this process was given open, such as `/dev/fd/3`: its rights are the concern
    /// of whoever opened it, and are not checked.
    ///
    /// # Errors
    /// [`ClientError::Format`] for anything that is no sound secret key.
    pub fn open_given(path: &Path) -> Result<Self, ClientError> {
        Self::read(path, false)
    }

    fn read(path: &Path, are_rights_checked: bool) -> Result<Self, ClientError> {
        let fail = |source| FormatError::Read { path: path.display().to_string(), source };
        let file = File::open(path).map_err(fail)?;
        // Of the file that is read, whatever becomes of its name.
        let metadata = file.metadata().map_err(fail)?;
        let file = Reader::of_file(file, path)?;
        let header = *file.header();
        if header.kind != Kind::ProtectedKey {
            header.expect(Kind::SecretKey, header.scheme)?;
        }
        if are_rights_checked && let Some(mode) = mode_with_others(&metadata) {
            return Err(ClientError::Permissions { path: path.display().to_string(), mode });
        }
        match header.kind {
            Kind::ProtectedKey => ProtectedKey::read(file).map(Self::Protected),
            _ => open_plain(file).map(Self::Plain),
        }
    }
}

fn open_plain(file: Reader<'_>) -> Result<SecretKey, ClientError> {
    Ok(match file.header().scheme {
        Scheme::Tfhe => SecretKey::Tfhe(Box::new(tfhe::SecretKey::open(file, &(), None)?)),
        Scheme::Ckks => SecretKey::Ckks(Box::new(ckks::SecretKey::open(file, &(), None)?)),
    })
}

impl ProtectedKey {
    /// Where the key belongs, which anybody may know.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of memory that [`ProtectedKey::unlock`] takes for the passphrase.
    #[must_use]
    pub fn unlocking_bytes(&self) -> u64 {
        work_bytes(self.lead[SALT_BYTES])
    }

    fn read(mut file: Reader<'_>) -> Result<Self, ClientError> {
        let header = *file.header();
        let lead: [u8; LEAD_BYTES] = file.array()?;
        let work = lead[SALT_BYTES];
        if !(1..=MOST_WORK_LOG2).contains(&work) {
            let text = format!("its passphrase asks for scrypt's work 2^{work}; at most 2^{MOST_WORK_LOG2} is done");
            return Err(FormatError::Body(text).into());
        }
        let sealed = file.rest()?;
        file.finish()?;
        if sealed.len() <= HEADER_BYTES + TAG_BYTES {
            return Err(FormatError::Body("its encrypted part is too short".into()).into());
        }
        Ok(Self { header, lead, sealed })
    }

    /// Decrypts the key. Takes the time and the memory that the file asks for, which is bounded.
    ///
    /// # Errors
    /// [`ClientError::Passphrase`] if it is another passphrase, or the file was changed; [`ClientError::Format`] if
    /// what is decrypted is no key, or that of another header.
    pub fn unlock(self, passphrase: &[u8]) -> Result<SecretKey, ClientError> {
        let mut plain = Zeroizing::new(self.sealed);
        let length = plain.len() - TAG_BYTES;
        let (message, tag) = plain.split_at_mut(length);
        let tag: [u8; TAG_BYTES] = std::array::from_fn(|at| tag[at]);
        let nonce: [u8; NONCE_BYTES] = std::array::from_fn(|at| self.lead[SALT_BYTES + 1 + at]);
        let cipher = cipher(passphrase, &self.lead);
        let known = known(&self.header, &self.lead);
        let opened = cipher.decrypt_inout_detached(&nonce.into(), &known, message.into(), &tag.into());
        opened.map_err(|_| ClientError::Passphrase)?;
        let file = Reader::of_bytes(message)?;
        let inner = *file.header();
        if (inner.scheme, inner.binding, inner.fingerprint)
            != (self.header.scheme, self.header.binding, self.header.fingerprint)
        {
            return Err(FormatError::Body("the key under the passphrase is not the one of the header".into()).into());
        }
        inner.expect(Kind::SecretKey, inner.scheme)?;
        open_plain(file)
    }
}

impl SecretKey {
    /// Bytes of memory that [`SecretKey::seal_protected_to`] takes for the passphrase.
    pub const PROTECTING_BYTES: u64 = work_bytes(WORK_LOG2);

    /// Writes the secret key file under a passphrase; no plain image of it is kept in memory.
    ///
    /// # Errors
    /// The target's.
    pub fn seal_protected_to(&self, passphrase: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let image = match self {
            Self::Tfhe(key) => key.seal(&()),
            Self::Ckks(key) => key.seal(&()),
        };
        let mut image = Zeroizing::new(image);
        let plain = Header::decode(&image).map_err(io::Error::other)?;
        let mut seeder = os_seeder();
        let random: Vec<u8> = (0..3).flat_map(|_| fresh_seed(&mut seeder)).collect();
        let mut lead = [0; LEAD_BYTES];
        lead[..SALT_BYTES].copy_from_slice(&random[..SALT_BYTES]);
        lead[SALT_BYTES] = WORK_LOG2;
        lead[SALT_BYTES + 1..].copy_from_slice(&random[SALT_BYTES..SALT_BYTES + NONCE_BYTES]);
        let nonce: [u8; NONCE_BYTES] = std::array::from_fn(|at| lead[SALT_BYTES + 1 + at]);
        let body_bytes = (LEAD_BYTES + image.len() + TAG_BYTES) as u64;
        let header = Header { kind: Kind::ProtectedKey, body_bytes, ..plain };
        let cipher = cipher(passphrase, &lead);
        let tag = cipher
            .encrypt_inout_detached(&nonce.into(), &known(&header, &lead), image.as_mut_slice().into())
            .map_err(|_| io::Error::other("the key is too long to be encrypted"))?;
        let mut writer = Writer::new(out, &header)?;
        writer.write_all(&lead)?;
        writer.write_all(&image)?;
        writer.write_all(&tag)?;
        writer.finish().map(|_| ())
    }
}

/// Bytes of scrypt's table, `128 r N`.
const fn work_bytes(log2: u8) -> u64 {
    128 * BLOCK as u64 * (1 << log2)
}

/// What is authenticated beside the encrypted file: header, salt and work.
fn known(header: &Header, lead: &[u8; LEAD_BYTES]) -> Vec<u8> {
    [&header.encode()[..], &lead[..=SALT_BYTES]].concat()
}

fn cipher(passphrase: &[u8], lead: &[u8; LEAD_BYTES]) -> XChaCha20Poly1305 {
    let params = scrypt::Params::new(lead[SALT_BYTES], BLOCK, 1).expect("the work is at most 2^20");
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase, &lead[..SALT_BYTES], &params, &mut *key).expect("32 bytes are a length it has");
    XChaCha20Poly1305::new((&*key).into())
}

/// The mode of a regular file that others than its owner have rights to; none of other files.
#[cfg(unix)]
#[must_use]
pub fn mode_with_others(metadata: &Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    (metadata.is_file() && mode & 0o077 != 0).then_some(mode)
}

/// Elsewhere files have no such rights.
#[cfg(not(unix))]
#[must_use]
pub fn mode_with_others(_metadata: &Metadata) -> Option<u32> {
    None
}
