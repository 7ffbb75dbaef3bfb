//! Runs a plan on one backend or several: keys, maps and tables loaded once, batches of any size in passes that fit the
//! memory budget.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tracing::{Span, debug_span, info_span};

use crate::batch;
use crate::batch::{Timings, share, side_by_side};
use crate::device::error::BackendError;
use crate::progress::Progress;
use crate::tfhe::files::ciphertexts::{EncryptedInput, EncryptedOutput};
use crate::tfhe::files::evaluation_key::SeededEvaluationKey;
use crate::tfhe::ops::TfheBackend;
use crate::tfhe::plan::Plan;
use crate::tfhe::plan::affine::AffineMap;
use crate::tfhe::schedule::{Schedule, Step};
use crate::tfhe::table_set::TableSet;

/// Why an inference did not run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Keys of other parameters.
    #[error("the evaluation key was made for other parameters than the plan's")]
    Keys,
    /// An input of another shape.
    #[error("the encrypted input has {found} ciphertexts; the plan takes {expected}")]
    Input {
        /// Ciphertexts found.
        found: usize,
        /// Ciphertexts needed.
        expected: usize,
    },
}

/// A plan and a client's keys, loaded on backends that share out every batch.
pub struct Session<'a, B: TfheBackend> {
    plan: &'a Plan,
    schedule: Schedule,
    queues: Vec<Queue<'a, B>>,
    buffer_bytes: Option<usize>,
    is_timed: bool,
}

/// One backend with everything that a pass needs.
struct Queue<'a, B: TfheBackend> {
    backend: &'a B,
    bootstrap_key: B::BootstrapKey,
    keyswitch_key: B::KeyswitchKey,
    /// What sessions of all keys have in common.
    maps: Arc<Maps<B>>,
}

/// The plan's maps and tables on one backend.
struct Maps<B: TfheBackend> {
    stages: Vec<LoadedStage<B>>,
    output: B::Affine,
    buffer_bytes: usize,
}

struct LoadedStage<B: TfheBackend> {
    affine: B::Affine,
    tables: B::Tables,
}

/// Buffers of one pass.
struct Buffers<B: TfheBackend> {
    inputs: usize,
    values: B::Buffer,
    big: B::Buffer,
    small: B::Buffer,
}

impl<'a, B: TfheBackend> Session<'a, B> {
    /// Loads keys, maps and tables on every backend, side by side.
    ///
    /// # Errors
    /// [`ExecError::Keys`] for keys of other parameters; whatever a backend fails with.
    ///
    /// # Panics
    /// If there is no backend.
    pub fn new(backends: &'a [B], plan: &'a Plan, key: &SeededEvaluationKey) -> Result<Self, ExecError> {
        assert!(!backends.is_empty(), "a session needs a backend");
        let schedule = Schedule::new(plan);
        let numbered: Vec<(usize, &'a B)> = backends.iter().enumerate().collect();
        let load = |&(at, backend): &(usize, &'a B)| {
            let _loading = info_span!("load", queue = at).entered();
            Queue::new(backend, plan, key, || Ok(Arc::new(Maps::new(backend, plan, &schedule)?)))
        };
        let queues = side_by_side(&numbered, load)?;
        Ok(Self { plan, queues, schedule, buffer_bytes: None, is_timed: false })
    }

    /// A session of the same plan on the same backends for another client's key; maps and tables are shared.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn with_key(&self, key: &SeededEvaluationKey) -> Result<Self, ExecError> {
        let numbered: Vec<(usize, &Queue<'a, B>)> = self.queues.iter().enumerate().collect();
        let load = |&(at, queue): &(usize, &Queue<'a, B>)| {
            let _loading = info_span!("load", queue = at).entered();
            Queue::new(queue.backend, self.plan, key, || Ok(Arc::clone(&queue.maps)))
        };
        let queues = side_by_side(&numbered, load)?;
        let (schedule, buffer_bytes) = (self.schedule.clone(), self.buffer_bytes);
        Ok(Self { plan: self.plan, queues, schedule, buffer_bytes, is_timed: self.is_timed })
    }

    /// Bounds the buffers of one pass on one backend; at least one input is always processed.
    #[must_use]
    pub fn with_buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = Some(bytes);
        self
    }

    /// Also tells steps apart in [`Timings`], which means waiting for each.
    #[must_use]
    pub fn timed(mut self, is_timed: bool) -> Self {
        self.is_timed = is_timed;
        self
    }

    /// The steps that [`Session::run`] takes.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Inputs that the backends take in one pass, all together.
    #[must_use]
    pub fn inputs_per_pass(&self) -> usize {
        self.queues.iter().map(|queue| self.inputs_per_pass_on(queue)).sum()
    }

    fn inputs_per_pass_on(&self, queue: &Queue<'_, B>) -> usize {
        let tfhe = &self.plan.params.tfhe;
        let words = (self.schedule.slots + self.schedule.widest) * tfhe.big_row_words()
            + self.schedule.widest * tfhe.small_row_words();
        (self.buffer_bytes.unwrap_or(queue.maps.buffer_bytes) / (4 * words.max(1))).max(1)
    }

