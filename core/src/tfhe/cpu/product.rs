//! The external product in the Fourier domain: digits of several ciphertexts times one slice of the key.
//!
//! Where bits of the key are taken in groups, a slice holds a GGSW ciphertext for every set of them, and the product
//! with each is multiplied by that set's factor, `X^e - 1` at all frequencies: `sum_j (X^e_j - 1) (digits x GGSW_j)`.
//!
//! Layout: a block holds eight frequencies, and all that they need lies together: `digits[ciphertext][block][row]`,
//! `key[block][part][set][row][column of the part]`; the result takes the place of the digits, column for row. The
//! columns are taken in parts whose sums, for a few ciphertexts at a time, fit the registers: then a row takes as many
//! loads as it has key and digit vectors, and four multiply-adds for every pair of them, the floor of the operation.

#![allow(clippy::needless_range_loop, reason = "registers of several arrays at a place")]

use tfhe_fft::c64;

use crate::tfhe::cpu::fourier::block::{BLOCK, Block};
use crate::tfhe::cpu::fourier::butterfly::{Complex, mul};
use crate::tfhe::cpu::fourier::lanes::{Lanes, Task, array};
use crate::tfhe::cpu::fourier::transform::{load, store};
use crate::tfhe::params::set::ParameterSet;

/// Most ciphertexts whose sums are in registers at once.
pub const MOST_SHARED: usize = 4;
/// Most columns of a part.
const MOST_COLUMNS: usize = 5;

/// Shapes of one product.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Gadget rows, (k + 1) l.
    pub rows: usize,
    /// Columns, k + 1.
    pub columns: usize,
    /// Blocks of eight frequencies, N / 16.
    pub blocks: usize,
    /// GGSW ciphertexts of a slice.
    pub subsets: usize,
    /// Columns of a part at the most.
    pub part: usize,
}

impl Shape {
    /// Of a set, where the registers hold so many complex sums: those of a part for two ciphertexts.
    pub fn new(params: &ParameterSet, sums: usize) -> Self {
        let columns = params.glwe_dimension + 1;
        Self {
            rows: columns * params.pbs_level,
            columns,
            blocks: params.polynomial_size / (2 * BLOCK),
            subsets: params.subsets(),
            part: (sums / 2).min(MOST_COLUMNS),
        }
    }

    /// Rows of all sets.
    pub fn wide(&self) -> usize {
        self.subsets * self.rows
    }

    /// Blocks of working memory for a product of so many ciphertexts.
    pub fn scratch(&self, count: usize) -> usize {
        MOST_SHARED * (self.rows + self.subsets) + count * self.subsets
    }

    /// Blocks of a key slice.
    pub fn slice(&self) -> usize {
        self.blocks * self.columns * self.wide()
    }

    /// The parts of the columns: first column and width, as even as they can be.
    #[inline(always)]
    fn parts(&self) -> impl Iterator<Item = (usize, usize)> {
        let (columns, parts) = (self.columns, self.columns.div_ceil(self.part));
        (0..parts).map(move |part| {
            let first = part * columns / parts;
            (first, (part + 1) * columns / parts - first)
        })
    }

    /// Where a row and a column of a set are within a slice, at block 0; a block further is `columns * wide()` further.
    pub fn key_place(&self, set: usize, row: usize, column: usize) -> usize {
        let within = |&(first, width): &(usize, usize)| (first..first + width).contains(&column);
        let (first, width) = self.parts().find(within).expect("parts cover all columns");
        first * self.wide() + (set * self.rows + row) * width + column - first
    }
}

/// `X^e - 1` for the sets of several ciphertexts.
#[derive(Clone, Copy)]
pub struct Factors<'a> {
    /// The exponents: `[ciphertext][set]`.
    pub degrees: &'a [u32],
    /// X is `exp(i pi f / N)` at the places of a block: f at its first, and how much more it is at each.
    pub first: &'a [u32],
    pub steps: &'a [u32; BLOCK],
    /// `exp(i pi t / N)`, t below 2N.
    pub turns: &'a [c64],
}

