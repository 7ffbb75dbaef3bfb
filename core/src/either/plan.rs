//! A plan of either scheme.

use crate::ckks::plan::CkksPlan;
use crate::tfhe::plan::Plan;

/// A plan for either scheme.
pub enum AnyPlan {
    /// TFHE.
    Tfhe(Box<Plan>),
    /// CKKS.
    Ckks(Box<CkksPlan>),
}

impl AnyPlan {
    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Tfhe(plan) => plan.to_bytes(),
            Self::Ckks(plan) => plan.to_bytes(),
        }
    }

    /// The text of its public parameters.
    #[must_use]
    pub fn params_json(&self) -> String {
        match self {
            Self::Tfhe(plan) => plan.params.to_json(),
            Self::Ckks(plan) => plan.params.to_json(),
        }
    }
}
