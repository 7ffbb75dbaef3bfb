//! The external product in the Fourier domain: digits of several ciphertexts times one slice of the key.
//!
//! Layout: complex numbers in blocks of eight, eight real parts then eight imaginary parts. A block holds everything that one
//! group of eight frequencies needs: `digits[ciphertext][block][row][re, im][8]`, `key[block][column][row][re, im][8]`; the result
//! takes the place of the digits, column for row. So a key block (3.2 KB at k = 4, l = 1) is read from memory once and meets all
//! ciphertexts of the batch in the first-level cache. Per row and column a block of eight takes 4 multiply-adds of eight lanes,
//! the floor of the operation; with C ciphertexts the key's traffic is 4/C bytes a lane and multiply-add, which is why batches are
//! as large as the second-level cache allows.

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
}

/// Multiplies the digits of `count` ciphertexts by one key slice, in place.
pub struct Product<'a> {
    pub shape: Shape,
    pub count: usize,
    pub key: &'a [f64],
    pub digits: &'a mut [f64],
    /// Digits of four ciphertexts and one block: `4 * rows * BLOCK` words.
    pub scratch: &'a mut [f64],
}

impl pulp::WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Shape { rows, columns, blocks } = self.shape;
        for block in 0..blocks {
            let key = &self.key[block * columns * rows * BLOCK..][..columns * rows * BLOCK];
            let mut c = 0;
            while c + 4 <= self.count {
                self.shape.multiply::<S, 4>(simd, key, self.digits, self.scratch, c, block);
                c += 4;
            }
            while c < self.count {
                self.shape.multiply::<S, 1>(simd, key, self.digits, self.scratch, c, block);
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
        scratch: &mut [f64],
        c: usize,
        block: usize,
    ) {
        let length = self.rows * BLOCK;
        let at = |q: usize| ((c + q) * self.blocks + block) * length;
        for (q, own) in scratch.chunks_exact_mut(length).take(Q).enumerate() {
            own.copy_from_slice(&digits[at(q)..][..length]);
        }
        let own: [&[f64]; Q] = std::array::from_fn(|q| &scratch[q * length..][..length]);
        for (column, key) in key.chunks_exact(length).enumerate() {
            let sums = accumulate::<S, Q>(simd, key, &own);
            for (q, sum) in sums.iter().enumerate() {
                digits[at(q) + column * BLOCK..][..BLOCK].copy_from_slice(sum);
            }
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
