//! Public parameters of either scheme.

use serde::Deserialize;

use crate::ckks::params::public as ckks;
use crate::files::container::Binding;
use crate::files::params::{ParamsError, read_head};
use crate::files::scheme::Scheme;
use crate::tfhe::params::public as tfhe;

/// Public parameters of either scheme.
#[derive(Clone, Debug, PartialEq)]
pub enum Params {
    /// TFHE.
    Tfhe(tfhe::Params),
    /// CKKS.
    Ckks(ckks::Params),
}

impl Params {
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
            Scheme::Tfhe => tfhe::Params::from_json(text).map(Self::Tfhe),
            Scheme::Ckks => ckks::Params::from_json(text).map(Self::Ckks),
        }
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Tfhe(_) => Scheme::Tfhe,
            Self::Ckks(_) => Scheme::Ckks,
        }
    }

    /// Digest by which files know that they belong together.
    #[must_use]
    pub fn binding(&self) -> Binding {
        match self {
            Self::Tfhe(params) => params.binding(),
            Self::Ckks(params) => params.binding(),
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
