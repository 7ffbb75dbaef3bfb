//! The two schemes, as files name them.

use serde::{Deserialize, Serialize};

/// Encryption scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Scheme {
    /// Chillotti, Gama, Georgieva, Izabachene.
    Tfhe = 1,
    /// Cheon, Kim, Kim, Song.
    Ckks = 2,
}

impl Scheme {
    /// Its name.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Tfhe => "TFHE",
            Self::Ckks => "CKKS",
        }
    }
}
