//! Sessions of either scheme: encrypted inputs in, encrypted outputs out, a pass at a time.

use heman_core::batch::Timings;
use heman_core::ckks::ops::RnsOps;
use heman_core::ckks::plan::Plan as CkksPlan;
use heman_core::ckks::plan::keys::gpu_bytes;
use heman_core::ckks::plan::width::GpuShares;
use heman_core::ckks::session::Session as CkksSession;
use heman_core::either::files::{EncryptedInput, EncryptedOutput, EvaluationKey};
use heman_core::either::plan::Plan;
use heman_core::progress::Progress;
use heman_core::tfhe::ops::TfheBackend;
use heman_core::tfhe::session::Session as TfheSession;
use heman_cuda::CudaRing;

use crate::devices::{Devices, Opened};
use crate::error::EngineError;

/// Where encrypted inputs come from.
pub trait Inputs {
    /// The next batch, best of `most` inputs, which fill the devices once; none at the end.
    ///
    /// # Errors
    /// [`EngineError::Outside`].
    fn next(&mut self, most: usize) -> Result<Option<EncryptedInput>, EngineError>;
}

/// Where encrypted outputs go, batch by batch in the order of the inputs.
pub trait Outputs {
    /// Takes the outputs of one batch.
    ///
    /// # Errors
    /// [`EngineError::Outside`].
    fn put(&mut self, output: EncryptedOutput) -> Result<(), EngineError>;
}

/// One batch in memory.
impl Inputs for Option<EncryptedInput> {
    fn next(&mut self, _most: usize) -> Result<Option<EncryptedInput>, EngineError> {
        Ok(self.take())
    }
}

impl Outputs for Vec<EncryptedOutput> {
    fn put(&mut self, output: EncryptedOutput) -> Result<(), EngineError> {
        self.push(output);
        Ok(())
    }
}

/// A plan and one client's evaluation key, loaded on devices that live for `'a`. Passes may run side by side.
pub trait Session<'a>: Send + Sync {
    /// A session of the same plan on the same devices for another client's key. What does not depend on keys is shared.
    ///
    /// # Errors
    /// [`EngineError::Scheme`] for a key of the other scheme; whatever the devices fail with.
    fn with_key(&self, key: &EvaluationKey) -> Result<Box<dyn Session<'a> + 'a>, EngineError>;

    /// Inputs that fill the devices once.
    fn inputs_per_pass(&self) -> usize;

    /// Largest number of bytes that a pass holds beside keys and encrypted inputs, where the scheme knows it.
    fn peak_bytes(&self) -> Option<u64>;

    /// Evaluates one batch.
    ///
    /// # Errors
    /// [`EngineError::Scheme`] for inputs of the other scheme; whatever the devices fail with.
    fn pass(&self, input: &EncryptedInput, progress: &dyn Progress) -> Result<(EncryptedOutput, Timings), EngineError>;

    /// Evaluates all inputs, a pass at a time, and says how long the devices took.
    ///
    /// # Errors
    /// As [`Session::pass`]; whatever inputs and outputs fail with.
    fn run(
        &self,
        inputs: &mut dyn Inputs,
        outputs: &mut dyn Outputs,
        progress: &dyn Progress,
    ) -> Result<Timings, EngineError> {
        let mut timings = Timings::default();
        while let Some(input) = inputs.next(self.inputs_per_pass())? {
            let (output, spent) = self.pass(&input, progress)?;
            timings.add(&spent);
            outputs.put(output)?;
        }
        Ok(timings)
    }
}

