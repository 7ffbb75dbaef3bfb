//! Linear maps with sums that several rows share.

use std::collections::{BTreeSet, HashMap};

use crate::ckks::plan::polynomials::PolynomialNetwork;
use crate::model::network::{Row, Tap};

/// The rows of one linear map, with sums that several rows share taken out: the windows of a pooling, above all.
pub struct SharedRows {
    /// Values that are summed once.
    pub groups: Vec<Vec<u32>>,
    /// Constant term and taps of each row; a tap reads a value, or group `g` at index `first_group + g`.
    pub rows: Vec<(f64, Vec<(u32, f64)>)>,
    /// Index of the first group in taps.
    pub first_group: u32,
}

/// What members of a group have in common: the channel, and the rows that read them with their weights' bits.
type Alike<'a> = ((u64, usize), &'a [(u32, u32)]);

impl SharedRows {
    /// The maps of a network, stage by stage and then the output's, where all values of a stage are at one level.
    pub fn of_network(network: &PolynomialNetwork) -> Vec<Self> {
        let channels = network.channels();
        network.maps().map(|rows| Self::of_map(&rows, &channels)).collect()
    }

    /// One of the maps of [`SharedRows::of_network`], with the channel of every value of the network.
    pub fn of_map(rows: &[&Row], channels: &[u64]) -> Self {
        Self::new(rows, channels.len() as u32, |source| (channels[source as usize], 0))
    }

    /// What a value reads, each node once: its row and, where there are more rows than values, the rows that far behind
    /// it.
    pub fn reads(&self, value: usize, values: usize) -> BTreeSet<u32> {
        self.rows[value..].iter().step_by(values).flat_map(|(_, taps)| taps).map(|&(source, _)| source).collect()
    }

    /// Two values of one channel belong together if every row reads both with one weight, or neither.
    pub fn new(rows: &[&Row], first_group: u32, channel_of: impl Fn(u32) -> (u64, usize)) -> Self {
        // Columns: for each source the rows that read it, with its weight there.
        let taps = || rows.iter().enumerate().flat_map(|(at, row)| row.taps.iter().map(move |tap| (at, tap)));
        let sources = taps().map(|(_, tap)| tap.source as usize + 1).max().unwrap_or(0);
        let mut ends = vec![0_usize; sources + 1];
        taps().for_each(|(_, tap)| ends[tap.source as usize + 1] += 1);
        (0..sources).for_each(|source| ends[source + 1] += ends[source]);
        let mut columns = vec![(0_u32, 0_u32); ends[sources]];
        let mut filled = ends.clone();
        for (at, tap) in taps() {
            columns[filled[tap.source as usize]] = (at as u32, tap.weight.to_bits());
            filled[tap.source as usize] += 1;
        }
        let mut members: HashMap<Alike<'_>, Vec<u32>> = HashMap::new();
        for (source, range) in ends.windows(2).enumerate().filter(|(_, range)| range[0] < range[1]) {
            let source = source as u32;
            members.entry((channel_of(source), &columns[range[0]..range[1]])).or_default().push(source);
        }
        let mut groups: Vec<Vec<u32>> = members.into_values().filter(|members| members.len() > 1).collect();
        groups.sort_unstable();
        let mut group_of = HashMap::new();
        for (group, members) in groups.iter().enumerate() {
            group_of.extend(members.iter().map(|&member| (member, (first_group + group as u32, members[0]))));
        }
        let tap = |tap: &Tap| match group_of.get(&tap.source) {
            None => Some((tap.source, f64::from(tap.weight))),
            Some(&(group, head)) => (head == tap.source).then_some((group, f64::from(tap.weight))),
        };
        let mut rows: Vec<(f64, Vec<(u32, f64)>)> =
            rows.iter().map(|row| (row.bias, row.taps.iter().filter_map(tap).collect())).collect();
        // A constant row still needs a ciphertext to stand in: one that another row reads anyway.
        let any = rows.iter().find_map(|(_, taps)| taps.first()).map_or(0, |&(source, _)| source);
        rows.iter_mut().filter(|(_, taps)| taps.is_empty()).for_each(|(_, taps)| taps.push((any, 0.0)));
        Self { groups, rows, first_group }
    }
}
