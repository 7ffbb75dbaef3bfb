//! TFHE: keys, encryption, decryption.

mod decrypt;
mod encrypt;
pub(crate) mod key;

pub use key::SecretKey;
