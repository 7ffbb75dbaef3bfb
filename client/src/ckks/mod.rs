//! CKKS: keys, encryption, decryption.

pub(crate) mod key;
pub mod secret;
pub mod share;

pub use key::SecretKey;
pub use share::Sharing;
