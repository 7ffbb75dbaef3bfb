//! Runs a CKKS plan on batches of any size, run after run.

pub mod latency;
pub mod throughput;

use crate::ckks::error::CkksError;
use crate::ckks::files::ciphertexts::{EncryptedInput, EncryptedOutput, Parts};
use crate::ckks::files::evaluation_key::SeededEvaluationKey;
use crate::ckks::ops::RnsOps;
use crate::ckks::plan::CkksPlan;
use crate::ckks::session::latency::LatencySession;
use crate::ckks::session::throughput::ThroughputSession;
use crate::progress::Progress;

/// A plan and a client's keys, ready to run on one ring.
pub struct CkksSession<'a, B: RnsOps> {
    plan: &'a CkksPlan,
    packed: Packed<'a, B>,
}

enum Packed<'a, B: RnsOps> {
    Throughput(ThroughputSession<'a, B>),
    Latency(LatencySession<'a, B>),
}

impl<'a, B: RnsOps> CkksSession<'a, B> {
    /// Loads plan and keys. A run stays within `memory_bytes` beside its inputs and keys.
    ///
    /// # Errors
    /// [`CkksError::Memory`] if it cannot; [`CkksError::Plan`] if plan and keys do not belong together; [`CkksError::Residues`] for
    /// keys that are malformed.
    pub fn new(
        ring: &'a B,
        plan: &'a CkksPlan,
        keys: &SeededEvaluationKey,
        memory_bytes: u64,
    ) -> Result<Self, CkksError> {
        let request = &plan.params.keys;
        let relinearise = keys.relinearise.as_ref().filter(|_| request.relinearisation_limbs > 0);
        let limbs = relinearise.map_or(0, |key| key.limbs as usize);
        if limbs < request.relinearisation_limbs {
            return Err(CkksError::Plan("the evaluation key lacks the relinearisation that the plan needs".into()));
        }
        let packed = match &plan.latency {
            None => Packed::Throughput(ThroughputSession::new(ring, &plan.network, relinearise, memory_bytes)?),
            Some(latency) => Packed::Latency(LatencySession::new(ring, &plan.network, latency, keys, memory_bytes)?),
        };
        Ok(Self { plan, packed })
    }

    /// Largest number of bytes that a run holds at one time, keys and encrypted inputs left out.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        match &self.packed {
            Packed::Throughput(session) => session.schedule().peak_bytes(),
            Packed::Latency(session) => session.schedule().peak_bytes,
        }
    }

    /// Evaluates the plan on a batch.
    ///
    /// # Errors
    /// [`CkksError`] for ciphertexts of other parameters.
    pub fn run(&self, input: &EncryptedInput, progress: &dyn Progress) -> Result<EncryptedOutput, CkksError> {
        let (per_run, _) = self.plan.params.ciphertexts_per_run();
        let mut ciphertexts = Vec::new();
        for run in input.ciphertexts.chunks(per_run) {
            let results = match &self.packed {
                Packed::Throughput(session) => session.run(run, progress)?,
                Packed::Latency(session) => session.run(run, progress)?,
            };
            ciphertexts.extend(results.into_iter().map(Parts::new));
        }
        Ok(EncryptedOutput { images: input.images, batched: input.batched, ciphertexts })
    }
}
