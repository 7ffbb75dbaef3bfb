//! Serialises vectors of plain words as one little-endian byte string.

use bytemuck::Pod;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

#[cfg(target_endian = "big")]
compile_error!("file words are little-endian; a big-endian host needs a byte swap here");

/// Writes the words' bytes.
///
/// # Errors
/// The serializer's.
pub fn serialize<T: Pod, S: Serializer>(words: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytemuck::cast_slice(words))
}

/// Reads words back.
///
/// # Errors
/// If the byte string's length is no multiple of the word size.
pub fn deserialize<'de, T: Pod, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let bytes: Vec<u8> = Bytes::deserialize(deserializer)?.0;
    if !bytes.len().is_multiple_of(size_of::<T>()) {
        return Err(D::Error::custom("a word array's length is no multiple of its word size"));
    }
    Ok(bytemuck::pod_collect_to_vec(&bytes))
}

struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a byte string")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}
