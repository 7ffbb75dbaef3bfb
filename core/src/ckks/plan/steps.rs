//! Rotation amounts as sums of short arithmetic progressions, each divided into baby steps and giant steps.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::decoding::map;

/// Amounts `start + i step`, i below `babies * giants`: baby step `i % babies`, giant step `i / babies`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// First amount.
    pub start: i64,
    /// From one amount to the next.
    pub step: usize,
    /// How many there are.
    pub count: usize,
    /// Length of a run of baby steps.
    pub babies: usize,
}

impl Axis {
    /// Runs of baby steps.
    #[must_use]
    pub fn giants(&self) -> usize {
        self.count.div_ceil(self.babies)
    }
}

/// A set of amounts mod a power of two within the sums of one amount of each axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    /// The axes, the one with the shortest steps first.
    pub axes: Vec<Axis>,
    /// For each amount its place on each axis.
    #[serde(deserialize_with = "map")]
    pub places: BTreeMap<usize, Vec<usize>>,
}

/// The least run of consecutive residues mod `modulus` that has all of `residues`: its first.
fn first_of_arc(residues: &BTreeSet<usize>, modulus: usize) -> usize {
    let ordered: Vec<usize> = residues.iter().copied().collect();
    let gap_before = |at: usize| {
        let before = ordered[(at + ordered.len() - 1) % ordered.len()];
        (ordered[at] + modulus - before - 1) % modulus
    };
    // Where gaps are equal, the run that begins at 0 needs no first rotation.
    (0..ordered.len()).max_by_key(|&at| (gap_before(at), ordered[at] == 0)).map_or(0, |at| ordered[at])
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Steps {
    /// Divides amounts mod `modulus` by the radices, longest first; every digit becomes an axis, without baby steps
    /// yet.
    #[must_use]
    pub fn new(amounts: &BTreeSet<usize>, modulus: usize, radices: &[usize]) -> Self {
        let first = first_of_arc(amounts, modulus) as i64;
        let centred = if first > modulus as i64 / 2 { first - modulus as i64 } else { first };
        let modulus = modulus as i64;
        let mut rests: Vec<i64> = amounts.iter().map(|&a| centred + (a as i64 - centred).rem_euclid(modulus)).collect();
        let mut digits = Vec::with_capacity(radices.len() + 1);
        for &radix in radices {
            let residues: BTreeSet<usize> = rests.iter().map(|r| r.rem_euclid(radix as i64) as usize).collect();
            let low = first_of_arc(&residues, radix) as i64;
            let low = if low > radix as i64 / 2 { low - radix as i64 } else { low };
            let quotients: Vec<i64> = rests.iter().map(|r| (r - low).div_euclid(radix as i64)).collect();
            rests.iter_mut().zip(&quotients).for_each(|(r, q)| *r -= q * radix as i64);
            digits.push((radix, quotients));
        }
        digits.push((1, rests));
        digits.reverse();
        let mut places: BTreeMap<usize, Vec<usize>> = amounts.iter().map(|&a| (a, Vec::new())).collect();
        let mut axes = Vec::new();
        for (radix, values) in digits {
            let least = values.iter().copied().min().unwrap_or(0);
            let most = values.iter().copied().max().unwrap_or(0);
            let stride = values.iter().fold(0, |g, v| gcd(g, (v - least) as usize)).max(1);
            let count = (most - least) as usize / stride + 1;
            axes.push(Axis { start: least * radix as i64, step: stride * radix, count, babies: 1 });
            for (place, value) in places.values_mut().zip(values) {
                place.push((value - least) as usize / stride);
            }
        }
        Self { axes, places }
    }

    /// Whether every sum of one amount of each axis is an amount.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.axes.iter().map(|axis| axis.count).product::<usize>() == self.places.len()
    }

    /// Sum of the axes' first amounts.
    #[must_use]
    pub fn start(&self) -> i64 {
        self.axes.iter().map(|axis| axis.start).sum()
    }

    /// All ways of dividing the axes into baby and giant steps.
    #[must_use]
    pub fn divisions(&self) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new()];
        for axis in &self.axes {
            // A shorter run with as many giants is no worse.
            let mut runs: Vec<usize> = (1..=axis.count).map(|giants| axis.count.div_ceil(giants)).collect();
            runs.dedup();
            let longer = |division: &Vec<usize>| -> Vec<Vec<usize>> {
                runs.iter().map(|&run| [division.as_slice(), &[run]].concat()).collect()
            };
            all = all.iter().flat_map(longer).collect();
        }
        all
    }
}

