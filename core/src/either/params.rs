//! Public parameters of either scheme.

use crate::files::params::read_head;
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
        struct Which {
            scheme: Scheme,
        }
        read_head(text)?;
        let which: Which = serde_json::from_slice(text)?;
        match which.scheme {
            Scheme::Tfhe => Params::from_json(text).map(Self::Tfhe),
            Scheme::Ckks => CkksParams::from_json(text).map(Self::Ckks),
        }
    }

    /// Inputs that one evaluation takes for the price of one.
    #[must_use]
    pub fn inputs_per_run(&self) -> usize {
        match self {
            Self::Tfhe(_) => 1,
            Self::Ckks(params) => params.inputs_per_run(),
        }
    }
}
