//! The negacyclic transform: N real coefficients to M = N/2 complex values.
//!
//! `a[j] + i a[j + M]` are the coefficients of a polynomial modulo `X^M - i`: that is the real polynomial modulo
//! `X^N + 1`, seen from one half of its roots. A node of the tree is a polynomial modulo `X^S - z`; a step of radix R
//! splits it into R nodes modulo `X^(S/R) - v exp(2 pi i j / R)` with `v^R = z`, until the moduli are of degree one. So
//! there is no twist, and values stand in the order of the tree, which keys and ciphertexts share.
//!
//! With vectors of L lanes the last two steps are of radix L each, and between them a square of L vectors is transposed
//! in registers, so that no step crosses lanes.
//!
//! Source of the tree: Bernstein, "Multidigit multiplication for mathematicians", 2001.

use crate::tfhe::cpu::fourier::block::{BLOCK, Block};
use crate::tfhe::cpu::fourier::butterfly::{self, Complex};
use crate::tfhe::cpu::fourier::lanes::{Lanes, Task, array};
use crate::tfhe::cpu::fourier::roots::Node;

/// A step of the tree over memory.
pub struct Pass {
    pub radix: usize,
    /// `v^q` of each node, q from 0.
    factors: Vec<[f64; 2]>,
}

impl Pass {
    fn nodes(&self) -> usize {
        self.factors.len() / self.radix
    }

    /// The factors of node `at` in all lanes.
    #[inline(always)]
    pub fn factors<S: Lanes, const R: usize>(&self, simd: S, at: usize) -> [Complex<S::F>; R] {
        splat(simd, &self.factors[at * R..][..R])
    }
}

/// The last two steps.
struct Leaves {
    /// `v^q` of each node of the first, q from 0.
    factors: Vec<[f64; 2]>,
    /// `v^q` of L nodes of the second in the lanes of a vector, q from 0; where vectors are halves of blocks, two
    /// squares share blocks.
    lanes: Vec<Block>,
}

/// What it takes to transform polynomials of one degree with vectors of one length.
pub struct Transform {
    lanes: usize,
    first: Pass,
    middle: Vec<Pass>,
    leaves: Leaves,
    /// X at each place is `exp(i pi f / N)`: f at the first place of each block.
    frequencies: Vec<u32>,
}

impl Transform {
    /// For polynomials of `size` coefficients, a power of two from 256 on, and vectors of 4 or 8 lanes.
    pub fn new(size: usize, lanes: usize) -> Self {
        let points = size / 2;
        let mut nodes = vec![Node::TOP];
        let mut passes = radices(points / (lanes * lanes), lanes).map(|radix| {
            let pass = Pass { radix, factors: nodes.iter().flat_map(|node| node.factors(radix)).collect() };
            nodes = nodes.iter().flat_map(|node| node.children(radix)).collect();
            pass
        });
        let first = passes.next().expect("rings have at least 256 coefficients");
        let middle = passes.collect();
        let factors = nodes.iter().flat_map(|node| node.factors(lanes)).collect();
        let per_block = BLOCK / lanes;
        let mut blocks = vec![Block::ZERO; points / lanes / per_block];
        let mut frequencies = vec![0; points];
        for (square, node) in nodes.iter().enumerate() {
            for (lane, child) in node.children(lanes).enumerate() {
                let at = square % per_block * lanes + lane;
                for (q, [re, im]) in child.factors(lanes).enumerate() {
                    let block = &mut blocks[square / per_block * lanes + q];
                    (block.re[at], block.im[at]) = (re, im);
                }
                for (vector, leaf) in child.children(lanes).enumerate() {
                    frequencies[(square * lanes + vector) * lanes + lane] = leaf.frequency();
                }
            }
        }
        Self { lanes, first, middle, leaves: Leaves { factors, lanes: blocks }, frequencies }
    }

