//! Runs a CKKS plan on batches of any size, run after run.

use super::context::Context;
use super::evaluator::{Ciphertext, CkksError};
use super::files::{EncryptedInput, EncryptedOutput, EvaluationKey, Parts};
use super::latency_session::LatencySession;
use super::plan::CkksPlan;
use super::throughput::ThroughputSession;
use crate::progress::Progress;

/// A plan and a client's keys, ready to run.
pub struct CkksSession<'a> {
    context: &'a Context,
    plan: &'a CkksPlan,
    packed: Packed<'a>,
}

enum Packed<'a> {
    Throughput(ThroughputSession<'a>),
    Latency(LatencySession<'a>),
}

impl<'a> CkksSession<'a> {
    /// Ties plan and keys together; latency packing encodes its masks.
    ///
    /// # Errors
    /// A sentence if plan and keys do not belong together.
    pub fn new(context: &'a Context, plan: &'a CkksPlan, keys: &'a EvaluationKey) -> Result<Self, CkksError> {
        let packed = match &plan.latency {
            None => Packed::Throughput(ThroughputSession::new(context, &plan.network, keys.relinearise.as_ref())?),
            Some(latency) => Packed::Latency(LatencySession::new(context, &plan.network, latency, keys)?),
        };
        Ok(Self { context, plan, packed })
    }

    /// Evaluates the plan on a batch.
    ///
    /// # Errors
    /// [`CkksError`] for ciphertexts of other parameters.
    pub fn run(&self, input: &EncryptedInput, progress: &dyn Progress) -> Result<EncryptedOutput, CkksError> {
        let scale = f64::from(self.plan.params.ckks.scale_log2).exp2();
        let (per_run, _) = self.plan.params.ciphertexts_per_run();
        let mut ciphertexts = Vec::new();
        for run in input.ciphertexts.chunks(per_run) {
            let expand = |seeded| self.context.expand(seeded, scale).ok_or(CkksError::Residues);
            let fresh: Result<Vec<Ciphertext>, CkksError> = run.iter().map(expand).collect();
            let results = match &self.packed {
                Packed::Throughput(session) => session.run(fresh?, progress)?,
                Packed::Latency(session) => session.run(fresh?, progress)?,
            };
            ciphertexts.extend(results.into_iter().map(Parts::new));
        }
        Ok(EncryptedOutput { images: input.images, batched: input.batched, ciphertexts })
    }
}
