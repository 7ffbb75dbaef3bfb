//! The loops of [`super::ntt`] with vectors by hand, two depths for each reading of the words. The words of the results
//! are those of the portable loops.

use crate::residues::fold::{self, Fold};
use crate::residues::modulus::Factor;
use crate::residues::roots::{LANES, Roots, TILE};
use crate::residues::vectors::{Prime, Root, Vectors, for_each_vector};

/// Words of all roots of a tile: values and quotients of 15 nodes.
const TILE_ROOTS: usize = 15 * 2 * LANES;

for_each_vector! {
    /// Coefficients below 4p to values in `[0, p)`.
    pub(super) fn forward = forward_words, (p: u32, roots: &Roots, words: &mut [u32])
}
for_each_vector! {
    /// Values in `[0, 2p)` to coefficients in `[0, p)`, times `scale`, which is N^-1; without it below 2p, N times too
    /// large.
    pub(super) fn inverse = inverse_words, (p: u32, roots: &Roots, scale: Option<&Factor>, words: &mut [u32])
}
for_each_vector! {
    /// [`fold::down`].
    pub(super) fn fold = fold_words, (fold: &Fold, words: &mut [u32])
}
for_each_vector! {
    /// [`fold::up`].
    pub(super) fn unfold = unfold_words, (fold: &Fold, words: &mut [u32])
}

#[inline(always)]
fn forward_words<S: Vectors>(simd: S, p: u32, roots: &Roots, words: &mut [u32]) {
    let (prime, degree) = (Prime::new(simd, p), words.len());
    assert!(degree.is_power_of_two() && degree >= TILE, "whole tiles");
    let mut half = degree / 2;
    // An odd number of depths begins with one by itself.
    if (degree / LANES).trailing_zeros() % 2 == 1 {
        let w = Root::everywhere(simd, &roots.heads[1]);
        let (low, high) = words.split_at_mut(half);
        for (a, b) in low.chunks_exact_mut(S::COUNT).zip(high.chunks_exact_mut(S::COUNT)) {
            // SAFETY: slices of a vector.
            unsafe {
                let (x, y) = prime.down(simd.load(a.as_ptr()), simd.load(b.as_ptr()), w);
                simd.store(a.as_mut_ptr(), x);
                simd.store(b.as_mut_ptr(), y);
            }
        }
        half /= 2;
    }
    while half > LANES {
        let nodes = degree / (2 * half);
        for (at, block) in words.chunks_exact_mut(2 * half).enumerate() {
            let [w, left, right] = family(simd, &roots.heads, nodes + at);
            let quarter = half / 2;
            let start = block.as_mut_ptr();
            for at in (0..quarter).step_by(S::COUNT) {
                // SAFETY: four quarters of the block; `quarter` is a multiple of 16.
                unsafe {
                    let (a, b, c, d) = quarters(start.add(at), quarter);
                    let (x, z) = prime.down(simd.load(a), simd.load(c), w);
                    let (y, v) = prime.down(simd.load(b), simd.load(d), w);
                    let (x, y) = prime.down(x, y, left);
                    let (z, v) = prime.down(z, v, right);
                    simd.store(a, x);
                    simd.store(b, y);
                    simd.store(c, z);
                    simd.store(d, v);
                }
            }
        }
        half /= 4;
    }
    let tiles = words.as_chunks_mut::<TILE>().0.iter_mut().zip(roots.tiles.as_chunks::<TILE_ROOTS>().0);
    for (tile, roots) in tiles {
        if S::COUNT == LANES {
            let tile = tile.as_mut_ptr();
            // SAFETY: a tile, all of whose words are read before any is written.
            unsafe { tile_down(simd, prime, tile.cast_const(), roots, 0, tile) };
            continue;
        }
        // Columns go to rows that are still to be read.
        let before = *tile;
        for part in 0..LANES / S::COUNT {
            // SAFETY: two tiles.
            unsafe { tile_down(simd, prime, before.as_ptr(), roots, part * S::COUNT, tile.as_mut_ptr()) };
        }
    }
}