impl Devices {
    /// Loads a plan and a client's key on the devices. CKKS stays within `memory_bytes` beside keys and inputs, and
    /// within what the device reaches. With `is_timed` each step is waited for, which costs a little time: TFHE
    /// tells steps apart in [`Timings`], and the spans of both schemes say how long steps took on the device.
    /// Where the choice of the device was ours and it cannot load them, the next best takes its place, and `progress`
    /// is told.
    ///
    /// # Errors
    /// [`EngineError::Scheme`] if plan, key and devices are not of one scheme; whatever the devices fail with.
    pub fn session<'a>(
        &'a self,
        plan: &'a Plan,
        key: &EvaluationKey,
        memory_bytes: u64,
        is_timed: bool,
        progress: &dyn Progress,
    ) -> Result<Box<dyn Session<'a> + 'a>, EngineError> {
        let mut devices = self.current();
        loop {
            let error = match devices.load(plan, key, memory_bytes, is_timed) {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            devices = match devices.replaced(&error, plan, progress) {
                Some(next) => next?,
                None => return Err(error),
            };
        }
    }

    fn load<'a>(
        &'a self,
        plan: &'a Plan,
        key: &EvaluationKey,
        memory_bytes: u64,
        is_timed: bool,
    ) -> Result<Box<dyn Session<'a> + 'a>, EngineError> {
        for (queue, device) in self.names.iter().enumerate() {
            tracing::info!(queue, device, threads = self.threads, "loads a plan and a key");
        }
        match (&self.opened, plan, key) {
            (Opened::TfheCpu(backend), Plan::Tfhe(plan), EvaluationKey::Tfhe(key)) => {
                Ok(Box::new(TfheSession::new(std::slice::from_ref(backend), plan, key)?.timed(is_timed)))
            }
            (Opened::TfheCuda(backends), Plan::Tfhe(plan), EvaluationKey::Tfhe(key)) => {
                Ok(Box::new(TfheSession::new(backends, plan, key)?.timed(is_timed)))
            }
            (Opened::TfheWgpu(backends), Plan::Tfhe(plan), EvaluationKey::Tfhe(key)) => {
                Ok(Box::new(TfheSession::new(backends, plan, key)?.timed(is_timed)))
            }
            (Opened::CkksCpu(ring), Plan::Ckks(plan), EvaluationKey::Ckks(key)) => Ok(Box::new(
                CkksSession::new(std::slice::from_ref(ring.as_ref()), plan, key, memory_bytes)?.timed(is_timed),
            )),
            (Opened::CkksCuda(rings), Plan::Ckks(plan), EvaluationKey::Ckks(key)) => {
                let reach_bytes = rings.iter().map(CudaRing::reach_bytes).min().unwrap_or(0);
                let memory_bytes = beside_keys(reach_bytes, plan).min(memory_bytes);
                Ok(Box::new(CkksSession::new(rings, plan, key, memory_bytes)?.timed(is_timed)))
            }
            (Opened::CkksWgpu(ring, reach_bytes), Plan::Ckks(plan), EvaluationKey::Ckks(key)) => {
                let memory_bytes = beside_keys(*reach_bytes, plan).min(memory_bytes);
                Ok(Box::new(
                    CkksSession::new(std::slice::from_ref(ring.as_ref()), plan, key, memory_bytes)?.timed(is_timed),
                ))
            }
            _ => Err(EngineError::Scheme("evaluation key")),
        }
    }
}

/// Bytes of a GPU's memory that keys leave: they lie where ciphertexts do, with their masks; and stretches between
/// blocks are lost. What a run of latency packing works with is not part of its own count.
fn beside_keys(reach_bytes: u64, plan: &CkksPlan) -> u64 {
    let keys = gpu_bytes(&plan.params.keys, &plan.params.ckks);
    let works = if plan.latency.is_some() { 2 * GpuShares { reach_bytes }.work_bytes() } else { 0 };
    (reach_bytes / 10 * 9).saturating_sub(keys.saturating_add(works))
}

impl<'a, B: TfheBackend> Session<'a> for TfheSession<'a, B> {
    fn with_key(&self, key: &EvaluationKey) -> Result<Box<dyn Session<'a> + 'a>, EngineError> {
        let EvaluationKey::Tfhe(key) = key else { return Err(EngineError::Scheme("evaluation key")) };
        Ok(Box::new(TfheSession::with_key(self, key)?))
    }

    fn inputs_per_pass(&self) -> usize {
        self.inputs_per_pass()
    }

    fn peak_bytes(&self) -> Option<u64> {
        None
    }

    fn pass(&self, input: &EncryptedInput, progress: &dyn Progress) -> Result<(EncryptedOutput, Timings), EngineError> {
        let EncryptedInput::Tfhe(input) = input else { return Err(EngineError::Scheme("encrypted input")) };
        let (output, timings) = self.run(input, progress)?;
        Ok((EncryptedOutput::Tfhe(output), timings))
    }
}

impl<'a, B: RnsOps> Session<'a> for CkksSession<'a, B> {
    fn with_key(&self, key: &EvaluationKey) -> Result<Box<dyn Session<'a> + 'a>, EngineError> {
        let EvaluationKey::Ckks(key) = key else { return Err(EngineError::Scheme("evaluation key")) };
        Ok(Box::new(CkksSession::with_key(self, key)?))
    }

    fn inputs_per_pass(&self) -> usize {
        CkksSession::inputs_per_pass(self)
    }

    fn peak_bytes(&self) -> Option<u64> {
        Some(CkksSession::peak_bytes(self))
    }

    fn pass(&self, input: &EncryptedInput, progress: &dyn Progress) -> Result<(EncryptedOutput, Timings), EngineError> {
        let EncryptedInput::Ckks(input) = input else { return Err(EngineError::Scheme("encrypted input")) };
        let (output, timings) = self.run(input, progress)?;
        Ok((EncryptedOutput::Ckks(output), timings))
    }
}
