//! Runs a plan on one backend or several: keys, maps and tables loaded once, batches of any size in passes that fit the memory budget.

use crate::batch::{Timings, side_by_side};
use std::ops::Range;
use std::time::Instant;

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
}

/// One backend with everything that a pass needs.
struct Queue<'a, B: TfheBackend> {
    backend: &'a B,
    bootstrap_key: B::BootstrapKey,
    keyswitch_key: B::KeyswitchKey,
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
    images: usize,
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
        if key.params != plan.params.tfhe {
            return Err(ExecError::Keys);
        }
        let schedule = Schedule::new(plan);
        let queues = side_by_side(backends, |backend| Queue::new(backend, plan, &schedule, key))?;
        Ok(Self { plan, queues, schedule, buffer_bytes: None })
    }

    /// Bounds the buffers of one pass on one backend; at least one image is always processed.
    #[must_use]
    pub fn with_buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = Some(bytes);
        self
    }

    /// The steps that [`Session::run`] takes.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Images that the backends take in one pass, all together.
    #[must_use]
    pub fn images_per_pass(&self) -> usize {
        self.queues.iter().map(|queue| self.images_per_pass_on(queue)).sum()
    }

    fn images_per_pass_on(&self, queue: &Queue<'_, B>) -> usize {
        let tfhe = &self.plan.params.tfhe;
        let words = (self.schedule.slots + self.schedule.widest) * tfhe.big_row_words()
            + self.schedule.widest * tfhe.small_row_words();
        (self.buffer_bytes.unwrap_or(queue.buffer_bytes) / (4 * words.max(1))).max(1)
    }

    /// Evaluates the plan on a batch of encrypted inputs; also says where the time went, on the backend that took longest.
    ///
    /// Images are shared out evenly; a backend that fails does not stop the others, and the first failure is returned when all are done.
    ///
    /// # Errors
    /// [`ExecError::Input`] for a batch of another model; whatever a backend fails with.
    pub fn run(
        &self,
        input: &EncryptedInput,
        progress: &dyn Progress,
    ) -> Result<(EncryptedOutput, Timings), ExecError> {
        let (images, values) = (input.images as usize, self.plan.params.input.tensor.len());
        if input.bodies.len() != images * values || images == 0 {
            return Err(ExecError::Input { found: input.bodies.len(), expected: images.max(1) * values });
        }
        progress.start("inference", (images * self.plan.activation_count().max(1)) as u64);
        let queues = self.queues.len().min(images);
        let first = |queue: usize| images * queue / queues;
        let shares: Vec<_> = self.queues[..queues].iter().enumerate().collect();
        let mut parts = side_by_side(&shares, |&(at, queue)| {
            let (output, timings) = self.run_on(queue, input, first(at)..first(at + 1), progress)?;
            Ok::<_, ExecError>((first(at), output, timings))
        })?;
        progress.finish();
        let timings = parts.iter().map(|(.., timings)| *timings).max_by_key(Timings::total).unwrap_or_default();
        let rows = if let [(_, output, _)] = &mut parts[..] {
            std::mem::take(output)
        } else {
            let (rows, words) = (self.plan.output.rows, self.plan.params.tfhe.big_row_words());
            let mut all = vec![0; rows * images * words];
            for (first, part, _) in &parts {
                let length = part.len() / rows.max(1);
                for (row, from) in part.chunks(length.max(1)).enumerate() {
                    all[(row * images + first) * words..][..length].copy_from_slice(from);
                }
            }
            all
        };
        Ok((EncryptedOutput { images: input.images, batched: input.batched, rows }, timings))
    }

    /// The rows `output x image` of a range of the batch.
    fn run_on(
        &self,
        queue: &Queue<'_, B>,
        input: &EncryptedInput,
        range: Range<usize>,
        progress: &dyn Progress,
    ) -> Result<(Vec<u32>, Timings), ExecError> {
        let (words, rows, images) = (self.plan.params.tfhe.big_row_words(), self.plan.output.rows, range.len());
        let mut timings = Timings::default();
        let mut output = vec![0; rows * images * words];
        let mut buffers: Option<Buffers<B>> = None;
        let (mut done, mut together) = (0, self.images_per_pass_on(queue));
        while done < images {
            let now = together.min(images - done);
            let pass = match buffers.take() {
                Some(pass) if pass.images == now => Ok(pass),
                _ => self.allocate(queue, now),
            };
            let mut pass = match pass {
                Err(error @ BackendError::OutOfMemory { .. }) if now > 1 => {
                    together = now / 2;
                    progress.note(&format!("{error}; going on with {together} inputs at a time"));
                    continue;
                }
                other => other?,
            };
            let start = Instant::now();
            // The inputs are the first block of values: their slots follow one another.
            let first_slot = self.schedule.slot_of_value[0] as usize;
            let from = (range.start + done, now);
            queue.backend.upload_inputs(input, from, words, &mut pass.values, first_slot * now * words)?;
            timings.transfer += start.elapsed();
            self.pass(queue, &mut pass, &mut timings, progress)?;
            let start = Instant::now();
            for row in 0..rows {
                let to = &mut output[(row * images + done) * words..][..now * words];
                queue.backend.download(&pass.big, row * now * words, to)?;
            }
            timings.transfer += start.elapsed();
            done += now;
            buffers = Some(pass);
        }
        Ok((output, timings))
    }

    fn allocate(&self, queue: &Queue<'_, B>, images: usize) -> Result<Buffers<B>, BackendError> {
        let tfhe = &self.plan.params.tfhe;
        Ok(Buffers {
            images,
            values: queue.backend.allocate(self.schedule.slots * images * tfhe.big_row_words())?,
            big: queue.backend.allocate(self.schedule.widest * images * tfhe.big_row_words())?,
            small: queue.backend.allocate(self.schedule.widest * images * tfhe.small_row_words())?,
        })
    }

    fn pass(
        &self,
        queue: &Queue<'_, B>,
        pass: &mut Buffers<B>,
        timings: &mut Timings,
        progress: &dyn Progress,
    ) -> Result<(), BackendError> {
        let (images, words) = (pass.images, self.plan.params.tfhe.big_row_words());
        for step in &self.schedule.steps {
            let start = Instant::now();
            let spent = match *step {
                Step::Linear { stage, .. } => {
                    let affine = &queue.stages[stage].affine;
                    queue.backend.affine(affine, images, words, &pass.values, &mut pass.big)?;
                    &mut timings.linear
                }
                Step::Keyswitch { rows, .. } => {
                    queue.backend.keyswitch(&queue.keyswitch_key, rows * images, &pass.big, &mut pass.small)?;
                    &mut timings.keyswitch
                }
                Step::Bootstrap { stage, .. } => {
                    let tables = &queue.stages[stage].tables;
                    queue.backend.bootstrap(&queue.bootstrap_key, tables, images, &pass.small, &mut pass.values)?;
                    &mut timings.bootstrap
                }
                Step::Output { .. } => {
                    queue.backend.affine(&queue.output, images, words, &pass.values, &mut pass.big)?;
                    &mut timings.linear
                }
            };
            queue.backend.sync()?;
            *spent += start.elapsed();
            if let Step::Bootstrap { rows, .. } = *step {
                progress.advance((rows * images) as u64);
            }
        }
        Ok(())
    }
}

