//! A client's keys on a device, for plans of latency packing.

use std::collections::BTreeMap;

use tracing::debug_span;

use crate::ckks::error::CkksError;
use crate::ckks::files::evaluation_key::SeededEvaluationKey;
use crate::ckks::files::seeded::SeededSwitchKey;
use crate::ckks::ops::RnsOps;
use crate::ckks::params::key_request::KeyRequest;
use crate::ckks::plan::keys::is_rare;
use crate::ckks::session::bootstrap::BootstrapKeys;

/// A client's keys on the device.
pub(super) struct Keys<B: RnsOps> {
    /// From s^2 to s, if anything is multiplied.
    pub relinearise: Option<B::SwitchKey>,
    /// By rotation, in slots of all lanes to the left.
    pub rotations: BTreeMap<usize, B::GaloisKey>,
    bootstrap: Option<SparseKeys<B>>,
}

/// What bootstraps need beside.
struct SparseKeys<B: RnsOps> {
    conjugate: B::GaloisKey,
    to_sparse: B::GaloisKey,
    from_sparse: B::GaloisKey,
}

impl<B: RnsOps> Keys<B> {
    /// Loads what a plan asks for.
    ///
    /// # Errors
    /// [`CkksError::Plan`] if the keys lack something; whatever the device fails with.
    pub fn load(ring: &B, request: &KeyRequest, keys: &SeededEvaluationKey) -> Result<Self, CkksError> {
        let lacks = |what: &str| CkksError::Plan(format!("the evaluation key lacks {what} that the plan needs"));
        let load = |(&steps, &limbs): (&usize, &usize)| {
            let key = u32::try_from(steps).ok().and_then(|steps| keys.rotations.get(&steps));
            let key = key.filter(|key| key.limbs as usize >= limbs).ok_or_else(|| lacks("a rotation"))?;
            let is_rare = is_rare(request, ring.params(), limbs);
            Ok((
                steps,
                if is_rare { ring.load_rare_galois_key(key, steps)? } else { ring.load_galois_key(key, steps)? },
            ))
        };
        let loading = debug_span!("load keys", rotations = request.rotation_limbs.len()).entered();
        let rotations: Result<_, CkksError> = request.rotation_limbs.iter().map(load).collect();
        let enough = |key: &&SeededSwitchKey| key.limbs as usize >= request.relinearisation_limbs;
        let relinearise = keys.relinearise.as_ref().filter(enough).map(|key| ring.load_switch_key(key)).transpose()?;
        let bootstrap = match (request.bootstrap, &keys.bootstrap) {
            (None, _) => None,
            (Some(limbs), Some(own)) if limbs.all().iter().zip(own.limbs().all()).all(|(&need, has)| need <= has) => {
                Some(SparseKeys {
                    conjugate: ring.load_automorphism_key(&own.conjugate, ring.host().conjugation_element())?,
                    to_sparse: ring.load_automorphism_key(&own.to_sparse, 1)?,
                    from_sparse: ring.load_automorphism_key(&own.from_sparse, 1)?,
                })
            }
            (Some(_), _) => return Err(lacks("a key of bootstraps")),
        };
        if !loading.is_disabled() {
            ring.sync()?;
        }
        Ok(Self { relinearise, rotations: rotations?, bootstrap })
    }

    /// Those of bootstraps, if they are among them.
    pub fn of_bootstraps(&self) -> Option<BootstrapKeys<'_, B>> {
        let own = self.bootstrap.as_ref()?;
        Some(BootstrapKeys {
            relinearise: self.relinearise.as_ref()?,
            conjugate: &own.conjugate,
            to_sparse: &own.to_sparse,
            from_sparse: &own.from_sparse,
            rotations: &self.rotations,
        })
    }
}
