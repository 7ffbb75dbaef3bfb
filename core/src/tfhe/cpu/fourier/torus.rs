//! Between the torus and the Fourier domain: rotation, gadget digits and the transform's first step in one reading of
//! an accumulator, and its inverse's last step with the rounding in one writing.
//!
//! The step reads 2 R runs of N / (2 R) words, a vector of each at a time: real parts, then imaginary parts. Rotated
//! words come from the same places moved by the degree, so that only one run meets the end of the polynomial, where
//! signs change.
//!
//! Digits are taken in doubles: adding and subtracting `1.5 * 2^(52 + e)` rounds to a multiple of 2^e, halves to even,
//! so that digits have no mean that the key would sum coherently. They keep their places in the word, and the key is
//! scaled the other way.

#![allow(clippy::needless_range_loop, reason = "registers of several arrays at a place")]

use crate::tfhe::cpu::fourier::block::{BLOCK, Block};
use crate::tfhe::cpu::fourier::butterfly::{self, Complex};
use crate::tfhe::cpu::fourier::lanes::{Lanes, Task, array};
use crate::tfhe::cpu::fourier::transform::{Transform, load, of_radix, store};

/// Most levels of a bootstrapping key.
const MOST_LEVELS: usize = 8;
/// Most runs that a first step reads: two for each of radix 8.
const MOST_RUNS: usize = 16;

/// How words are cut into digits.
#[derive(Clone, Copy)]
pub struct Gadget {
    /// What rounds to a multiple of each level's unit, the least significant first.
    magics: [f64; MOST_LEVELS],
    levels: usize,
}

impl Gadget {
    /// Digits of `base_log` bits, `levels` of them, from the upper end of a word.
    pub fn new(base_log: usize, levels: usize) -> Self {
        let unit = |level: usize| Self::unit_log2(base_log, levels, level);
        let magic = |level: usize| 1.5 * f64::from(52 + unit(level.min(levels - 1)) as u32).exp2();
        Self { magics: std::array::from_fn(magic), levels }
    }

    /// Digits of a level, the least significant first, are multiples of 2 to the power of this.
    pub fn unit_log2(base_log: usize, levels: usize, level: usize) -> usize {
        32 - base_log * (levels - level)
    }
}

/// Transforms the digits of `(X^degree - 1) poly` for some polynomials, or without a degree those of the polynomials
/// themselves.
pub struct Decompose<'a> {
    pub transform: &'a Transform,
    pub gadget: &'a Gadget,
    /// N words each.
    pub polys: &'a [u32],
    /// Below 2N.
    pub degree: Option<usize>,
    /// A polynomial a level.
    pub points: &'a mut [Block],
    /// A block of each polynomial's first level side by side, then of the second.
    pub out: &'a mut [Block],
}

impl Task for Decompose<'_> {
    #[inline(always)]
    fn run<S: Lanes>(self, simd: S) {
        let Self { transform, gadget, polys, degree, points, out } = self;
        let (blocks, size) = (transform.blocks(), transform.size());
        let columns = polys.len() / size;
        assert!(points.len() == gadget.levels * blocks);
        let radix = transform.first().radix;
        for (column, poly) in polys.chunks_exact(size).enumerate() {
            match degree {
                Some(degree) => of_radix!(radix, rotated_digits, simd, transform, gadget, poly, degree, points),
                None => of_radix!(radix, digits, simd, transform, gadget, poly, points),
            }
            for (level, points) in points.chunks_exact_mut(blocks).enumerate() {
                let out = &mut out[level * columns + column..];
                transform.forward_rest(simd, points, out, gadget.levels * columns);
            }
        }
    }
}

/// Digits of the polynomial itself.
#[inline(always)]
fn digits<S: Lanes, const R: usize>(
    simd: S,
    transform: &Transform,
    gadget: &Gadget,
    poly: &[u32],
    points: &mut [Block],
) {
    let first = First::<S, R>::new(simd, transform, gadget, points);
    let run = poly.len() / (2 * R);
    for at in (0..run).step_by(S::COUNT) {
        let mut parts = [simd.splat(0.0); MOST_RUNS];
        for (number, part) in parts.iter_mut().enumerate().take(2 * R) {
            // SAFETY: runs are whole vectors within the polynomial.
            *part = simd.signed(unsafe { simd.load_words(poly.as_ptr().add(number * run + at)) });
        }
        first.step(at, &parts);
    }
}

