//! Throughput packing: one ciphertext a value, one slot an input, so that no step needs a rotation.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::{Span, debug_span, info_span, trace_span};

use crate::batch::Stopwatch;
use crate::ckks::error::CkksError;
use crate::ckks::files::seeded::{SeededCiphertext, SeededSwitchKey};
use crate::ckks::ops::{Constant, Position, Product, RnsOps};
use crate::ckks::plan::polynomials::{Closing, PolynomialNetwork};
use crate::ckks::plan::uses::uses;
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::matrix::Matrix;
use crate::ckks::ring::number::Number;
use crate::ckks::schedule::blocks::Weights;
use crate::ckks::schedule::throughput::{ReadsOpen, ThroughputSchedule, Work};
use crate::progress::Progress;

/// A network with polynomials on a device, ready to run on batches of an input a slot: walks a [`ThroughputSchedule`].
pub struct ThroughputSession<'a, B: RnsOps> {
    ring: &'a B,
    network: &'a PolynomialNetwork,
    relinearise: Option<B::SwitchKey>,
    loaded: Arc<Loaded<B>>,
    is_timed: bool,
}

/// What sessions of all keys have in common.
struct Loaded<B: RnsOps> {
    schedule: ThroughputSchedule,
    maps: Vec<LoadedMap<B::Map>>,
    /// Constants of the polynomials, by map and limbs of the argument, then by channel.
    constants: HashMap<(usize, usize), Vec<Vec<Number>>>,
}

struct LoadedMap<M> {
    matrices: Vec<M>,
    /// Constant term of each row, at the scale of the results.
    offsets: Vec<Number>,
}

/// What a node gave.
#[derive(Clone)]
enum Value<C> {
    Closed(C),
    /// A product of three parts, not yet rescaled.
    Open(Product<C>),
}

impl<C> Value<C> {
    fn into_ciphertexts(self) -> impl Iterator<Item = C> {
        let (first, second) = match self {
            Self::Closed(own) => (own, None),
            Self::Open(Product { low, high }) => (low, Some(high)),
        };
        std::iter::once(first).chain(second)
    }
}

impl<'a, B: RnsOps> ThroughputSession<'a, B> {
    /// Loads network, polynomials and a client's key.
    ///
    /// # Errors
    /// [`CkksError::Depth`] if the parameters have too few levels, or the network has no inputs; [`CkksError::Memory`]
    /// if a run would hold more than `memory_bytes`; whatever the device fails with.
    pub fn new(
        ring: &'a B,
        network: &'a PolynomialNetwork,
        relinearise: Option<&SeededSwitchKey>,
        memory_bytes: u64,
    ) -> Result<Self, CkksError> {
        let params = ring.params();
        let schedule = ThroughputSchedule::new(network, params, ring.width())?;
        let needed = schedule.peak_bytes();
        if needed > memory_bytes {
            return Err(CkksError::Memory { needed, budget: memory_bytes });
        }
        let moduli = params.moduli();
        let load = |Weights { numbers, term_scales, at }: &Weights| {
            ring.load_map(Matrix::new(numbers, term_scales.clone(), at.scale, &moduli[..at.limbs])?)
        };
        let mut constants = HashMap::new();
        let loading = debug_span!("load maps", maps = schedule.maps.len()).entered();
        let mut maps = Vec::with_capacity(schedule.maps.len());
        for (at, map) in schedule.maps.iter().enumerate() {
            let matrices: Result<_, CkksError> = map.blocks.matrices.iter().map(load).collect();
            let first = schedule.first_node(at);
            let argument = |row: usize| schedule.arguments[first + row % map.values];
            // The output's constants join what is rescaled already.
            let is_output = network.stages.get(at).is_none();
            let added = |row: usize| if is_output { schedule.states[first + row] } else { argument(row) };
            let offset = |(row, &offset): (usize, &f64)| Number::new(params, offset, added(row));
            let offsets = map.offsets.iter().enumerate().map(offset).collect();
            maps.push(LoadedMap { matrices: matrices?, offsets });
            let Some(stage) = network.stages.get(at) else { continue };
            for row in 0..map.values {
                let (argument, kind) = (argument(row), stage.activation(row).form.kind());
                constants.entry((at, argument.limbs)).or_insert_with(|| {
                    let is_open = stage.scaling.closing != Closing::Value;
                    let states = uses(kind, params, argument, is_open).constants;
                    let numbers = |values: Vec<f64>| {
                        states.iter().zip(values).map(|(&state, value)| Number::new(params, value, state)).collect()
                    };
                    stage.activations.iter().map(|activation| numbers(activation.form.constants())).collect()
                });
            }
        }
        drop(loading);
        let relinearise = load_key(ring, relinearise)?;
        let loaded = Arc::new(Loaded { schedule, maps, constants });
        Ok(Self { ring, network, relinearise, loaded, is_timed: false })
    }

