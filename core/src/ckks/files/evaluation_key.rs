//! Evaluation keys as they travel: bodies and seeds.

use std::collections::BTreeMap;

use crate::ckks::files::seeded::SeededSwitchKey;
use crate::files::container::Fingerprint;

/// All that an evaluation needs of a client's keys, without masks.
#[derive(Clone)]
pub struct SeededEvaluationKey {
    /// The client's key.
    pub fingerprint: Fingerprint,
    /// From s^2 to s, if anything is multiplied.
    pub relinearise: Option<SeededSwitchKey>,
    /// By rotation, in slots to the left.
    pub rotations: BTreeMap<u32, SeededSwitchKey>,
}
