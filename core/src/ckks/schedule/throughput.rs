//! Throughput packing as data: a ciphertext a value, and the order in which they are evaluated.
//!
//! Values are freed behind their last reader, and inputs are asked for when they are first read, so that much less than
//! the whole network's values lives at one time.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use crate::ckks::error::CkksError;
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::polynomials::{Closing, PolynomialNetwork, PolynomialStage};
use crate::ckks::plan::scales::{closed_output, map_states, output_state};
use crate::ckks::plan::shared_rows::SharedRows;
use crate::ckks::plan::uses::uses;
use crate::ckks::plan::width::Width;
use crate::ckks::ring::number::State;
use crate::ckks::schedule::blocks::Blocks;
use crate::ckks::schedule::order::{Graph, Wave};

/// What a node of the computation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// An element of the input.
    Input,
    /// A row of a stage's map, with its activation, or of the output's.
    Row {
        /// Which map.
        map: usize,
        /// Which row.
        row: usize,
    },
    /// A sum that several rows of a map share.
    Sum {
        /// Which map.
        map: usize,
        /// Which sum.
        group: usize,
    },
}

/// A linear map, ready to be loaded.
#[derive(Clone, Debug)]
pub struct ScheduledMap {
    /// Members of each shared sum.
    pub groups: Vec<Vec<u32>>,
    /// Constant term of each row, behind the activation's centre and radius.
    pub offsets: Vec<f64>,
    /// Rows as matrices at positions.
    pub blocks: Blocks,
    /// Values that it gives: as many rows, and as many more where they are multiplied.
    pub values: usize,
    /// Whether its sums are divided by their last prime before anything else.
    pub rescales: bool,
    /// Whether its terms, and those of its shared sums, are products of three parts.
    pub reads_open: ReadsOpen,
}

/// Where products of three parts end in a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadsOpen {
    /// Nowhere: it reads ciphertexts.
    No,
    /// In its shared sums, which are ciphertexts.
    InSums,
    /// In its rows.
    InRows,
}

impl ScheduledMap {
    /// The nodes that must be there for a row, and for what it is multiplied with: all terms of their matrices, also
    /// those that only other rows of a matrix read.
    fn reads(&self, row: usize) -> BTreeSet<u32> {
        let block = |&(block, _): &(usize, u32)| self.blocks.blocks[block].terms.iter().copied();
        self.blocks.place_of_row[row..].iter().step_by(self.values).flat_map(block).collect()
    }
}

/// All nodes, and the waves in which they are evaluated.
///
/// Nodes are the network's values, then the output elements, then the maps' shared sums.
#[derive(Clone, Debug)]
pub struct ThroughputSchedule {
    /// The linear maps of the stages, then the output's.
    pub maps: Vec<ScheduledMap>,
    /// What each node is.
    pub works: Vec<Work>,
    /// For each node scale and limbs of its value.
    pub states: Vec<State>,
    /// For each row of a stage scale and limbs of the polynomial's argument, for each row of the output of what is
    /// rescaled down to its value; of other nodes their own.
    pub arguments: Vec<State>,
    /// For each node whether it is a product of three parts, not yet rescaled.
    pub open: Vec<bool>,
    /// The output elements.
    pub outputs: Range<usize>,
    /// The order.
    pub waves: Vec<Wave>,
    log2_degree: u32,
    width: Width,
}

impl ThroughputSchedule {
    /// Settles everything but the residues, for a device of this width.
    ///
    /// # Errors
    /// [`CkksError::Depth`] if the parameters have too few levels, or the network has no inputs.
    pub fn new(network: &PolynomialNetwork, params: &ParameterSet, width: Width) -> Result<Self, CkksError> {
        let fits = network.refresh.is_none() && network.fits(params.primes.len());
        if !fits || network.input.is_empty() {
            return Err(CkksError::Depth);
        }
        let outputs = network.value_count()..network.value_count() + network.output_rows.len();
        let fresh = State { scale: f64::from(params.scale_log2).exp2(), limbs: params.primes.len() };
        let mut nodes = Nodes {
            works: vec![Work::Input; outputs.end],
            gains: vec![1.0; outputs.end],
            states: vec![fresh; outputs.end],
            arguments: vec![fresh; outputs.end],
            open: vec![false; outputs.end],
        };
        let channels = network.channels();
        let mut maps = Vec::with_capacity(network.stages.len() + 1);
        let mut first = network.input.len();
        for (at, rows) in network.maps().enumerate() {
            // At one level values of one channel have one scale.
            let channel_of = |source: u32| (channels[source as usize], nodes.states[source as usize].limbs);
            let rows = SharedRows::new(&rows, nodes.works.len() as u32, channel_of);
            let reads_open = nodes.reads_open(&rows)?;
            nodes.push_sums(at, &rows, params)?;
            let values = network.stages.get(at).map_or(rows.rows.len(), |stage| stage.rows.len());
            let linear = nodes.settle(at, first, &rows, values, network, params)?;
            maps.push(nodes.map(&rows, values, &linear, network.stages.get(at), &network.output.shape, reads_open));
            first += values;
        }
        let mut graph = Graph::default();
        for (node, work) in nodes.works.iter().enumerate() {
            match *work {
                Work::Input => graph.source(place(&network.input.shape, node)),
                Work::Row { map, row } => graph.row(maps[map].reads(row)),
                Work::Sum { map, group } => graph.sum(maps[map].groups[group].iter().copied()),
            }
        }
        let mut waves = graph.waves(outputs.start as u32..outputs.end as u32, width.wave_rows);
        let Nodes { works, states, arguments, open, .. } = nodes;
        // Nothing of a wave reads what is made in it, so what is alike may be brought together.
        for wave in &mut waves {
            wave.nodes.sort_by_key(|&node| likeness(works[node as usize], arguments[node as usize]));
        }
        Ok(Self { maps, works, states, arguments, open, outputs, waves, log2_degree: params.log2_degree, width })
    }

