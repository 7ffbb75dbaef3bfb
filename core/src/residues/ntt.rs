//! Negacyclic number-theoretic transform of N words, and the order of its values.
//!
//! Cooley-Tukey down, Gentleman-Sande up, lazily reduced: values stay below 4p on the way down, below 2p on the way up
//! (Harvey, J. Symb. Comput. 2014; Longa and Naehrig, CANS 2016). The last four depths work on tiles of 16 blocks of 16
//! words, transposed so that all 16 lanes run the same butterfly; the tile is left transposed. **Order**: value
//! `256 t + 16 i + j` of the result is the polynomial at the root of leaf `256 t + 16 j + i` of the tree, `exp` meaning
//! powers of the 2N-th root psi: leaf `l` is the point `psi^(2 rev(l) + 1)`, rev reversing log2 N bits; psi is
//! `b^((p - 1) / 2N)` for the smallest b of at least 2 that makes it a primitive root. Every backend uses this order.
//!
//! The conjugate-invariant ring of dimension N is folded first (`residues::fold`), and its tree is the left half of the
//! one of 2N words, from the child of the root on: leaf `l` is the point `psi^(4 rev(l) + 1)`, psi a 4N-th root.

use crate::device::simd::for_each_arch;
use crate::residues::fold::{self, Fold};
use crate::residues::modulus::{Factor, Modulus, times};
#[cfg(target_arch = "x86_64")]
use crate::residues::ntt_wide;
use crate::residues::roots::{LANES, Roots, TILE};

/// Roots for one prime and degree.
#[derive(Clone, Debug)]
pub struct Ntt {
    modulus: Modulus,
    degree: usize,
    down: Roots,
    up: Roots,
    /// N^-1.
    scale: Factor,
    /// Of the conjugate-invariant ring.
    fold: Option<Fold>,
}

fn reversed(index: usize, bits: u32) -> usize {
    if bits == 0 { 0 } else { index.reverse_bits() >> (usize::BITS - bits) }
}

/// Roots of the trees down and up: node `2^d + i` is the root of node i at depth d.
///
/// # Panics
/// If the prime is not 1 mod 2N.
#[must_use]
pub fn tree(modulus: Modulus, log2_degree: u32) -> [Vec<Factor>; 2] {
    let degree = 1_usize << log2_degree;
    let order = 2 * degree as u32;
    let psi = (2..)
        .map(|base| modulus.pow(base, (modulus.p - 1) / order))
        .find(|&root| modulus.pow(root, order / 2) == modulus.p - 1)
        .expect("a prime that is 1 mod 2N has a primitive 2N-th root");
    [psi, modulus.inverse(psi)].map(|psi| {
        let (mut powers, step) = (vec![1; degree], Factor::new(psi, modulus));
        for i in 1..degree {
            let power = times(powers[i - 1], step.value, step.quotient, modulus.p);
            powers[i] = power.min(power.wrapping_sub(modulus.p));
        }
        (0..degree).map(|i| Factor::new(powers[reversed(i, log2_degree)], modulus)).collect()
    })
}

/// As [`tree`], of the conjugate-invariant ring of dimension N. Its first butterflies are those of words j and N - j
/// (`residues::fold`), whose root stands in the place of a node 0: a square root of -1, and its inverse.
///
/// # Panics
/// If the prime is not 1 mod 4N.
#[must_use]
pub fn tree_of_invariants(modulus: Modulus, log2_degree: u32) -> [Vec<Factor>; 2] {
    let degree = 1_usize << log2_degree;
    tree(modulus, log2_degree + 1).map(|whole| {
        // Node i at depth d stands below the left child of the whole tree's root, at depth d + 1.
        let node = |at: usize| whole[at + (1 << at.ilog2())];
        let fold = Factor::new(modulus.sub(0, whole[1].value), modulus);
        // Folding leaves its root out of the upper half.
        let first = Factor::new(modulus.mul(fold.value, whole[2].value), modulus);
        [fold, first].into_iter().chain((2..degree).map(node)).collect()
    })
}

impl Ntt {
    /// Roots for `2^log2_degree` words, 256 at least.
    ///
    /// # Panics
    /// If the prime is not 1 mod 2N, or N is below 256.
    #[must_use]
    pub fn new(modulus: Modulus, log2_degree: u32) -> Self {
        Self::of_trees(modulus, log2_degree, &tree(modulus, log2_degree), None)
    }

