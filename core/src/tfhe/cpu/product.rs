//! The external product in the Fourier domain: digits of several ciphertexts times one slice of the key.
//!
//! Where bits of the key are taken in groups, a slice holds a GGSW ciphertext for every set of them, and the digits
//! meet each after a multiplication by that set's factor, `X^e - 1` at all frequencies:
//! `sum_j (X^e_j - 1) (digits x GGSW_j)`.
//!
//! Layout: complex numbers in blocks of eight, eight real parts then eight imaginary parts. A block holds everything
//! that one group of eight frequencies needs: `digits[ciphertext][block][row][re, im][8]`,
//! `key[block][column][set][row][re, im][8]`, `factors[ciphertext][block][set][re, im][8]`; the result takes the place
//! of the digits, column for row. So a key block (3.2 KB at k = 4, l = 1) is read from memory once and meets all
//! ciphertexts of the batch in the first-level cache. Per row and column a block of eight takes 4 multiply-adds of
//! eight lanes, the floor of the operation; with C ciphertexts the key's traffic is 4/C bytes a lane and multiply-add,
//! which is why batches are as large as the second-level cache allows.

use pulp::Simd;

/// Complex numbers of a block.
pub const LANES: usize = 8;
/// Words of a block: real and imaginary parts.
pub const BLOCK: usize = 2 * LANES;

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
}

impl Shape {
    /// Words of the digits of one block, multiplied by the factors of all sets.
    pub fn wide(&self) -> usize {
        self.subsets * self.rows * BLOCK
    }
}

/// Multiplies the digits of `count` ciphertexts by one key slice, in place.
pub struct Product<'a> {
    pub shape: Shape,
    pub count: usize,
    pub key: &'a [f64],
    pub digits: &'a mut [f64],
    /// Nothing where a slice is one GGSW ciphertext.
    pub factors: &'a [f64],
    /// Digits of four ciphertexts and one block: four times [`Shape::wide`] words.
    pub scratch: &'a mut [f64],
}

impl pulp::WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Shape { columns, blocks, .. } = self.shape;
        let length = columns * self.shape.wide();
        for block in 0..blocks {
            let key = &self.key[block * length..][..length];
            let mut c = 0;
            while c + 4 <= self.count {
                self.shape.multiply::<S, 4>(simd, key, self.digits, self.factors, self.scratch, (c, block));
                c += 4;
            }
            while c < self.count {
                self.shape.multiply::<S, 1>(simd, key, self.digits, self.factors, self.scratch, (c, block));
                c += 1;
            }
        }
    }
}

impl Shape {
    /// One block of Q ciphertexts from number `c` on.
    #[inline(always)]
    fn multiply<S: Simd, const Q: usize>(
        self,
        simd: S,
        key: &[f64],
        digits: &mut [f64],
        factors: &[f64],
        scratch: &mut [f64],
        (c, block): (usize, usize),
    ) {
        let (length, wide) = (self.rows * BLOCK, self.wide());
        let at = |q: usize| ((c + q) * self.blocks + block) * length;
        for (q, own) in scratch.chunks_exact_mut(wide).take(Q).enumerate() {
            let digits = &digits[at(q)..][..length];
            if factors.is_empty() {
                own.copy_from_slice(digits);
            } else {
                let first = ((c + q) * self.blocks + block) * self.subsets * BLOCK;
                let factors = factors[first..][..self.subsets * BLOCK].chunks_exact(BLOCK);
                own.chunks_exact_mut(length).zip(factors).for_each(|(own, factor)| scale(simd, digits, factor, own));
            }
        }
        let own: [&[f64]; Q] = std::array::from_fn(|q| &scratch[q * wide..][..wide]);
        for (column, key) in key.chunks_exact(wide).enumerate() {
            let sums = accumulate::<S, Q>(simd, key, &own);
            for (q, sum) in sums.iter().enumerate() {
                digits[at(q) + column * BLOCK..][..BLOCK].copy_from_slice(sum);
            }
        }
    }
}

/// All rows of a block times one block of factors.
#[inline(always)]
fn scale<S: Simd>(simd: S, digits: &[f64], factor: &[f64], out: &mut [f64]) {
    let (factor, _) = S::as_simd_f64s(factor);
    let vectors = factor.len() / 2;
    for (digits, out) in digits.chunks_exact(BLOCK).zip(out.chunks_exact_mut(BLOCK)) {
        let ((digits, _), (out, _)) = (S::as_simd_f64s(digits), S::as_mut_simd_f64s(out));
        for v in 0..vectors {
            let (re, im, f_re, f_im) = (digits[v], digits[vectors + v], factor[v], factor[vectors + v]);
            out[v] = simd.negate_mul_add_f64s(im, f_im, simd.mul_f64s(re, f_re));
            out[vectors + v] = simd.mul_add_f64s(im, f_re, simd.mul_f64s(re, f_im));
        }
    }
}

/// Sums over the rows for Q ciphertexts and one column.
#[inline(always)]
fn accumulate<S: Simd, const Q: usize>(simd: S, key: &[f64], digits: &[&[f64]; Q]) -> [[f64; BLOCK]; Q] {
    let mut out = [[0.0; BLOCK]; Q];
    let (key, _) = S::as_simd_f64s(key);
    let digits: [&[S::f64s]; Q] = std::array::from_fn(|q| S::as_simd_f64s(digits[q]).0);
    let lanes = size_of::<S::f64s>() / size_of::<f64>();
    let vectors = LANES / lanes;
    let zero = simd.splat_f64s(0.0);
    for v in 0..vectors {
        let mut re = [zero; Q];
        let mut im = [zero; Q];
        for row in 0..key.len() / (2 * vectors) {
            let at = row * 2 * vectors + v;
            let (k_re, k_im) = (key[at], key[at + vectors]);
            for q in 0..Q {
                let (d_re, d_im) = (digits[q][at], digits[q][at + vectors]);
                re[q] = simd.mul_add_f64s(k_re, d_re, re[q]);
                im[q] = simd.mul_add_f64s(k_re, d_im, im[q]);
                re[q] = simd.negate_mul_add_f64s(k_im, d_im, re[q]);
                im[q] = simd.mul_add_f64s(k_im, d_re, im[q]);
            }
        }
        for q in 0..Q {
            let (vectors_out, _) = S::as_mut_simd_f64s(&mut out[q]);
            vectors_out[v] = re[q];
            vectors_out[vectors + v] = im[q];
        }
    }
    out
}
