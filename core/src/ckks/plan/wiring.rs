//! The entries of a linear map between given layouts.

use std::collections::BTreeSet;

use crate::ckks::params::layout::Layout;
use crate::ckks::plan::shared_rows::SharedRows;
use crate::ckks::plan::steps::Steps;

/// Values that exist: the input, or the results of a stage.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Index of its first value.
    pub first: usize,
    /// Where its values lie.
    pub layout: Layout,
    /// Limbs of its ciphertexts.
    pub limbs: usize,
}

/// The entries of a map between given layouts.
pub(in crate::ckks) struct Wiring<'a> {
    pub(in crate::ckks) rows: &'a SharedRows,
    pub(in crate::ckks) tensors: &'a [Tensor],
    pub(in crate::ckks) output: &'a Layout,
    pub(in crate::ckks) period: usize,
    /// For each tensor its windows, if it is read through them.
    pub(in crate::ckks) windows: Vec<Option<BTreeSet<usize>>>,
    /// For each value its tensor, and ciphertext and slot there.
    places: Vec<(u32, u32, u32)>,
}

/// An entry: from a slot of a tensor's ciphertext to a slot of an output ciphertext.
pub(in crate::ckks) struct Entry {
    pub(in crate::ckks) tensor: usize,
    pub(in crate::ckks) input: usize,
    pub(in crate::ckks) output: usize,
    pub(in crate::ckks) slot: usize,
    pub(in crate::ckks) amount: usize,
}

impl<'a> Wiring<'a> {
    pub(in crate::ckks) fn new(
        rows: &'a SharedRows,
        tensors: &'a [Tensor],
        output: &'a Layout,
        with_windows: bool,
    ) -> Self {
        let read: BTreeSet<usize> = tensors_read(rows, tensors);
        let period = read.iter().map(|&at| tensors[at].layout.whole_period()).chain([output.period]).max().unwrap_or(1);
        let windows = windows_of(rows, tensors, with_windows);
        let of_tensor = |(at, tensor): (usize, &'a Tensor)| {
            let place = move |value| tensor.layout.place(value);
            (0..tensor.layout.len()).map(place).map(move |(input, slot)| (at as u32, input as u32, slot as u32))
        };
        let places = tensors.iter().enumerate().flat_map(of_tensor).collect();
        Self { rows, tensors, output, period, windows, places }
    }

    /// Calls `act` for every entry with its row, the value read, and its weight.
    pub(in crate::ckks) fn for_each(&self, mut act: impl FnMut(Entry, usize, usize, f64)) {
        for (row, (_, taps)) in self.rows.rows.iter().enumerate() {
            let (own, place) = self.output.place(row % self.output.len());
            let output = row / self.output.len() * self.output.ciphertexts() + own;
            let mut entry = |value: u32, weight: f64| {
                let (tensor, input, from) = self.places[value as usize];
                let [tensor, input, from] = [tensor, input, from].map(|x| x as usize);
                let layout = &self.tensors[tensor].layout;
                // Periods and rings are powers of two.
                let (slot, amount) = if layout.skew > 0 {
                    self.skewed(layout, from, place)
                } else if self.output.period < self.period {
                    let amount = (from + self.period - place) & (self.output.period - 1);
                    ((from + self.period - amount) & (self.period - 1), amount)
                } else {
                    (place, from + self.output.ring - place)
                };
                // Content that repeats may be rotated by whole periods more or less.
                let amount = amount & (layout.period - 1);
                act(Entry { tensor, input, output, slot, amount }, row, value as usize, weight);
            };
            for &(source, weight) in taps.iter().filter(|(_, weight)| *weight != 0.0) {
                match source.checked_sub(self.rows.first_group) {
                    None => entry(source, weight),
                    Some(group) => {
                        let members = &self.rows.groups[group as usize];
                        let whole = self.windows[tensor_of(self.tensors, members[0])].is_some();
                        members[..if whole { 1 } else { members.len() }].iter().for_each(|&value| entry(value, weight));
                    }
                }
            }
        }
    }
}

