//! The external product in the Fourier domain: digits of several ciphertexts times one slice of the key.
//!
//! Where bits of the key are taken in groups, a slice holds a GGSW ciphertext for every set of them, and the digits
//! meet each after a multiplication by that set's factor, `X^e - 1` at all frequencies:
//! `sum_j (X^e_j - 1) (digits x GGSW_j)`.
//!
//! Layout: a block holds eight frequencies, and all that they need lies together: `digits[ciphertext][block][row]`,
//! `key[block][part][set][row][column of the part]`; the result takes the place of the digits, column for row. The
//! columns are taken in parts whose sums, for a few ciphertexts at a time, fit the registers: then a row takes as many
//! loads as it has key and digit vectors, and four multiply-adds for every pair of them, the floor of the operation.

use tfhe_fft::c64;

use crate::tfhe::cpu::fourier::block::{BLOCK, Block};
use crate::tfhe::cpu::fourier::butterfly::{Complex, mul};
use crate::tfhe::cpu::fourier::lanes::{Lanes, Task};
use crate::tfhe::cpu::fourier::transform::{load, store};

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
    /// Rows of all sets.
    pub fn wide(&self) -> usize {
        self.subsets * self.rows
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

/// Columns of a part, where the registers hold so many complex sums: those of two ciphertexts.
pub fn part(sums: usize) -> usize {
    (sums / 2).min(MOST_COLUMNS)
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
    /// [`MOST_SHARED`] times the rows of all sets, and as many blocks as there are sets for each ciphertext.
    pub scratch: &'a mut [Block],
}

impl Task for Product<'_> {
    #[inline(always)]
    fn run<S: Lanes>(self, simd: S) {
        let Self { shape, count, key, digits, factors, scratch } = self;
        assert!(key.len() == shape.slice() && digits.len() >= count * shape.blocks * shape.rows);
        let (wide, within) = scratch.split_at_mut(MOST_SHARED * shape.wide());
        if let Some(factors) = factors {
            for (within, &degree) in within.iter_mut().zip(&factors.degrees[..count * shape.subsets]) {
                *within = factors.within(degree);
            }
        }
        let mut job = Job { simd, shape, digits: digits.as_mut_ptr(), wide, within, factors };
        for (block, key) in key.chunks_exact(shape.columns * shape.wide()).enumerate() {
            let mut c = 0;
            if 4 * shape.columns.min(shape.part) <= S::SUMS {
                while c + 4 <= count {
                    job.multiply::<4>(key, c, block);
                    c += 4;
                }
            }
            while c + 2 <= count {
                job.multiply::<2>(key, c, block);
                c += 2;
            }
            if c < count {
                job.multiply::<1>(key, c, block);
            }
        }
    }
}

struct Job<'a, S> {
    simd: S,
    shape: Shape,
    digits: *mut Block,
    wide: &'a mut [Block],
    within: &'a [Block],
    factors: Option<Factors<'a>>,
}

