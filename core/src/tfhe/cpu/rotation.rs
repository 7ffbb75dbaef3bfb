//! Between the torus and the Fourier domain: rotation, gadget digits, twist, and back.
//!
//! A negacyclic product of N coefficients is a cyclic convolution of N/2 complex numbers `a[j] + i a[j + N/2]`, each
//! twisted by `exp(i pi j / N)`.

use tfhe_fft::c64;

use crate::device::simd::for_each_arch;
use crate::tfhe::cpu::product::{BLOCK, LANES};

/// Adding and subtracting it rounds to an integer; after adding it the low bits of the mantissa are that integer.
/// Valid for magnitudes below 2^51.
const MAGIC: f64 = 6_755_399_441_055_744.0;
const TURN: f64 = 4_294_967_296.0;

/// The exponent of X for one set of a group's bits: the sum of theirs, the set with bit i of its number counting bit i
/// of the group.
pub fn degree_of_set(set: usize, exponents: &[u32]) -> u32 {
    exponents.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1).map(|(_, &exponent)| exponent).sum()
}

for_each_arch! {
    /// See [`rotate_and_subtract`] and [`round_words`].
    pub fn difference = rounded_difference, (poly: &[u32], degree: usize, kept: usize, out: &mut [u32])
}
for_each_arch! {
    /// See [`round_words`].
    pub fn rounded = copy_rounded, (poly: &[u32], kept: usize, out: &mut [u32])
}
for_each_arch! {
    /// See [`monomials_less_one`].
    pub fn monomials = monomials_less_one, (degrees: &[u32], frequencies: (&[u32], &[u32; LANES]), turns: &[c64], out: &mut [f64])
}
for_each_arch! {
    /// See [`split_digit`].
    pub fn split = split_digit, (state: &mut [u32], digit: &mut [u32], base_log: usize)
}
for_each_arch! {
    /// See [`fold_integers`].
    pub fn fold = fold_integers, (words: &[u32], twists: &[c64], out: &mut [c64])
}
for_each_arch! {
    /// See [`to_blocks`].
    pub fn scatter = to_blocks, (from: &[c64], out: &mut [f64], stride: usize)
}
for_each_arch! {
    /// See [`from_blocks`].
    pub fn gather = from_blocks, (from: &[f64], stride: usize, out: &mut [c64])
}
for_each_arch! {
    /// See [`unfold_and_add`].
    pub fn unfold = unfold_and_add, (from: &[c64], twists: &[c64], words: &mut [u32])
}

/// `exp(i pi j / N)` for `j < N/2`.
pub fn twists(polynomial_size: usize) -> Vec<c64> {
    (0..polynomial_size / 2)
        .map(|j| {
            let (sin, cos) = (std::f64::consts::PI * j as f64 / polynomial_size as f64).sin_cos();
            c64::new(cos, sin)
        })
        .collect()
}

/// `out = X^degree * poly`, degree below 2N.
#[inline(always)]
pub fn rotate(poly: &[u32], degree: usize, out: &mut [u32]) {
    let n = poly.len();
    let (shift, flip) = if degree < n { (degree, false) } else { (degree - n, true) };
    let (low, high) = out.split_at_mut(shift);
    let (kept, wrapped) = poly.split_at(n - shift);
    copy_signed(low, wrapped, !flip);
    copy_signed(high, kept, flip);
}

#[inline(always)]
fn copy_signed(out: &mut [u32], from: &[u32], negate: bool) {
    if negate {
        for (o, &x) in out.iter_mut().zip(from) {
            *o = x.wrapping_neg();
        }
    } else {
        out.copy_from_slice(from);
    }
}

/// `out = (X^degree - 1) * poly`, degree below 2N.
#[inline(always)]
pub fn rotate_and_subtract(poly: &[u32], degree: usize, out: &mut [u32]) {
    rotate(poly, degree, out);
    for (o, &x) in out.iter_mut().zip(poly) {
        *o = o.wrapping_sub(x);
    }
}

#[inline(always)]
fn rounded_difference(poly: &[u32], degree: usize, kept: usize, out: &mut [u32]) {
    rotate_and_subtract(poly, degree, out);
    round_words(out, kept);
}

