//! CKKS: keys, encryption, decryption.

mod bootstrap;
pub(crate) mod key;
pub mod secret;
pub mod share;

pub use key::SecretKey;
pub use share::Sharing;
