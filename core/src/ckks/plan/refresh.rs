//! Where bootstraps stand in a network: plain data.

use serde::{Deserialize, Serialize};

use crate::ckks::bootstrap::recipe::Recipe;
use crate::model::decoding::list;

/// The bootstraps of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refresh {
    /// All of them are alike.
    pub recipe: Recipe,
    /// Stages behind which there is one, each once, in order. It takes in all tensors that a later stage reads.
    #[serde(deserialize_with = "list")]
    pub after: Vec<usize>,
}