#[inline(always)]
fn copy_rounded(poly: &[u32], kept: usize, out: &mut [u32]) {
    out.copy_from_slice(poly);
    round_words(out, kept);
}

/// `X^degree - 1` at all frequencies for each degree, in blocks of eight: `out[block][degree][re, im][8]`.
///
/// X is `exp(i pi f / N)` there, f the block's first frequency and a lane's step; `turns` holds `exp(i pi t / N)` for t
/// below 2N.
#[inline(always)]
pub fn monomials_less_one(degrees: &[u32], (first, steps): (&[u32], &[u32; LANES]), turns: &[c64], out: &mut [f64]) {
    let turn = |degree: u32, frequency: u32| turns[degree.wrapping_mul(frequency) as usize & (turns.len() - 1)];
    for (at, &degree) in degrees.iter().enumerate() {
        let within: [c64; LANES] = std::array::from_fn(|lane| turn(degree, steps[lane]));
        let (re, im) = (within.map(|z| z.re), within.map(|z| z.im));
        for (&first, out) in first.iter().zip(out.chunks_exact_mut(degrees.len() * BLOCK)) {
            let base = turn(degree, first);
            let out = &mut out[at * BLOCK..][..BLOCK];
            for lane in 0..LANES {
                out[lane] = base.re * re[lane] - base.im * im[lane] - 1.0;
                out[LANES + lane] = base.re * im[lane] + base.im * re[lane];
            }
        }
    }
}

/// Rounds words to their `kept` highest bits, as signed integers, halves to even.
///
/// With few bits dropped, halves are frequent: rounding them up would leave a mean error that the key sums coherently.
#[inline(always)]
pub fn round_words(words: &mut [u32], kept: usize) {
    let dropped = 32 - kept;
    let below_half = (1_u32 << (dropped - 1)) - 1;
    for word in words {
        let odd = (*word >> dropped) & 1;
        *word = (word.wrapping_add(below_half + odd).cast_signed() >> dropped).cast_unsigned();
    }
}

/// Splits off the lowest digit, in [-B/2, B/2), and leaves the rest.
#[inline(always)]
pub fn split_digit(state: &mut [u32], digit: &mut [u32], base_log: usize) {
    let half = 1_u32 << (base_log - 1);
    for (s, d) in state.iter_mut().zip(digit) {
        let carried = s.wrapping_add(half);
        let rest = (carried.cast_signed() >> base_log).cast_unsigned();
        *d = s.wrapping_sub(rest << base_log);
        *s = rest;
    }
}

/// Folds N signed integers into N/2 twisted complex numbers.
#[inline(always)]
pub fn fold_integers(words: &[u32], twists: &[c64], out: &mut [c64]) {
    let (re, im) = words.split_at(words.len() / 2);
    for (((o, &re), &im), t) in out.iter_mut().zip(re).zip(im).zip(twists) {
        let (re, im) = (f64::from(re.cast_signed()), f64::from(im.cast_signed()));
        *o = c64::new(re * t.re - im * t.im, re * t.im + im * t.re);
    }
}

/// Folds N torus elements mod 2^64, scaled to turns times `scale`.
pub fn fold_torus(words: &[u64], twists: &[c64], scale: f64, out: &mut [c64]) {
    let (re, im) = words.split_at(words.len() / 2);
    let scale = scale * (-64.0_f64).exp2();
    for (((o, &re), &im), t) in out.iter_mut().zip(re).zip(im).zip(twists) {
        let (re, im) = (re.cast_signed() as f64 * scale, im.cast_signed() as f64 * scale);
        *o = c64::new(re * t.re - im * t.im, re * t.im + im * t.re);
    }
}

/// Writes complex numbers to blocks of eight, `stride` words apart.
#[inline(always)]
pub fn to_blocks(from: &[c64], out: &mut [f64], stride: usize) {
    for (numbers, block) in from.chunks_exact(LANES).zip(out.chunks_mut(stride)) {
        let block = &mut block[..BLOCK];
        for lane in 0..LANES {
            block[lane] = numbers[lane].re;
            block[LANES + lane] = numbers[lane].im;
        }
    }
}

