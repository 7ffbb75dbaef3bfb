//! What only the data owner may do: make keys, encrypt, decrypt.
//!
//! This is the one crate that can name a secret key. Secrets have no `Debug`, no `Clone` and no `Serialize`, live in memory that is
//! wiped when it is freed, and are seeded by the operating system.

mod any_key;
pub mod ckks;
mod ckks_key;
mod decrypt;
mod encrypt;
mod error;
mod secret_key;

pub use any_key::AnyKey;
pub use ckks_key::CkksKey;
pub use decrypt::{Tensor, TensorData};
pub use error::ClientError;
pub use secret_key::SecretKey;