    /// Evaluates the plan on a batch of encrypted inputs; also says where the time went, on the backend that took
    /// longest.
    ///
    /// Inputs are shared out evenly; a backend that fails does not stop the others, and the first failure is returned
    /// when all are done.
    ///
    /// # Errors
    /// [`ExecError::Input`] for a batch of another model; whatever a backend fails with.
    pub fn run(
        &self,
        input: &EncryptedInput,
        progress: &dyn Progress,
    ) -> Result<(EncryptedOutput, Timings), ExecError> {
        let (inputs, values) = (input.inputs as usize, self.plan.params.input.tensor.len());
        if input.bodies.len() != inputs * values || inputs == 0 {
            return Err(ExecError::Input { found: input.bodies.len(), expected: inputs.max(1) * values });
        }
        let start = Instant::now();
        progress.start("inference", (inputs * self.plan.activation_count().max(1)) as u64);
        let pass = |queue| Pass { session: self, queue, input, held: Mutex::default() };
        let passes: Vec<Pass<'_, B>> = self.queues.iter().map(pass).collect();
        let mut parts: Vec<(Range<usize>, Vec<u32>)> =
            share(&passes, inputs, progress)?.into_iter().flatten().collect();
        progress.finish();
        let rows = if let [(_, only)] = &mut parts[..] {
            std::mem::take(only)
        } else {
            let words = self.plan.params.tfhe.big_row_words();
            let mut all = vec![0; self.plan.output.rows * inputs * words];
            for (range, part) in &parts {
                let length = range.len() * words;
                for (row, from) in part.chunks_exact(length).enumerate() {
                    all[(row * inputs + range.start) * words..][..length].copy_from_slice(from);
                }
            }
            all
        };
        let spent =
            passes.into_iter().map(|pass| pass.held.into_inner().unwrap_or_else(PoisonError::into_inner).timings);
        let longest = spent.max_by_key(Timings::spent).unwrap_or_default();
        let timings = Timings { total: start.elapsed(), ..longest };
        let (fingerprint, inputs, batched) = (input.fingerprint, input.inputs, input.batched);
        Ok((EncryptedOutput { fingerprint, inputs, batched, rows }, timings))
    }

    fn allocate(&self, queue: &Queue<'_, B>, inputs: usize) -> Result<Buffers<B>, BackendError> {
        let tfhe = &self.plan.params.tfhe;
        Ok(Buffers {
            inputs,
            values: queue.backend.allocate(self.schedule.slots * inputs * tfhe.big_row_words())?,
            big: queue.backend.allocate(self.schedule.widest * inputs * tfhe.big_row_words())?,
            small: queue.backend.allocate(self.schedule.widest * inputs * tfhe.small_row_words())?,
        })
    }

    /// Everything between the inputs' upload and the outputs' download.
    fn evaluate(
        &self,
        queue: &Queue<'_, B>,
        buffers: &mut Buffers<B>,
        timings: &mut Timings,
        progress: &dyn Progress,
    ) -> Result<(), BackendError> {
        let (backend, inputs, words) = (queue.backend, buffers.inputs, self.plan.params.tfhe.big_row_words());
        for step in &self.schedule.steps {
            let start = Instant::now();
            let _step = step_span(step, inputs).entered();
            let (stage, name) = match *step {
                Step::Linear { stage, .. } => {
                    let affine = &queue.maps.stages[stage].affine;
                    backend.affine(affine, inputs, words, &buffers.values, &mut buffers.big)?;
                    (stage, "linear")
                }
                Step::Keyswitch { stage, rows } => {
                    backend.keyswitch(&queue.keyswitch_key, rows * inputs, &buffers.big, &mut buffers.small)?;
                    (stage, "keyswitch")
                }
                Step::Bootstrap { stage, .. } => {
                    let tables = &queue.maps.stages[stage].tables;
                    backend.bootstrap(&queue.bootstrap_key, tables, inputs, &buffers.small, &mut buffers.values)?;
                    (stage, "bootstrap")
                }
                Step::Output { .. } => {
                    backend.affine(&queue.maps.output, inputs, words, &buffers.values, &mut buffers.big)?;
                    (self.plan.stages.len(), "linear")
                }
            };
            self.spend(queue, timings, (Some(stage), name), start)?;
            if let Step::Bootstrap { rows, .. } = *step {
                progress.advance((rows * inputs) as u64);
            }
        }
        Ok(())
    }

