//! CKKS: keys, encryption, decryption.

pub(crate) mod key;
pub mod secret;

pub use key::SecretKey;
