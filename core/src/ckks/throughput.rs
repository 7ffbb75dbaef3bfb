//! Throughput packing: one ciphertext a value, one slot an image, so that no step needs a rotation.

use std::ops::Range;

use rayon::prelude::*;

use super::activation::Form;
use super::context::{CkksParams, Context};
use super::evaluator::{Ciphertext, CkksError};
use super::keyswitch::SwitchKey;
use super::order::{Graph, Wave};
use super::polynomials::{PolynomialNetwork, PolynomialStage};
use super::pool::Pool;
use super::shared_rows::SharedRows;
use crate::progress::Progress;

/// Share of the last two primes' product that the calibrated outputs may fill.
const OUTPUT_SHARE: f64 = 0.1;
/// Widest scale of the output's weights: more would not be seen behind the noise.
const OUTPUT_WEIGHT_LOG2: i32 = 26;
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

/// Scale of an output that is not rescaled: the last two primes hold values times weights.
pub(super) fn output_scale(params: &CkksParams, bound: f64) -> f64 {
    let modulus: f64 = params.primes[..2].iter().map(|&p| f64::from(p)).product();
    let widest = f64::from(params.scale_log2 as i32 + OUTPUT_WEIGHT_LOG2).exp2();
    widest.min(OUTPUT_SHARE * modulus / bound.max(f64::MIN_POSITIVE))
}

/// A network with polynomials, ready to run on batches of N/2 images.
///
/// Rows are evaluated in an order that was settled beforehand: values are freed behind their last reader, and inputs are asked for
/// when they are first read, so that much less than the whole network's values lives at one time.
pub struct ThroughputSession<'a> {
    context: &'a Context,
    network: &'a PolynomialNetwork,
    relinearise: Option<&'a SwitchKey>,
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

impl<'a> ThroughputSession<'a> {
    /// Ties network, polynomials and a client's key together, and settles the order for the current thread pool.
    ///
    /// # Errors
    /// [`CkksError::Depth`] if the parameters have too few levels, or the network has no inputs.
    pub fn new(
        context: &'a Context,
        network: &'a PolynomialNetwork,
        relinearise: Option<&'a SwitchKey>,
    ) -> Result<Self, CkksError> {
        if context.limbs() <= network.levels() || network.input.is_empty() {
            return Err(CkksError::Depth);
        }
        let outputs = network.value_count()..network.value_count() + network.output_rows.len();
        let mut tasks = vec![Task::Input; outputs.end];
        let mut gains = vec![1.0; outputs.end];
        let mut limbs = vec![context.limbs(); outputs.end];
        let channels = network.channels();
        let mut maps = Vec::with_capacity(network.stages.len() + 1);
        let mut first = network.input.len();
        for (at, rows) in network.maps().enumerate() {
            // At one level values of one channel have one scale.
            let channel_of = |source: u32| (channels[source as usize], limbs[source as usize]);
            let map = SharedRows::new(rows, tasks.len() as u32, channel_of);
            for (group, members) in map.groups.iter().enumerate() {
                let head = members[0] as usize;
                tasks.push(Task::Sum { map: at, group });
                gains.push(gains[head]);
                limbs.push(limbs[head]);
            }
            let stage = network.stages.get(at);
            let depth = stage.map_or(0, PolynomialStage::depth);
            for (row, (_, taps)) in map.rows.iter().enumerate() {
                let node = first + row;
                tasks[node] = Task::Row { map: at, row };
                limbs[node] = OUTPUT_LIMBS;
                if let Some(stage) = stage {
                    let lowest = taps.iter().map(|&(source, _)| limbs[source as usize]).min().unwrap_or(0);
                    limbs[node] = lowest.checked_sub(1 + depth).ok_or(CkksError::Depth)?;
                    gains[node] = stage.activation(row).form.gain();
                }
            }
            first += rows.len();
            maps.push(map);
        }
        let mut graph = Graph::default();
        for (node, task) in tasks.iter().enumerate() {
            match *task {
                Task::Input => graph.source(place(&network.input.shape, node)),
                Task::Row { map, row } => graph.row(maps[map].rows[row].1.iter().map(|&(source, _)| source)),
                Task::Sum { map, group } => graph.sum(maps[map].groups[group].iter().copied()),
            }
        }
        let width = (WAVE_ROWS_PER_THREAD * rayon::current_num_threads()).max(LEAST_WAVE_ROWS);
        let waves = graph.waves(outputs.start as u32..outputs.end as u32, width);
        Ok(Self { context, network, relinearise, maps, tasks, gains, limbs, outputs, waves })
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
        2 * 4 * (limbs * self.context.degree()) as u64
    }

