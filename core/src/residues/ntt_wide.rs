//! The loops of [`super::ntt`] with AVX-512: 16 butterflies at a time, two depths for each reading of the words.
//!
//! A product with a constant takes its upper half from two widening products, of the even and of the odd words;
//! compilers widen all words and narrow them again. The words of the results are those of the portable loops.

use std::arch::x86_64::*;

use crate::residues::fold::{self, Fold};
use crate::residues::modulus::Factor;
use crate::residues::roots::{LANES, Roots, TILE};

/// Words of all roots of a tile: values and quotients of 15 nodes.
const TILE_ROOTS: usize = 15 * 2 * LANES;

/// A prime, everywhere.
#[derive(Clone, Copy)]
struct Prime {
    p: __m512i,
    twice: __m512i,
}

/// A constant factor for each lane, with its quotient.
#[derive(Clone, Copy)]
struct Root {
    value: __m512i,
    quotient: __m512i,
    /// The quotients of the odd lanes, in the even ones.
    odd: __m512i,
}

impl Prime {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn new(p: u32) -> Self {
        Self { p: _mm512_set1_epi32(p.cast_signed()), twice: _mm512_set1_epi32((2 * p).cast_signed()) }
    }

    /// `x w` mod p, below 2p, for any x.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn times(self, x: __m512i, w: Root) -> __m512i {
        let even = _mm512_srli_epi64::<32>(_mm512_mul_epu32(x, w.quotient));
        let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(x), w.odd);
        let upper = _mm512_mask_blend_epi32(0xaaaa, even, odd);
        _mm512_sub_epi32(_mm512_mullo_epi32(x, w.value), _mm512_mullo_epi32(upper, self.p))
    }

    /// From below 4p to below 2p.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn halve(self, x: __m512i) -> __m512i {
        _mm512_min_epu32(x, _mm512_sub_epi32(x, self.twice))
    }

    /// From below 2p to below p.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn reduce(self, x: __m512i) -> __m512i {
        _mm512_min_epu32(x, _mm512_sub_epi32(x, self.p))
    }

    /// `(a + w b, a - w b)`: from below 4p to below 4p.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn down(self, a: __m512i, b: __m512i, w: Root) -> (__m512i, __m512i) {
        let (a, b) = (self.halve(a), self.times(b, w));
        (_mm512_add_epi32(a, b), _mm512_sub_epi32(_mm512_add_epi32(a, self.twice), b))
    }

    /// `(a + b, (a - b) w)`: from below 2p to below 2p.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn up(self, a: __m512i, b: __m512i, w: Root) -> (__m512i, __m512i) {
        let difference = _mm512_sub_epi32(_mm512_add_epi32(a, self.twice), b);
        (self.halve(_mm512_add_epi32(a, b)), self.times(difference, w))
    }
}

impl Root {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn everywhere(factor: &Factor) -> Self {
        let quotient = _mm512_set1_epi32(factor.quotient.cast_signed());
        Self { value: _mm512_set1_epi32(factor.value.cast_signed()), quotient, odd: quotient }
    }

