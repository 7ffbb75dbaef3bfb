//! Finds the shared structure of quantised rows: equal weight vectors and equal index lists are stored once.

use std::collections::HashMap;

use crate::tfhe::plan::affine::{AffineBlock, AffineMap};

/// A quantised row: sources, weights (zeros kept, so that rows of one layer keep one shape) and the constant.
#[derive(Clone, Debug, Default)]
pub struct QuantisedRow {
    /// Sorted indices in the flat value space.
    pub sources: Vec<u32>,
    /// One weight a source.
    pub weights: Vec<i16>,
    /// Constant mod 2^32.
    pub bias: u32,
}

/// Groups rows to blocks: index lists that are read by the same list of weight vectors share a block.
#[must_use]
pub fn factor(rows: Vec<QuantisedRow>) -> AffineMap {
    let bias = rows.iter().map(|row| row.bias).collect();
    let row_count = rows.len();
    let mut kernels: Interner<i16> = Interner::default();
    let mut positions: Interner<u32> = Interner::default();
    let mut rows_of_position: Vec<Vec<(u32, u32)>> = Vec::new();
    for (r, row) in rows.into_iter().enumerate() {
        let kernel = kernels.id(row.weights);
        let position = positions.id(row.sources) as usize;
        rows_of_position.resize_with(rows_of_position.len().max(position + 1), Vec::new);
        rows_of_position[position].push((kernel, r as u32));
    }
    let mut blocks: Vec<(Vec<u32>, Vec<usize>)> = Vec::new();
    let mut block_of: HashMap<Vec<u32>, usize> = HashMap::new();
    for (position, rows) in rows_of_position.iter_mut().enumerate() {
        rows.sort_unstable();
        let key: Vec<u32> = rows.iter().map(|&(kernel, _)| kernel).collect();
        let block = *block_of.entry(key.clone()).or_insert_with(|| {
            blocks.push((key, Vec::new()));
            blocks.len() - 1
        });
        blocks[block].1.push(position);
    }
    let blocks = blocks
        .into_iter()
        .map(|(kernel_ids, position_ids)| {
            let terms = kernels.items[kernel_ids[0] as usize].len();
            let mut targets = Vec::with_capacity(kernel_ids.len() * position_ids.len());
            for kernel in 0..kernel_ids.len() {
                targets.extend(position_ids.iter().map(|&position| {
                    let rows: &[(u32, u32)] = &rows_of_position[position];
                    rows[kernel].1
                }));
            }
            AffineBlock {
                terms,
                weights: kernel_ids.iter().flat_map(|&k| kernels.items[k as usize].iter().copied()).collect(),
                picks: position_ids.iter().flat_map(|&p| positions.items[p].iter().copied()).collect(),
                targets,
                kernels: kernel_ids.len(),
                positions: position_ids.len(),
            }
        })
        .collect();
    AffineMap { rows: row_count, blocks, bias }
}

struct Interner<T> {
    ids: HashMap<std::sync::Arc<[T]>, u32>,
    items: Vec<std::sync::Arc<[T]>>,
    /// What was asked for last.
    last: u32,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { ids: HashMap::new(), items: Vec::new(), last: 0 }
    }
}

impl<T: std::hash::Hash + Eq> Interner<T> {
    fn id(&mut self, item: Vec<T>) -> u32 {
        // The rows of a channel have one kernel, and its positions follow each other as those of the channel before: to
        // compare takes a fraction of what hashing does.
        let is_same = |&id: &u32| self.items.get(id as usize).is_some_and(|known| **known == *item);
        let known = [self.last, self.last + 1].into_iter().find(is_same);
        self.last = known.or_else(|| self.ids.get(item.as_slice()).copied()).unwrap_or(self.items.len() as u32);
        if (self.last as usize) < self.items.len() {
            return self.last;
        }
        let shared: std::sync::Arc<[T]> = item.into();
        self.items.push(shared.clone());
        self.ids.insert(shared, self.last);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sources: &[u32], weights: &[i16], bias: u32) -> QuantisedRow {
        QuantisedRow { sources: sources.into(), weights: weights.into(), bias }
    }

    #[test]
    fn a_convolution_becomes_one_block_and_borders_others() {
        let rows = vec![
            row(&[0, 1], &[3, 4], 1),
            row(&[1, 2], &[3, 4], 2),
            row(&[2], &[3], 3),
            row(&[0, 1], &[5, 6], 4),
            row(&[1, 2], &[5, 6], 5),
            row(&[2], &[5], 6),
        ];
        let map = factor(rows);
        assert_eq!(
            map.blocks.iter().map(|b| (b.kernels, b.positions, b.terms)).collect::<Vec<_>>(),
            [(2, 2, 2), (2, 1, 1)]
        );
        assert_eq!(map.blocks[0].targets, [0, 1, 3, 4]);
        assert_eq!(map.bias, [1, 2, 3, 4, 5, 6]);
        map.validate(3).expect("every row once, every pick in range");
        assert!(map.validate(2).is_err());
    }

    #[test]
    fn a_row_twice_and_a_constant_row_are_kept() {
        let map = factor(vec![row(&[0], &[1], 0), row(&[0], &[1], 9), row(&[], &[], 7)]);
        map.validate(1).expect("sound");
        assert_eq!(map.term_count(), 2);
    }
}
