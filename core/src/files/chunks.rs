//! A file's body in chunks, written and read one after the other.
//!
//! Behind each chunk of [`CHUNK_BYTES`] stands its BLAKE3 digest, keyed with the header's checksum and followed by the
//! chunk's number, so that chunks can neither be exchanged, nor cut off, nor come from another file unnoticed. The
//! digests stand behind the chunks and not in a table: a writer then needs no room before it knows them, and neither
//! side has to go back in the file.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use bytemuck::Pod;
use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::{Zeroize, Zeroizing};

use crate::files::container::{CHUNK_BYTES, DIGEST_BYTES, FormatError, HEADER_BYTES, Header};

/// Largest value that [`Reader::value`] decodes, in bytes.
const MOST_VALUE_BYTES: u64 = 1 << 20;

/// Digests of chunks, one after the other.
struct Digester {
    hasher: blake3::Hasher,
    index: u64,
}

impl Digester {
    fn new(header: &[u8; HEADER_BYTES]) -> Self {
        let key = std::array::from_fn(|at| header[HEADER_BYTES - DIGEST_BYTES + at]);
        Self { hasher: blake3::Hasher::new_keyed(&key), index: 0 }
    }

    /// The digest of the bytes since the last one.
    fn finish_chunk(&mut self) -> [u8; DIGEST_BYTES] {
        let digest = *self.hasher.update(&self.index.to_le_bytes()).finalize().as_bytes();
        self.hasher.reset();
        self.index += 1;
        digest
    }
}

impl Digester {
    /// The digest of the chunk that is `ahead` chunks behind the next one.
    fn of_chunk(&self, chunk: &[u8], ahead: u64) -> [u8; DIGEST_BYTES] {
        let mut hasher = self.hasher.clone();
        *hasher.update(chunk).update(&(self.index + ahead).to_le_bytes()).finalize().as_bytes()
    }
}

/// Reads bytes from a place of a file, without moving its position.
#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], place: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, place)
}

/// Where files have no such call one reader has its turn after the other.
#[cfg(not(unix))]
fn read_exact_at(file: &File, bytes: &mut [u8], place: u64) -> io::Result<()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut file = file;
    let before = file.stream_position()?;
    file.seek(SeekFrom::Start(place))?;
    let read = file.read_exact(bytes);
    file.seek(SeekFrom::Start(before))?;
    read
}

impl Drop for Digester {
    fn drop(&mut self) {
        self.hasher.zeroize();
    }
}

/// Writes a file: its header at once, then the body as it comes, without a copy of it.
pub struct Writer<W> {
    target: W,
    digester: Digester,
    /// Bytes until the chunk is full.
    room: usize,
    /// Bytes until the body is complete.
    left: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// The target's.
    pub fn new(mut target: W, header: &Header) -> io::Result<Self> {
        let bytes = header.encode();
        target.write_all(&bytes)?;
        Ok(Self { target, digester: Digester::new(&bytes), room: CHUNK_BYTES, left: header.body_bytes })
    }

    /// Ends the file.
    ///
    /// # Errors
    /// If the body is shorter than the header promised.
    pub fn finish(self) -> io::Result<W> {
        if self.left > 0 {
            return Err(io::Error::other(format!("the body lacks {} of the bytes that were promised", self.left)));
        }
        Ok(self.target)
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room);
        let left = self.left.checked_sub(count as u64);
        self.left = left.ok_or_else(|| io::Error::other("the body is longer than was promised"))?;
        self.target.write_all(&bytes[..count])?;
        self.digester.hasher.update(&bytes[..count]);
        self.room -= count;
        if count > 0 && (self.room == 0 || self.left == 0) {
            self.target.write_all(&self.digester.finish_chunk())?;
            self.room = CHUNK_BYTES;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}

/// Writes a value that [`Reader::value`] reads: the length of its encoding as a `u32`, and the encoding (postcard).
///
/// # Errors
/// The target's.
pub fn write_value<T: Serialize>(value: &T, out: &mut dyn Write) -> io::Result<()> {
    let bytes = postcard::to_allocvec(value).map_err(io::Error::other)?;
    out.write_all(&(bytes.len() as u32).to_le_bytes())?;
    out.write_all(&bytes)
}

/// Writes a value that is the rest of a body, and that [`read_encoded`] reads (postcard).
///
/// # Errors
/// The target's.
pub fn write_encoded<T: Serialize>(value: &T, out: &mut dyn Write) -> io::Result<()> {
    let mut buffer = BufWriter::with_capacity(1 << 16, out);
    postcard::to_io(value, &mut buffer).map_err(io::Error::other)?;
    buffer.flush()
}

/// Reads a value that is the rest of a body.
///
/// # Errors
/// As [`Reader::fill`], and [`FormatError::Body`] if it does not decode.
pub fn read_encoded<T: DeserializeOwned>(body: &mut Reader<'_>) -> Result<T, FormatError> {
    decode(&body.rest()?)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FormatError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|error| FormatError::Body(error.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(FormatError::Body("a value is longer than its content".into())) }
}

/// Bytes of a value's encoding (postcard).
///
/// # Panics
/// If the value does not serialise: plain data always does.
#[must_use]
pub fn encoded_bytes<T: Serialize>(value: &T) -> u64 {
    let counter = postcard::ser_flavors::Size::default();
    postcard::serialize_with_flavor(value, counter).expect("plain data always serialises") as u64
}

/// Bytes that [`write_value`] writes.
#[must_use]
pub fn value_bytes<T: Serialize>(value: &T) -> u64 {
    size_of::<u32>() as u64 + encoded_bytes(value)
}

/// Reads a file; nothing of a chunk is given out before its digest has been checked.
///
/// It holds one chunk at a time, and wipes it.
pub struct Reader<'a> {
    source: Box<dyn Read + Send + 'a>,
    name: String,
    header: Header,
    digester: Digester,
    chunk: Zeroizing<Vec<u8>>,
    /// Bytes of the chunk that were given out.
    used: usize,
    /// Bytes of the body behind the chunk.
    left: u64,
    /// The source again, where it is a file whose parts can be read in any order.
    file: Option<File>,
}