    /// Of node `number` of a tile.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn of_tile(roots: &[u32], number: usize) -> Self {
        let own: &[[u32; LANES]] = roots.as_chunks().0;
        let quotient = load(&own[2 * number + 1]);
        Self { value: load(&own[2 * number]), quotient, odd: _mm512_srli_epi64::<32>(quotient) }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) fn load(words: &[u32; LANES]) -> __m512i {
    // SAFETY: sixteen words are 64 bytes; the load asks for no alignment.
    unsafe { _mm512_loadu_epi32(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) fn store(words: &mut [u32; LANES], x: __m512i) {
    // SAFETY: sixteen words are 64 bytes; the store asks for no alignment.
    unsafe { _mm512_storeu_epi32(words.as_mut_ptr().cast(), x) }
}

/// Coefficients below 4p to values in `[0, p)`.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn forward(p: u32, roots: &Roots, words: &mut [u32]) {
    let (prime, degree) = (Prime::new(p), words.len());
    let mut half = degree / 2;
    // An odd number of depths begins with one by itself.
    if (degree / LANES).trailing_zeros() % 2 == 1 {
        let w = Root::everywhere(&roots.heads[1]);
        let (low, high) = words.split_at_mut(half);
        for (a, b) in low.as_chunks_mut().0.iter_mut().zip(high.as_chunks_mut().0) {
            let (x, y) = prime.down(load(a), load(b), w);
            store(a, x);
            store(b, y);
        }
        half /= 2;
    }
    while half > LANES {
        let (quarter, nodes) = (half / 2, degree / (2 * half));
        for (at, block) in words.chunks_exact_mut(2 * half).enumerate() {
            let node = nodes + at;
            let [w, left, right] = [node, 2 * node, 2 * node + 1].map(|node| Root::everywhere(&roots.heads[node]));
            for_quarters(block, quarter, |[a, b, c, d]| {
                let ((a, c), (b, d)) = (prime.down(a, c, w), prime.down(b, d, w));
                let ((a, b), (c, d)) = (prime.down(a, b, left), prime.down(c, d, right));
                [a, b, c, d]
            });
        }
        half /= 4;
    }
    for (tile, roots) in words.chunks_exact_mut(TILE).zip(roots.tiles.chunks_exact(TILE_ROOTS)) {
        let rows = tile.as_chunks_mut::<LANES>().0;
        let mut columns = transposed(std::array::from_fn(|row| load(&rows[row])));
        for depth in 0..4 {
            let half = 8 >> depth;
            for node in 0..1 << depth {
                let w = Root::of_tile(roots, (1 << depth) - 1 + node);
                for h in 2 * half * node..2 * half * node + half {
                    (columns[h], columns[h + half]) = prime.down(columns[h], columns[h + half], w);
                }
            }
        }
        for (row, column) in rows.iter_mut().zip(columns) {
            store(row, prime.reduce(prime.halve(column)));
        }
    }
}

/// Values in `[0, 2p)` to coefficients in `[0, p)`, times `scale`, which is N^-1; without it below 2p, N times too
/// large.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn inverse(p: u32, roots: &Roots, scale: Option<&Factor>, words: &mut [u32]) {
    let (prime, degree) = (Prime::new(p), words.len());
    for (tile, roots) in words.chunks_exact_mut(TILE).zip(roots.tiles.chunks_exact(TILE_ROOTS)) {
        let rows = tile.as_chunks_mut::<LANES>().0;
        let mut columns: [__m512i; LANES] = std::array::from_fn(|row| load(&rows[row]));
        for depth in (0..4).rev() {
            let half = 8 >> depth;
            for node in 0..1 << depth {
                let w = Root::of_tile(roots, (1 << depth) - 1 + node);
                for h in 2 * half * node..2 * half * node + half {
                    (columns[h], columns[h + half]) = prime.up(columns[h], columns[h + half], w);
                }
            }
        }
        for (row, column) in rows.iter_mut().zip(transposed(columns)) {
            store(row, column);
        }
    }
    let mut quarter = LANES;
    while 4 * quarter <= degree {
        let nodes = degree / (4 * quarter);
        for (at, block) in words.chunks_exact_mut(4 * quarter).enumerate() {
            let node = nodes + at;
            let [w, left, right] = [node, 2 * node, 2 * node + 1].map(|node| Root::everywhere(&roots.heads[node]));
            for_quarters(block, quarter, |[a, b, c, d]| {
                let ((a, b), (c, d)) = (prime.up(a, b, left), prime.up(c, d, right));
                let ((a, c), (b, d)) = (prime.up(a, c, w), prime.up(b, d, w));
                [a, b, c, d]
            });
        }
        quarter *= 4;
    }
    if 2 * quarter == degree {
        let w = Root::everywhere(&roots.heads[1]);
        let (low, high) = words.split_at_mut(quarter);
        for (a, b) in low.as_chunks_mut().0.iter_mut().zip(high.as_chunks_mut().0) {
            let (x, y) = prime.up(load(a), load(b), w);
            store(a, x);
            store(b, y);
        }
    }
    let Some(scale) = scale else { return };
    let scale = Root::everywhere(scale);
    for chunk in words.as_chunks_mut().0 {
        store(chunk, prime.reduce(prime.times(load(chunk), scale)));
    }
}