    /// As [`Ntt::new`], for the conjugate-invariant ring of dimension `2^log2_degree`: coefficients are those of
    /// `1, X + X^-1, X^2 + X^-2, …`, and no value but its real one stands at a point and at its inverse.
    ///
    /// # Panics
    /// If the prime is not 1 mod 4N, or N is below 256.
    #[must_use]
    pub fn of_invariants(modulus: Modulus, log2_degree: u32) -> Self {
        let trees = tree_of_invariants(modulus, log2_degree);
        let fold = Fold::new(modulus, trees[0][0], 1 << log2_degree);
        Self::of_trees(modulus, log2_degree, &trees, Some(fold))
    }

    fn of_trees(modulus: Modulus, log2_degree: u32, [down, up]: &[Vec<Factor>; 2], fold: Option<Fold>) -> Self {
        let degree = 1_usize << log2_degree;
        assert!(degree >= TILE && modulus.p as usize % (2 * degree) == 1, "a prime that is 1 mod 2N, N at least 256");
        let split = |all: &[Factor]| {
            let blocks = degree / LANES;
            let mut tiles = Vec::with_capacity(2 * degree);
            for tile in 0..degree / TILE {
                for depth in 0..4 {
                    for node in 0..1 << depth {
                        let factor = |lane: usize| all[((blocks + tile * LANES + lane) << depth) + node];
                        tiles.extend((0..LANES).map(|lane| factor(lane).value));
                        tiles.extend((0..LANES).map(|lane| factor(lane).quotient));
                    }
                }
            }
            Roots { heads: all[..blocks].to_vec(), tiles }
        };
        let scale = Factor::new(modulus.inverse(degree as u32), modulus);
        Self { modulus, degree, down: split(down), up: split(up), scale, fold }
    }

    /// The prime.
    #[must_use]
    pub fn modulus(&self) -> Modulus {
        self.modulus
    }

    /// Coefficients below 4p to values in `[0, p)`.
    ///
    /// # Panics
    /// If there are not N words.
    pub fn forward(&self, arch: pulp::Arch, words: &mut [u32]) {
        assert_eq!(words.len(), self.degree, "one polynomial");
        if let Some(fold) = &self.fold {
            fold_down(arch, fold, words);
        }
        #[cfg(target_arch = "x86_64")]
        if ntt_wide::forward(arch, self.modulus.p, &self.down, words) {
            return;
        }
        forward(arch, self, words);
    }

    /// Values in `[0, 2p)` to coefficients in `[0, p)`.
    ///
    /// # Panics
    /// If there are not N words.
    pub fn inverse(&self, arch: pulp::Arch, words: &mut [u32]) {
        assert_eq!(words.len(), self.degree, "one polynomial");
        if !inverse_wide(arch, self, words) {
            inverse(arch, self, words);
        }
        if let Some(fold) = &self.fold {
            fold_up(arch, fold, words);
        }
    }

    /// N^-1 where the transform ends with the division; folding up divides otherwise.
    fn whole_scale(&self) -> Option<&Factor> {
        self.fold.is_none().then_some(&self.scale)
    }
}

/// Whether vectors by hand did it.
#[cfg(target_arch = "x86_64")]
fn inverse_wide(arch: pulp::Arch, ntt: &Ntt, words: &mut [u32]) -> bool {
    ntt_wide::inverse(arch, ntt.modulus.p, &ntt.up, ntt.whole_scale(), words)
}

#[cfg(not(target_arch = "x86_64"))]
fn inverse_wide(_: pulp::Arch, _: &Ntt, _: &mut [u32]) -> bool {
    false
}

fn fold_down(arch: pulp::Arch, fold: &Fold, words: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    if ntt_wide::fold(arch, fold, words) {
        return;
    }
    fold::down(arch, fold, words);
}

fn fold_up(arch: pulp::Arch, fold: &Fold, words: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    if ntt_wide::unfold(arch, fold, words) {
        return;
    }
    fold::up(arch, fold, words);
}

for_each_arch! {
    fn forward = forward_words, (ntt: &Ntt, words: &mut [u32])
}
for_each_arch! {
    fn inverse = inverse_words, (ntt: &Ntt, words: &mut [u32])
}

#[inline(always)]
fn forward_words(ntt: &Ntt, words: &mut [u32]) {
    let p = ntt.modulus.p;
    let mut half = ntt.degree / 2;
    while half >= LANES {
        let nodes = ntt.degree / (2 * half);
        for (block, w) in words.chunks_exact_mut(2 * half).zip(&ntt.down.heads[nodes..2 * nodes]) {
            let (low, high) = block.split_at_mut(half);
            for (a, b) in low.as_chunks_mut().0.iter_mut().zip(high.as_chunks_mut().0) {
                (*a, *b) = vectors_down(a, b, w, p);
            }
        }
        half /= 2;
    }
    for (tile, roots) in words.chunks_exact_mut(TILE).zip(ntt.down.tiles.chunks_exact(15 * 2 * LANES)) {
        let mut columns = [[0_u32; LANES]; LANES];
        transpose(tile, &mut columns);
        tile_down::<0>(&mut columns, roots, p);
        tile_down::<1>(&mut columns, roots, p);
        tile_down::<2>(&mut columns, roots, p);
        tile_down::<3>(&mut columns, roots, p);
        for (out, column) in tile.chunks_exact_mut(LANES).zip(&columns) {
            for (o, &x) in out.iter_mut().zip(column) {
                let x = x.min(x.wrapping_sub(2 * p));
                *o = x.min(x.wrapping_sub(p));
            }
        }
    }
}

