//! Throughput packing: one ciphertext a value, one slot an image, so that no step needs a rotation.

use std::ops::Range;

use rayon::prelude::*;

use crate::ckks::error::CkksError;
use crate::ckks::ops::{Constant, RnsOps};
use crate::ckks::plan::activation::Activation;
use crate::ckks::plan::polynomials::{PolynomialNetwork, PolynomialStage};
use crate::ckks::plan::shared_rows::SharedRows;
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::keys::SwitchKey;
use crate::ckks::ring::pool::Pool;
use crate::ckks::schedule::order::{Graph, Wave};
use crate::ckks::session::polynomial::{activate, numbers};
use crate::progress::Progress;

/// Limbs of an output element.
const OUTPUT_LIMBS: usize = 2;
/// Rows of a wave for each thread: the end of a wave leaves a thread idle for half a row.
const WAVE_ROWS_PER_THREAD: usize = 16;
/// Rows of a wave at the least.
const LEAST_WAVE_ROWS: usize = 64;

/// What a node of the computation is.
#[derive(Clone, Copy)]
enum Task {
    Input,
    /// A row of a stage's map, with its activation, or of the output's.
    Row {
        map: usize,
        row: usize,
    },
    /// A sum that several rows of a map share.
    Sum {
        map: usize,
        group: usize,
    },
}

/// A network with polynomials, ready to run on batches of N/2 images.
///
/// Rows are evaluated in an order that was settled beforehand: values are freed behind their last reader, and inputs are asked for
/// when they are first read, so that much less than the whole network's values lives at one time.
pub struct ThroughputSession<'a, B: RnsOps> {
    backend: &'a B,
    network: &'a PolynomialNetwork,
    relinearise: Option<B::SwitchKey>,
    /// The linear maps of the stages, then the output's.
    maps: Vec<SharedRows>,
    /// All nodes: the network's values, then the output elements, then the maps' shared sums.
    tasks: Vec<Task>,
    /// What a reader multiplies each node with on top of its own weight.
    gains: Vec<f64>,
    limbs: Vec<usize>,
    outputs: Range<usize>,
    waves: Vec<Wave>,
}

impl<'a, B: RnsOps> ThroughputSession<'a, B> {
    /// Ties network, polynomials and a client's key together, and settles the order for the current thread pool.
    ///
    /// # Errors
    /// [`CkksError::Depth`] if the parameters have too few levels, or the network has no inputs.
    pub fn new(
        backend: &'a B,
        network: &'a PolynomialNetwork,
        relinearise: Option<SwitchKey>,
    ) -> Result<Self, CkksError> {
        let params = backend.params();
        if params.primes.len() <= network.levels() || network.input.is_empty() {
            return Err(CkksError::Depth);
        }
        let outputs = network.value_count()..network.value_count() + network.output_rows.len();
        let mut tasks = vec![Task::Input; outputs.end];
        let mut gains = vec![1.0; outputs.end];
        let mut limbs = vec![params.primes.len(); outputs.end];
        let channels = network.channels();
        let mut maps = Vec::with_capacity(network.stages.len() + 1);
        let mut first = network.input.len();
        for (at, rows) in network.maps().enumerate() {
            // At one level values of one channel have one scale.
            let channel_of = |source: u32| (channels[source as usize], limbs[source as usize]);
            let map = SharedRows::new(&rows, tasks.len() as u32, channel_of);
            for (group, members) in map.groups.iter().enumerate() {
                let head = members[0] as usize;
                tasks.push(Task::Sum { map: at, group });
                gains.push(gains[head]);
                limbs.push(limbs[head]);
            }
            let stage = network.stages.get(at);
            let depth = stage.map_or(0, PolynomialStage::depth);
            let values = stage.map_or(rows.len(), |stage| stage.rows.len());
            for row in 0..values {
                let node = first + row;
                tasks[node] = Task::Row { map: at, row };
                limbs[node] = OUTPUT_LIMBS;
                if let Some(stage) = stage {
                    let lowest = map.reads(row, values).iter().map(|&source| limbs[source as usize]).min().unwrap_or(0);
                    limbs[node] = lowest.checked_sub(1 + depth).ok_or(CkksError::Depth)?;
                    gains[node] = stage.activation(row).form.gain();
                }
            }
            first += values;
            maps.push(map);
        }
        let mut graph = Graph::default();
        for (node, task) in tasks.iter().enumerate() {
            match *task {
                Task::Input => graph.source(place(&network.input.shape, node)),
                Task::Row { map, row } => {
                    let values = network.stages.get(map).map_or(network.output_rows.len(), |stage| stage.rows.len());
                    graph.row(maps[map].reads(row, values));
                }
                Task::Sum { map, group } => graph.sum(maps[map].groups[group].iter().copied()),
            }
        }
        let width = (WAVE_ROWS_PER_THREAD * rayon::current_num_threads()).max(LEAST_WAVE_ROWS);
        let waves = graph.waves(outputs.start as u32..outputs.end as u32, width);
        let relinearise = relinearise.map(|key| backend.load_switch_key(key)).transpose()?;
        Ok(Self { backend, network, relinearise, maps, tasks, gains, limbs, outputs, waves })
    }