impl<'a, B: TfheBackend> Queue<'a, B> {
    fn new(backend: &'a B, plan: &Plan, schedule: &Schedule, key: &SeededEvaluationKey) -> Result<Self, ExecError> {
        let load = |map: &AffineMap| {
            let mut map = map.clone();
            for pick in map.blocks.iter_mut().flat_map(|block| &mut block.picks) {
                *pick = schedule.slot_of_value[*pick as usize];
            }
            backend.load_affine(&map)
        };
        let size = plan.params.tfhe.polynomial_size;
        let mut first = plan.params.input.tensor.len();
        let mut stages = Vec::with_capacity(plan.stages.len());
        for stage in &plan.stages {
            let words: Vec<u32> = stage.tables.iter().flat_map(|table| table.polynomial(size)).collect();
            let slots = schedule.slot_of_value[first..first + stage.affine.rows].to_vec();
            let tables = TableSet::new(size, words, stage.table_of_value.clone(), slots)?;
            stages.push(LoadedStage { affine: load(&stage.affine)?, tables: backend.load_tables(tables)? });
            first += stage.affine.rows;
        }
        let output = load(&plan.output)?;
        let bootstrap_key = backend.load_bootstrap_key(key)?;
        let keyswitch_key = backend.load_keyswitch_key(key)?;
        let buffer_bytes = backend.buffer_bytes();
        Ok(Self { backend, bootstrap_key, keyswitch_key, stages, output, buffer_bytes })
    }
}
