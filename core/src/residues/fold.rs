//! The way from an element of the conjugate-invariant ring to a polynomial of N words that the transform takes, and
//! back.
//!
//! An element is `a_0 + sum_j a_j (X^j + X^-j)`, j below N, with X^2N = -1. Let r be the square root of -1 that is
//! -X^N at the points of the transform: there X^-j, which is -X^(2N - j), is `r X^(N - j)`. So the element is the
//! polynomial with `b_0 = a_0` and `b_j = a_j + r a_(N - j)`. For a j in the lower half `b_(N - j)` is
//! `r (a_j - r a_(N - j))`: words j and N - j become the sum and the difference of one butterfly with root r, and the
//! r before the difference, which all words of the upper half have, is left to the first root of the tree. The word in
//! the middle is a difference with itself. The ring is that of Kim and Song, ICISC 2018 (ePrint 2018/952).

use crate::device::simd::for_each_arch;
use crate::residues::modulus::{Factor, Modulus, times};
use crate::residues::roots::LANES;

/// Constants for one prime and degree.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    pub p: u32,
    /// r.
    pub root: Factor,
    /// `(2 N)^-1`: of sums on the way up.
    pub sum_scale: Factor,
    /// `r^-1 (2 N)^-1`: of differences.
    pub difference_scale: Factor,
    /// `N^-1`: of the constant word, which has no partner.
    pub constant_scale: Factor,
    /// `(1 + r) (2 N)^-1`: of the word in the middle.
    pub middle_scale: Factor,
}

impl Fold {
    pub fn new(modulus: Modulus, root: Factor, degree: usize) -> Self {
        let scale = modulus.inverse(2 * degree as u32);
        let factor = |value: u32| Factor::new(value, modulus);
        let turned = modulus.mul(scale, root.value);
        Self {
            p: modulus.p,
            root,
            sum_scale: factor(scale),
            difference_scale: factor(modulus.sub(0, turned)),
            constant_scale: factor(modulus.add(scale, scale)),
            middle_scale: factor(modulus.add(scale, turned)),
        }
    }

    #[inline(always)]
    fn scaled(&self, x: u32, scale: &Factor) -> u32 {
        let x = times(x, scale.value, scale.quotient, self.p);
        x.min(x.wrapping_sub(self.p))
    }

    /// The words without a partner, on the way up.
    #[inline(always)]
    pub fn alone_up(&self, words: &mut [u32]) {
        let middle = words.len() / 2;
        words[0] = self.scaled(words[0], &self.constant_scale);
        words[middle] = self.scaled(words[middle], &self.middle_scale);
    }

    #[inline(always)]
    fn pair_down(&self, x: u32, partner: u32) -> (u32, u32) {
        let x = x.min(x.wrapping_sub(2 * self.p));
        let y = times(partner, self.root.value, self.root.quotient, self.p);
        (x + y, x + 2 * self.p - y)
    }

    /// The word in the middle, on the way down.
    #[inline(always)]
    pub fn middle_down(&self, words: &mut [u32]) {
        let middle = words.len() / 2;
        words[middle] = self.pair_down(words[middle], words[middle]).1;
    }
}

for_each_arch! {
    /// Coefficients of an element, below 4p, to words of the polynomial, below 4p.
    pub(super) fn down = down_words, (fold: &Fold, words: &mut [u32])
}
for_each_arch! {
    /// N times the words of the polynomial, below 2p, to coefficients of the element, in `[0, p)`.
    pub(super) fn up = up_words, (fold: &Fold, words: &mut [u32])
}

#[inline(always)]
fn down_words(fold: &Fold, words: &mut [u32]) {
    fold.middle_down(words);
    for_partners(words, |x, y| fold.pair_down(x, y));
}

#[inline(always)]
fn up_words(fold: &Fold, words: &mut [u32]) {
    fold.alone_up(words);
    let (sum, difference) = (&fold.sum_scale, &fold.difference_scale);
    for_partners(words, |x, y| (fold.scaled(x + y, sum), fold.scaled(x + 2 * fold.p - y, difference)));
}

/// Replaces words j and N - j by what `act` makes of them, for all j from 1 to N/2 - 1.
#[inline(always)]
fn for_partners(words: &mut [u32], act: impl Fn(u32, u32) -> (u32, u32)) {
    let (low, high) = partners(words);
    let (blocks, rest) = low.as_chunks_mut::<LANES>();
    let (other_rest, other_blocks) = high.as_rchunks_mut::<LANES>();
    for (block, other) in blocks.iter_mut().zip(other_blocks.iter_mut().rev()) {
        let (a, mut b) = (*block, *other);
        b.reverse();
        let (mut c, mut d) = ([0; LANES], [0; LANES]);
        for lane in 0..LANES {
            (c[lane], d[lane]) = act(a[lane], b[lane]);
        }
        d.reverse();
        (*block, *other) = (c, d);
    }
    for (a, b) in rest.iter_mut().zip(other_rest.iter_mut().rev()) {
        (*a, *b) = act(*a, *b);
    }
}

/// Words 1 to N/2 - 1, and words N/2 + 1 to N - 1: each 15 more than a multiple of 16.
#[inline(always)]
pub(super) fn partners(words: &mut [u32]) -> (&mut [u32], &mut [u32]) {
    let (low, high) = words.split_at_mut(words.len() / 2);
    (&mut low[1..], &mut high[1..])
}
