//! Loops over the words of one limb; all arguments are of equal length.

#[cfg(target_arch = "x86_64")]
use crate::ckks::ring::words_wide;
use crate::device::simd::for_each_arch;
use crate::residues::modulus::{Factor, LAZY_SUMS, Modulus, times};
use crate::residues::roots::LANES as ROW;

for_each_arch! {
    /// `a += b`, residues.
    pub fn add = add_words, (modulus: Modulus, a: &mut [u32], b: &[u32])
}
for_each_arch! {
    /// `a -= b`, residues.
    pub fn subtract = subtract_words, (modulus: Modulus, a: &mut [u32], b: &[u32])
}
for_each_arch! {
    /// `a *= factor`: any words to residues.
    pub fn scale = scale_words, (modulus: Modulus, a: &mut [u32], factor: Factor)
}
for_each_arch! {
    /// `a += offset`, residues.
    pub fn shift = shift_words, (modulus: Modulus, a: &mut [u32], offset: u32)
}
for_each_arch! {
    /// `a = (a - b) * factor` for residues a and b below 2p.
    pub fn subtract_and_scale = subtract_and_scale_words, (modulus: Modulus, a: &mut [u32], b: &[u32], factor: Factor)
}
for_each_arch! {
    /// `a = a * factor + (rest - center) 2^32 mod p`, below 3p, for any words; `center` is a residue times 2^32.
    pub fn scale_and_recenter = scale_and_recenter_words,
    (modulus: Modulus, a: &mut [u32], factor: Factor, rest: &[u32], center: u32)
}
for_each_arch! {
    /// `a = (a * first + addend - b) * second` for residues.
    pub fn scale_add_and_scale = scale_add_and_scale_words,
    (modulus: Modulus, a: &mut [u32], first: Factor, addend: &[u32], b: &[u32], second: Factor)
}
for_each_arch! {
    /// `out = a * b / 2^32`, residues.
    pub fn multiply = multiply_words, (modulus: Modulus, out: &mut [u32], a: &[u32], b: &[u32])
}
for_each_arch! {
    /// `sum += a * b / 2^32`, residues.
    pub fn multiply_add = multiply_add_words, (modulus: Modulus, sum: &mut [u32], a: &[u32], b: &[u32])
}
for_each_arch! {
    /// `sum += a * factor / 2^32`, residues.
    pub fn add_scaled = add_scaled_words, (modulus: Modulus, sum: &mut [u32], a: &[u32], factor: u32)
}
for_each_arch! {
    /// The product of `a0 + a1 s` and `b0 + b1 s`, each coefficient times 2^-32.
    pub fn tensor = tensor_words,
    (modulus: Modulus, out: [&mut [u32]; 3], a: [&[u32]; 2], b: [&[u32]; 2])
}
for_each_arch! {
    fn portable_combine = combine_words,
    (modulus: Modulus, out: &mut [u32], terms: &[&[u32]], weights: &[u32], offset: u64)
}
for_each_arch! {
    fn portable_inner_products = inner_products_words,
    (modulus: Modulus, out: [&mut [u32]; 2], a: [&[&[u32]]; 2], b: &[&[u32]], repeats: usize)
}
for_each_arch! {
    /// `out = (a - center) 2^32 mod p` for any words; `center` is a residue times 2^32.
    pub fn recenter = recenter_words, (modulus: Modulus, out: &mut [u32], a: &[u32], center: u32)
}
for_each_arch! {
    /// `a /= 2^32` mod p, and adds `offset`, a residue: out of Montgomery form.
    pub fn leave_montgomery = leave_montgomery_words, (modulus: Modulus, a: &mut [u32], offset: u32)
}
for_each_arch! {
    /// `out = values 2^32 mod p`, for values between -2^62 and 2^62.
    pub fn lift = lift_words, (modulus: Modulus, out: &mut [u32], values: &[i64])
}
for_each_arch! {
    /// The largest magnitude of some numbers.
    pub fn largest = largest_number, (largest: &mut f64, numbers: &[f64])
}
for_each_arch! {
    /// Numbers below 2^62 rounded to the nearest integers, halves away from zero.
    pub fn round = round_numbers, (out: &mut [i64], numbers: &[f64])
}
for_each_arch! {
    /// As [`round`], with 2^31 added, for numbers whose magnitude is below 2^31 - 1.
    pub fn round_short = round_short_numbers, (out: &mut [u32], numbers: &[f64])
}
for_each_arch! {
    /// `out = floor(wide p / 2^64)`: residues from any words.
    pub fn scale_down = scale_down_words, (modulus: Modulus, out: &mut [u32], wide: &[u64])
}