/// The last four depths of the blocks of a tile from number `first` on, as many as a vector has words; all of these are
/// read before any word is written.
///
/// # Safety
/// `from` and `tile` are [`TILE`] words each, perhaps the same ones, and `first` is a multiple of [`Vectors::COUNT`]
/// below 16.
#[inline(always)]
unsafe fn tile_down<S: Vectors>(
    simd: S,
    prime: Prime<S>,
    from: *const u32,
    roots: &[u32; TILE_ROOTS],
    first: usize,
    tile: *mut u32,
) {
    let mut columns = [simd.splat(0); LANES];
    for square in (0..LANES).step_by(S::COUNT) {
        for row in 0..S::COUNT {
            // SAFETY: `from` are 16 rows of 16 words.
            columns[square + row] = unsafe { simd.load(from.add((first + row) * LANES + square)) };
        }
        simd.transpose(&mut columns[square..square + S::COUNT]);
    }
    if S::COUNT == LANES {
        // Registers hold all columns: a depth at a time, roots need the fewest of those that are left.
        for depth in 0..4 {
            let half = 8 >> depth;
            for node in 0..1 << depth {
                // SAFETY: 15 nodes.
                let w = unsafe { root(simd, roots, (1 << depth) - 1 + node, first) };
                for at in 2 * half * node..2 * half * node + half {
                    (columns[at], columns[at + half]) = prime.down(columns[at], columns[at + half], w);
                }
            }
        }
    } else {
        // Two depths at a time keep to four columns.
        for at in 0..4 {
            let [w, left, right] = nodes(simd, roots, 0, first);
            (columns[at], columns[at + 8]) = prime.down(columns[at], columns[at + 8], w);
            (columns[at + 4], columns[at + 12]) = prime.down(columns[at + 4], columns[at + 12], w);
            (columns[at], columns[at + 4]) = prime.down(columns[at], columns[at + 4], left);
            (columns[at + 8], columns[at + 12]) = prime.down(columns[at + 8], columns[at + 12], right);
        }
        for at in 0..4 {
            let [w, left, right] = nodes(simd, roots, 3 + at, first);
            let own = 4 * at;
            (columns[own], columns[own + 2]) = prime.down(columns[own], columns[own + 2], w);
            (columns[own + 1], columns[own + 3]) = prime.down(columns[own + 1], columns[own + 3], w);
            (columns[own], columns[own + 1]) = prime.down(columns[own], columns[own + 1], left);
            (columns[own + 2], columns[own + 3]) = prime.down(columns[own + 2], columns[own + 3], right);
        }
    }
    for (column, x) in columns.into_iter().enumerate() {
        // SAFETY: a tile has 16 rows of 16 words.
        unsafe { simd.store(tile.add(column * LANES + first), prime.reduce(prime.halve(x))) };
    }
}

/// The root of a node of a tile, for the blocks from number `first` on.
///
/// # Safety
/// There are 15 nodes, and 16 blocks.
#[inline(always)]
unsafe fn root<S: Vectors>(simd: S, roots: &[u32; TILE_ROOTS], node: usize, first: usize) -> Root<S::V> {
    // SAFETY: each node has 16 values and 16 quotients.
    unsafe {
        let values = roots.as_ptr().add(2 * LANES * node + first);
        Root::read(simd, values, values.add(LANES))
    }
}

/// The roots of a node of a tile and of its two children, for the blocks from number `first` on.
#[inline(always)]
fn nodes<S: Vectors>(simd: S, roots: &[u32; TILE_ROOTS], node: usize, first: usize) -> [Root<S::V>; 3] {
    // Nodes 1 and 2 are the children of node 0, 3 to 6 their children, and so on.
    let left = 2 * node + 1;
    // SAFETY: nodes with children are the first seven of 15.
    unsafe { [root(simd, roots, node, first), root(simd, roots, left, first), root(simd, roots, left + 1, first)] }
}