impl Wiring<'_> {
    /// Whether every diagonal to the output comes to a repetition of what it reads by less than its skew: what
    /// [`Wiring::for_each`] needs.
    pub(in crate::ckks) fn fits_skews(&self) -> bool {
        let read = tensors_read(self.rows, self.tensors);
        let mut layouts = read.iter().map(|&at| &self.tensors[at].layout);
        layouts.all(|layout| {
            layout.skew == 0
                || self.output.period < layout.period && self.output.period <= layout.skew * layout.repetitions()
        })
    }

    /// Slot and amount by which a value meets an output: the repetition that is rotated by most of the diagonal, and
    /// what is left of it.
    fn skewed(&self, layout: &Layout, from: usize, place: usize) -> (usize, usize) {
        let (period, repetitions) = (layout.period, layout.repetitions());
        let diagonal = (from + period - place) & (self.output.period - 1);
        let (repetition, amount) = (diagonal / layout.skew, diagonal % layout.skew);
        let slot = (from + period - diagonal) & (period - 1);
        // A slot at the end of a repetition is rotated into the next one.
        let repetition = if slot + amount < period { repetition } else { repetition + repetitions - 1 };
        (repetition % repetitions * period + slot, amount)
    }
}

fn tensor_of(tensors: &[Tensor], value: u32) -> usize {
    tensors.partition_point(|tensor| tensor.first <= value as usize) - 1
}

/// The tensors that rows read; the input, if they read nothing.
fn tensors_read(rows: &SharedRows, tensors: &[Tensor]) -> BTreeSet<usize> {
    let taps = rows.rows.iter().flat_map(|(_, taps)| taps);
    let single = taps.filter(|(source, _)| *source < rows.first_group).map(|&(source, _)| source);
    let mut read: BTreeSet<usize> =
        single.chain(rows.groups.iter().flatten().copied()).map(|value| tensor_of(tensors, value)).collect();
    if read.is_empty() {
        read.insert(0);
    }
    read
}

/// For each tensor the offsets of its windows' values, if all its values are read in windows of one form.
fn windows_of(rows: &SharedRows, tensors: &[Tensor], wanted: bool) -> Vec<Option<BTreeSet<usize>>> {
    let mut windows: Vec<Option<BTreeSet<usize>>> = vec![None; tensors.len()];
    if !wanted {
        return windows;
    }
    let mut broken = vec![false; tensors.len()];
    for members in &rows.groups {
        let tensor = tensor_of(tensors, members[0]);
        let Tensor { first, layout, .. } = &tensors[tensor];
        let places: Vec<(usize, usize)> =
            members.iter().map(|&m| layout.place((m as usize).saturating_sub(*first))).collect();
        let together =
            members.iter().all(|&m| tensor_of(tensors, m) == tensor) && places.iter().all(|p| p.0 == places[0].0);
        let offsets: BTreeSet<usize> =
            places.iter().map(|p| (p.1 + layout.period - places[0].1) % layout.period).collect();
        match &windows[tensor] {
            _ if !together => broken[tensor] = true,
            None => windows[tensor] = Some(offsets),
            Some(before) => broken[tensor] |= *before != offsets,
        }
    }
    for &(source, _) in rows.rows.iter().flat_map(|(_, taps)| taps) {
        if source < rows.first_group {
            broken[tensor_of(tensors, source)] = true;
        }
    }
    for (tensor, window) in windows.iter_mut().enumerate() {
        let layout = &tensors[tensor].layout;
        let full = |window: &BTreeSet<usize>| Steps::new(window, layout.period, &[layout.pitch]).is_full();
        if broken[tensor] || window.as_ref().is_some_and(|window| !full(window)) {
            *window = None;
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotations_bring_every_value_of_skewed_content_to_every_output() {
        for (values, results, ring) in [(1024, 128, 8192), (256, 16, 4096), (64, 2, 512), (32, 16, 64)] {
            let output = Layout::vector(results, ring);
            let skew = (output.period * values / ring).max(1);
            let layout = Layout { skew, ..Layout::vector(values, ring) };
            let taps = |_| (0.0, (0..values as u32).map(|value| (value, 1.0)).collect());
            let rows = SharedRows { groups: Vec::new(), rows: (0..results).map(taps).collect(), first_group: u32::MAX };
            let content = layout.spread(0, |value| value as f64);
            let tensors = [Tensor { first: 0, layout, limbs: 1 }];
            let wiring = Wiring::new(&rows, &tensors, &output, false);
            assert!(wiring.fits_skews());
            assert_eq!(wiring.period, ring);
            let mut seen = BTreeSet::new();
            wiring.for_each(|entry, row, value, _| {
                assert!(entry.amount < skew && entry.slot % output.period == row);
                assert_eq!(content[(entry.slot + entry.amount) % ring], value as f64);
                assert!(seen.insert((entry.slot, entry.amount)), "one entry for each slot of a diagonal");
            });
            assert_eq!(seen.len(), values * results);
        }
    }
}