/// Two sums of products with the same factors: `out[k] = sum_i a[k][i] * b[i] / 2^32`, residues. Each row of 16 words
/// of a factor stands for `repeats` rows, one after the other.
pub fn inner_products(
    arch: pulp::Arch,
    modulus: Modulus,
    out: [&mut [u32]; 2],
    a: [&[&[u32]]; 2],
    b: &[&[u32]],
    repeats: usize,
) {
    let [low, high] = out;
    if b.is_empty() {
        low.fill(0);
        high.fill(0);
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if low.len().is_multiple_of(words_wide::WHOLE)
        && words_wide::inner_products(arch, modulus, [&mut *low, &mut *high], a, b, repeats)
    {
        return;
    }
    portable_inner_products(arch, modulus, [low, high], a, b, repeats);
}

/// `out = (offset + sum_i terms[i] * weights[i]) / 2^32`, residues; `offset` below `2^32 p`, at most 8 terms where it
/// is not 0.
pub fn combine(arch: pulp::Arch, modulus: Modulus, out: &mut [u32], terms: &[&[u32]], weights: &[u32], offset: u64) {
    if terms.is_empty() {
        out.fill(modulus.reduce(offset));
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if out.len().is_multiple_of(words_wide::WHOLE) && words_wide::combine(arch, modulus, out, terms, weights, offset) {
        return;
    }
    portable_combine(arch, modulus, out, terms, weights, offset);
}

/// Words whose 64-bit sums stay in the first-level cache.
const BLOCK: usize = 256;
/// The same for two sums side by side.
const PAIR_BLOCK: usize = 128;

#[inline(always)]
fn add_words(modulus: Modulus, a: &mut [u32], b: &[u32]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a = modulus.add(*a, b);
    }
}

#[inline(always)]
fn subtract_words(modulus: Modulus, a: &mut [u32], b: &[u32]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a = modulus.sub(*a, b);
    }
}

#[inline(always)]
fn scale_words(modulus: Modulus, a: &mut [u32], factor: Factor) {
    for a in a {
        let x = times(*a, factor.value, factor.quotient, modulus.p);
        *a = x.min(x.wrapping_sub(modulus.p));
    }
}

#[inline(always)]
fn shift_words(modulus: Modulus, a: &mut [u32], offset: u32) {
    for a in a {
        *a = modulus.add(*a, offset);
    }
}

#[inline(always)]
fn subtract_and_scale_words(modulus: Modulus, a: &mut [u32], b: &[u32], factor: Factor) {
    for (a, &b) in a.iter_mut().zip(b) {
        let x = times(*a + 2 * modulus.p - b, factor.value, factor.quotient, modulus.p);
        *a = x.min(x.wrapping_sub(modulus.p));
    }
}

#[inline(always)]
fn scale_and_recenter_words(modulus: Modulus, a: &mut [u32], factor: Factor, rest: &[u32], center: u32) {
    for (a, &rest) in a.iter_mut().zip(rest) {
        *a =
            times(*a, factor.value, factor.quotient, modulus.p) + modulus.sub(modulus.montgomery_of_word(rest), center);
    }
}

#[inline(always)]
fn scale_add_and_scale_words(
    modulus: Modulus,
    a: &mut [u32],
    first: Factor,
    addend: &[u32],
    b: &[u32],
    second: Factor,
) {
    let p = modulus.p;
    for ((a, &addend), &b) in a.iter_mut().zip(addend).zip(b) {
        // Below 2p, p and p.
        let sum = times(*a, first.value, first.quotient, p) + addend + (p - b);
        let x = times(sum, second.value, second.quotient, p);
        *a = x.min(x.wrapping_sub(p));
    }
}

#[inline(always)]
fn multiply_words(modulus: Modulus, out: &mut [u32], a: &[u32], b: &[u32]) {
    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *out = modulus.reduce(u64::from(a) * u64::from(b));
    }
}

#[inline(always)]
fn multiply_add_words(modulus: Modulus, sum: &mut [u32], a: &[u32], b: &[u32]) {
    for ((sum, &a), &b) in sum.iter_mut().zip(a).zip(b) {
        *sum = modulus.add(*sum, modulus.reduce(u64::from(a) * u64::from(b)));
    }
}

#[inline(always)]
fn add_scaled_words(modulus: Modulus, sum: &mut [u32], a: &[u32], factor: u32) {
    for (sum, &a) in sum.iter_mut().zip(a) {
        *sum = modulus.add(*sum, modulus.reduce(u64::from(a) * u64::from(factor)));
    }
}