    /// A session of the same network on the same ring for another client's key; matrices and constants are shared.
    ///
    /// # Errors
    /// Whatever the device fails with.
    pub fn with_key(&self, relinearise: Option<&SeededSwitchKey>) -> Result<Self, CkksError> {
        let (relinearise, loaded) = (load_key(self.ring, relinearise)?, Arc::clone(&self.loaded));
        Ok(Self { ring: self.ring, network: self.network, relinearise, loaded, is_timed: self.is_timed })
    }

    /// Waits for each step, so that the spans of [`tracing`] say how long it took on the device.
    #[must_use]
    pub fn timed(mut self, is_timed: bool) -> Self {
        self.is_timed = is_timed;
        self
    }

    /// Waits for what was asked of the device, where steps are told apart.
    fn settle(&self) -> Result<(), CkksError> {
        if self.is_timed { self.ring.sync() } else { Ok(()) }
    }

    /// Where it runs.
    pub(super) fn ring(&self) -> &'a B {
        self.ring
    }

    /// What a run does.
    #[must_use]
    pub fn schedule(&self) -> &ThroughputSchedule {
        &self.loaded.schedule
    }

    /// Evaluates the network on one fresh ciphertext an input element; one ciphertext an output element.
    ///
    /// # Errors
    /// [`CkksError::Level`] for an input of fewer limbs, or another number of inputs.
    pub fn run(&self, inputs: &[SeededCiphertext], progress: &dyn Progress) -> Result<Vec<Ciphertext>, CkksError> {
        self.run_timed(inputs, &mut Stopwatch::default(), progress)
    }

    /// As [`ThroughputSession::run`], with a stopwatch for its steps.
    ///
    /// # Errors
    /// As [`ThroughputSession::run`].
    pub fn run_timed(
        &self,
        inputs: &[SeededCiphertext],
        watch: &mut Stopwatch,
        progress: &dyn Progress,
    ) -> Result<Vec<Ciphertext>, CkksError> {
        let schedule = &self.loaded.schedule;
        let (left, right) = (inputs.len(), self.network.input.len());
        if left != right {
            return Err(CkksError::Level { left, right });
        }
        progress.start("inference", schedule.waves.iter().map(|wave| wave.nodes.len() as u64).sum());
        let mut values: Vec<Option<Value<B::Ciphertext>>> = vec![None; schedule.works.len()];
        for (at, wave) in schedule.waves.iter().enumerate() {
            let _wave = debug_span!("wave", wave = at, ciphertexts = wave.nodes.len()).entered();
            for nodes in schedule.groups(&wave.nodes) {
                let step = self.step_span(nodes).entered();
                let results = self.evaluate(nodes, &values, inputs, watch)?;
                drop(step);
                for (&node, value) in nodes.iter().zip(results) {
                    values[node as usize] = Some(value);
                }
                progress.advance(nodes.len() as u64);
            }
            let dead = wave.dead.iter().filter_map(|&node| values[node as usize].take());
            self.ring.release(dead.flat_map(Value::into_ciphertexts).collect());
        }
        progress.finish();
        let _downloading = info_span!("download", ciphertexts = schedule.outputs.len()).entered();
        let outputs = values.drain(schedule.outputs.clone());
        let outputs = outputs.flatten().flat_map(Value::into_ciphertexts).collect();
        watch.time(None, "transfer", || Ok(()), || self.ring.download(outputs))
    }

    /// The span of works of one kind.
    fn step_span(&self, nodes: &[u32]) -> Span {
        let (schedule, ciphertexts) = (&self.loaded.schedule, nodes.len());
        let Some(first) = nodes.first().map(|&node| node as usize) else { return Span::none() };
        match schedule.works[first] {
            Work::Input => info_span!("upload", ciphertexts),
            Work::Sum { map, .. } => debug_span!("sums", map, ciphertexts),
            Work::Row { map, .. } => {
                debug_span!("map", map, rows = ciphertexts, limbs = schedule.arguments[first].limbs)
            }
        }
    }

    fn evaluate(
        &self,
        nodes: &[u32],
        values: &[Option<Value<B::Ciphertext>>],
        inputs: &[SeededCiphertext],
        watch: &mut Stopwatch,
    ) -> Result<Vec<Value<B::Ciphertext>>, CkksError> {
        let wait = || self.settle();
        let Some(&first) = nodes.first() else { return Ok(Vec::new()) };
        match self.loaded.schedule.works[first as usize] {
            Work::Input => {
                let fresh = self.loaded.schedule.states[first as usize];
                let seeded: Vec<&SeededCiphertext> = nodes.iter().map(|&node| &inputs[node as usize]).collect();
                let upload = || self.ring.upload_seeded(&seeded, fresh.scale);
                let batch = watch.time(None, "transfer", wait, upload)?;
                match batch.iter().map(|value| self.ring.state(value).limbs).find(|&limbs| limbs != fresh.limbs) {
                    Some(left) => Err(CkksError::Level { left, right: fresh.limbs }),
                    None => Ok(closed(batch)),
                }
            }
            Work::Sum { map, .. } => {
                let members = |&node: &u32| match self.loaded.schedule.works[node as usize] {
                    Work::Sum { group, .. } => self.loaded.schedule.maps[map].groups[group].as_slice(),
                    _ => &[],
                };
                let groups: Vec<&[u32]> = nodes.iter().map(members).collect();
                self.shared_sums(map, &groups, values, watch).map(closed)
            }
            Work::Row { map, .. } => self.rows(map, nodes, values, watch),
        }
    }

    /// Sums that rows of a map share.
    fn shared_sums(
        &self,
        map: usize,
        groups: &[&[u32]],
        values: &[Option<Value<B::Ciphertext>>],
        watch: &mut Stopwatch,
    ) -> Result<Vec<B::Ciphertext>, CkksError> {
        let (ring, wait) = (self.ring, || self.settle());
        if self.loaded.schedule.maps[map].reads_open == ReadsOpen::No {
            let own: Result<Vec<Vec<_>>, CkksError> =
                groups.iter().map(|group| group.iter().map(|&member| ciphertext(values, member)).collect()).collect();
            let own = own?;
            return watch.time(Some(map), "linear", wait, || ring.sums(&own));
        }
        let own: Result<Vec<Vec<_>>, CkksError> =
            groups.iter().map(|group| group.iter().map(|&member| product(values, member)).collect()).collect();
        let own = own?;
        let sums = watch.time(Some(map), "linear", wait, || ring.sums_of_products(&own))?;
        let key = self.relinearise.as_ref().ok_or(CkksError::Depth)?;
        watch.time(Some(map), "polynomial", wait, || ring.relinearise_rescale(sums, key))
    }

    /// Rows of one map with their polynomials, if they have any.
    fn rows(
        &self,
        map: usize,
        nodes: &[u32],
        values: &[Option<Value<B::Ciphertext>>],
        watch: &mut Stopwatch,
    ) -> Result<Vec<Value<B::Ciphertext>>, CkksError> {
        let ring = self.ring;
        let scheduled = &self.loaded.schedule.maps[map];
        let row_of = |&node: &u32| match self.loaded.schedule.works[node as usize] {
            Work::Row { row, .. } => row,
            _ => 0,
        };
        let elements: Vec<usize> = nodes.iter().map(row_of).collect();
        let own = scheduled.values;
        let sets = scheduled.offsets.len() / own.max(1);
        // Second factors come behind all first ones.
        let rows: Vec<usize> =
            (0..sets).flat_map(|set| elements.iter().map(move |element| set * own + element)).collect();
        let wait = || self.settle();
        let offsets: Vec<_> = rows.iter().map(|&row| Constant::Number(&self.loaded.maps[map].offsets[row])).collect();
        let Some(stage) = self.network.stages.get(map) else {
            return self.outputs(map, &rows, &offsets, values, watch).map(closed);
        };
        let step = trace_span!("linear", rows = rows.len()).entered();
        let mut sums = watch.time(Some(map), "linear", wait, || self.linear(map, &rows, values))?;
        drop(step);
        let step = trace_span!("rescale", ciphertexts = sums.len()).entered();
        let u = watch.time(Some(map), "rescale", wait, || {
            if scheduled.rescales {
                sums = ring.rescale(sums)?;
            }
            ring.add_constants(&mut sums, &offsets)?;
            Ok(sums)
        })?;
        drop(step);
        let key = self.relinearise.as_ref().ok_or(CkksError::Depth)?;
        let limbs = self.loaded.schedule.arguments[nodes[0] as usize].limbs;
        let of_channel = &self.loaded.constants[&(map, limbs)];
        let count = of_channel.first().map_or(0, Vec::len);
        let constant = |at: usize, element: usize| Constant::Number(&of_channel[stage.channel[element] as usize][at]);
        let constants: Vec<Vec<_>> =
            (0..count).map(|at| elements.iter().map(|&element| constant(at, element)).collect()).collect();
        let kind = stage.activation(elements[0]).form.kind();
        let _step = trace_span!("polynomial", ciphertexts = u.len(), limbs).entered();
        watch.time(Some(map), "polynomial", wait, || {
            if stage.scaling.closing == Closing::Value {
                return Ok(closed(ring.shrink(ring.activate(key, kind, u, &constants)?)));
            }
            Ok(ring.activate_open(key, kind, u, &constants)?.into_iter().map(Value::Open).collect())
        })
    }

    /// Rows of the output.
    fn outputs(
        &self,
        map: usize,
        rows: &[usize],
        offsets: &[Constant<'_, B::Plaintext>],
        values: &[Option<Value<B::Ciphertext>>],
        watch: &mut Stopwatch,
    ) -> Result<Vec<B::Ciphertext>, CkksError> {
        let (ring, wait) = (self.ring, || self.settle());
        let _step = trace_span!("linear", rows = rows.len()).entered();
        if self.loaded.schedule.maps[map].reads_open != ReadsOpen::InRows {
            let mut outputs = watch.time(Some(map), "linear", wait, || self.linear(map, rows, values))?;
            watch.time(Some(map), "linear", wait, || ring.add_constants(&mut outputs, offsets))?;
            return Ok(outputs);
        }
        let of_product = |values: &'_ [Option<Value<B::Ciphertext>>]| {
            let apply = |matrix: &B::Map, positions: &[Position<'_, Product<B::Ciphertext>>]| {
                ring.apply_map_to_products(matrix, positions)
            };
            self.applied(map, rows, |node| product(values, node), apply)
        };
        let mut sums = watch.time(Some(map), "linear", wait, || of_product(values))?;
        // The output's scale is so large that rounding the part under s^2 costs nothing that is seen, and the key is
        // short.
        let outputs = self.loaded.schedule.first_node(map);
        watch.time(Some(map), "rescale", wait, || {
            let (before, after) =
                (self.loaded.schedule.arguments[outputs].limbs, self.loaded.schedule.states[outputs].limbs);
            for _ in after..before {
                sums = ring.rescale_products(std::mem::take(&mut sums))?;
            }
            Ok::<(), CkksError>(())
        })?;
        let key = self.relinearise.as_ref().ok_or(CkksError::Depth)?;
        let mut closed = watch.time(Some(map), "polynomial", wait, || ring.relinearise(sums, key))?;
        watch.time(Some(map), "linear", wait, || ring.add_constants(&mut closed, offsets))?;
        Ok(closed)
    }

    /// Rows of a map that reads ciphertexts, not yet rescaled.
    fn linear(
        &self,
        map: usize,
        rows: &[usize],
        values: &[Option<Value<B::Ciphertext>>],
    ) -> Result<Vec<B::Ciphertext>, CkksError> {
        let apply = |matrix: &B::Map, positions: &[Position<'_, B::Ciphertext>]| self.ring.apply_map(matrix, positions);
        self.applied(map, rows, |node| ciphertext(values, node), apply)
    }

    /// Rows of a map, not yet rescaled: matrix by matrix, each at all positions that these rows have.
    fn applied<'v, V: Clone + 'v>(
        &self,
        map: usize,
        rows: &[usize],
        value: impl Fn(u32) -> Result<&'v V, CkksError>,
        apply: impl Fn(&B::Map, &[Position<'_, V>]) -> Result<Vec<V>, CkksError>,
    ) -> Result<Vec<V>, CkksError> {
        let blocks = &self.loaded.schedule.maps[map].blocks;
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let place = |at: usize| {
            let (block, kernel) = blocks.place_of_row[rows[at]];
            (blocks.blocks[block].matrix, block, kernel)
        };
        order.sort_unstable_by_key(|&at| place(at));
        let mut results: Vec<Option<V>> = vec![None; rows.len()];
        for of_matrix in order.chunk_by(|&a, &b| place(a).0 == place(b).0) {
            let position = |of_block: &[usize]| {
                let terms = blocks.blocks[place(of_block[0]).1].terms.iter().map(|&term| value(term));
                let kernels = of_block.iter().map(|&at| place(at).2).collect();
                Ok(Position { terms: terms.collect::<Result<_, CkksError>>()?, kernels })
            };
            let positions: Result<Vec<_>, CkksError> =
                of_matrix.chunk_by(|&a, &b| place(a).1 == place(b).1).map(position).collect();
            let matrix = &self.loaded.maps[map].matrices[place(of_matrix[0]).0];
            let products = apply(matrix, &positions?)?;
            for (&at, product) in of_matrix.iter().zip(products) {
                results[at] = Some(product);
            }
        }
        Ok(results.into_iter().map(|result| result.expect("every row has its block")).collect())
    }
}

/// A client's key on the device.
fn load_key<B: RnsOps>(ring: &B, key: Option<&SeededSwitchKey>) -> Result<Option<B::SwitchKey>, CkksError> {
    let loading = debug_span!("load keys").entered();
    let key = key.map(|key| ring.load_switch_key(key)).transpose()?;
    if !loading.is_disabled() {
        ring.sync()?;
    }
    Ok(key)
}

fn closed<C>(batch: Vec<C>) -> Vec<Value<C>> {
    batch.into_iter().map(Value::Closed).collect()
}

fn live<C>(values: &[Option<Value<C>>], node: u32) -> &Value<C> {
    values[node as usize].as_ref().expect("values live until their last reader")
}

fn ciphertext<C>(values: &[Option<Value<C>>], node: u32) -> Result<&C, CkksError> {
    match live(values, node) {
        Value::Closed(own) => Ok(own),
        Value::Open(_) => Err(CkksError::Plan("a product of three parts is read as a ciphertext".into())),
    }
}

fn product<C>(values: &[Option<Value<C>>], node: u32) -> Result<&Product<C>, CkksError> {
    match live(values, node) {
        Value::Open(own) => Ok(own),
        Value::Closed(_) => Err(CkksError::Plan("a ciphertext is read as a product of three parts".into())),
    }
}