    /// Waits for a step and notes its time, if times were asked for.
    fn spend(
        &self,
        queue: &Queue<'_, B>,
        timings: &mut Timings,
        (stage, step): (Option<usize>, &'static str),
        start: Instant,
    ) -> Result<(), BackendError> {
        if self.is_timed {
            queue.backend.sync()?;
            timings.spend_in(stage, step, start.elapsed());
        }
        Ok(())
    }
}

/// The span of a step for so many inputs.
fn step_span(step: &Step, inputs: usize) -> Span {
    match *step {
        Step::Linear { stage, rows, terms } => debug_span!("linear", stage, rows, terms, inputs),
        Step::Keyswitch { stage, rows } => debug_span!("keyswitch", stage, rows, inputs),
        Step::Bootstrap { stage, rows, .. } => debug_span!("bootstrap", stage, rows, inputs),
        Step::Output { rows, terms } => debug_span!("linear", rows, terms, inputs),
    }
}

/// One queue's part in a batch.
struct Pass<'s, B: TfheBackend> {
    session: &'s Session<'s, B>,
    queue: &'s Queue<'s, B>,
    input: &'s EncryptedInput,
    held: Mutex<Held<B>>,
}

/// What one pass leaves to the next.
struct Held<B: TfheBackend> {
    buffers: Option<Buffers<B>>,
    timings: Timings,
}

impl<B: TfheBackend> Default for Held<B> {
    fn default() -> Self {
        Self { buffers: None, timings: Timings::default() }
    }
}

impl<B: TfheBackend> batch::Queue for Pass<'_, B> {
    type Output = Vec<u32>;
    type Error = ExecError;

    fn unit(&self) -> usize {
        1
    }

    fn most(&self) -> usize {
        self.session.inputs_per_pass_on(self.queue)
    }

    /// The rows `output x input` of a range of the batch.
    fn pass(&self, range: Range<usize>, progress: &dyn Progress) -> Result<Vec<u32>, ExecError> {
        let (session, queue) = (self.session, self.queue);
        let words = session.plan.params.tfhe.big_row_words();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let buffers = match held.buffers.take() {
            Some(buffers) if buffers.inputs == range.len() => Ok(buffers),
            _ => session.allocate(queue, range.len()),
        };
        let mut buffers = buffers?;
        let timings = &mut held.timings;
        let start = Instant::now();
        let uploading = info_span!("upload", inputs = range.len()).entered();
        // The inputs are the first block of values: their slots follow one another.
        let first_slot = session.schedule.slot_of_value[0] as usize;
        let from = (range.start, range.len());
        queue.backend.upload_inputs(self.input, from, words, &mut buffers.values, first_slot * range.len() * words)?;
        session.spend(queue, timings, (None, "transfer"), start)?;
        drop(uploading);
        session.evaluate(queue, &mut buffers, timings, progress)?;
        let start = Instant::now();
        let _downloading = info_span!("download", inputs = range.len()).entered();
        let mut output = vec![0; session.plan.output.rows * range.len() * words];
        queue.backend.download(&buffers.big, 0, &mut output)?;
        session.spend(queue, timings, (None, "transfer"), start)?;
        held.buffers = Some(buffers);
        Ok(output)
    }

    fn lack_of_memory(error: &ExecError) -> Option<&BackendError> {
        match error {
            ExecError::Backend(error @ BackendError::OutOfMemory { .. }) => Some(error),
            _ => None,
        }
    }
}

impl<'a, B: TfheBackend> Queue<'a, B> {
    fn new(
        backend: &'a B,
        plan: &Plan,
        key: &SeededEvaluationKey,
        maps: impl FnOnce() -> Result<Arc<Maps<B>>, ExecError>,
    ) -> Result<Self, ExecError> {
        if key.params != plan.params.tfhe {
            return Err(ExecError::Keys);
        }
        let maps = maps()?;
        let loading = debug_span!("load keys").entered();
        let bootstrap_key = backend.load_bootstrap_key(key)?;
        let keyswitch_key = backend.load_keyswitch_key(key)?;
        if !loading.is_disabled() {
            backend.sync()?;
        }
        Ok(Self { backend, bootstrap_key, keyswitch_key, maps })
    }
}

impl<B: TfheBackend> Maps<B> {
    fn new(backend: &B, plan: &Plan, schedule: &Schedule) -> Result<Self, ExecError> {
        let load = |map: &AffineMap| {
            let mut map = map.clone();
            for pick in map.blocks.iter_mut().flat_map(|block| &mut block.picks) {
                *pick = schedule.slot_of_value[*pick as usize];
            }
            backend.load_affine(&map)
        };
        let size = plan.params.tfhe.polynomial_size;
        let mut first = plan.params.input.tensor.len();
        let _loading = debug_span!("load maps", stages = plan.stages.len()).entered();
        let mut stages = Vec::with_capacity(plan.stages.len());
        for stage in &plan.stages {
            let words: Vec<u32> = stage.tables.iter().flat_map(|table| table.polynomial(size)).collect();
            let slots = schedule.slot_of_value[first..first + stage.affine.rows].to_vec();
            let tables = TableSet::new(size, words, stage.table_of_value.clone(), slots)?;
            stages.push(LoadedStage { affine: load(&stage.affine)?, tables: backend.load_tables(tables)? });
            first += stage.affine.rows;
        }
        Ok(Self { stages, output: load(&plan.output)?, buffer_bytes: backend.buffer_bytes() })
    }
}
