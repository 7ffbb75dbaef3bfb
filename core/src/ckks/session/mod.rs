//! Runs a CKKS plan on batches of any size, run after run.

pub mod latency;
pub mod polynomial;
pub mod throughput;

use crate::ckks::error::CkksError;
use crate::ckks::files::ciphertexts::{EncryptedInput, EncryptedOutput, Parts};
use crate::ckks::files::evaluation_key::EvaluationKey;
use crate::ckks::ops::RnsOps;
use crate::ckks::plan::CkksPlan;
use crate::ckks::ring::context::Context;
use crate::ckks::session::latency::LatencySession;
use crate::ckks::session::throughput::ThroughputSession;
use crate::progress::Progress;

/// A plan and a client's keys, ready to run.
pub struct CkksSession<'a, B: RnsOps> {
    context: &'a Context,
    plan: &'a CkksPlan,
    packed: Packed<'a, B>,
}

enum Packed<'a, B: RnsOps> {
    Throughput(ThroughputSession<'a, B>),
    Latency(LatencySession<'a, B>),
}

impl<'a, B: RnsOps> CkksSession<'a, B> {
    /// Loads plan and keys on a backend, for the current thread pool; `context` has the parameters' constants and expands masks; latency packing encodes its masks. A run stays within
    /// `memory_bytes` beside its inputs and keys.
    ///
    /// # Errors
    /// [`CkksError::Memory`] if it cannot; [`CkksError::Plan`] if plan and keys do not belong together.
    pub fn new(
        backend: &'a B,
        context: &'a Context,
        plan: &'a CkksPlan,
        keys: EvaluationKey,
        memory_bytes: u64,
    ) -> Result<Self, CkksError> {
        let packed = match &plan.latency {
            None => {
                let session = ThroughputSession::new(backend, &plan.network, keys.relinearise)?;
                Packed::Throughput(session.with_memory_budget(memory_bytes)?)
            }
            Some(latency) => {
                let needed = latency.memory_bytes(&plan.network, &plan.params.ckks);
                if needed > memory_bytes {
                    return Err(CkksError::Memory { needed, budget: memory_bytes });
                }
                Packed::Latency(LatencySession::new(backend, context, &plan.network, latency, keys)?)
            }
        };
        Ok(Self { context, plan, packed })
    }

    /// Largest number of bytes that a run holds at one time, keys and encrypted inputs left out.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        match (&self.packed, &self.plan.latency) {
            (Packed::Throughput(session), _) => session.peak_bytes(),
            (Packed::Latency(_), Some(latency)) => latency.memory_bytes(&self.plan.network, &self.plan.params.ckks),
            (Packed::Latency(_), None) => 0,
        }
    }

    /// Evaluates the plan on a batch.
    ///
    /// # Errors
    /// [`CkksError`] for ciphertexts of other parameters.
    pub fn run(&self, input: &EncryptedInput, progress: &dyn Progress) -> Result<EncryptedOutput, CkksError> {
        let scale = f64::from(self.plan.params.ckks.scale_log2).exp2();
        let (per_run, _) = self.plan.params.ciphertexts_per_run();
        // Once for all, so that a mask can be expanded where it is read without a chance to fail.
        if !input.ciphertexts.iter().all(|seeded| self.context.is_fresh(seeded)) {
            return Err(CkksError::Residues);
        }
        let mut ciphertexts = Vec::new();
        for run in input.ciphertexts.chunks(per_run) {
            let expand = |at: usize| self.context.expand(&run[at], scale).expect("fresh ciphertexts expand");
            let results = match &self.packed {
                Packed::Throughput(session) => session.run(&expand, progress)?,
                Packed::Latency(session) => session.run((0..run.len()).map(expand).collect(), progress)?,
            };
            ciphertexts.extend(results.into_iter().map(Parts::new));
        }
        Ok(EncryptedOutput { images: input.images, batched: input.batched, ciphertexts })
    }
}
