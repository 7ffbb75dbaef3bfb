//! Public parameters of either scheme.

use serde::Deserialize;

use crate::ckks::params::public::Params as CkksParams;
use crate::files::params::ParamsError;
use crate::files::scheme::Scheme;
use crate::tfhe::params::public::Params;

/// Public parameters of either scheme.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyParams {
    /// TFHE.
    Tfhe(Params),
    /// CKKS.
    Ckks(CkksParams),
}

impl AnyParams {
    /// Reads and checks a parameter file, its security included: a client must not trust who sent it.
    ///
    /// # Errors
    /// [`ParamsError`].
    pub fn from_json(text: &[u8]) -> Result<Self, ParamsError> {
        #[derive(Deserialize)]
        struct Head {
            scheme: Scheme,
        }
        let head: Head = serde_json::from_slice(text)?;
        match head.scheme {
            Scheme::Tfhe => Params::from_json(text).map(Self::Tfhe),
            Scheme::Ckks => CkksParams::from_json(text).map(Self::Ckks),
        }
    }
}
