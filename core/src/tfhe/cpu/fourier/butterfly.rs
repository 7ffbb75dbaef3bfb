//! Butterflies of radix 2, 4 and 8 over vectors of complex numbers.
//!
//! Forward: from the coefficients `a_q` of a polynomial of degree below R to its values at `v w^j`, where w is
//! `exp(2 pi i / R)` and `v^R` the root of the node; the factors are `v^q`. Inverse: the other way, R times too large.
//!
//! Sums `a + w b` take two multiply-adds for each part, and `a - w b = 2 a - (a + w b)` one: as few operations as there
//! are. Where products stand alone they are sums and differences, which some processors have units of their own for.

#![allow(clippy::needless_range_loop, reason = "registers of several arrays at a place")]

use crate::tfhe::cpu::fourier::lanes::Lanes;

/// A vector of complex numbers.
#[derive(Clone, Copy)]
pub struct Complex<F> {
    pub re: F,
    pub im: F,
}

type C<S> = Complex<<S as Lanes>::F>;

#[inline(always)]
fn add<S: Lanes>(simd: S, a: C<S>, b: C<S>) -> C<S> {
    Complex { re: simd.add(a.re, b.re), im: simd.add(a.im, b.im) }
}

#[inline(always)]
fn sub<S: Lanes>(simd: S, a: C<S>, b: C<S>) -> C<S> {
    Complex { re: simd.sub(a.re, b.re), im: simd.sub(a.im, b.im) }
}

/// `(a + i b, a - i b)`.
#[inline(always)]
fn turned<S: Lanes>(simd: S, a: C<S>, b: C<S>) -> (C<S>, C<S>) {
    let plus = Complex { re: simd.sub(a.re, b.im), im: simd.add(a.im, b.re) };
    (plus, Complex { re: simd.add(a.re, b.im), im: simd.sub(a.im, b.re) })
}

/// `a w`.
#[inline(always)]
pub fn mul<S: Lanes>(simd: S, a: C<S>, w: C<S>) -> C<S> {
    Complex {
        re: simd.neg_mul_add(a.im, w.im, simd.mul(a.re, w.re)),
        im: simd.mul_add(a.im, w.re, simd.mul(a.re, w.im)),
    }
}

/// `a conj(w)`.
#[inline(always)]
fn mul_conjugate<S: Lanes>(simd: S, a: C<S>, w: C<S>) -> C<S> {
    Complex {
        re: simd.mul_add(a.im, w.im, simd.mul(a.re, w.re)),
        im: simd.neg_mul_add(a.re, w.im, simd.mul(a.im, w.re)),
    }
}

/// `(a + w b, a - w b)`.
#[inline(always)]
fn rotated<S: Lanes>(simd: S, a: C<S>, b: C<S>, w: C<S>) -> (C<S>, C<S>) {
    let two = simd.splat(2.0);
    let plus = Complex {
        re: simd.neg_mul_add(b.im, w.im, simd.mul_add(b.re, w.re, a.re)),
        im: simd.mul_add(b.im, w.re, simd.mul_add(b.re, w.im, a.im)),
    };
    (plus, Complex { re: simd.mul_sub(two, a.re, plus.re), im: simd.mul_sub(two, a.im, plus.im) })
}

/// `a (1 + i) / sqrt(2)` times `sqrt(2)`.
#[inline(always)]
fn eighth<S: Lanes>(simd: S, a: C<S>) -> C<S> {
    Complex { re: simd.sub(a.re, a.im), im: simd.add(a.re, a.im) }
}

/// `(a + h b, a - h b)` with `h = 1 / sqrt(2)`.
#[inline(always)]
fn halved<S: Lanes>(simd: S, a: C<S>, b: C<S>) -> (C<S>, C<S>) {
    let h = simd.splat(std::f64::consts::FRAC_1_SQRT_2);
    let plus = Complex { re: simd.mul_add(b.re, h, a.re), im: simd.mul_add(b.im, h, a.im) };
    (plus, Complex { re: simd.neg_mul_add(b.re, h, a.re), im: simd.neg_mul_add(b.im, h, a.im) })
}