    /// The session, if `bytes` hold [`ThroughputSession::peak_bytes`].
    ///
    /// # Errors
    /// [`CkksError::Memory`] if not.
    pub fn with_memory_budget(self, bytes: u64) -> Result<Self, CkksError> {
        let needed = self.peak_bytes();
        if needed > bytes { Err(CkksError::Memory { needed, budget: bytes }) } else { Ok(self) }
    }

    /// Largest number of bytes that a run holds at one time on the current thread pool: ciphertexts, what the threads work on, and
    /// free buffers. Inputs count from when they are asked for; keys and constants are not in it.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        let bytes = |node: &u32| self.ciphertext_bytes(self.limbs[*node as usize]);
        let (mut alive, mut most) = (0, 0);
        for wave in &self.waves {
            alive += wave.nodes.iter().map(bytes).sum::<u64>();
            most = most.max(alive);
            alive -= wave.dead.iter().map(bytes).sum::<u64>();
        }
        most + self.working_bytes()
    }

    fn ciphertext_bytes(&self, limbs: usize) -> u64 {
        (8 * limbs as u64) << self.backend.params().log2_degree
    }

    /// What all threads need for a row each at the highest level, and the buffers that wait.
    fn working_bytes(&self) -> u64 {
        let params = self.backend.params();
        let (limbs, special) = (params.primes.len(), params.special_primes.len());
        let extended = limbs + special;
        // Three ciphertexts of an activation, the product's three parts and its coefficients; digits and their products.
        let row = 3 * 2 * limbs + 4 * limbs + (limbs.div_ceil(special) + 2) * extended;
        let polynomials = rayon::current_num_threads() * row + Pool::most_kept() * extended;
        (4 * polynomials as u64) << params.log2_degree
    }

    /// Evaluates the network; one ciphertext an output element.
    ///
    /// `input` gives the ciphertext of an input element, at all limbs; it is called once for each that is read, from any thread.
    ///
    /// # Errors
    /// [`CkksError::Level`] for an input of fewer limbs.
    pub fn run(
        &self,
        input: &(dyn Fn(usize) -> Ciphertext + Sync),
        progress: &dyn Progress,
    ) -> Result<Vec<Ciphertext>, CkksError> {
        progress.start("inference", self.waves.iter().map(|wave| wave.nodes.len() as u64).sum());
        let mut values: Vec<Option<B::Ciphertext>> = vec![None; self.tasks.len()];
        for wave in &self.waves {
            let groups = self.groups(&wave.nodes);
            // A thread that is done early takes the next group.
            let results: Result<Vec<Vec<B::Ciphertext>>, CkksError> = groups
                .par_iter()
                .with_max_len(1)
                .map(|nodes| self.evaluate(nodes, &values, input).inspect(|done| progress.advance(done.len() as u64)))
                .collect();
            for (&node, value) in groups.iter().copied().flatten().zip(results?.into_iter().flatten()) {
                values[node as usize] = Some(value);
            }
            self.backend.release(wave.dead.iter().filter_map(|&node| values[node as usize].take()).collect());
        }
        progress.finish();
        let outputs = values.drain(self.outputs.clone());
        self.backend.download(outputs.map(|value| value.expect("outputs are roots of the order")).collect())
    }

    /// Neighbours of one kind, as many as the backend takes together.
    fn groups<'n>(&self, nodes: &'n [u32]) -> Vec<&'n [u32]> {
        let alike = |&a: &u32, &b: &u32| {
            let limbs = |node: u32| self.limbs[node as usize];
            let same = match (self.tasks[a as usize], self.tasks[b as usize]) {
                (Task::Input, Task::Input) => true,
                (Task::Row { map, .. }, Task::Row { map: other, .. }) => map == other,
                (Task::Sum { map, .. }, Task::Sum { map: other, .. }) => map == other,
                _ => false,
            };
            same && limbs(a) == limbs(b)
        };
        let together = self.backend.rows_together();
        nodes.chunk_by(alike).flat_map(|nodes| nodes.chunks(together)).collect()
    }

    fn evaluate(
        &self,
        nodes: &[u32],
        values: &[Option<B::Ciphertext>],
        input: &(dyn Fn(usize) -> Ciphertext + Sync),
    ) -> Result<Vec<B::Ciphertext>, CkksError> {
        let Some(&first) = nodes.first() else { return Ok(Vec::new()) };
        match self.tasks[first as usize] {
            Task::Input => {
                let batch = self.backend.upload(nodes.iter().map(|&node| input(node as usize)).collect())?;
                let right = self.backend.params().primes.len();
                match batch.iter().map(|value| self.backend.state(value).limbs).find(|&limbs| limbs != right) {
                    Some(left) => Err(CkksError::Level { left, right }),
                    None => Ok(batch),
                }
            }
            Task::Sum { .. } => self.sums(nodes, values),
            Task::Row { .. } if self.outputs.contains(&(first as usize)) => self.output(nodes, values),
            Task::Row { map, .. } => self.activation(map, nodes, values),
        }
    }

    fn sums(&self, nodes: &[u32], values: &[Option<B::Ciphertext>]) -> Result<Vec<B::Ciphertext>, CkksError> {
        let members: Vec<&[u32]> = nodes
            .iter()
            .filter_map(|&node| match self.tasks[node as usize] {
                Task::Sum { map, group } => Some(self.maps[map].groups[group].as_slice()),
                _ => None,
            })
            .collect();
        let mut totals: Vec<B::Ciphertext> = members.iter().map(|group| live(values, group[0]).clone()).collect();
        for (total, group) in totals.iter_mut().zip(&members) {
            for &member in &group[1..] {
                self.backend.add_assign(std::slice::from_mut(total), &[live(values, member)])?;
            }
        }
        Ok(totals)
    }

    /// Rows of one stage's map, with their polynomials.
    fn activation(
        &self,
        map: usize,
        nodes: &[u32],
        values: &[Option<B::Ciphertext>],
    ) -> Result<Vec<B::Ciphertext>, CkksError> {
        let (backend, stage, rows) = (self.backend, &self.network.stages[map], self.rows(nodes));
        let activations: Vec<&Activation> = rows.iter().map(|&row| stage.activation(row)).collect();
        // u = (x - centre) / radius comes straight out of the linear map.
        // Second factors come behind all first ones; they are scaled already.
        let mut forms: Vec<(usize, f64, f64)> =
            rows.iter().zip(&activations).map(|(&row, a)| (row, a.centre, a.radius)).collect();
        if !stage.factors.is_empty() {
            forms.extend(rows.iter().map(|&row| (stage.rows.len() + row, 0.0, 1.0)));
        }
        let terms: Vec<_> = forms.iter().map(|&(row, _, radius)| self.terms(map, row, values, 1.0 / radius)).collect();
        let lowest = terms.iter().flatten().map(|(term, _)| backend.state(term).limbs).min().unwrap_or(1);
        let params = backend.params();
        let scale = f64::from(params.scale_log2).exp2() * f64::from(params.primes[lowest - 1]);
        let sums = backend.drop_to(backend.linear_combinations(&terms, scale)?, lowest)?;
        let mut u = backend.rescale(sums)?;
        let offset = |&(row, centre, radius): &(usize, f64, f64)| (self.maps[map].rows[row].0 - centre) / radius;
        let offsets: Vec<_> = forms.iter().map(offset).map(Constant::Number).collect();
        backend.add_constants(&mut u, &offsets)?;
        let Some(first) = activations.first() else { return Ok(u) };
        let key = self.relinearise.as_ref().ok_or(CkksError::Depth)?;
        let constants = numbers(&activations.iter().map(|a| &a.form).collect::<Vec<_>>());
        Ok(backend.settle(activate(backend, key, first.form.kind(), u, &constants)?))
    }

    fn output(&self, nodes: &[u32], values: &[Option<B::Ciphertext>]) -> Result<Vec<B::Ciphertext>, CkksError> {
        let (map, rows) = (self.network.stages.len(), self.rows(nodes));
        let scale = self.backend.params().output_scale(self.network.output_bound);
        let terms: Vec<_> = rows.iter().map(|&row| self.terms(map, row, values, 1.0)).collect();
        let mut batch = self.backend.linear_combinations(&terms, scale)?;
        let constants: Vec<_> = rows.iter().map(|&row| Constant::Number(self.maps[map].rows[row].0)).collect();
        self.backend.add_constants(&mut batch, &constants)?;
        Ok(self.backend.settle(self.backend.drop_to(batch, OUTPUT_LIMBS)?))
    }

    fn rows(&self, nodes: &[u32]) -> Vec<usize> {
        let row = |&node: &u32| match self.tasks[node as usize] {
            Task::Row { row, .. } => Some(row),
            _ => None,
        };
        nodes.iter().filter_map(row).collect()
    }

    /// Terms of a row, its numbers times `factor`.
    fn terms<'v>(
        &self,
        map: usize,
        row: usize,
        values: &'v [Option<B::Ciphertext>],
        factor: f64,
    ) -> Vec<(&'v B::Ciphertext, f64)> {
        let term =
            |&(source, weight): &(u32, f64)| (live(values, source), weight * self.gains[source as usize] * factor);
        self.maps[map].rows[row].1.iter().map(term).collect()
    }
}

fn live<C>(values: &[Option<C>], node: u32) -> &C {
    values[node as usize].as_ref().expect("values live until their last reader")
}

/// Where an input element lies: elements of all channels at one place of an image together.
fn place(shape: &[usize], element: usize) -> f64 {
    let place = match *shape {
        [_, channels, height, width] => element % (height * width) * channels + element / (height * width),
        _ => element,
    };
    place as f64
}