impl Factors<'_> {
    #[inline(always)]
    fn turn(&self, degree: u32, frequency: u32) -> c64 {
        self.turns[degree.wrapping_mul(frequency) as usize & (self.turns.len() - 1)]
    }

    /// `X^degree` at the places of a block, beside its first.
    #[inline(always)]
    fn within(&self, degree: u32) -> Block {
        let turns = self.steps.map(|step| self.turn(degree, step));
        Block { re: turns.map(|turn| turn.re), im: turns.map(|turn| turn.im) }
    }
}

/// Multiplies the digits of `count` ciphertexts by one key slice, in place.
pub struct Product<'a> {
    pub shape: Shape,
    pub count: usize,
    pub key: &'a [Block],
    pub digits: &'a mut [Block],
    /// None where a slice is one GGSW ciphertext.
    pub factors: Option<Factors<'a>>,
    /// As many blocks as [`Shape::scratch`] says.
    pub scratch: &'a mut [Block],
}

impl Task for Product<'_> {
    #[inline(always)]
    fn run<S: Lanes>(self, simd: S) {
        let Self { shape, count, key, digits, factors, scratch } = self;
        assert!(key.len() == shape.slice() && digits.len() >= count * shape.blocks * shape.rows);
        let (copies, rest) = scratch.split_at_mut(MOST_SHARED * shape.rows);
        let (block_factors, within) = rest.split_at_mut(MOST_SHARED * shape.subsets);
        if let Some(factors) = factors {
            for (within, &degree) in within.iter_mut().zip(&factors.degrees[..count * shape.subsets]) {
                *within = factors.within(degree);
            }
        }
        let mut job = Job { simd, shape, digits: digits.as_mut_ptr(), copies, factors, block_factors, within };
        // Sums of a set stand beside those of all.
        let sums = shape.columns.min(shape.part) * if job.factors.is_some() { 2 } else { 1 };
        let fit = |ciphertexts: usize| ciphertexts * sums <= S::SUMS + S::SUMS / 4;
        for (block, key) in key.chunks_exact(shape.columns * shape.wide()).enumerate() {
            let mut c = 0;
            if fit(4) {
                while c + 4 <= count {
                    job.multiply::<4>(key, c, block);
                    c += 4;
                }
            }
            if fit(2) {
                while c + 2 <= count {
                    job.multiply::<2>(key, c, block);
                    c += 2;
                }
            }
            while c < count {
                job.multiply::<1>(key, c, block);
                c += 1;
            }
        }
    }
}

struct Job<'a, S> {
    simd: S,
    shape: Shape,
    digits: *mut Block,
    copies: &'a mut [Block],
    factors: Option<Factors<'a>>,
    block_factors: &'a mut [Block],
    within: &'a [Block],
}

impl<S: Lanes> Job<'_, S> {
    /// One block of Q ciphertexts from number `c` on.
    #[inline(always)]
    fn multiply<const Q: usize>(&mut self, key: &[Block], c: usize, block: usize) {
        let Shape { rows, columns, blocks, subsets, part } = self.shape;
        let wide = self.shape.wide();
        // SAFETY: the digits hold `count` ciphertexts of `blocks * rows` blocks, as `Product::run` checks.
        let digits = array!(q < Q => unsafe { self.digits.add(((c + q) * blocks + block) * rows) });
        let mut from = array!(q < Q => digits[q].cast_const());
        if columns > part {
            // The first part's results would take the place of digits that the next one reads.
            for q in 0..Q {
                let own = &mut self.copies[q * rows..][..rows];
                // SAFETY: the digits are there, see above, and nobody else sees them.
                own.copy_from_slice(unsafe { std::slice::from_raw_parts(digits[q], rows) });
                from[q] = own.as_ptr();
            }
        }
        if let Some(factors) = self.factors {
            let ciphertexts = c * subsets..(c + Q) * subsets;
            let degrees = &factors.degrees[ciphertexts.clone()];
            for ((own, within), &degree) in self.block_factors.iter_mut().zip(&self.within[ciphertexts]).zip(degrees) {
                less_one(self.simd, factors.turn(degree, factors.first[block]), within, own);
            }
        }
        for (first, width) in self.shape.parts() {
            let key = &key[first * wide..][..width * wide];
            let out = array!(q < Q => digits[q].wrapping_add(first));
            let factors = self.factors.map(|_| &self.block_factors[..Q * subsets]);
            // SAFETY: `from` holds `rows` blocks for each ciphertext, and `out` a block for each column of the part;
            // where they are the same memory, this is the only part.
            unsafe {
                match width {
                    1 => sums::<S, Q, 1>(self.simd, key, rows, factors, &from, &out),
                    2 => sums::<S, Q, 2>(self.simd, key, rows, factors, &from, &out),
                    3 => sums::<S, Q, 3>(self.simd, key, rows, factors, &from, &out),
                    4 => sums::<S, Q, 4>(self.simd, key, rows, factors, &from, &out),
                    _ => sums::<S, Q, 5>(self.simd, key, rows, factors, &from, &out),
                }
            }
        }
    }
}