    /// Largest number of bytes that a run holds at one time: the maps' matrices, ciphertexts, what the device works
    /// on, and free buffers. Inputs count from when they are asked for; keys and constants of rows are not in it.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.matrix_bytes() + self.held().map(|(most, _)| most).max().unwrap_or(0) + self.width.working_bytes
    }

    /// Bytes of the maps' matrices where they are applied: a word a number and limb.
    fn matrix_bytes(&self) -> u64 {
        let matrices = self.maps.iter().flat_map(|map| &map.blocks.matrices);
        matrices.map(|weights| (4 * weights.numbers.len() * weights.at.limbs) as u64).sum()
    }

    /// For each wave the bytes of ciphertexts at its most, and behind it.
    fn held(&self) -> impl Iterator<Item = (u64, u64)> {
        let bytes = |state: State| (8 * state.limbs as u64) << self.log2_degree;
        // Of a device that keeps the part under s^2 as another ciphertext.
        let of_node = move |node: u32| {
            let parts = if self.open[node as usize] { 2 } else { 1 };
            parts * bytes(self.states[node as usize])
        };
        let mut alive = 0;
        self.waves.iter().map(move |wave| {
            alive += wave.nodes.iter().map(|&node| of_node(node)).sum::<u64>();
            // Sums of a map are there together before their polynomials are.
            let argument = |&node: &u32| match self.works[node as usize] {
                Work::Row { map, .. } => {
                    let rows = self.maps[map].offsets.len() / self.maps[map].values.max(1);
                    let before = self.arguments[node as usize];
                    let limbs = before.limbs + usize::from(self.maps[map].rescales);
                    rows as u64 * bytes(State { limbs, ..before })
                }
                _ => 0,
            };
            let most = alive + wave.nodes.iter().map(argument).sum::<u64>();
            alive -= wave.dead.iter().map(|&node| of_node(node)).sum::<u64>();
            (most, alive)
        })
    }

    /// Node of the first value of a map.
    #[must_use]
    pub fn first_node(&self, map: usize) -> usize {
        let inputs = self.works.iter().take_while(|&&work| work == Work::Input).count();
        inputs + self.maps[..map].iter().map(|map| map.values).sum::<usize>()
    }

    /// Neighbours of a wave that are alike: of one map and one level.
    pub fn groups<'n>(&self, nodes: &'n [u32]) -> impl Iterator<Item = &'n [u32]> {
        let of = |&node: &u32| likeness(self.works[node as usize], self.arguments[node as usize]);
        let alike = move |a: &u32, b: &u32| of(a) == of(b);
        nodes.chunk_by(alike)
    }
}

/// Works are evaluated together where this is the same: of one kind, map and level.
fn likeness(work: Work, argument: State) -> (u8, usize, usize) {
    match work {
        Work::Input => (0, 0, argument.limbs),
        Work::Sum { map, .. } => (1, map, argument.limbs),
        Work::Row { map, .. } => (2, map, argument.limbs),
    }
}

/// What is known of the nodes while maps are added.
struct Nodes {
    works: Vec<Work>,
    /// What a reader multiplies each node with on top of its own weight.
    gains: Vec<f64>,
    states: Vec<State>,
    arguments: Vec<State>,
    /// Which are products of three parts.
    open: Vec<bool>,
}

impl Nodes {
    /// Where a map's products of three parts end: in all of its shared sums or in all of its rows, or there are none.
    fn reads_open(&self, rows: &SharedRows) -> Result<ReadsOpen, CkksError> {
        let is_open = |source: u32| self.open.get(source as usize).copied().unwrap_or(false);
        let alone = || rows.rows.iter().flat_map(|(_, taps)| taps).filter(|tap| tap.0 < rows.first_group);
        let members = || rows.groups.iter().flatten();
        let (in_rows, in_sums) = (alone().any(|tap| is_open(tap.0)), members().any(|&source| is_open(source)));
        match (in_rows, in_sums) {
            (false, false) => Ok(ReadsOpen::No),
            (true, false) if rows.groups.is_empty() && alone().all(|tap| is_open(tap.0)) => Ok(ReadsOpen::InRows),
            (false, true) if members().all(|&source| is_open(source)) => Ok(ReadsOpen::InSums),
            _ => Err(CkksError::Plan("a map reads products of three parts beside other values".into())),
        }
    }