type Columns = [[u32; LANES]; LANES];

/// One depth of 16 blocks side by side, each lane with its own roots.
#[inline(always)]
fn tile_down<const DEPTH: usize>(columns: &mut Columns, roots: &[u32], p: u32) {
    let half = 8 >> DEPTH;
    for node in 0..1 << DEPTH {
        let w: &[u32; 2 * LANES] =
            roots[((1 << DEPTH) - 1 + node) * 2 * LANES..].first_chunk().expect("all nodes' roots");
        for h in 0..half {
            let (low, high) = columns.split_at_mut(2 * half * node + h + half);
            let (a, b) = (&mut low[2 * half * node + h], &mut high[0]);
            for lane in 0..LANES {
                (a[lane], b[lane]) = butterfly_down(a[lane], b[lane], w[lane], w[LANES + lane], p);
            }
        }
    }
}

/// As [`tile_down`], up.
#[inline(always)]
fn tile_up<const DEPTH: usize>(columns: &mut Columns, roots: &[u32], p: u32) {
    let half = 8 >> DEPTH;
    for node in 0..1 << DEPTH {
        let w: &[u32; 2 * LANES] =
            roots[((1 << DEPTH) - 1 + node) * 2 * LANES..].first_chunk().expect("all nodes' roots");
        for h in 0..half {
            let (low, high) = columns.split_at_mut(2 * half * node + h + half);
            let (a, b) = (&mut low[2 * half * node + h], &mut high[0]);
            for lane in 0..LANES {
                (a[lane], b[lane]) = butterfly_up(a[lane], b[lane], w[lane], w[LANES + lane], p);
            }
        }
    }
}

/// `(a + w b, a - w b)`: from below 4p to below 4p.
#[inline(always)]
fn butterfly_down(a: u32, b: u32, value: u32, quotient: u32, p: u32) -> (u32, u32) {
    let a = a.min(a.wrapping_sub(2 * p));
    let b = times(b, value, quotient, p);
    (a + b, a + 2 * p - b)
}

/// [`butterfly_down`] on vectors with one root, through arrays of their own as [`vectors_up`].
#[inline(always)]
fn vectors_down(a: &[u32; LANES], b: &[u32; LANES], w: &Factor, p: u32) -> ([u32; LANES], [u32; LANES]) {
    let (mut low, mut high) = (*a, *b);
    for x in &mut high {
        *x = times(*x, w.value, w.quotient, p);
    }
    for lane in 0..LANES {
        let x = low[lane].min(low[lane].wrapping_sub(2 * p));
        low[lane] = x + high[lane];
        high[lane] = x + 2 * p - high[lane];
    }
    (low, high)
}

/// [`butterfly_up`] on vectors with one root. Through arrays of their own: loops over pairs in place are not
/// vectorised.
#[inline(always)]
fn vectors_up(a: &[u32; LANES], b: &[u32; LANES], w: &Factor, p: u32) -> ([u32; LANES], [u32; LANES]) {
    let (mut sum, mut difference) = ([0; LANES], [0; LANES]);
    for lane in 0..LANES {
        sum[lane] = a[lane] + b[lane];
        sum[lane] = sum[lane].min(sum[lane].wrapping_sub(2 * p));
        difference[lane] = a[lane] + 2 * p - b[lane];
    }
    for x in &mut difference {
        *x = times(*x, w.value, w.quotient, p);
    }
    (sum, difference)
}

/// `(a + b, (a - b) w)`: from below 2p to below 2p.
#[inline(always)]
fn butterfly_up(a: u32, b: u32, value: u32, quotient: u32, p: u32) -> (u32, u32) {
    let sum = a + b;
    (sum.min(sum.wrapping_sub(2 * p)), times(a + 2 * p - b, value, quotient, p))
}