/// R coefficients to R values; `w[q]` is `v^q`, and `w[0]` is not read. R is 2, 4 or 8.
#[inline(always)]
pub fn forward<S: Lanes, const R: usize>(simd: S, x: &mut [C<S>; R], w: &[C<S>; R]) {
    match R {
        2 => (x[0], x[1]) = rotated(simd, x[0], x[1], w[1]),
        4 => {
            let (p0, m0) = rotated(simd, x[0], x[2], w[2]);
            let (b1, b3) = (mul(simd, x[1], w[1]), mul(simd, x[3], w[3]));
            let (p1, m1) = (add(simd, b1, b3), sub(simd, b1, b3));
            (x[0], x[2]) = (add(simd, p0, p1), sub(simd, p0, p1));
            (x[1], x[3]) = turned(simd, m0, m1);
        }
        _ => {
            let (p0, m0) = rotated(simd, x[0], x[4], w[4]);
            let (p1, m1) = rotated(simd, mul(simd, x[1], w[1]), x[5], w[5]);
            let (p2, m2) = rotated(simd, mul(simd, x[2], w[2]), x[6], w[6]);
            let (p3, m3) = rotated(simd, mul(simd, x[3], w[3]), x[7], w[7]);
            let (even, odd) = (add(simd, p0, p2), add(simd, p1, p3));
            (x[0], x[4]) = (add(simd, even, odd), sub(simd, even, odd));
            (x[2], x[6]) = turned(simd, sub(simd, p0, p2), sub(simd, p1, p3));
            let (e, f) = turned(simd, m0, m2);
            let (o, r) = turned(simd, m1, m3);
            (x[1], x[5]) = halved(simd, e, eighth(simd, o));
            // (1 + i) i = i - 1
            let third = Complex { re: simd.add(r.re, r.im), im: simd.sub(r.re, r.im) };
            (x[3], x[7]) = conjugate_halved(simd, f, third);
        }
    }
}

/// `(a + h conj(-b), a - h conj(-b))`.
#[inline(always)]
fn conjugate_halved<S: Lanes>(simd: S, a: C<S>, b: C<S>) -> (C<S>, C<S>) {
    let h = simd.splat(std::f64::consts::FRAC_1_SQRT_2);
    let plus = Complex { re: simd.neg_mul_add(b.re, h, a.re), im: simd.mul_add(b.im, h, a.im) };
    (plus, Complex { re: simd.mul_add(b.re, h, a.re), im: simd.neg_mul_add(b.im, h, a.im) })
}

/// R values to R coefficients times R; `w[q]` is `v^q`, and `w[0]` is not read. R is 2, 4 or 8.
#[inline(always)]
pub fn inverse<S: Lanes, const R: usize>(simd: S, x: &mut [C<S>; R], w: &[C<S>; R]) {
    match R {
        2 => (x[0], x[1]) = (add(simd, x[0], x[1]), sub(simd, x[0], x[1])),
        4 => {
            let (p0, m0) = (add(simd, x[0], x[2]), sub(simd, x[0], x[2]));
            let (p1, m1) = (add(simd, x[1], x[3]), sub(simd, x[1], x[3]));
            (x[0], x[2]) = (add(simd, p0, p1), sub(simd, p0, p1));
            (x[3], x[1]) = turned(simd, m0, m1);
        }
        _ => {
            let (p0, m0) = (add(simd, x[0], x[4]), sub(simd, x[0], x[4]));
            let (p1, m1) = (add(simd, x[1], x[5]), sub(simd, x[1], x[5]));
            let (p2, m2) = (add(simd, x[2], x[6]), sub(simd, x[2], x[6]));
            let (p3, m3) = (add(simd, x[3], x[7]), sub(simd, x[3], x[7]));
            let (even, odd) = (add(simd, p0, p2), add(simd, p1, p3));
            (x[0], x[4]) = (add(simd, even, odd), sub(simd, even, odd));
            (x[6], x[2]) = turned(simd, sub(simd, p0, p2), sub(simd, p1, p3));
            let (f, e) = turned(simd, m0, m2);
            let (r, o) = turned(simd, m1, m3);
            // (1 - i) o
            let first = Complex { re: simd.add(o.re, o.im), im: simd.sub(o.im, o.re) };
            (x[1], x[5]) = halved(simd, e, first);
            // -(1 + i) r
            (x[7], x[3]) = halved(simd, f, eighth(simd, r));
        }
    }
    for q in 1..R {
        x[q] = mul_conjugate(simd, x[q], w[q]);
    }
}
