//! Runs a plan on a backend: keys, maps and tables loaded once, batches of any size in passes that fit the memory budget.

use std::time::{Duration, Instant};

use crate::backend::{BackendError, TfheBackend};
use crate::ciphertext::{EncryptedInput, EncryptedOutput};
use crate::evaluation_key::SeededEvaluationKey;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::schedule::{Schedule, Step};
use crate::table_set::TableSet;

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

/// Seconds spent in each kind of step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Mask expansion and copies.
    pub transfer: Duration,
    /// Linear maps.
    pub linear: Duration,
    /// Keyswitches.
    pub keyswitch: Duration,
    /// Bootstraps.
    pub bootstrap: Duration,
}

impl Timings {
    /// Sum of all.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.transfer + self.linear + self.keyswitch + self.bootstrap
    }
}

/// A plan and a client's keys, loaded on a backend.
pub struct Session<'a, B: TfheBackend> {
    backend: &'a B,
    plan: &'a Plan,
    schedule: Schedule,
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
    /// Loads keys, maps and tables.
    ///
    /// # Errors
    /// [`ExecError::Keys`] for keys of other parameters; whatever the backend fails with.
    pub fn new(backend: &'a B, plan: &'a Plan, key: &SeededEvaluationKey) -> Result<Self, ExecError> {
        if key.params != plan.params.tfhe {
            return Err(ExecError::Keys);
        }
        let schedule = Schedule::new(plan);
        let load = |map: &crate::affine::AffineMap| {
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
        Ok(Self {
            backend,
            plan,
            bootstrap_key: backend.load_bootstrap_key(key)?,
            keyswitch_key: backend.load_keyswitch_key(key)?,
            stages,
            output,
            schedule,
            buffer_bytes: backend.buffer_bytes(),
        })
    }

    /// Bounds the buffers of one pass; at least one image is always processed.
    #[must_use]
    pub fn with_buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes;
        self
    }

    /// The steps that [`Session::run`] takes.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Images that one pass takes.
    #[must_use]
    pub fn images_per_pass(&self) -> usize {
        let tfhe = &self.plan.params.tfhe;
        let words = (self.schedule.slots + self.schedule.widest) * tfhe.big_row_words()
            + self.schedule.widest * tfhe.small_row_words();
        (self.buffer_bytes / (4 * words.max(1))).max(1)
    }

    /// Evaluates the plan on a batch of encrypted inputs; also says where the time went.
    ///
    /// # Errors
    /// [`ExecError::Input`] for a batch of another model; whatever the backend fails with.
    pub fn run(
        &self,
        input: &EncryptedInput,
        progress: &dyn Progress,
    ) -> Result<(EncryptedOutput, Timings), ExecError> {
        let tfhe = &self.plan.params.tfhe;
        let (images, values) = (input.images as usize, self.plan.params.input.tensor.len());
        if input.bodies.len() != images * values || images == 0 {
            return Err(ExecError::Input { found: input.bodies.len(), expected: images.max(1) * values });
        }
        let words = tfhe.big_row_words();
        let rows = self.plan.output.rows;
        let mut timings = Timings::default();
        let mut output = vec![0; rows * images * words];
        progress.start("inference", (images * self.plan.activation_count().max(1)) as u64);
        let mut buffers: Option<Buffers<B>> = None;
        let (mut done, mut together) = (0, self.images_per_pass());
        while done < images {
            let now = together.min(images - done);
            let pass = match buffers.take() {
                Some(pass) if pass.images == now => Ok(pass),
                _ => self.allocate(now),
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
            self.backend.upload_inputs(input, (done, now), words, &mut pass.values, first_slot * now * words)?;
            timings.transfer += start.elapsed();
            self.pass(&mut pass, &mut timings, progress)?;
            let start = Instant::now();
            for row in 0..rows {
                let to = &mut output[(row * images + done) * words..][..now * words];
                self.backend.download(&pass.big, row * now * words, to)?;
            }
            timings.transfer += start.elapsed();
            done += now;
            buffers = Some(pass);
        }
        progress.finish();
        Ok((EncryptedOutput { images: input.images, batched: input.batched, rows: output }, timings))
    }

    fn allocate(&self, images: usize) -> Result<Buffers<B>, BackendError> {
        let tfhe = &self.plan.params.tfhe;
        Ok(Buffers {
            images,
            values: self.backend.allocate(self.schedule.slots * images * tfhe.big_row_words())?,
            big: self.backend.allocate(self.schedule.widest * images * tfhe.big_row_words())?,
            small: self.backend.allocate(self.schedule.widest * images * tfhe.small_row_words())?,
        })
    }

    fn pass(&self, pass: &mut Buffers<B>, timings: &mut Timings, progress: &dyn Progress) -> Result<(), BackendError> {
        let (images, words) = (pass.images, self.plan.params.tfhe.big_row_words());
        for step in &self.schedule.steps {
            let start = Instant::now();
            let spent = match *step {
                Step::Linear { stage, .. } => {
                    let affine = &self.stages[stage].affine;
                    self.backend.affine(affine, images, words, &pass.values, &mut pass.big)?;
                    &mut timings.linear
                }
                Step::Keyswitch { rows, .. } => {
                    self.backend.keyswitch(&self.keyswitch_key, rows * images, &pass.big, &mut pass.small)?;
                    &mut timings.keyswitch
                }
                Step::Bootstrap { stage, .. } => {
                    let tables = &self.stages[stage].tables;
                    self.backend.bootstrap(&self.bootstrap_key, tables, images, &pass.small, &mut pass.values)?;
                    &mut timings.bootstrap
                }
                Step::Output { .. } => {
                    self.backend.affine(&self.output, images, words, &pass.values, &mut pass.big)?;
                    &mut timings.linear
                }
            };
            self.backend.sync()?;
            *spent += start.elapsed();
            if let Step::Bootstrap { rows, .. } = *step {
                progress.advance((rows * images) as u64);
            }
        }
        Ok(())
    }
}