/// [`fold::down`].
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn fold(fold: &Fold, words: &mut [u32]) {
    let (prime, root) = (Prime::new(fold.p), Root::everywhere(&fold.root));
    fold.middle_down(words);
    for_partners(words, |x, y| prime.down(x, y, root));
}

/// [`fold::up`].
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn unfold(fold: &Fold, words: &mut [u32]) {
    let prime = Prime::new(fold.p);
    let (of_sum, of_difference) = (Root::everywhere(&fold.sum_scale), Root::everywhere(&fold.difference_scale));
    fold.alone_up(words);
    for_partners(words, |x, y| {
        let difference = _mm512_sub_epi32(_mm512_add_epi32(x, prime.twice), y);
        let sum = prime.times(_mm512_add_epi32(x, y), of_sum);
        (prime.reduce(sum), prime.reduce(prime.times(difference, of_difference)))
    });
}

/// Replaces words j and N - j by what `act` makes of them, for all j from 1 to N/2 - 1: vectors of 16 words meet from
/// both ends, and 15 pairs are left.
#[target_feature(enable = "avx512f")]
#[inline]
fn for_partners(words: &mut [u32], act: impl Fn(__m512i, __m512i) -> (__m512i, __m512i)) {
    let order = _mm512_set_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let (low, high) = fold::partners(words);
    let (low, rest) = low.as_chunks_mut::<LANES>();
    let (other_rest, high) = high.as_rchunks_mut::<LANES>();
    let meet = |a: &mut [u32; LANES], b: &mut [u32; LANES]| {
        let (x, y) = act(load(a), _mm512_permutexvar_epi32(order, load(b)));
        store(a, x);
        store(b, _mm512_permutexvar_epi32(order, y));
    };
    low.iter_mut().zip(high.iter_mut().rev()).for_each(|(a, b)| meet(a, b));
    let (mut a, mut b) = ([0; LANES], [0; LANES]);
    a[..LANES - 1].copy_from_slice(rest);
    b[1..].copy_from_slice(other_rest);
    meet(&mut a, &mut b);
    rest.copy_from_slice(&a[..LANES - 1]);
    other_rest.copy_from_slice(&b[1..]);
}

/// Calls `act` for the vectors at one place of the four quarters of a block, and stores what it gives.
#[target_feature(enable = "avx512f")]
#[inline]
fn for_quarters(block: &mut [u32], quarter: usize, act: impl Fn([__m512i; 4]) -> [__m512i; 4]) {
    let (low, high) = block.split_at_mut(2 * quarter);
    let ((a, b), (c, d)) = (low.split_at_mut(quarter), high.split_at_mut(quarter));
    let pairs = a.as_chunks_mut().0.iter_mut().zip(b.as_chunks_mut().0);
    let others = c.as_chunks_mut().0.iter_mut().zip(d.as_chunks_mut().0);
    for ((a, b), (c, d)) in pairs.zip(others) {
        let results = act([load(a), load(b), load(c), load(d)]);
        [a, b, c, d].into_iter().zip(results).for_each(|(words, x)| store(words, x));
    }
}

/// Word j of vector i becomes word i of vector j.
#[target_feature(enable = "avx512f")]
#[inline]
fn transposed(mut r: [__m512i; LANES]) -> [__m512i; LANES] {
    let mut t = r;
    for i in (0..LANES).step_by(2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for i in (0..LANES).step_by(4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for i in [0, 1, 2, 3, 8, 9, 10, 11] {
        t[i] = _mm512_shuffle_i32x4::<0x88>(r[i], r[i + 4]);
        t[i + 4] = _mm512_shuffle_i32x4::<0xdd>(r[i], r[i + 4]);
    }
    for i in 0..8 {
        r[i] = _mm512_shuffle_i32x4::<0x88>(t[i], t[i + 8]);
        r[i + 8] = _mm512_shuffle_i32x4::<0xdd>(t[i], t[i + 8]);
    }
    r
}