    fn push_sums(&mut self, map: usize, rows: &SharedRows, params: &ParameterSet) -> Result<(), CkksError> {
        for (group, members) in rows.groups.iter().enumerate() {
            let head = members[0] as usize;
            let state = self.states[head];
            if self.open[head] && state.limbs < 2 {
                return Err(CkksError::Depth);
            }
            self.works.push(Work::Sum { map, group });
            self.gains.push(self.gains[head]);
            self.states.push(if self.open[head] { state.rescaled(params) } else { state });
            self.arguments.push(state);
            self.open.push(false);
        }
        Ok(())
    }

    /// The nodes of a map's values; gives scale and limbs of each value's rows before they are rescaled.
    fn settle(
        &mut self,
        map: usize,
        first: usize,
        rows: &SharedRows,
        values: usize,
        network: &PolynomialNetwork,
        params: &ParameterSet,
    ) -> Result<Vec<State>, CkksError> {
        let mut linear = Vec::with_capacity(values);
        for row in 0..values {
            let node = first + row;
            self.works[node] = Work::Row { map, row };
            let reads = rows.reads(row, values);
            let lowest =
                reads.iter().map(|&source| self.states[source as usize].limbs).min().ok_or(CkksError::Depth)?;
            let Some(stage) = network.stages.get(map) else {
                let is_open = reads.iter().any(|&source| self.open[source as usize]);
                let before = output_state(params, network.output_bound, lowest, is_open);
                self.states[node] = closed_output(params, before);
                self.arguments[node] = before;
                linear.push(before);
                continue;
            };
            let (before, argument) = map_states(stage, params, lowest)?;
            let is_open = stage.scaling.closing != Closing::Value;
            let activation = stage.activation(row);
            self.arguments[node] = argument;
            self.states[node] = uses(activation.form.kind(), params, argument, is_open).value;
            self.open[node] = is_open;
            self.gains[node] = activation.form.gain();
            linear.push(before);
        }
        Ok(linear)
    }

    fn map(
        &self,
        rows: &SharedRows,
        values: usize,
        linear: &[State],
        stage: Option<&PolynomialStage>,
        output: &[usize],
        reads_open: ReadsOpen,
    ) -> ScheduledMap {
        // u = (x - centre) / radius comes straight out of the linear map; second factors are scaled already.
        let activation = |row: usize| stage.filter(|stage| row < stage.rows.len()).map(|stage| stage.activation(row));
        let factor = |row: usize| activation(row).map_or(1.0, |activation| 1.0 / activation.radius);
        let offset = |row: usize, bias: f64| {
            activation(row).map_or(bias, |activation| (bias - activation.centre) / activation.radius)
        };
        let places = match *stage.map_or(output, |stage| &stage.shape) {
            [_, channels, height, width] if channels * height * width == values => height * width,
            _ => 1,
        };
        let blocks = Blocks::new(
            rows,
            |row| row / values * places + row % values % places,
            |row| linear[row % values],
            |row, source, weight| weight * self.gains[source as usize] * factor(row),
            |node| self.states[node as usize].scale,
        );
        let offsets = rows.rows.iter().enumerate().map(|(row, (bias, _))| offset(row, *bias)).collect();
        let rescales = stage.is_some_and(|stage| stage.scaling.rescales);
        ScheduledMap { groups: rows.groups.clone(), offsets, blocks, values, rescales, reads_open }
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

impl fmt::Display for ThroughputSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MEBIBYTE: f64 = 1_048_576.0;
        for (at, map) in self.maps.iter().enumerate() {
            let Blocks { matrices, blocks, .. } = &map.blocks;
            let rows: usize = map.offsets.len();
            writeln!(
                f,
                "map {at}: {rows} rows as {} matrices at {} positions, {} shared sums",
                matrices.len(),
                blocks.len(),
                map.groups.len()
            )?;
        }
        for (at, (wave, (most, behind))) in self.waves.iter().zip(self.held()).enumerate() {
            write!(f, "wave {at:4}: ")?;
            for group in self.groups(&wave.nodes) {
                let limbs = self.states[group[0] as usize].limbs;
                match self.works[group[0] as usize] {
                    Work::Input => write!(f, "{} inputs, ", group.len())?,
                    Work::Row { map, .. } => write!(f, "{} rows of map {map} to {limbs} limbs, ", group.len())?,
                    Work::Sum { map, .. } => write!(f, "{} sums of map {map}, ", group.len())?,
                }
            }
            let (most, behind) = (most as f64 / MEBIBYTE, behind as f64 / MEBIBYTE);
            writeln!(f, "frees {}; {most:.1} MiB at the most, {behind:.1} MiB behind it", wave.dead.len())?;
        }
        writeln!(f, "{:.1} MiB at the most with what the device works on", self.peak_bytes() as f64 / MEBIBYTE)
    }
}
