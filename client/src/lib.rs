//! What only the data owner may do: make keys, encrypt, decrypt.
//!
//! This is the one crate that can name a secret key. Secrets have no `Debug`, no `Clone` and no `Serialize`, live in
//! memory that is wiped when it is freed, and are seeded by the operating system.

pub mod ckks;
mod error;
mod key;
mod key_file;
mod random;
mod tensor;
mod text;
pub mod tfhe;
mod values;

pub use error::ClientError;
pub use key::SecretKey;
pub use key_file::{KeyFile, ProtectedKey, mode_with_others};
pub use tensor::{Output, Tensor, TensorData};
pub use values::check_inputs;