/// For each axis the amounts of its baby steps; the first that moves anything also moves by all axes' first amounts.
/// Axes with few baby steps come first: what they give is decomposed once for all steps of the next.
pub(in crate::ckks) fn baby_amounts(steps: &Steps) -> Vec<Vec<i64>> {
    let mut order = baby_order(steps);
    order.retain(|&axis| steps.axes[axis].babies > 1);
    let mut amounts: Vec<Vec<i64>> = order
        .iter()
        .map(|&axis| (0..steps.axes[axis].babies).map(|i| (i * steps.axes[axis].step) as i64).collect())
        .collect();
    match amounts.first_mut() {
        Some(first) => first.iter_mut().for_each(|amount| *amount += steps.start()),
        None => amounts.push(vec![steps.start()]),
    }
    amounts
}

/// Axes in the order in which their baby steps are taken.
pub(in crate::ckks) fn baby_order(steps: &Steps) -> Vec<usize> {
    let mut order: Vec<usize> = (0..steps.axes.len()).collect();
    order.sort_by_key(|&axis| steps.axes[axis].babies);
    order
}

/// Axes in the order in which their giant steps are nested, the outermost first: the fewest steps wait for all others.
pub(in crate::ckks) fn giant_order(steps: &Steps) -> Vec<usize> {
    let mut order: Vec<usize> = (0..steps.axes.len()).collect();
    order.sort_by_key(|&axis| steps.axes[axis].giants());
    order
}

/// All amounts by which something is rotated, 0 left out.
pub(in crate::ckks) fn rotations_of(steps: &Steps) -> BTreeSet<i64> {
    let babies = baby_amounts(steps).into_iter().flatten();
    let giants = steps.axes.iter().filter(|axis| axis.giants() > 1).map(|axis| (axis.babies * axis.step) as i64);
    babies.chain(giants).filter(|&amount| amount != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts_of(steps: &Steps, modulus: usize) {
        for (&amount, places) in &steps.places {
            let sum: i64 =
                steps.axes.iter().zip(places).map(|(axis, &place)| axis.start + (place * axis.step) as i64).sum();
            assert_eq!(sum.rem_euclid(modulus as i64) as usize, amount);
            assert!(steps.axes.iter().zip(places).all(|(axis, &place)| place < axis.count));
        }
    }

    #[test]
    fn a_convolution_is_a_full_grid() {
        // 5 x 5 taps over pixels 2 apart, into channels between pixels, 8 blocks.
        let mut amounts = BTreeSet::new();
        for (block, y, x, dy, dx) in (0..8 * 25 * 4).map(|i| (i % 8, i / 8 % 5, i / 40 % 5, i / 200 % 2, i / 400)) {
            amounts.insert((block * 1024 + (2 * y + 8192 - dy) * 32 + 2 * x + 8192 - dx) % 8192);
        }
        assert_eq!(amounts.len(), 800);
        let steps = Steps::new(&amounts, 8192, &[1024, 32]);
        amounts_of(&steps, 8192);
        assert!(steps.is_full());
        let counts: Vec<usize> = steps.axes.iter().map(|axis| axis.count).collect();
        assert_eq!(counts, [10, 10, 8]);
        assert_eq!(steps.axes[0].start, -1);
    }

    #[test]
    fn any_set_is_covered() {
        for seed in 1..50_usize {
            let amounts: BTreeSet<usize> = (0..20).map(|i| (i * i * seed * 37 + seed) % 1024).collect();
            for radices in [vec![], vec![28], vec![256, 28], vec![100]] {
                amounts_of(&Steps::new(&amounts, 1024, &radices), 1024);
            }
        }
        let one = Steps::new(&BTreeSet::from([0]), 64, &[8]);
        assert_eq!(one.start(), 0);
    }
}