impl<'a> Reader<'a> {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// As [`Header::decode`], and for files that cannot be read or are not as long as their header says.
    pub fn open(path: &Path) -> Result<Reader<'static>, FormatError> {
        let name = path.display().to_string();
        let fail = |source| FormatError::Read { path: name.clone(), source };
        let file = File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        let again = if metadata.is_file() { file.try_clone().ok() } else { None };
        let reader = Reader { file: again, ..Reader::new(Box::new(file), name)? };
        if metadata.is_file() && metadata.len() != reader.header.file_bytes() {
            return Err(reader.wrong_length());
        }
        Ok(reader)
    }

    /// The same for a file in memory.
    ///
    /// # Errors
    /// As [`Header::decode`].
    pub fn of_bytes(bytes: &'a [u8]) -> Result<Self, FormatError> {
        Self::new(Box::new(bytes), "a file in memory".into())
    }

    fn new(mut source: Box<dyn Read + Send + 'a>, name: String) -> Result<Self, FormatError> {
        let mut start = Vec::with_capacity(HEADER_BYTES);
        let read = source.as_mut().take(HEADER_BYTES as u64).read_to_end(&mut start);
        read.map_err(|source| FormatError::Read { path: name.clone(), source })?;
        let header = Header::decode(&start)?;
        let digester = Digester::new(&header.encode());
        let left = header.body_bytes;
        Ok(Self { source, name, header, digester, chunk: Zeroizing::default(), used: 0, left, file: None })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of the body that were not given out.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.left + (self.chunk.len() - self.used) as u64
    }

    fn wrong_length(&self) -> FormatError {
        FormatError::Length { promised: self.header.file_bytes() }
    }

    fn failed(&self, source: io::Error) -> FormatError {
        match source.kind() {
            ErrorKind::UnexpectedEof => self.wrong_length(),
            _ => FormatError::Read { path: self.name.clone(), source },
        }
    }

    fn next_chunk(&mut self) -> Result<(), FormatError> {
        let count = self.left.min(CHUNK_BYTES as u64) as usize;
        if count == 0 {
            return Err(FormatError::Body("the body is too short".into()));
        }
        self.chunk.resize(count, 0);
        self.used = count;
        let mut digest = [0; DIGEST_BYTES];
        let read = self.source.read_exact(&mut self.chunk).and_then(|()| self.source.read_exact(&mut digest));
        read.map_err(|source| self.failed(source))?;
        self.digester.hasher.update(&self.chunk);
        if self.digester.finish_chunk() != digest {
            return Err(FormatError::Checksum);
        }
        self.left -= count as u64;
        self.used = 0;
        Ok(())
    }

    /// Reads whole chunks to where they are wanted, on all threads.
    fn whole_chunks(&mut self, out: &mut [u8]) -> Result<(), FormatError> {
        let count = out.len() / CHUNK_BYTES;
        let mut digests = vec![[0; DIGEST_BYTES]; count];
        let chunks = out.par_chunks_exact_mut(CHUNK_BYTES).zip(&mut digests).enumerate();
        let stride = (CHUNK_BYTES + DIGEST_BYTES) as u64;
        let read = match &mut self.file {
            Some(file) => file.stream_position().and_then(|start| {
                let at = |file: &File, place: u64, bytes: &mut [u8]| read_exact_at(file, bytes, place);
                let own = &*file;
                chunks.try_for_each(|(number, (chunk, digest))| {
                    let place = start + number as u64 * stride;
                    at(own, place, chunk)?;
                    at(own, place + CHUNK_BYTES as u64, digest)
                })?;
                file.seek(SeekFrom::Start(start + count as u64 * stride)).map(|_| ())
            }),
            None => out.chunks_exact_mut(CHUNK_BYTES).zip(&mut digests).try_for_each(|(chunk, digest)| {
                self.source.read_exact(chunk)?;
                self.source.read_exact(digest)
            }),
        };
        read.map_err(|source| self.failed(source))?;
        let sound = out.par_chunks_exact(CHUNK_BYTES).zip(&digests).enumerate();
        let digester = &self.digester;
        if !sound.all(|(number, (chunk, digest))| digester.of_chunk(chunk, number as u64) == *digest) {
            return Err(FormatError::Checksum);
        }
        self.digester.index += count as u64;
        self.left -= out.len() as u64;
        Ok(())
    }

    /// Fills a slice with the next bytes.
    ///
    /// # Errors
    /// If there are not so many, or a chunk is not sound.
    pub fn fill(&mut self, mut out: &mut [u8]) -> Result<(), FormatError> {
        while !out.is_empty() {
            if self.used == self.chunk.len() {
                let whole = out.len().min(self.left as usize) / CHUNK_BYTES;
                if whole > 1 {
                    let (now, later) = out.split_at_mut(whole * CHUNK_BYTES);
                    self.whole_chunks(now)?;
                    out = later;
                    continue;
                }
                self.next_chunk()?;
            }
            let count = out.len().min(self.chunk.len() - self.used);
            let (now, later) = out.split_at_mut(count);
            now.copy_from_slice(&self.chunk[self.used..self.used + count]);
            self.used += count;
            out = later;
        }
        Ok(())
    }

    /// The next bytes as an array.
    ///
    /// # Errors
    /// As [`Reader::fill`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        self.fill(&mut array)?;
        Ok(array)
    }

    /// The next little-endian words. Memory grows with what the file really holds, not with `count`.
    ///
    /// # Errors
    /// As [`Reader::fill`].
    pub fn words<T: Pod>(&mut self, count: usize) -> Result<Vec<T>, FormatError> {
        if count.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes as u64 > self.remaining()) {
            return Err(FormatError::Body("the body is too short".into()));
        }
        let mut words = Vec::new();
        while words.len() < count {
            let start = words.len();
            words.resize(count.min(start + CHUNK_BYTES / size_of::<T>()), T::zeroed());
            self.fill(bytemuck::cast_slice_mut(&mut words[start..]))?;
        }
        Ok(words)
    }

    /// A value that [`write_value`] wrote.
    ///
    /// # Errors
    /// As [`Reader::fill`], and [`FormatError::Body`] if it does not decode.
    pub fn value<T: DeserializeOwned>(&mut self) -> Result<T, FormatError> {
        let length = u64::from(u32::from_le_bytes(self.array()?));
        if length > MOST_VALUE_BYTES {
            return Err(FormatError::Body(format!("a value has {length} bytes")));
        }
        decode(&self.words::<u8>(length as usize)?)
    }

    /// All bytes that are left.
    ///
    /// # Errors
    /// As [`Reader::fill`].
    pub fn rest(&mut self) -> Result<Vec<u8>, FormatError> {
        self.words(self.remaining() as usize)
    }

    /// Checks that the file ends here.
    ///
    /// # Errors
    /// [`FormatError::Body`] if there is more of the body, [`FormatError::Length`] if there is something behind it.
    pub fn finish(mut self) -> Result<(), FormatError> {
        if self.remaining() > 0 {
            return Err(FormatError::Body("the body is longer than its content".into()));
        }
        match self.source.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.wrong_length()),
            Err(source) => Err(self.failed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::container::{Fingerprint, Kind};
    use crate::files::scheme::Scheme;

    fn header(body_bytes: u64) -> Header {
        let (binding, fingerprint) = ([7; 32], Fingerprint([9; 16]));
        Header { kind: Kind::Input, scheme: Scheme::Tfhe, binding, fingerprint, body_bytes }
    }

    fn body(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 7 + at / 1000) as u8).collect()
    }

    fn sealed(header: &Header, body: &[u8], pieces: usize) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), header).expect("memory takes everything");
        body.chunks(pieces).for_each(|piece| writer.write_all(piece).expect("memory takes everything"));
        writer.finish().expect("the body is complete")
    }

    fn opened(bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
        let mut reader = Reader::of_bytes(bytes)?;
        let body = reader.rest()?;
        reader.finish().map(|()| body)
    }

    #[test]
    fn bodies_come_back_whatever_pieces_they_were_written_in() {
        for length in [0, 1, 100, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 5] {
            let body = body(length);
            let header = header(length as u64);
            let whole = sealed(&header, &body, usize::MAX);
            assert_eq!(whole.len() as u64, header.file_bytes(), "{length}");
            assert!(sealed(&header, &body, 12_345) == whole, "{length}");
            assert!(opened(&whole).expect("just sealed") == body, "{length}");
        }
    }

    #[test]
    fn chunks_of_a_file_are_read_side_by_side_and_each_is_checked() {
        let length = 3 * CHUNK_BYTES + 77;
        let whole = sealed(&header(length as u64), &body(length), usize::MAX);
        let folder = std::env::temp_dir().join(format!("heman-chunks-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("file");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("a file");
            let mut reader = Reader::open(&path)?;
            let mut out = vec![0; length];
            let (first, rest) = out.split_at_mut(5);
            reader.fill(first)?;
            reader.fill(rest)?;
            reader.finish().map(|()| out)
        };
        assert!(read(&whole).expect("just sealed") == body(length));
        for chunk in 0..4 {
            let mut bad = whole.clone();
            bad[HEADER_BYTES + chunk * (CHUNK_BYTES + DIGEST_BYTES) + 9] ^= 1;
            assert!(matches!(read(&bad), Err(FormatError::Checksum)), "chunk {chunk}");
        }
        std::fs::remove_dir_all(&folder).expect("was made above");
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let bytes = sealed(&header(50), &body(50), 50);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(opened(&bad).is_err(), "byte {at}");
            assert!(opened(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(matches!(opened(&[&bytes[..], b"x"].concat()), Err(FormatError::Length { .. })));
    }

    #[test]
    fn chunks_cannot_be_exchanged_or_taken_from_another_file() {
        let length = 2 * CHUNK_BYTES;
        let bytes = sealed(&header(length as u64), &body(length), length);
        let (start, chunks) = bytes.split_at(HEADER_BYTES);
        let (first, second) = chunks.split_at(CHUNK_BYTES + DIGEST_BYTES);
        assert!(opened(&[start, first, second].concat()).is_ok());
        assert!(matches!(opened(&[start, second, first].concat()), Err(FormatError::Checksum)));
        let other = Header { binding: [8; 32], ..header(length as u64) }.encode();
        assert!(matches!(opened(&[&other, first, second].concat()), Err(FormatError::Checksum)));
        let shorter = header(CHUNK_BYTES as u64).encode();
        assert!(matches!(opened(&[&shorter, first].concat()), Err(FormatError::Checksum)), "the length is covered");
    }

    #[test]
    fn the_head_is_read_and_verified_without_the_rest() {
        let length = 3 * CHUNK_BYTES;
        let body = body(length);
        let mut bytes = sealed(&header(length as u64), &body, length);
        bytes.truncate(HEADER_BYTES + CHUNK_BYTES + DIGEST_BYTES);
        let mut reader = Reader::of_bytes(&bytes).expect("a sound header");
        assert_eq!(reader.array::<5>().expect("in the first chunk")[..], body[..5]);
        assert_eq!(reader.remaining(), length as u64 - 5);
        drop(reader);
        bytes[HEADER_BYTES + CHUNK_BYTES - 1] ^= 1;
        let mut reader = Reader::of_bytes(&bytes).expect("a sound header");
        assert!(matches!(reader.array::<5>(), Err(FormatError::Checksum)));
    }

    #[test]
    fn hostile_lengths_are_refused_before_anything_is_allocated() {
        let bytes = sealed(&header(4), &u32::MAX.to_le_bytes(), 4);
        let mut reader = Reader::of_bytes(&bytes).expect("a sound header");
        assert!(reader.words::<u64>(usize::MAX).is_err());
        assert!(reader.value::<Vec<u8>>().is_err());
        // A header that promises far more than there is.
        let bytes = header(Kind::Input.most_bytes()).encode();
        let mut reader = Reader::of_bytes(&bytes).expect("a sound header");
        assert!(matches!(reader.rest(), Err(FormatError::Length { .. })));
    }

    #[test]
    fn bodies_are_as_long_as_their_headers_promise() {
        let mut writer = Writer::new(Vec::new(), &header(3)).expect("memory takes everything");
        writer.write_all(b"ab").expect("memory takes everything");
        assert!(writer.finish().is_err());
        let mut writer = Writer::new(Vec::new(), &header(3)).expect("memory takes everything");
        assert!(writer.write_all(b"abcd").is_err());
    }

    #[test]
    fn values_come_back_and_their_length_is_known() {
        let value = (7_u32, vec![1_u64, 300], true);
        let length = value_bytes(&value);
        let mut body = Vec::new();
        write_value(&value, &mut body).expect("memory takes everything");
        assert_eq!(body.len() as u64, length);
        let bytes = sealed(&header(length), &body, 3);
        let mut reader = Reader::of_bytes(&bytes).expect("a sound header");
        assert_eq!(reader.value::<(u32, Vec<u64>, bool)>().expect("just written"), value);
    }
}
