//! Loops over the words of one limb; all arguments are of equal length.

use super::modulus::{Factor, Modulus, times};
use crate::cpu::simd::for_each_arch;

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
    /// `out = a * b / 2^32`, residues.
    pub fn multiply = multiply_words, (modulus: Modulus, out: &mut [u32], a: &[u32], b: &[u32])
}
for_each_arch! {
    /// The product of `a0 + a1 s` and `b0 + b1 s`, each coefficient times 2^-32.
    pub fn tensor = tensor_words,
    (modulus: Modulus, out: [&mut [u32]; 3], a: [&[u32]; 2], b: [&[u32]; 2])
}
for_each_arch! {
    /// `sums += a * weight`, without reduction: at most [`LAZY_SUMS`] times for residues.
    pub fn accumulate = accumulate_words, (sums: &mut [u64], a: &[u32], weight: u32)
}
for_each_arch! {
    /// `out += sums / 2^32`, and clears the sums: at most [`LAZY_SUMS`] products of residues.
    pub fn reduce = reduce_words, (modulus: Modulus, out: &mut [u32], sums: &mut [u64])
}
for_each_arch! {
    /// `out = sums / 2^32` of at most [`LAZY_SUMS`] products of residues.
    pub fn reduce_to = reduce_to_words, (modulus: Modulus, out: &mut [u32], sums: &[u64])
}
for_each_arch! {
    /// `sums += a * b`, without reduction: at most [`LAZY_SUMS`] products of residues.
    pub fn accumulate_products = accumulate_products_words, (sums: &mut [u64], a: &[u32], b: &[u32])
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
    /// `a *= 2^32` mod p for any words: into Montgomery form.
    pub fn enter_montgomery = enter_montgomery_words, (modulus: Modulus, a: &mut [u32])
}

/// Products of residues that a sum takes before it must be reduced: `12 p^2 < 3 * 2^32 p`.
pub const LAZY_SUMS: usize = 12;

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
fn multiply_words(modulus: Modulus, out: &mut [u32], a: &[u32], b: &[u32]) {
    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *out = modulus.reduce(u64::from(a) * u64::from(b));
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
fn accumulate_words(sums: &mut [u64], a: &[u32], weight: u32) {
    for (sum, &a) in sums.iter_mut().zip(a) {
        *sum += u64::from(a) * u64::from(weight);
    }
}

#[inline(always)]
fn reduce_words(modulus: Modulus, out: &mut [u32], sums: &mut [u64]) {
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = modulus.add(*out, modulus.reduce_sum(*sum));
        *sum = 0;
    }
}

#[inline(always)]
fn reduce_to_words(modulus: Modulus, out: &mut [u32], sums: &[u64]) {
    for (out, &sum) in out.iter_mut().zip(sums) {
        *out = modulus.reduce_sum(sum);
    }
}

#[inline(always)]
fn accumulate_products_words(sums: &mut [u64], a: &[u32], b: &[u32]) {
    for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
        *sum += u64::from(a) * u64::from(b);
    }
}

#[inline(always)]
fn recenter_words(modulus: Modulus, out: &mut [u32], a: &[u32], center: u32) {
    for (out, &a) in out.iter_mut().zip(a) {
        *out = modulus.sub(modulus.montgomery_of_word(a), center);
    }
}

#[inline(always)]
fn leave_montgomery_words(modulus: Modulus, a: &mut [u32], offset: u32) {
    for a in a {
        *a = modulus.add(modulus.reduce(u64::from(*a)), offset);
    }
}

#[inline(always)]
fn enter_montgomery_words(modulus: Modulus, a: &mut [u32]) {
    for a in a {
        *a = modulus.montgomery_of_word(*a);
    }
}
