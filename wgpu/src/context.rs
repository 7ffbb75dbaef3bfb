//! An open adapter: its memory, its queue and its kernels.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heman_core::device::error::BackendError;
use heman_kernels::wgsl::{Variant, WideProducts};
use wgpu::{BufferUsages, Features};

use crate::adapters::{PARAMETER_BYTES, STORAGE_BUFFERS, adapters, suits, wait};
use crate::arena::{Arena, PLACE_BITS, SLABS, granules};
use crate::error::{Failure, WgpuError};
use crate::pipelines::Pipelines;
use crate::recorder::{ARGUMENT_WORDS, Recorder};

/// Bytes of the first slab where the adapter allows it; each further one has twice as many.
const FIRST_SLAB_BYTES: u64 = 256 << 20;
/// Submissions that wait for the device at the most.
const MOST_SUBMISSIONS: usize = 4;
/// Bytes that are handed to the driver at a time.
const UPLOAD_BYTES: usize = 16 << 20;

/// What tests change about an adapter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Restrictions {
    /// Bytes that a storage buffer may have at the most.
    pub binding_bytes: Option<u64>,
    /// What kernels make use of, where the adapter would do better.
    pub variant: Option<Variant>,
}

/// An open adapter.
pub(crate) struct Context {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub name: String,
    pub pipelines: Pipelines,
    pub failure: Arc<Failure>,
    /// Most words of a slab.
    slab_words: usize,
    /// Multiplications of residues a second, as bits of a double.
    rate: AtomicU64,
    /// Bytes that were handed to the queue since it was last told to begin.
    unsubmitted_bytes: AtomicUsize,
    state: Mutex<State>,
}

/// What changes while launches are recorded.
pub(crate) struct State {
    slabs: Vec<Slab>,
    /// Storage buffers in the place of slabs that there are none of.
    unused: Vec<wgpu::Buffer>,
    arguments: wgpu::Buffer,
    pub recorder: Recorder,
    /// What was handed over and not yet waited for.
    submitted: VecDeque<wgpu::SubmissionIndex>,
}

struct Slab {
    buffer: wgpu::Buffer,
    arena: Arena,
}

/// Words on the device, given back when dropped.
pub struct Block {
    context: Arc<Context>,
    /// Slab and place.
    pub(crate) address: u32,
    /// Words that may be used.
    pub(crate) words: usize,
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut state = self.context.state();
        let place = self.address as usize & ((1 << PLACE_BITS) - 1);
        state.slabs[(self.address >> PLACE_BITS) as usize].arena.give(place, granules(self.words));
    }
}

/// Constants of a ring, in pairs of words.
pub(crate) struct Table {
    buffer: wgpu::Buffer,
    /// Bindings of this table and so many slabs.
    group: Mutex<Option<(usize, wgpu::BindGroup)>>,
}