#[inline(always)]
fn inverse_words<S: Vectors>(simd: S, p: u32, roots: &Roots, scale: Option<&Factor>, words: &mut [u32]) {
    let (prime, degree) = (Prime::new(simd, p), words.len());
    assert!(degree.is_power_of_two() && degree >= TILE, "whole tiles");
    let tiles = words.as_chunks_mut::<TILE>().0.iter_mut().zip(roots.tiles.as_chunks::<TILE_ROOTS>().0);
    for (tile, roots) in tiles {
        if S::COUNT == LANES {
            let tile = tile.as_mut_ptr();
            // SAFETY: a tile, all of whose words are read before any is written.
            unsafe { tile_up(simd, prime, tile.cast_const(), roots, 0, tile) };
            continue;
        }
        let before = *tile;
        for part in 0..LANES / S::COUNT {
            // SAFETY: two tiles.
            unsafe { tile_up(simd, prime, before.as_ptr(), roots, part * S::COUNT, tile.as_mut_ptr()) };
        }
    }
    let mut quarter = LANES;
    while 4 * quarter <= degree {
        let nodes = degree / (4 * quarter);
        for (at, block) in words.chunks_exact_mut(4 * quarter).enumerate() {
            let [w, left, right] = family(simd, &roots.heads, nodes + at);
            let start = block.as_mut_ptr();
            for at in (0..quarter).step_by(S::COUNT) {
                // SAFETY: four quarters of the block; `quarter` is a multiple of 16.
                unsafe {
                    let (a, b, c, d) = quarters(start.add(at), quarter);
                    let (x, y) = prime.up(simd.load(a), simd.load(b), left);
                    let (z, v) = prime.up(simd.load(c), simd.load(d), right);
                    let (x, z) = prime.up(x, z, w);
                    let (y, v) = prime.up(y, v, w);
                    simd.store(a, x);
                    simd.store(b, y);
                    simd.store(c, z);
                    simd.store(d, v);
                }
            }
        }
        quarter *= 4;
    }
    if 2 * quarter == degree {
        let w = Root::everywhere(simd, &roots.heads[1]);
        let (low, high) = words.split_at_mut(quarter);
        for (a, b) in low.chunks_exact_mut(S::COUNT).zip(high.chunks_exact_mut(S::COUNT)) {
            // SAFETY: slices of a vector.
            unsafe {
                let (x, y) = prime.up(simd.load(a.as_ptr()), simd.load(b.as_ptr()), w);
                simd.store(a.as_mut_ptr(), x);
                simd.store(b.as_mut_ptr(), y);
            }
        }
    }
    let Some(scale) = scale else { return };
    let scale = Root::everywhere(simd, scale);
    for chunk in words.chunks_exact_mut(S::COUNT) {
        // SAFETY: a slice of a vector.
        unsafe {
            let x = prime.reduce(prime.times(simd.load(chunk.as_ptr()), scale));
            simd.store(chunk.as_mut_ptr(), x);
        }
    }
}

/// As [`tile_down`], up.
///
/// # Safety
/// `from` and `tile` are [`TILE`] words each, perhaps the same ones, and `first` is a multiple of [`Vectors::COUNT`]
/// below 16.
#[inline(always)]
unsafe fn tile_up<S: Vectors>(
    simd: S,
    prime: Prime<S>,
    from: *const u32,
    roots: &[u32; TILE_ROOTS],
    first: usize,
    tile: *mut u32,
) {
    let mut columns = [simd.splat(0); LANES];
    for at in 0..4 {
        let [w, left, right] = nodes(simd, roots, 3 + at, first);
        let own = 4 * at;
        for (column, x) in columns.iter_mut().enumerate().skip(own).take(4) {
            // SAFETY: `from` are 16 rows of 16 words.
            *x = unsafe { simd.load(from.add(column * LANES + first)) };
        }
        (columns[own], columns[own + 1]) = prime.up(columns[own], columns[own + 1], left);
        (columns[own + 2], columns[own + 3]) = prime.up(columns[own + 2], columns[own + 3], right);
        (columns[own], columns[own + 2]) = prime.up(columns[own], columns[own + 2], w);
        (columns[own + 1], columns[own + 3]) = prime.up(columns[own + 1], columns[own + 3], w);
    }
    for at in 0..4 {
        let [w, left, right] = nodes(simd, roots, 0, first);
        (columns[at], columns[at + 4]) = prime.up(columns[at], columns[at + 4], left);
        (columns[at + 8], columns[at + 12]) = prime.up(columns[at + 8], columns[at + 12], right);
        (columns[at], columns[at + 8]) = prime.up(columns[at], columns[at + 8], w);
        (columns[at + 4], columns[at + 12]) = prime.up(columns[at + 4], columns[at + 12], w);
    }
    for square in (0..LANES).step_by(S::COUNT) {
        simd.transpose(&mut columns[square..square + S::COUNT]);
        for row in 0..S::COUNT {
            // SAFETY: a tile has 16 rows of 16 words.
            unsafe { simd.store(tile.add((first + row) * LANES + square), columns[square + row]) };
        }
    }
}