/// Digits of `(X^degree - 1) poly`.
#[inline(always)]
fn rotated_digits<S: Lanes, const R: usize>(
    simd: S,
    transform: &Transform,
    gadget: &Gadget,
    poly: &[u32],
    degree: usize,
    points: &mut [Block],
) {
    let first = First::<S, R>::new(simd, transform, gadget, points);
    let (size, run) = (poly.len(), poly.len() / (2 * R));
    let (shift, flipped) = if degree < size { (degree, 0) } else { (degree - size, u32::MAX) };
    let (split, within) = (shift / run, shift % run);
    let own = poly.as_ptr();
    // The run that meets the polynomial's end changes its place and its signs on the way; the vector across is made by
    // hand, with the signs that it must have. (Where a pointer itself lies outside of the polynomial, nothing is read
    // before it was moved in.)
    let whole = within / S::COUNT * S::COUNT;
    let mut across = [0; BLOCK];
    for (lane, word) in across.iter_mut().enumerate().take(S::COUNT) {
        let at = whole + lane;
        let (from, sign) = if at < within { (size + at - within, !flipped) } else { (at - within, flipped) };
        *word = (poly[from] ^ sign).wrapping_sub(sign);
    }
    let splits = [
        (own.wrapping_add(size).wrapping_sub(within), !flipped),
        (across.as_ptr().wrapping_sub(whole), 0),
        (own.wrapping_sub(within), flipped),
    ];
    let mut sources = [own; MOST_RUNS];
    let mut signs = [0; MOST_RUNS];
    for number in 0..2 * R {
        let wrapped = number < split;
        let begin = number * run + if wrapped { size } else { 0 };
        sources[number] = own.wrapping_add(begin).wrapping_sub(shift);
        signs[number] = if wrapped { !flipped } else { flipped };
    }
    for at in (0..run).step_by(S::COUNT) {
        // No branch: degrees are random.
        let place = usize::from(at >= whole) + usize::from(at > whole);
        (sources[split], signs[split]) = splits[place];
        let mut parts = [simd.splat(0.0); MOST_RUNS];
        for (number, part) in parts.iter_mut().enumerate().take(2 * R) {
            // SAFETY: both are words of the polynomial: `at` and what lies behind it up to a vector is within one run,
            // and the one rotated run that meets the polynomial's end is replaced there.
            let (rotated, own) = unsafe {
                (simd.load_words(sources[number].wrapping_add(at)), simd.load_words(own.add(number * run + at)))
            };
            let sign = simd.splat_word(signs[number]);
            *part = simd.signed(simd.sub_words(simd.xor_words(rotated, sign), simd.add_words(own, sign)));
        }
        first.step(at, &parts);
    }
}

/// The first step, from integers of words.
struct First<'a, S: Lanes, const R: usize> {
    simd: S,
    factors: [Complex<S::F>; R],
    gadget: &'a Gadget,
    points: *mut Block,
    /// Blocks of a level, and from one output of the step to the next.
    strides: (usize, usize),
}

impl<'a, S: Lanes, const R: usize> First<'a, S, R> {
    #[inline(always)]
    fn new(simd: S, transform: &Transform, gadget: &'a Gadget, points: &mut [Block]) -> Self {
        let blocks = transform.blocks();
        let factors = transform.first().factors(simd, 0);
        Self { simd, factors, gadget, points: points.as_mut_ptr(), strides: (blocks, blocks / R) }
    }

    /// The vectors from coefficient `at` of each run on.
    #[inline(always)]
    fn step(&self, at: usize, parts: &[S::F; MOST_RUNS]) {
        let simd = self.simd;
        let levels = self.gadget.levels;
        let mut rest = [simd.splat(0.0); MOST_RUNS];
        for number in 0..2 * R {
            rest[number] = round(simd, parts[number], self.gadget.magics[0]);
        }
        for level in 1..levels {
            let mut digits = rest;
            for number in 0..2 * R {
                rest[number] = round(simd, rest[number], self.gadget.magics[level]);
                digits[number] = simd.sub(digits[number], rest[number]);
            }
            self.finish(at, level - 1, &digits);
        }
        self.finish(at, levels - 1, &rest);
    }