#[inline(always)]
fn inverse_words(ntt: &Ntt, words: &mut [u32]) {
    let p = ntt.modulus.p;
    for (tile, roots) in words.chunks_exact_mut(TILE).zip(ntt.up.tiles.chunks_exact(15 * 2 * LANES)) {
        let mut columns = [[0_u32; LANES]; LANES];
        for (column, from) in columns.iter_mut().zip(tile.chunks_exact(LANES)) {
            column.copy_from_slice(from);
        }
        tile_up::<3>(&mut columns, roots, p);
        tile_up::<2>(&mut columns, roots, p);
        tile_up::<1>(&mut columns, roots, p);
        tile_up::<0>(&mut columns, roots, p);
        let mut rows = [[0_u32; LANES]; LANES];
        transpose(columns.as_flattened(), &mut rows);
        tile.copy_from_slice(rows.as_flattened());
    }
    let mut half = LANES;
    while half < ntt.degree {
        let nodes = ntt.degree / (2 * half);
        for (block, w) in words.chunks_exact_mut(2 * half).zip(&ntt.up.heads[nodes..2 * nodes]) {
            let (low, high) = block.split_at_mut(half);
            for (a, b) in low.as_chunks_mut().0.iter_mut().zip(high.as_chunks_mut().0) {
                (*a, *b) = vectors_up(a, b, w, p);
            }
        }
        half *= 2;
    }
    let Some(scale) = ntt.whole_scale() else { return };
    for word in words {
        let x = times(*word, scale.value, scale.quotient, p);
        *word = x.min(x.wrapping_sub(p));
    }
}

#[inline(always)]
fn transpose(from: &[u32], to: &mut [[u32; LANES]; LANES]) {
    for (i, row) in from.chunks_exact(LANES).enumerate() {
        for (j, &word) in row.iter().enumerate() {
            to[j][i] = word;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::simd;
    use crate::residues::modulus::primes_below;

    fn words(count: usize, below: u32, seed: u32) -> Vec<u32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((u64::from(state) * u64::from(below)) >> 32) as u32
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn products_are_negacyclic_convolutions_on_every_instruction_set() {
        for arch in simd::every() {
            for log2_degree in [8, 9, 11] {
                let degree = 1 << log2_degree;
                let modulus = Modulus::new(primes_below(1 << 30, log2_degree).nth(1).expect("a prime"));
                let ntt = Ntt::new(modulus, log2_degree);
                let (a, b) = (words(degree, modulus.p, 1), words(degree, modulus.p, 2));
                let mut want = vec![0; degree];
                for (i, &x) in a.iter().enumerate() {
                    for (j, &y) in b.iter().enumerate().take(if i < 40 { degree } else { 0 }) {
                        let product = modulus.mul(x, y);
                        let at = (i + j) % degree;
                        want[at] = if i + j < degree {
                            modulus.add(want[at], product)
                        } else {
                            modulus.sub(want[at], product)
                        };
                    }
                }
                let mut short = a.clone();
                short[40..].fill(0);
                let (mut x, mut y) = (short, b.clone());
                ntt.forward(arch, &mut x);
                ntt.forward(arch, &mut y);
                for (x, &y) in x.iter_mut().zip(&y) {
                    *x = modulus.mul(*x, y);
                }
                ntt.inverse(arch, &mut x);
                assert_eq!(x, want, "N = {degree}");
            }
        }
    }

    #[test]
    fn values_stand_in_the_documented_order() {
        let log2_degree = 9;
        let modulus = Modulus::new(primes_below(1 << 30, log2_degree).next().expect("a prime"));
        let ntt = Ntt::new(modulus, log2_degree);
        // The monomial X shows the points themselves: psi is its value at leaf 0.
        let mut monomial = vec![0; 512];
        monomial[1] = 1;
        ntt.forward(pulp::Arch::new(), &mut monomial);
        let psi = monomial[0];
        for (at, &value) in monomial.iter().enumerate() {
            let (tile, i, j) = (at / 256, at / 16 % 16, at % 16);
            let leaf = 256 * tile + 16 * j + i;
            assert_eq!(value, modulus.pow(psi, 2 * reversed(leaf, log2_degree) as u32 + 1), "{at}");
        }
    }

    #[test]
    fn lazy_inputs_give_reduced_outputs() {
        let modulus = Modulus::new(primes_below(1 << 30, 10).next().expect("a prime"));
        let ntt = Ntt::new(modulus, 10);
        let plain = words(1024, modulus.p, 7);
        let mut lazy: Vec<u32> = plain.iter().map(|&x| x + 3 * modulus.p).collect();
        let mut exact = plain.clone();
        ntt.forward(pulp::Arch::new(), &mut lazy);
        ntt.forward(pulp::Arch::new(), &mut exact);
        assert_eq!(lazy, exact);
        assert!(exact.iter().all(|&x| x < modulus.p));
        ntt.inverse(pulp::Arch::new(), &mut exact);
        assert_eq!(exact, plain);
    }
}