#[inline(always)]
fn tensor_words(modulus: Modulus, out: [&mut [u32]; 3], a: [&[u32]; 2], b: [&[u32]; 2]) {
    let [low, middle, high] = out;
    let operands = a[0].iter().zip(a[1]).zip(b[0].iter().zip(b[1]));
    for (((low, middle), high), ((&a0, &a1), (&b0, &b1))) in low.iter_mut().zip(middle).zip(high).zip(operands) {
        let (a0, a1, b0, b1) = (u64::from(a0), u64::from(a1), u64::from(b0), u64::from(b1));
        *low = modulus.reduce(a0 * b0);
        *middle = modulus.reduce_sum(a0 * b1 + a1 * b0);
        *high = modulus.reduce(a1 * b1);
    }
}

#[inline(always)]
fn combine_words(modulus: Modulus, out: &mut [u32], terms: &[&[u32]], weights: &[u32], offset: u64) {
    for (at, out) in out.chunks_mut(BLOCK).enumerate() {
        let block = at * BLOCK..at * BLOCK + out.len();
        let mut first = true;
        for (terms, weights) in terms.chunks(LAZY_SUMS).zip(weights.chunks(LAZY_SUMS)) {
            let mut sums = [if first { offset } else { 0 }; BLOCK];
            for (term, &weight) in terms.iter().zip(weights) {
                for (sum, &x) in sums.iter_mut().zip(&term[block.clone()]) {
                    *sum += u64::from(x) * u64::from(weight);
                }
            }
            store_sums(modulus, out, &sums, first);
            first = false;
        }
    }
}

#[inline(always)]
fn inner_products_words(modulus: Modulus, out: [&mut [u32]; 2], a: [&[&[u32]]; 2], b: &[&[u32]], repeats: usize) {
    const BLOCK: usize = PAIR_BLOCK;
    let [low, high] = out;
    for (at, (low, high)) in low.chunks_mut(BLOCK).zip(high.chunks_mut(BLOCK)).enumerate() {
        let block = at * BLOCK..at * BLOCK + low.len();
        let mut first = true;
        let terms = a[0].chunks(LAZY_SUMS).zip(a[1].chunks(LAZY_SUMS)).zip(b.chunks(LAZY_SUMS));
        for ((a0, a1), b) in terms {
            let mut sums = [[0_u64; BLOCK]; 2];
            for ((a0, a1), b) in a0.iter().zip(a1).zip(b) {
                let [low, high] = &mut sums;
                let mut add = |range: std::ops::Range<usize>, b: &[u32]| {
                    let words = a0[block.start + range.start..block.start + range.end]
                        .iter()
                        .zip(&a1[block.start + range.start..block.start + range.end])
                        .zip(b);
                    for ((low, high), ((&x0, &x1), &y)) in
                        low[range.clone()].iter_mut().zip(&mut high[range]).zip(words)
                    {
                        *low += u64::from(x0) * u64::from(y);
                        *high += u64::from(x1) * u64::from(y);
                    }
                };
                if repeats == 1 {
                    add(0..block.len(), &b[block.clone()]);
                } else {
                    for row in 0..block.len() / ROW {
                        let own = (block.start / ROW + row) / repeats;
                        add(row * ROW..(row + 1) * ROW, &b[own * ROW..][..ROW]);
                    }
                }
            }
            store_sums(modulus, low, &sums[0], first);
            store_sums(modulus, high, &sums[1], first);
            first = false;
        }
    }
}

#[inline(always)]
fn store_sums(modulus: Modulus, out: &mut [u32], sums: &[u64], first: bool) {
    if first {
        for (out, &sum) in out.iter_mut().zip(sums) {
            *out = modulus.reduce_sum(sum);
        }
    } else {
        for (out, &sum) in out.iter_mut().zip(sums) {
            *out = modulus.add(*out, modulus.reduce_sum(sum));
        }
    }
}

#[inline(always)]
fn recenter_words(modulus: Modulus, out: &mut [u32], a: &[u32], center: u32) {
    for (out, &a) in out.iter_mut().zip(a) {
        *out = modulus.sub(modulus.montgomery_of_word(a), center);
    }
}

#[inline(always)]
fn scale_down_words(modulus: Modulus, out: &mut [u32], wide: &[u64]) {
    let p = u64::from(modulus.p);
    for (out, &wide) in out.iter_mut().zip(wide) {
        // By halves: the low product's own low half cannot carry into the result.
        *out = (((wide >> 32) * p + (((wide & 0xffff_ffff) * p) >> 32)) >> 32) as u32;
    }
}