    /// What all threads need for a row each at the highest level, and the buffers that wait.
    fn working_bytes(&self) -> u64 {
        let (limbs, special) = (self.context.limbs(), self.context.params.special_primes.len());
        let extended = limbs + special;
        // Three ciphertexts of an activation, the product's three parts and its coefficients; digits and their products.
        let row = 3 * 2 * limbs + 4 * limbs + (limbs.div_ceil(special) + 2) * extended;
        let polynomials = rayon::current_num_threads() * row + Pool::most_kept() * extended;
        4 * (polynomials * self.context.degree()) as u64
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
        progress.start("inference", self.network.activation_count().max(1) as u64);
        let mut values: Vec<Option<Ciphertext>> = vec![None; self.tasks.len()];
        for wave in &self.waves {
            let evaluate = |&node: &u32| {
                let node = node as usize;
                match self.tasks[node] {
                    Task::Input => self.checked(input(node)),
                    Task::Sum { map, group } => self.sum(&self.maps[map].groups[group], &values),
                    Task::Row { map, row } if self.outputs.contains(&node) => self.output(map, row, &values),
                    Task::Row { map, row } => self.activation(map, row, &values).inspect(|_| progress.advance(1)),
                }
            };
            // One row at a time: a thread that is done early takes the next one.
            let results: Result<Vec<Ciphertext>, CkksError> =
                wave.nodes.par_iter().with_max_len(1).map(evaluate).collect();
            for (&node, value) in wave.nodes.iter().zip(results?) {
                values[node as usize] = Some(value);
            }
            let dead: Vec<Ciphertext> = wave.dead.iter().filter_map(|&node| values[node as usize].take()).collect();
            dead.into_par_iter().for_each(|value| self.context.recycle(value));
        }
        progress.finish();
        Ok(values.drain(self.outputs.clone()).map(|value| value.expect("outputs are roots of the order")).collect())
    }

    fn checked(&self, input: Ciphertext) -> Result<Ciphertext, CkksError> {
        let (left, right) = (self.context.limbs_of(&input), self.context.limbs());
        if left == right { Ok(input) } else { Err(CkksError::Level { left, right }) }
    }

    fn sum(&self, members: &[u32], values: &[Option<Ciphertext>]) -> Result<Ciphertext, CkksError> {
        let (first, others) = members.split_first().expect("groups have members");
        let mut total = self.exact(live(values, *first));
        for &member in others {
            self.context.add_assign(&mut total, live(values, member))?;
        }
        Ok(total)
    }

    fn activation(&self, map: usize, row: usize, values: &[Option<Ciphertext>]) -> Result<Ciphertext, CkksError> {
        let stage = &self.network.stages[map];
        let activation = stage.activation(row);
        // u = (x - centre) / radius comes straight out of the linear map.
        let (factor, offset) = (1.0 / activation.radius, self.maps[map].rows[row].0 - activation.centre);
        let scale = f64::from(self.context.params.scale_log2).exp2();
        let sum = self.affine(map, row, values, factor, |limbs| self.context.before_rescale(scale, limbs))?;
        let mut u = self.context.rescale(sum)?;
        self.context.add_constant(&mut u, offset * factor);
        let target = self.context.limbs_of(&u) - stage.depth();
        let value = self.context.drop_to(self.activate(u, &activation.form)?, target)?;
        Ok(self.settle(value))
    }

    fn output(&self, map: usize, row: usize, values: &[Option<Ciphertext>]) -> Result<Ciphertext, CkksError> {
        let scale = output_scale(&self.context.params, self.network.output_bound);
        let mut value = self.affine(map, row, values, 1.0, |_| scale)?;
        self.context.add_constant(&mut value, self.maps[map].rows[row].0);
        Ok(self.settle(self.context.drop_to(value, OUTPUT_LIMBS)?))
    }

    /// A ciphertext that stays, in buffers without room for dropped limbs.
    fn settle(&self, value: Ciphertext) -> Ciphertext {
        let exact = self.exact(&value);
        self.context.recycle(value);
        exact
    }

    fn exact(&self, value: &Ciphertext) -> Ciphertext {
        let copy = |part: &Vec<u32>| {
            let mut out = self.context.pool.take(part.len());
            out.copy_from_slice(part);
            out
        };
        Ciphertext { parts: value.parts.each_ref().map(copy), scale: value.scale }
    }