    /// The butterflies of one level's digits.
    #[inline(always)]
    fn finish(&self, at: usize, level: usize, digits: &[S::F; MOST_RUNS]) {
        let (block, half) = (at / BLOCK, at % BLOCK / S::COUNT);
        let mut x = array!(q < R => Complex { re: digits[q], im: digits[R + q] });
        butterfly::forward(self.simd, &mut x, &self.factors);
        for (q, x) in x.into_iter().enumerate() {
            // SAFETY: the points hold all levels, as `Decompose::run` checks, and each level R outputs.
            unsafe {
                let to = self.points.add(level * self.strides.0 + q * self.strides.1 + block);
                store(self.simd, to, half, x);
            }
        }
    }
}

/// The nearest multiple of a power of two.
#[inline(always)]
fn round<S: Lanes>(simd: S, x: S::F, magic: f64) -> S::F {
    let magic = simd.splat(magic);
    simd.sub(simd.add(x, magic), magic)
}

/// Adds what values stand for, in words, to some polynomials.
pub struct Accumulate<'a> {
    pub transform: &'a Transform,
    /// Whether magnitudes are below 2^63.
    pub small: bool,
    /// The polynomials' blocks side by side, first ones `stride` apart; M times what they stand for is not in them.
    pub from: &'a [Block],
    pub stride: usize,
    pub points: &'a mut [Block],
    /// N words each.
    pub polys: &'a mut [u32],
}

impl Task for Accumulate<'_> {
    #[inline(always)]
    fn run<S: Lanes>(self, simd: S) {
        let Self { transform, small, from, stride, points, polys } = self;
        let radix = transform.first().radix;
        for (column, poly) in polys.chunks_exact_mut(transform.size()).enumerate() {
            transform.inverse_rest(simd, &from[column..], stride, points);
            if small {
                of_radix!(radix, add_small, simd, transform, points, poly);
            } else {
                of_radix!(radix, add_any, simd, transform, points, poly);
            }
        }
    }
}

#[inline(always)]
fn add_small<S: Lanes, const R: usize>(simd: S, transform: &Transform, points: &[Block], poly: &mut [u32]) {
    add_words::<S, R, true>(simd, transform, points, poly);
}

#[inline(always)]
fn add_any<S: Lanes, const R: usize>(simd: S, transform: &Transform, points: &[Block], poly: &mut [u32]) {
    add_words::<S, R, false>(simd, transform, points, poly);
}

