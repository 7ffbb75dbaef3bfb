//! What only the data owner may do: make keys, encrypt, decrypt.
//!
//! This is the one crate that can name a secret key. Secrets have no `Debug`, no `Clone` and no `Serialize`, live in
//! memory that is wiped when it is freed, and are seeded by the operating system.

pub mod ckks;
mod error;
mod key;
mod random;
mod tensor;
mod text;
mod tfhe;
mod values;

pub use ckks::key::CkksKey;
pub use error::ClientError;
pub use key::AnyKey;
pub use tensor::{Tensor, TensorData};
pub use tfhe::key::SecretKey;