/// `base within - 1`.
#[inline(always)]
fn less_one<S: Lanes>(simd: S, base: c64, within: &Block, out: &mut Block) {
    let base = Complex { re: simd.splat(base.re), im: simd.splat(base.im) };
    for half in 0..BLOCK / S::COUNT {
        // SAFETY: the blocks are there, and `half` below their vectors.
        unsafe {
            let factor = mul(simd, load(simd, within, half), base);
            store(simd, out, half, Complex { re: simd.sub(factor.re, simd.splat(1.0)), im: factor.im });
        }
    }
}

/// Sums over the rows for Q ciphertexts and the C columns of a part; with factors, those of each set times its factor.
///
/// # Safety
/// `from` holds `rows` blocks, `out` C blocks, for each ciphertext. They may be the same memory: a half of a block is
/// written when it has been read. The key holds `rows` times C blocks a set, and there is a factor for each ciphertext
/// and set.
#[inline(always)]
unsafe fn sums<S: Lanes, const Q: usize, const C: usize>(
    simd: S,
    key: &[Block],
    rows: usize,
    factors: Option<&[Block]>,
    from: &[*const Block; Q],
    out: &[*mut Block; Q],
) {
    for half in 0..BLOCK / S::COUNT {
        // SAFETY: the caller's promise.
        let sums = unsafe {
            match factors {
                None => sums_of_set::<S, Q, C>(simd, key, half, from),
                Some(factors) => {
                    let subsets = factors.len() / Q;
                    let zero = simd.splat(0.0);
                    let mut sums = [[Complex { re: zero, im: zero }; C]; Q];
                    for (set, key) in key.chunks_exact(rows * C).enumerate() {
                        let of_set = sums_of_set::<S, Q, C>(simd, key, half, from);
                        for q in 0..Q {
                            let factor = load(simd, &raw const factors[q * subsets + set], half);
                            for column in 0..C {
                                add_product(simd, &mut sums[q][column], of_set[q][column], factor);
                            }
                        }
                    }
                    sums
                }
            }
        };
        for q in 0..Q {
            for column in 0..C {
                // SAFETY: the caller's promise.
                unsafe { store(simd, out[q].add(column), half, sums[q][column]) };
            }
        }
    }
}

/// Sums over the rows of one set.
///
/// # Safety
/// `from` holds a block for each row of the key.
#[inline(always)]
unsafe fn sums_of_set<S: Lanes, const Q: usize, const C: usize>(
    simd: S,
    key: &[Block],
    half: usize,
    from: &[*const Block; Q],
) -> [[Complex<S::F>; C]; Q] {
    let zero = simd.splat(0.0);
    let mut sums = [[Complex { re: zero, im: zero }; C]; Q];
    for row in 0..key.len() / C {
        // SAFETY: the caller's promise.
        let digits = array!(q < Q => unsafe { load(simd, from[q].add(row), half) });
        for column in 0..C {
            // SAFETY: the key has C blocks a row.
            let key = unsafe { load(simd, key.as_ptr().add(row * C + column), half) };
            for q in 0..Q {
                add_product(simd, &mut sums[q][column], digits[q], key);
            }
        }
    }
    sums
}

/// `sum + a b`.
#[inline(always)]
fn add_product<S: Lanes>(simd: S, sum: &mut Complex<S::F>, a: Complex<S::F>, b: Complex<S::F>) {
    sum.re = simd.mul_add(b.re, a.re, sum.re);
    sum.im = simd.mul_add(b.re, a.im, sum.im);
    sum.re = simd.neg_mul_add(b.im, a.im, sum.re);
    sum.im = simd.mul_add(b.im, a.re, sum.im);
}