#[inline(always)]
fn add_words<S: Lanes, const R: usize, const SMALL: bool>(
    simd: S,
    transform: &Transform,
    points: &[Block],
    poly: &mut [u32],
) {
    let factors = transform.first().factors::<S, R>(simd, 0);
    let (run, stride) = (poly.len() / (2 * R), transform.blocks() / R);
    let (points, poly) = (points.as_ptr(), poly.as_mut_ptr());
    for at in (0..run).step_by(S::COUNT) {
        let (block, half) = (at / BLOCK, at % BLOCK / S::COUNT);
        // SAFETY: the points hold R times `stride` blocks, and `block` is below that.
        let mut x = array!(q < R => unsafe { load(simd, points.add(q * stride + block), half) });
        butterfly::inverse(simd, &mut x, &factors);
        for (q, x) in x.into_iter().enumerate() {
            for (number, part) in [(q, x.re), (R + q, x.im)] {
                let words = if SMALL { simd.words_of_small(part) } else { simd.words(part) };
                // SAFETY: 2 R runs of whole vectors make up the polynomial.
                unsafe {
                    let to = poly.add(number * run + at);
                    simd.store_words(to, simd.add_words(simd.load_words(to), words));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::simd;
    use crate::tfhe::cpu::fourier::lanes;
    use crate::tfhe::cpu::fourier::transform::Forward;

    /// `(X^degree - 1) poly` as signed integers.
    fn difference(poly: &[u32], degree: Option<usize>) -> Vec<i64> {
        let size = poly.len();
        let word = |at: usize| {
            let Some(degree) = degree else { return poly[at] };
            let from = (at + 2 * size - degree) % (2 * size);
            let rotated = if from < size { poly[from] } else { poly[from - size].wrapping_neg() };
            rotated.wrapping_sub(poly[at])
        };
        (0..size).map(|at| i64::from(word(at).cast_signed())).collect()
    }

    /// The nearest multiple of `2^unit_log2`, halves to even ones.
    fn nearest(x: i64, unit_log2: usize) -> i64 {
        let (below, rest, half) = (x >> unit_log2, x & ((1 << unit_log2) - 1), (1 << unit_log2) >> 1);
        (below + i64::from(rest > half || (rest == half && below & 1 == 1))) << unit_log2
    }

    /// `sum + digits key`, the key being a few powers of X with their factors.
    fn add_product(sum: &mut [u32], digits: &[i64], key: &[(usize, i64)]) {
        let size = digits.len();
        for &(power, factor) in key {
            for (at, digit) in digits.iter().enumerate() {
                let product = (digit * factor) as u32;
                let to = at + power;
                let (to, product) = if to < size { (to, product) } else { (to - size, product.wrapping_neg()) };
                sum[to] = sum[to].wrapping_add(product);
            }
        }
    }

    #[test]
    fn products_by_transforms_are_products_of_polynomials() {
        let mut state = 1_u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) ^ (state << 13)
        };
        for (log2_size, arch) in
            (8..=15).flat_map(|log2_size| simd::every().into_iter().map(move |arch| (log2_size, arch)))
        {
            let size = 1_usize << log2_size;
            let transform = Transform::new(size, lanes::count(arch));
            let blocks = transform.blocks();
            let poly: Vec<u32> = (0..size).map(|_| random()).collect();
            let odd = size / 8 + 3;
            let degrees = [0, 1, 8, odd, size - 1, size, size + odd, 2 * size - 1].map(Some);
            for (degree, (base_log, levels)) in
                degrees.into_iter().chain([None]).zip([(23, 1), (7, 2), (3, 3)].into_iter().cycle())
            {
                let gadget = Gadget::new(base_log, levels);
                let (mut points, mut out) = (vec![Block::ZERO; levels * blocks], vec![Block::ZERO; levels * blocks]);
                let decompose = Decompose {
                    transform: &transform,
                    gadget: &gadget,
                    polys: &poly,
                    degree,
                    points: &mut points,
                    out: &mut out,
                };
                lanes::run(arch, decompose);
                let mut rest = difference(&poly, degree);
                rest.iter_mut().for_each(|x| *x = nearest(*x, Gadget::unit_log2(base_log, levels, 0)));
                let mut want: Vec<u32> = (0..size).map(|_| random()).collect();
                let mut got = want.clone();
                let mut sums = vec![Block::ZERO; blocks];
                for level in 0..levels {
                    let key = [(0, 3), (random() as usize % size, -5), (size - 1, 1)];
                    let mut coefficients = vec![0.0; size];
                    key.iter().for_each(|&(power, factor)| coefficients[power] += factor as f64 / (size / 2) as f64);
                    let (re, im) = coefficients.split_at(size / 2);
                    let mut key_points: Vec<Block> = (0..blocks)
                        .map(|block| Block {
                            re: std::array::from_fn(|lane| re[block * BLOCK + lane]),
                            im: std::array::from_fn(|lane| im[block * BLOCK + lane]),
                        })
                        .collect();
                    let mut transformed = vec![Block::ZERO; blocks];
                    let forward =
                        Forward { transform: &transform, points: &mut key_points, out: &mut transformed, stride: 1 };
                    lanes::run(arch, forward);
                    for (block, (sum, key)) in sums.iter_mut().zip(&transformed).enumerate() {
                        let digit = &out[block * levels + level];
                        for lane in 0..BLOCK {
                            sum.re[lane] += digit.re[lane] * key.re[lane] - digit.im[lane] * key.im[lane];
                            sum.im[lane] += digit.re[lane] * key.im[lane] + digit.im[lane] * key.re[lane];
                        }
                    }
                    let upper: Vec<i64> = match level + 1 {
                        last if last == levels => vec![0; size],
                        next => rest.iter().map(|&x| nearest(x, Gadget::unit_log2(base_log, levels, next))).collect(),
                    };
                    let digits: Vec<i64> = rest.iter().zip(&upper).map(|(x, upper)| x - upper).collect();
                    add_product(&mut want, &digits, &key);
                    rest = upper;
                }
                let mut by_any = got.clone();
                for (small, polys) in [(true, &mut got), (false, &mut by_any)] {
                    let points = &mut points[..blocks];
                    let accumulate = Accumulate { transform: &transform, small, from: &sums, stride: 1, points, polys };
                    lanes::run(arch, accumulate);
                }
                assert!(got == want && by_any == want, "N = {size}, {arch:?}, {degree:?}, {base_log}, {levels}");
            }
        }
    }
}