/// The roots of a node above the tiles and of its two children.
#[inline(always)]
fn family<S: Vectors>(simd: S, heads: &[Factor], node: usize) -> [Root<S::V>; 3] {
    [
        Root::everywhere(simd, &heads[node]),
        Root::everywhere(simd, &heads[2 * node]),
        Root::everywhere(simd, &heads[2 * node + 1]),
    ]
}

/// A place in each of four quarters.
///
/// # Safety
/// All of them are of one allocation.
#[inline(always)]
unsafe fn quarters(first: *mut u32, quarter: usize) -> (*mut u32, *mut u32, *mut u32, *mut u32) {
    // SAFETY: the caller's.
    unsafe { (first, first.add(quarter), first.add(2 * quarter), first.add(3 * quarter)) }
}

#[inline(always)]
fn fold_words<S: Vectors>(simd: S, fold: &Fold, words: &mut [u32]) {
    fold.middle_down(words);
    for_partners::<S, false>(simd, fold, words);
}

#[inline(always)]
fn unfold_words<S: Vectors>(simd: S, fold: &Fold, words: &mut [u32]) {
    fold.alone_up(words);
    for_partners::<S, true>(simd, fold, words);
}

/// Replaces words j and N - j by the results of their butterfly, up or down, for all j from 1 to N/2 - 1: vectors meet
/// from both ends, and one pair less than a vector has words is left.
#[inline(always)]
fn for_partners<S: Vectors, const UP: bool>(simd: S, fold: &Fold, words: &mut [u32]) {
    let (low, high) = fold::partners(words);
    let whole = low.len() / S::COUNT * S::COUNT;
    let mut at = 0;
    while at < whole {
        // SAFETY: `whole` words from the start of `low`, and as many up to the end of `high`.
        unsafe {
            let (a, b) = (low.as_mut_ptr().add(at), high.as_mut_ptr().add(high.len() - at - S::COUNT));
            meet::<S, UP>(simd, fold, a, b);
        }
        at += S::COUNT;
    }
    let left = low.len() - whole;
    let (mut a, mut b) = ([0; LANES], [0; LANES]);
    a[..left].copy_from_slice(&low[whole..]);
    b[S::COUNT - left..S::COUNT].copy_from_slice(&high[..left]);
    // SAFETY: arrays of 16 words.
    unsafe { meet::<S, UP>(simd, fold, a.as_mut_ptr(), b.as_mut_ptr()) };
    low[whole..].copy_from_slice(&a[..left]);
    high[..left].copy_from_slice(&b[S::COUNT - left..S::COUNT]);
}

/// The butterflies of the words of a vector, and of those of another from its end.
///
/// # Safety
/// Both are vectors that can be read and written.
#[inline(always)]
unsafe fn meet<S: Vectors, const UP: bool>(simd: S, fold: &Fold, a: *mut u32, b: *mut u32) {
    let prime = Prime::new(simd, fold.p);
    // SAFETY: the caller's.
    let (x, y) = unsafe { (simd.load(a), simd.reversed(simd.load(b))) };
    let (x, y) = if UP {
        let (sum, difference) = prime.sum_and_difference(x, y);
        let sum = prime.times(sum, Root::everywhere(simd, &fold.sum_scale));
        let difference = prime.times(difference, Root::everywhere(simd, &fold.difference_scale));
        (prime.reduce(sum), prime.reduce(difference))
    } else {
        prime.down(x, y, Root::everywhere(simd, &fold.root))
    };
    // SAFETY: the caller's.
    unsafe {
        simd.store(a, x);
        simd.store(b, simd.reversed(y));
    }
}