    /// `factor` times a row without its constant, at the scale that is asked for at the lowest level of its terms.
    fn affine(
        &self,
        map: usize,
        row: usize,
        values: &[Option<Ciphertext>],
        factor: f64,
        scale: impl Fn(usize) -> f64,
    ) -> Result<Ciphertext, CkksError> {
        let term =
            |&(source, weight): &(u32, f64)| (live(values, source), weight * self.gains[source as usize] * factor);
        let terms: Vec<(&Ciphertext, f64)> = self.maps[map].rows[row].1.iter().map(term).collect();
        let limbs = terms.iter().map(|(term, _)| self.context.limbs_of(term)).min().unwrap_or(1);
        self.context.linear_combination(&terms, scale(limbs))
    }

    /// The polynomial without its gain.
    fn activate(&self, u: Ciphertext, form: &Form) -> Result<Ciphertext, CkksError> {
        let context = self.context;
        match *form {
            Form::Square { shift, constant, .. } => {
                let mut shifted = u;
                context.add_constant(&mut shifted, shift);
                let mut square = self.square(&shifted)?;
                context.recycle(shifted);
                context.add_constant(&mut square, constant);
                Ok(square)
            }
            Form::Quartic { a, b, c, d, .. } => {
                // a u joins u^2 before it is rescaled: no level of its own.
                let mut product = self.multiply(&u, &u)?;
                self.add_multiple(&mut product, &u, a)?;
                let mut inner = context.rescale(product)?;
                context.add_constant(&mut inner, b);
                let mut product = self.multiply(&inner, &inner)?;
                self.add_multiple(&mut product, &u, c)?;
                [inner, u].into_iter().for_each(|done| context.recycle(done));
                let mut value = context.rescale(product)?;
                context.add_constant(&mut value, d);
                Ok(value)
            }
            Form::Sextic { rest: [a, b, c, d, e, f], .. } => {
                let square = self.square(&u)?;
                let mut shifted = square.clone();
                context.add_constant(&mut shifted, b);
                let factor = context.drop_to(u.clone(), context.limbs_of(&square))?;
                let mut product = self.multiply(&shifted, &factor)?;
                self.add_multiple(&mut product, &square, a)?;
                let mut inner = context.rescale(product)?;
                context.add_constant(&mut inner, c);
                let mut product = self.multiply(&inner, &inner)?;
                self.add_multiple(&mut product, &square, d)?;
                self.add_multiple(&mut product, &u, e)?;
                [square, shifted, factor, inner, u].into_iter().for_each(|done| context.recycle(done));
                let mut value = context.rescale(product)?;
                context.add_constant(&mut value, f);
                Ok(value)
            }
            Form::Cubic([c0, c1, c2, c3]) => {
                let square = self.square(&u)?;
                let scale = square.scale * f64::from(context.modulus(context.limbs_of(&u) - 1).p);
                let mut factor = context.rescale(context.linear_combination(&[(&u, c3)], scale)?)?;
                context.add_constant(&mut factor, c2);
                let mut product = self.multiply(&square, &factor)?;
                self.add_multiple(&mut product, &u, c1)?;
                [square, factor, u].into_iter().for_each(|done| context.recycle(done));
                let mut value = context.rescale(product)?;
                context.add_constant(&mut value, c0);
                Ok(value)
            }
        }
    }

    fn multiply(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.context.multiply(a, b, self.relinearise.ok_or(CkksError::Depth)?)
    }

    fn square(&self, u: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.context.rescale(self.multiply(u, u)?)
    }

    /// `sum += factor * term`, at the sum's scale and level.
    fn add_multiple(&self, sum: &mut Ciphertext, term: &Ciphertext, factor: f64) -> Result<(), CkksError> {
        let multiple = self.context.linear_combination(&[(term, factor)], sum.scale)?;
        let multiple = self.context.drop_to(multiple, self.context.limbs_of(sum))?;
        self.context.add_assign(sum, &multiple)?;
        self.context.recycle(multiple);
        Ok(())
    }
}

/// Where an input element lies: elements of all channels at one place of an image together.
fn place(shape: &[usize], element: usize) -> f64 {
    let place = match *shape {
        [_, channels, height, width] => element % (height * width) * channels + element / (height * width),
        _ => element,
    };
    place as f64
}

fn live(values: &[Option<Ciphertext>], node: u32) -> &Ciphertext {
    values[node as usize].as_ref().expect("values live until their last reader")
}