    /// N, coefficients of a polynomial.
    pub fn size(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// Blocks of a polynomial.
    pub fn blocks(&self) -> usize {
        self.frequencies.len() / BLOCK
    }

    /// X at each place is `exp(i pi f / N)`: all f.
    pub fn frequencies(&self) -> &[u32] {
        &self.frequencies
    }

    /// The first step.
    pub fn first(&self) -> &Pass {
        &self.first
    }

    /// Whether vectors are as long as those of an instruction set.
    #[inline(always)]
    fn suits<S: Lanes>(&self) -> bool {
        self.lanes == S::COUNT
    }

    /// All steps but the first of `points`, to blocks `stride` apart.
    #[inline(always)]
    pub fn forward_rest<S: Lanes>(&self, simd: S, points: &mut [Block], out: &mut [Block], stride: usize) {
        assert!(self.suits::<S>() && points.len() == self.blocks() && out.len() > (points.len() - 1) * stride);
        for pass in &self.middle {
            pass_forward(simd, pass, points);
        }
        match S::COUNT {
            8 => leaves_forward::<S, 8>(simd, &self.leaves, points, out, stride),
            _ => leaves_forward::<S, 4>(simd, &self.leaves, points, out, stride),
        }
    }

    /// The inverse of [`Self::forward_rest`], times M over the first radix.
    #[inline(always)]
    pub fn inverse_rest<S: Lanes>(&self, simd: S, from: &[Block], stride: usize, points: &mut [Block]) {
        assert!(self.suits::<S>() && points.len() == self.blocks() && from.len() > (points.len() - 1) * stride);
        match S::COUNT {
            8 => leaves_inverse::<S, 8>(simd, &self.leaves, from, stride, points),
            _ => leaves_inverse::<S, 4>(simd, &self.leaves, from, stride, points),
        }
        for pass in self.middle.iter().rev() {
            pass_inverse(simd, pass, points);
        }
    }
}

/// Radices of as few steps as lead to so many squares, evenly; radix 8 where the registers hold it.
fn radices(squares: usize, lanes: usize) -> impl Iterator<Item = usize> {
    let (log2, most_log2) = (squares.ilog2(), if lanes == BLOCK { 3 } else { 2 });
    let steps = log2.div_ceil(most_log2);
    (0..steps).map(move |at| 1 << ((log2 + at) / steps))
}

#[inline(always)]
fn splat<S: Lanes, const R: usize>(simd: S, factors: &[[f64; 2]]) -> [Complex<S::F>; R] {
    array!(q < R => Complex { re: simd.splat(factors[q][0]), im: simd.splat(factors[q][1]) })
}

/// # Safety
/// The block is there, and `half` below the vectors of a block.
#[inline(always)]
pub unsafe fn load<S: Lanes>(simd: S, block: *const Block, half: usize) -> Complex<S::F> {
    // SAFETY: the caller's promise: a vector of each part lies within the block.
    unsafe {
        let re = (&raw const (*block).re).cast::<f64>().add(half * S::COUNT);
        Complex { re: simd.load(re), im: simd.load(re.add(BLOCK)) }
    }
}

/// # Safety
/// As [`load`], and nobody else sees the block.
#[inline(always)]
pub unsafe fn store<S: Lanes>(simd: S, block: *mut Block, half: usize, x: Complex<S::F>) {
    // SAFETY: as above.
    unsafe {
        let re = (&raw mut (*block).re).cast::<f64>().add(half * S::COUNT);
        simd.store(re, x.re);
        simd.store(re.add(BLOCK), x.im);
    }
}

/// Runs `$body` for a step of its radix.
macro_rules! of_radix {
    ($radix:expr, $call:ident, $($arg:expr),*) => {
        match $radix {
            2 => $call::<_, 2>($($arg),*),
            4 => $call::<_, 4>($($arg),*),
            _ => $call::<_, 8>($($arg),*),
        }
    };
}
pub(super) use of_radix;

#[inline(always)]
fn pass_forward<S: Lanes>(simd: S, pass: &Pass, points: &mut [Block]) {
    of_radix!(pass.radix, forward_of, simd, pass, points);
}

#[inline(always)]
fn pass_inverse<S: Lanes>(simd: S, pass: &Pass, points: &mut [Block]) {
    of_radix!(pass.radix, inverse_of, simd, pass, points);
}

#[inline(always)]
fn forward_of<S: Lanes, const R: usize>(simd: S, pass: &Pass, points: &mut [Block]) {
    each_butterfly::<S, R, false>(simd, pass, points);
}

#[inline(always)]
fn inverse_of<S: Lanes, const R: usize>(simd: S, pass: &Pass, points: &mut [Block]) {
    each_butterfly::<S, R, true>(simd, pass, points);
}

// (The direction is a constant and not a function that is handed over: that would not be inlined reliably.)
#[inline(always)]
fn each_butterfly<S: Lanes, const R: usize, const INVERSE: bool>(simd: S, pass: &Pass, points: &mut [Block]) {
    let stride = points.len() / pass.nodes() / R;
    for (at, node) in points.chunks_exact_mut(R * stride).enumerate() {
        let factors = pass.factors::<S, R>(simd, at);
        let node = node.as_mut_ptr();
        for block in 0..stride {
            for half in 0..BLOCK / S::COUNT {
                // SAFETY: `q stride + block` is below the `R stride` blocks of the node.
                let mut x = array!(q < R => unsafe { load(simd, node.add(q * stride + block), half) });
                if INVERSE {
                    butterfly::inverse::<S, R>(simd, &mut x, &factors);
                } else {
                    butterfly::forward::<S, R>(simd, &mut x, &factors);
                }
                for (q, x) in x.into_iter().enumerate() {
                    // SAFETY: as above.
                    unsafe { store(simd, node.add(q * stride + block), half, x) };
                }
            }
        }
    }
}

#[inline(always)]
fn transpose<S: Lanes, const R: usize>(simd: S, x: &mut [Complex<S::F>; R]) {
    let (mut re, mut im) = (array!(q < R => x[q].re), array!(q < R => x[q].im));
    simd.transpose(&mut re);
    simd.transpose(&mut im);
    *x = array!(q < R => Complex { re: re[q], im: im[q] });
}

/// Blocks whose squares take one of the last two steps and then the other: values go through the cache between the two,
/// because processors find more to do at a time where less depends on each other.
const GROUP: usize = 32;

#[inline(always)]
fn leaves_forward<S: Lanes, const R: usize>(
    simd: S,
    leaves: &Leaves,
    points: &mut [Block],
    out: &mut [Block],
    stride: usize,
) {
    let squares = GROUP * BLOCK / (R * R);
    let (points, out) = (points.as_mut_ptr(), out.as_mut_ptr());
    for (group, factors) in leaves.factors.chunks(squares * R).enumerate() {
        for (at, factors) in factors.chunks_exact(R).enumerate() {
            // SAFETY: the points hold as many squares as there are factors.
            let mut x = array!(q < R => unsafe { load_of::<S, R>(simd, points, group * squares + at, q, 1) });
            butterfly::forward(simd, &mut x, &splat(simd, factors));
            for (q, x) in x.into_iter().enumerate() {
                // SAFETY: as above.
                unsafe { store_of::<S, R>(simd, points, group * squares + at, q, 1, x) };
            }
        }
        for at in 0..factors.len() / R {
            let square = group * squares + at;
            // SAFETY: as above.
            let mut x = array!(q < R => unsafe { load_of::<S, R>(simd, points, square, q, 1) });
            transpose(simd, &mut x);
            butterfly::forward(simd, &mut x, &lane_factors(simd, leaves, square));
            for (q, x) in x.into_iter().enumerate() {
                // SAFETY: `out` has a place for each block of the points, as `forward_rest` checks.
                unsafe { store_of::<S, R>(simd, out, square, q, stride, x) };
            }
        }
    }
}

/// Vector `q` of a square of R vectors, blocks being `stride` apart.
///
/// # Safety
/// The square is there.
#[inline(always)]
unsafe fn load_of<S: Lanes, const R: usize>(
    simd: S,
    blocks: *const Block,
    square: usize,
    q: usize,
    stride: usize,
) -> Complex<S::F> {
    let vector = square * R + q;
    // SAFETY: the caller's promise.
    unsafe { load(simd, blocks.add(vector / (BLOCK / R) * stride), vector % (BLOCK / R)) }
}

/// # Safety
/// As [`load_of`], and nobody else sees the square.
#[inline(always)]
unsafe fn store_of<S: Lanes, const R: usize>(
    simd: S,
    blocks: *mut Block,
    square: usize,
    q: usize,
    stride: usize,
    x: Complex<S::F>,
) {
    let vector = square * R + q;
    // SAFETY: as above.
    unsafe { store(simd, blocks.add(vector / (BLOCK / R) * stride), vector % (BLOCK / R), x) };
}

#[inline(always)]
fn leaves_inverse<S: Lanes, const R: usize>(
    simd: S,
    leaves: &Leaves,
    from: &[Block],
    stride: usize,
    points: &mut [Block],
) {
    let squares = GROUP * BLOCK / (R * R);
    let (from, points) = (from.as_ptr(), points.as_mut_ptr());
    for (group, factors) in leaves.factors.chunks(squares * R).enumerate() {
        for at in 0..factors.len() / R {
            let square = group * squares + at;
            // SAFETY: `from` has a place for each block of the points, as `inverse_rest` checks.
            let mut x = array!(q < R => unsafe { load_of::<S, R>(simd, from, square, q, stride) });
            butterfly::inverse(simd, &mut x, &lane_factors(simd, leaves, square));
            transpose(simd, &mut x);
            for (q, x) in x.into_iter().enumerate() {
                // SAFETY: the points hold as many squares as there are factors.
                unsafe { store_of::<S, R>(simd, points, square, q, 1, x) };
            }
        }
        for (at, factors) in factors.chunks_exact(R).enumerate() {
            let square = group * squares + at;
            // SAFETY: the points hold as many squares as there are factors.
            let mut x = array!(q < R => unsafe { load_of::<S, R>(simd, points, square, q, 1) });
            butterfly::inverse(simd, &mut x, &splat(simd, factors));
            for (q, x) in x.into_iter().enumerate() {
                // SAFETY: the points hold as many squares as there are factors.
                unsafe { store_of::<S, R>(simd, points, square, q, 1, x) };
            }
        }
    }
}

#[inline(always)]
fn lane_factors<S: Lanes, const R: usize>(simd: S, leaves: &Leaves, square: usize) -> [Complex<S::F>; R] {
    let (first, half) = (square / (BLOCK / R) * R, square % (BLOCK / R));
    let blocks = &leaves.lanes[first..][..R];
    // SAFETY: the blocks are there, and `half` is below the vectors of a block.
    array!(q < R => unsafe { load(simd, &raw const blocks[q], half) })
}

/// Transforms points in place, to blocks `stride` apart.
pub struct Forward<'a> {
    pub transform: &'a Transform,
    pub points: &'a mut [Block],
    pub out: &'a mut [Block],
    pub stride: usize,
}

impl Task for Forward<'_> {
    #[inline(always)]
    fn run<S: Lanes>(self, simd: S) {
        pass_forward(simd, &self.transform.first, self.points);
        self.transform.forward_rest(simd, self.points, self.out, self.stride);
    }
}