/// Reads complex numbers from blocks of eight, `stride` words apart.
#[inline(always)]
pub fn from_blocks(from: &[f64], stride: usize, out: &mut [c64]) {
    for (block, numbers) in from.chunks(stride).zip(out.chunks_exact_mut(LANES)) {
        let block = &block[..BLOCK];
        for lane in 0..LANES {
            numbers[lane] = c64::new(block[lane], block[LANES + lane]);
        }
    }
}

/// Untwists N/2 complex numbers in turns (magnitude below 2^51) and adds them to N torus words.
#[inline(always)]
pub fn unfold_and_add(from: &[c64], twists: &[c64], words: &mut [u32]) {
    let half = words.len() / 2;
    let (low, high) = words.split_at_mut(half);
    for (((z, t), re), im) in from.iter().zip(twists).zip(low).zip(high) {
        *re = re.wrapping_add(to_word(z.re * t.re + z.im * t.im));
        *im = im.wrapping_add(to_word(z.im * t.re - z.re * t.im));
    }
}

#[inline(always)]
fn to_word(turns: f64) -> u32 {
    let fraction = turns - ((turns + MAGIC) - MAGIC);
    (fraction * TURN + MAGIC).to_bits() as u32
}

/// Extracts the constant coefficient of a GLWE ciphertext (k + 1 polynomials) as an LWE row of `k N + 1` words.
#[inline(always)]
pub fn extract_constant(glwe: &[u32], polynomial_size: usize, row: &mut [u32]) {
    let (mask, body) = glwe.split_at(glwe.len() - polynomial_size);
    for (poly, out) in mask.chunks_exact(polynomial_size).zip(row.chunks_exact_mut(polynomial_size)) {
        out[0] = poly[0];
        for (o, &x) in out[1..].iter_mut().zip(poly[1..].iter().rev()) {
            *o = x.wrapping_neg();
        }
    }
    row[mask.len()] = body[0];
}

/// Centred modulus switch of a small row to exponents mod 2N: mask, then body.
///
/// The mask's rounding errors have mean `sum e_i / 2` over binary keys; it is moved into the body before that is
/// rounded.
/// Source: Bernard et al., ePrint 2025/809.
pub fn switch_modulus(row: &[u32], log2_steps: u32, out: &mut [u32]) {
    let drop = 32 - log2_steps;
    let half = 1_u32 << (drop - 1);
    let round = |word: u32| word.wrapping_add(half) >> drop;
    let (mask, body) = row.split_at(row.len() - 1);
    let mut error = 0_i64;
    for (o, &word) in out.iter_mut().zip(mask) {
        *o = round(word);
        error += i64::from(word.wrapping_sub(*o << drop).cast_signed());
    }
    let corrected = body[0].wrapping_sub((error.div_euclid(2)) as u32);
    out[mask.len()] = round(corrected);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_is_negacyclic() {
        let poly = [1, 2, 3, 4];
        let mut out = [0; 4];
        rotate(&poly, 1, &mut out);
        assert_eq!(out, [4_u32.wrapping_neg(), 1, 2, 3]);
        rotate(&poly, 5, &mut out);
        assert_eq!(out, [4, 1_u32.wrapping_neg(), 2_u32.wrapping_neg(), 3_u32.wrapping_neg()]);
        rotate(&poly, 0, &mut out);
        assert_eq!(out, poly);
    }

    #[test]
    fn digits_recompose_to_the_rounded_word() {
        for base_log in [1, 4, 7, 10] {
            for level in 1..=3 {
                let kept = base_log * level;
                for word in [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1234_5678, 0xdead_beef_u32] {
                    let mut state = [word];
                    round_words(&mut state, kept);
                    let rounded = state[0];
                    let (mut sum, mut digit) = (0_u32, [0]);
                    for at in 0..level {
                        split_digit(&mut state, &mut digit, base_log);
                        let half = 1_i32 << (base_log - 1);
                        assert!((-half..half).contains(&digit[0].cast_signed()));
                        sum = sum.wrapping_add(digit[0] << (at * base_log));
                    }
                    assert_eq!(sum << (32 - kept), rounded << (32 - kept));
                }
            }
        }
    }

    #[test]
    fn turns_become_words_whatever_their_integer_part() {
        for (turns, word) in [(0.25, 1 << 30), (-0.25, 3 << 30), (1_048_576.5, 1 << 31), (-33_554_432.75, 1 << 30)] {
            assert_eq!(to_word(turns), word);
        }
    }
}