#[inline(always)]
fn leave_montgomery_words(modulus: Modulus, a: &mut [u32], offset: u32) {
    for a in a {
        *a = modulus.add(modulus.reduce(u64::from(*a)), offset);
    }
}

#[inline(always)]
fn largest_number(largest: &mut f64, numbers: &[f64]) {
    let (rows, rest) = numbers.as_chunks::<16>();
    let mut most = [0.0_f64; 16];
    let larger = |a: f64, b: f64| if b > a { b } else { a };
    for row in rows {
        most.iter_mut().zip(row).for_each(|(most, x)| *most = larger(*most, x.abs()));
    }
    *largest = most.iter().chain(rest).fold(0.0, |most, x| larger(most, x.abs()));
}

#[inline(always)]
fn round_numbers(out: &mut [i64], numbers: &[f64]) {
    for (out, x) in out.iter_mut().zip(numbers) {
        *out = x.round() as i64;
    }
}

#[inline(always)]
fn round_short_numbers(out: &mut [u32], numbers: &[f64]) {
    for (out, x) in out.iter_mut().zip(numbers) {
        *out = (x.round() as i32).cast_unsigned() ^ 1 << 31;
    }
}

#[inline(always)]
fn lift_words(modulus: Modulus, out: &mut [u32], values: &[i64]) {
    for (out, &value) in out.iter_mut().zip(values) {
        let magnitude = value.unsigned_abs();
        let low = modulus.montgomery_of_word(magnitude as u32);
        // Twice: times 2^32 for its place, and once more for the form.
        let high = modulus.montgomery_of_word(modulus.montgomery_of_word((magnitude >> 32) as u32));
        let sum = modulus.add(low, high);
        *out = if value < 0 { modulus.sub(0, sum) } else { sum };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::simd;
    use crate::residues::modulus::primes_below;

    /// Rows of so many words, all of them residues; some are the largest there are.
    fn rows(modulus: Modulus, count: usize, words: usize, seed: u32) -> Vec<Vec<u32>> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let word = ((u64::from(state) * u64::from(modulus.p)) >> 32) as u32;
            if state.is_multiple_of(3) { modulus.p - 1 } else { word }
        };
        (0..count).map(|_| (0..words).map(|_| next()).collect()).collect()
    }

    /// A sum divided by 2^32, mod p.
    fn divided(modulus: Modulus, sum: u128) -> u32 {
        let residue = (sum % u128::from(modulus.p)) as u32;
        modulus.mul(residue, modulus.inverse(modulus.montgomery(1)))
    }

    #[test]
    fn sums_of_products_are_exact_on_every_instruction_set() {
        let modulus = Modulus::new(primes_below(1 << 30, 12).next().expect("a prime"));
        let product = |x: u32, y: u32| u128::from(x) * u128::from(y);
        for arch in simd::every() {
            // With 48 words there are no four rows.
            for words in [48, 64, 192] {
                for count in [0, 1, 2, 12, 13, 30] {
                    let [a, b] = [1, 2].map(|seed| rows(modulus, count, words, seed));
                    let [a, b]: [Vec<&[u32]>; 2] = [&a, &b].map(|rows| rows.iter().map(|row| &row[..]).collect());
                    for repeats in [1, 2, 3, 6, words / ROW] {
                        let factors = rows(modulus, count, words / repeats, 3);
                        if !words.is_multiple_of(ROW * repeats) {
                            continue;
                        }
                        let factors: Vec<&[u32]> = factors.iter().map(|row| &row[..]).collect();
                        let mut out = [vec![7; words], vec![7; words]];
                        let [low, high] = &mut out;
                        inner_products(arch, modulus, [low, high], [&a, &b], &factors, repeats);
                        for (out, rows) in out.iter().zip([&a, &b]) {
                            for (at, &word) in out.iter().enumerate() {
                                let own = at / ROW / repeats * ROW + at % ROW;
                                let sum = rows.iter().zip(&factors).map(|(x, y)| product(x[at], y[own])).sum();
                                assert_eq!(word, divided(modulus, sum), "{count} terms, {repeats} repeats, word {at}");
                            }
                        }
                    }
                    let weights = rows(modulus, 1, count, 4).remove(0);
                    let offset = if count <= 8 { (u64::from(modulus.p) << 32) - 1 } else { 0 };
                    let mut out = vec![7; words];
                    combine(arch, modulus, &mut out, &a, &weights, offset);
                    for (at, &word) in out.iter().enumerate() {
                        let sum: u128 = a.iter().zip(&weights).map(|(x, &y)| product(x[at], y)).sum();
                        assert_eq!(word, divided(modulus, sum + u128::from(offset)), "{count} terms, word {at}");
                    }
                }
            }
        }
    }
}
