//! Runs a CKKS plan on batches of any size, run after run.

pub mod bootstrap;
mod keys;
pub mod latency;
mod pass;
pub mod throughput;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::info_span;

use crate::batch::{Queue, Stopwatch, Timings, share, side_by_side};
use crate::ckks::error::CkksError;
use crate::ckks::files::ciphertexts::{EncryptedInput, EncryptedOutput, Parts};
use crate::ckks::files::evaluation_key::SeededEvaluationKey;
use crate::ckks::files::seeded::{SeededCiphertext, SeededSwitchKey};
use crate::ckks::ops::RnsOps;
use crate::ckks::plan::Plan;
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::session::latency::LatencySession;
use crate::ckks::session::pass::from_a_thread;
use crate::ckks::session::throughput::ThroughputSession;
use crate::device::error::BackendError;
use crate::progress::Progress;

/// A plan and a client's keys, loaded on rings that share out every batch.
pub struct Session<'a, B: RnsOps> {
    plan: &'a Plan,
    queues: Vec<Packed<'a, B>>,
    is_timed: bool,
}

enum Packed<'a, B: RnsOps> {
    Throughput(ThroughputSession<'a, B>),
    Latency(LatencySession<'a, B>),
}

impl<'a, B: RnsOps> Session<'a, B> {
    /// Loads plan and keys on every ring, side by side. A run stays within `memory_bytes` beside its inputs and keys.
    ///
    /// # Errors
    /// [`CkksError::Memory`] if it cannot; [`CkksError::Plan`] if plan and keys do not belong together;
    /// [`CkksError::Residues`] for keys that are malformed.
    ///
    /// # Panics
    /// If there is no ring.
    pub fn new(
        rings: &'a [B],
        plan: &'a Plan,
        keys: &SeededEvaluationKey,
        memory_bytes: u64,
    ) -> Result<Self, CkksError> {
        assert!(!rings.is_empty(), "a session needs a ring");
        let relinearise = relinearisation(plan, keys)?;
        let numbered: Vec<(usize, &'a B)> = rings.iter().enumerate().collect();
        let load = |&(at, ring): &(usize, &'a B)| {
            let _loading = info_span!("load", queue = at).entered();
            Ok::<_, CkksError>(match &plan.latency {
                None => Packed::Throughput(ThroughputSession::new(ring, &plan.network, relinearise, memory_bytes)?),
                Some(latency) => {
                    Packed::Latency(LatencySession::new(ring, &plan.network, latency, keys, memory_bytes)?)
                }
            })
        };
        Ok(Self { plan, queues: side_by_side(&numbered, load)?, is_timed: false })
    }

    /// Also tells steps apart in [`Timings`] and in the spans of [`tracing`], which means waiting for each.
    #[must_use]
    pub fn timed(mut self, is_timed: bool) -> Self {
        let timed = |packed| match packed {
            Packed::Throughput(session) => Packed::Throughput(session.timed(is_timed)),
            Packed::Latency(session) => Packed::Latency(session.timed(is_timed)),
        };
        self.queues = self.queues.into_iter().map(timed).collect();
        self.is_timed = is_timed;
        self
    }

    /// A session of the same plan on the same rings for another client's keys; what the plan holds is shared.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn with_key(&self, keys: &SeededEvaluationKey) -> Result<Self, CkksError> {
        let relinearise = relinearisation(self.plan, keys)?;
        let numbered: Vec<(usize, &Packed<'a, B>)> = self.queues.iter().enumerate().collect();
        let load = |&(at, queue): &(usize, &Packed<'a, B>)| {
            let _loading = info_span!("load", queue = at).entered();
            Ok::<_, CkksError>(match queue {
                Packed::Throughput(session) => Packed::Throughput(session.with_key(relinearise)?),
                Packed::Latency(session) => Packed::Latency(session.with_key(keys)?),
            })
        };
        Ok(Self { plan: self.plan, queues: side_by_side(&numbered, load)?, is_timed: self.is_timed })
    }

    /// Largest number of bytes that a run holds at one time on one ring, keys and encrypted inputs left out.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        match &self.queues[0] {
            Packed::Throughput(session) => session.schedule().peak_bytes(),
            Packed::Latency(session) => session.schedule().peak_bytes,
        }
    }

    /// Inputs that the rings take in one pass, all together.
    #[must_use]
    pub fn inputs_per_pass(&self) -> usize {
        self.queues.len() * self.plan.params.inputs_per_run()
    }

    /// Evaluates the plan on a batch: runs are shared out over the rings.
    ///
    /// # Errors
    /// [`CkksError`] for ciphertexts of other parameters; whatever a device fails with.
    pub fn run(
        &self,
        input: &EncryptedInput,
        progress: &dyn Progress,
    ) -> Result<(EncryptedOutput, Timings), CkksError> {
        let start = Instant::now();
        let (per_run, inputs) = (self.plan.params.ciphertexts_per_run().0, self.plan.params.inputs_per_run());
        let (left, right) = (input.ciphertexts.len(), (input.inputs as usize).div_ceil(inputs) * per_run);
        if left != right || left == 0 {
            return Err(CkksError::Level { left, right });
        }
        let pass = |packed| {
            let watch = Mutex::new(Stopwatch::new(self.is_timed));
            Pass { packed, ciphertexts: &input.ciphertexts, inputs, per_run, watch }
        };
        let passes: Vec<Pass<'_, B>> = self.queues.iter().map(pass).collect();
        let results = share(&passes, input.inputs as usize, progress)?;
        let ciphertexts = results.into_iter().flatten().flat_map(|(_, run)| run).map(Parts::new).collect();
        let watches = passes.into_iter().map(|pass| pass.watch.into_inner().unwrap_or_else(PoisonError::into_inner));
        let longest = watches.map(Stopwatch::into_timings).max_by_key(Timings::spent).unwrap_or_default();
        let timings = Timings { total: start.elapsed(), ..longest };
        let (fingerprint, inputs, batched) = (input.fingerprint, input.inputs, input.batched);
        Ok((EncryptedOutput { fingerprint, inputs, batched, ciphertexts }, timings))
    }
}