impl Context {
    /// Opens adapter `index`.
    pub fn open(index: usize, restrictions: Restrictions) -> Result<Self, WgpuError> {
        let mut adapters = adapters();
        let count = adapters.len();
        if count == 0 {
            return Err(WgpuError::NoAdapter);
        }
        if index >= count {
            return Err(WgpuError::NoSuchAdapter { index, count });
        }
        let adapter = adapters.swap_remove(index);
        suits(&adapter)?;
        let (info, has) = (adapter.get_info(), adapter.limits());
        let wanted = Features::IMMEDIATES | Features::SHADER_INT64 | Features::SUBGROUP | Features::PIPELINE_CACHE;
        let features = adapter.features() & wanted;
        let limits = wgpu::Limits {
            max_storage_buffers_per_shader_stage: STORAGE_BUFFERS,
            max_storage_buffer_binding_size: has.max_storage_buffer_binding_size,
            max_buffer_size: has.max_buffer_size,
            max_immediate_size: PARAMETER_BYTES,
            max_compute_workgroup_storage_size: has.max_compute_workgroup_storage_size,
            max_compute_invocations_per_workgroup: has.max_compute_invocations_per_workgroup,
            ..wgpu::Limits::downlevel_defaults().using_alignment(has.clone())
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("heman"),
            required_features: features,
            required_limits: limits,
            ..wgpu::DeviceDescriptor::default()
        };
        let opened = wait(adapter.request_device(&descriptor));
        let (device, queue) =
            opened.map_err(|error| WgpuError::Open { name: info.name.clone(), message: error.to_string() })?;
        let failure = Arc::new(Failure::default());
        let told = failure.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            told.set(matches!(error, wgpu::Error::OutOfMemory { .. }), error.to_string());
        }));
        let told = failure.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                told.set(false, format!("the device was lost: {message}"));
            }
        });
        let has_u64 = features.contains(Features::SHADER_INT64);
        let best = Variant {
            wide: if has_u64 { WideProducts::Words64 } else { WideProducts::HalfWords },
            subgroups: features.contains(Features::SUBGROUP),
        };
        let variant = restrictions.variant.unwrap_or(best);
        let binding = has.max_storage_buffer_binding_size.min(has.max_buffer_size).min((4 << PLACE_BITS) - 4);
        let binding = restrictions.binding_bytes.map_or(binding, |most| binding.min(most));
        let name = format!("wgpu {index}, {} ({:?})", info.name, info.backend);
        let pipelines = Pipelines::new(&device, name.clone(), &info, variant);
        let storage = |label, bytes, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: bytes,
                usage: BufferUsages::STORAGE | usage,
                mapped_at_creation: false,
            })
        };
        let state = State {
            slabs: Vec::new(),
            unused: (0..SLABS).map(|_| storage("unused", 16, BufferUsages::empty())).collect(),
            arguments: storage("arguments", 4 * ARGUMENT_WORDS as u64, BufferUsages::COPY_DST),
            recorder: Recorder::default(),
            submitted: VecDeque::new(),
        };
        Ok(Self {
            name,
            pipelines,
            failure,
            slab_words: (binding / 4) as usize / 64 * 64,
            rate: AtomicU64::new(0.0_f64.to_bits()),
            unsubmitted_bytes: AtomicUsize::new(0),
            state: Mutex::new(state),
            device,
            queue,
        })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Multiplications of residues a second, 0 before it was measured.
    pub fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Ordering::Relaxed))
    }

    pub fn set_rate(&self, rate: f64) {
        self.rate.store(rate.to_bits(), Ordering::Relaxed);
    }

    /// Most words of one block.
    pub fn most_words(&self) -> usize {
        self.slab_words
    }

    /// Bytes that slabs may have in all.
    pub fn reach_bytes(&self) -> u64 {
        (0..SLABS).map(|at| (FIRST_SLAB_BYTES << at).min(4 * self.slab_words as u64)).sum()
    }

    pub fn out_of_memory(&self, step: &'static str, words: usize) -> BackendError {
        BackendError::OutOfMemory { step, bytes: 4 * words as u64, device: self.name.clone() }
    }

    /// Room for `words` words, content undefined.
    pub fn reserve(self: &Arc<Self>, step: &'static str, words: usize) -> Result<Block, BackendError> {
        let taken = granules(words);
        if taken > self.slab_words {
            return Err(self.out_of_memory(step, words));
        }
        let mut state = self.state();
        let found = state.slabs.iter_mut().enumerate().find_map(|(at, slab)| Some((at, slab.arena.take(taken)?)));
        let (slab, place) = match found {
            Some(found) => found,
            None => {
                let slab = self.grow(&state, taken).ok_or_else(|| self.out_of_memory(step, words))?;
                state.slabs.push(slab);
                let at = state.slabs.len() - 1;
                let place = state.slabs[at].arena.take(taken);
                (at, place.ok_or_else(|| self.out_of_memory(step, words))?)
            }
        };
        Ok(Block { context: self.clone(), address: (slab << PLACE_BITS | place) as u32, words })
    }

    /// One more slab of at least `words` words, if there is room for one.
    fn grow(&self, state: &State, words: usize) -> Option<Slab> {
        let count = state.slabs.len();
        if count == SLABS {
            return None;
        }
        let wanted = ((FIRST_SLAB_BYTES << count) / 4) as usize;
        let mut size = wanted.clamp(words, self.slab_words.max(words));
        loop {
            let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
            let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("slab"),
                size: 4 * size as u64,
                usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            if wait(scope.pop()).is_none() {
                return Some(Slab { buffer, arena: Arena::new(size) });
            }
            if size == words {
                return None;
            }
            size = (size / 2).next_multiple_of(64).max(words);
        }
    }

    /// Constants on the device.
    pub fn table(&self, step: &'static str, constants: &[[u32; 2]]) -> Result<Table, BackendError> {
        let words = 2 * constants.len();
        if words > self.slab_words {
            return Err(self.out_of_memory(step, words));
        }
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("constants"),
            size: 4 * words as u64,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        if wait(scope.pop()).is_some() {
            return Err(self.out_of_memory(step, words));
        }
        self.write(&buffer, 0, bytemuck::cast_slice(constants));
        self.failure.check(step, &self.name)?;
        Ok(Table { buffer, group: Mutex::new(None) })
    }

    /// Bytes to a buffer, a stretch at a time, so that the driver's copies do not pile up, those of many short ones
    /// neither.
    fn write(&self, buffer: &wgpu::Buffer, at: u64, bytes: &[u8]) {
        for (chunk, bytes) in bytes.chunks(UPLOAD_BYTES).enumerate() {
            self.queue.write_buffer(buffer, at + (chunk * UPLOAD_BYTES) as u64, bytes);
            if self.unsubmitted_bytes.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len() >= UPLOAD_BYTES {
                self.unsubmitted_bytes.store(0, Ordering::Relaxed);
                self.queue.submit(None);
            }
        }
    }

    /// Words to a block, after all launches before it.
    pub fn upload(&self, step: &'static str, words: &[u32], block: &Block, at: usize) -> Result<(), BackendError> {
        if words.is_empty() {
            return Ok(());
        }
        let mut state = self.state();
        self.flush(&mut state);
        let (slab, place) = state.locate(block);
        self.write(slab, 4 * (place + at) as u64, bytemuck::cast_slice(words));
        self.failure.check(step, &self.name)
    }

    /// Words in a block of their own.
    pub fn load(self: &Arc<Self>, step: &'static str, words: &[u32]) -> Result<Block, BackendError> {
        let block = self.reserve(step, words.len())?;
        self.upload(step, words, &block, 0)?;
        Ok(block)
    }

    /// Words of a block, after all launches before it.
    pub fn download(
        &self,
        step: &'static str,
        block: &Block,
        at: usize,
        words: &mut [u32],
    ) -> Result<(), BackendError> {
        if words.is_empty() {
            return self.finish(step);
        }
        let bytes = 4 * words.len() as u64;
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let landing = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("landing"),
            size: bytes,
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        if wait(scope.pop()).is_some() {
            return Err(self.out_of_memory(step, words.len()));
        }
        {
            let mut state = self.state();
            self.flush(&mut state);
            let (slab, place) = state.locate(block);
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(slab, 4 * (place + at) as u64, &landing, 0, bytes);
            self.queue.submit([encoder.finish()]);
        }
        let told = self.failure.clone();
        landing.map_async(wgpu::MapMode::Read, .., move |mapped| {
            if let Err(error) = mapped {
                told.set(false, error.to_string());
            }
        });
        self.wait_for_queue(step)?;
        let view = landing.get_mapped_range(..).map_err(|error| self.device_error(step, error.to_string()))?;
        words.copy_from_slice(bytemuck::cast_slice(&view));
        Ok(())
    }

    /// Waits for all launches.
    pub fn finish(&self, step: &'static str) -> Result<(), BackendError> {
        let mut state = self.state();
        self.flush(&mut state);
        drop(state);
        self.wait_for_queue(step)
    }

    fn wait_for_queue(&self, step: &'static str) -> Result<(), BackendError> {
        let polled = self.device.poll(wgpu::PollType::wait_indefinitely());
        self.failure.check(step, &self.name)?;
        polled.map(|_| ()).map_err(|error| self.device_error(step, error.to_string()))
    }

    pub fn device_error(&self, step: &'static str, message: String) -> BackendError {
        BackendError::Device { step, device: self.name.clone(), message }
    }

    /// Hands recorded launches to the device, and waits where it has enough to do: what is handed over takes memory,
    /// and whoever tells progress would be far ahead of it.
    pub fn flush(&self, state: &mut State) {
        if let Some((commands, arguments)) = state.recorder.finish() {
            if !arguments.is_empty() {
                self.queue.write_buffer(&state.arguments, 0, bytemuck::cast_slice(&arguments));
            }
            let index = self.queue.submit([commands]);
            state.submitted.push_back(index);
        }
        if state.submitted.len() > MOST_SUBMISSIONS
            && let Some(index) = state.submitted.pop_front()
        {
            let waited = self.device.poll(wgpu::PollType::Wait { submission_index: Some(index), timeout: None });
            if let Err(error) = waited {
                self.failure.set(false, error.to_string());
            }
        }
    }

    /// Bindings of a table and all slabs.
    pub fn group(&self, state: &State, table: &Table) -> wgpu::BindGroup {
        let mut known = table.group.lock().unwrap_or_else(PoisonError::into_inner);
        let count = state.slabs.len();
        if let Some((of, group)) = &*known
            && *of == count
        {
            return group.clone();
        }
        let slab = |at: usize| state.slabs.get(at).map_or(&state.unused[at], |slab| &slab.buffer);
        let buffers = (0..SLABS).map(slab).chain([&table.buffer, &state.arguments]);
        let entries: Vec<wgpu::BindGroupEntry<'_>> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.pipelines.bindings,
            entries: &entries,
        });
        *known = Some((count, group.clone()));
        group
    }
}

impl State {
    /// A block's buffer, and its first word there.
    fn locate(&self, block: &Block) -> (&wgpu::Buffer, usize) {
        let slab = &self.slabs[(block.address >> PLACE_BITS) as usize];
        (&slab.buffer, block.address as usize & ((1 << PLACE_BITS) - 1))
    }
}
