//! Rotations, gadget digits and modulus switches of words.

use crate::device::simd::for_each_arch;

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
    /// See [`split_digit`].
    pub fn split = split_digit, (state: &mut [u32], digit: &mut [u32], base_log: usize)
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
}