/// The relinearisation key, if the plan needs one.
fn relinearisation<'k>(plan: &Plan, keys: &'k SeededEvaluationKey) -> Result<Option<&'k SeededSwitchKey>, CkksError> {
    let needed = plan.params.keys.relinearisation_limbs;
    let key = keys.relinearise.as_ref().filter(|_| needed > 0);
    if key.map_or(0, |key| key.limbs as usize) < needed {
        return Err(CkksError::Plan("the evaluation key lacks the relinearisation that the plan needs".into()));
    }
    Ok(key)
}

/// One ring's part in a batch.
struct Pass<'s, B: RnsOps> {
    packed: &'s Packed<'s, B>,
    ciphertexts: &'s [SeededCiphertext],
    /// Inputs of a run, and ciphertexts that hold them.
    inputs: usize,
    per_run: usize,
    watch: Mutex<Stopwatch>,
}

impl<B: RnsOps> Queue for Pass<'_, B> {
    type Output = Vec<Ciphertext>;
    type Error = CkksError;

    fn unit(&self) -> usize {
        self.inputs
    }

    fn most(&self) -> usize {
        self.inputs
    }

    fn pass(&self, range: Range<usize>, progress: &dyn Progress) -> Result<Vec<Ciphertext>, CkksError> {
        let run = &self.ciphertexts[range.start / self.inputs * self.per_run..][..self.per_run];
        let watch = &mut *self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        match self.packed {
            Packed::Throughput(session) => from_a_thread(session.ring(), || session.run_timed(run, watch, progress)),
            Packed::Latency(session) => from_a_thread(session.ring(), || session.run_timed(run, watch, progress)),
        }
    }

    fn lack_of_memory(error: &CkksError) -> Option<&BackendError> {
        match error {
            CkksError::Device(error @ BackendError::OutOfMemory { .. }) => Some(error),
            _ => None,
        }
    }
}