impl<S: Lanes> Job<'_, S> {
    /// One block of Q ciphertexts from number `c` on.
    #[inline(always)]
    fn multiply<const Q: usize>(&mut self, key: &[Block], c: usize, block: usize) {
        let Shape { rows, columns, blocks, subsets, part } = self.shape;
        let wide = self.shape.wide();
        // SAFETY: the digits hold `count` ciphertexts of `blocks * rows` blocks, as `Product::run` checks.
        let digits: [*mut Block; Q] =
            std::array::from_fn(|q| unsafe { self.digits.add(((c + q) * blocks + block) * rows) });
        let mut from = digits.map(|digits| digits.cast_const());
        if let Some(factors) = self.factors {
            for q in 0..Q {
                for set in 0..subsets {
                    let degree = factors.degrees[(c + q) * subsets + set];
                    let base = factors.turn(degree, factors.first[block]);
                    let within = &self.within[(c + q) * subsets + set];
                    let own = &mut self.wide[q * wide + set * rows..][..rows];
                    // SAFETY: the digits are there, see above, and nobody else sees them.
                    let digits = unsafe { std::slice::from_raw_parts(digits[q], rows) };
                    scale(self.simd, digits, base, within, own);
                }
                from[q] = (&raw const self.wide[q * wide..][..wide]).cast();
            }
        } else if columns > part {
            // The first part's results would take the place of digits that the next one reads.
            for q in 0..Q {
                let own = &mut self.wide[q * wide..][..rows];
                // SAFETY: as above.
                own.copy_from_slice(unsafe { std::slice::from_raw_parts(digits[q], rows) });
                from[q] = own.as_ptr();
            }
        }
        for (first, width) in self.shape.parts() {
            let key = &key[first * wide..][..width * wide];
            let out = digits.map(|digits| digits.wrapping_add(first));
            // SAFETY: `from` holds `wide` blocks for each ciphertext, and `out` a block for each column of the part;
            // where they are the same memory, this is the only part.
            unsafe {
                match width {
                    1 => sums::<S, Q, 1>(self.simd, key, &from, &out),
                    2 => sums::<S, Q, 2>(self.simd, key, &from, &out),
                    3 => sums::<S, Q, 3>(self.simd, key, &from, &out),
                    4 => sums::<S, Q, 4>(self.simd, key, &from, &out),
                    _ => sums::<S, Q, 5>(self.simd, key, &from, &out),
                }
            }
        }
    }
}

/// All rows of a block times `base within - 1`.
#[inline(always)]
fn scale<S: Lanes>(simd: S, digits: &[Block], base: c64, within: &Block, out: &mut [Block]) {
    let base = Complex { re: simd.splat(base.re), im: simd.splat(base.im) };
    for half in 0..BLOCK / S::COUNT {
        // SAFETY: the block is there, and `half` below its vectors.
        let factor = mul(simd, unsafe { load(simd, within, half) }, base);
        let factor = Complex { re: simd.sub(factor.re, simd.splat(1.0)), im: factor.im };
        for (digits, out) in digits.iter().zip(out.iter_mut()) {
            // SAFETY: as above.
            unsafe { store(simd, out, half, mul(simd, load(simd, digits, half), factor)) };
        }
    }
}

/// Sums over the rows for Q ciphertexts and the C columns of a part.
///
/// # Safety
/// `from` holds a block for each row of the key, `out` C blocks, for each ciphertext. They may be the same memory: a
/// half of a block is written when it has been read.
#[inline(always)]
unsafe fn sums<S: Lanes, const Q: usize, const C: usize>(
    simd: S,
    key: &[Block],
    from: &[*const Block; Q],
    out: &[*mut Block; Q],
) {
    let zero = simd.splat(0.0);
    let rows = key.len() / C;
    for half in 0..BLOCK / S::COUNT {
        let mut sums = [[Complex { re: zero, im: zero }; C]; Q];
        for row in 0..rows {
            // SAFETY: the caller's promise.
            let digits: [_; Q] = std::array::from_fn(|q| unsafe { load(simd, from[q].add(row), half) });
            for column in 0..C {
                // SAFETY: the key has C blocks a row.
                let key = unsafe { load(simd, key.as_ptr().add(row * C + column), half) };
                for q in 0..Q {
                    let (sum, digit) = (&mut sums[q][column], digits[q]);
                    sum.re = simd.mul_add(key.re, digit.re, sum.re);
                    sum.im = simd.mul_add(key.re, digit.im, sum.im);
                    sum.re = simd.neg_mul_add(key.im, digit.im, sum.re);
                    sum.im = simd.mul_add(key.im, digit.re, sum.im);
                }
            }
        }
        for q in 0..Q {
            for column in 0..C {
                // SAFETY: the caller's promise.
                unsafe { store(simd, out[q].add(column), half, sums[q][column]) };
            }
        }
    }
}
