//! What transforms and products need of an instruction set.

use crate::tfhe::cpu::fourier::block::Block;

/// `1.5 * 2^84`: adding and subtracting it rounds to a multiple of 2^32, for magnitudes below 2^83.
const TURN_MAGIC: f64 = 1.5 * (1_u128 << 84) as f64;
/// `1.5 * 2^52`: after adding it the low bits of the mantissa are the nearest integer, for magnitudes below 2^51.
const MAGIC: f64 = 1.5 * (1_u64 << 52) as f64;

/// Vectors of doubles, and of as many words, of an instruction set that this processor has.
pub trait Lanes: Copy {
    /// Doubles of a vector: 4 or 8.
    const COUNT: usize;
    /// Complex sums that the registers hold beside their operands.
    const SUMS: usize;
    /// Doubles.
    type F: Copy;
    /// Words.
    type W: Copy;

    fn splat(self, x: f64) -> Self::F;
    /// # Safety
    /// [`Self::COUNT`] doubles can be read there.
    unsafe fn load(self, from: *const f64) -> Self::F;
    /// # Safety
    /// [`Self::COUNT`] doubles can be written there.
    unsafe fn store(self, to: *mut f64, x: Self::F);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a b + c`.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a b - c`.
    fn mul_sub(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `c - a b`.
    fn neg_mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// Transposes a square of [`Self::COUNT`] vectors.
    fn transpose(self, rows: &mut [Self::F]);

    fn splat_word(self, x: u32) -> Self::W;
    /// # Safety
    /// [`Self::COUNT`] words can be read there.
    unsafe fn load_words(self, from: *const u32) -> Self::W;
    /// # Safety
    /// [`Self::COUNT`] words can be written there.
    unsafe fn store_words(self, to: *mut u32, x: Self::W);
    fn xor_words(self, a: Self::W, b: Self::W) -> Self::W;
    fn add_words(self, a: Self::W, b: Self::W) -> Self::W;
    fn sub_words(self, a: Self::W, b: Self::W) -> Self::W;
    /// Words as signed integers.
    fn signed(self, x: Self::W) -> Self::F;
    /// The nearest integers modulo 2^32, for magnitudes below 2^83.
    fn words(self, x: Self::F) -> Self::W;
    /// As [`Self::words`], for magnitudes below 2^63.
    fn words_of_small(self, x: Self::F) -> Self::W {
        self.words(x)
    }
    /// Asks for a block to be brought to the second-level cache.
    fn prefetch(self, block: &Block);
}

/// An array of what an expression gives for each index below a count, which is at least 1.
///
/// `std::array::from_fn` would take a closure. Where that is not inlined, it is compiled without the instruction set
/// that its caller was, and each instruction in it becomes a call: bootstraps take twice as long for it in the dev
/// profile.
macro_rules! array {
    ($index:ident < $count:expr => $value:expr) => {{
        let mut all = {
            let $index = 0;
            [$value; $count]
        };
        for $index in 1..$count {
            all[$index] = $value;
        }
        all
    }};
}
pub(crate) use array;

/// Any processor: the compiler makes vectors of it where it can.
#[derive(Clone, Copy)]
pub struct Portable;

#[inline(always)]
fn each<A: Copy, B: Copy, O>(a: [A; 4], b: [B; 4], f: impl Fn(A, B) -> O) -> [O; 4] {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

impl Lanes for Portable {
    const COUNT: usize = 4;
    const SUMS: usize = 6;
    type F = [f64; 4];
    type W = [u32; 4];

    #[inline(always)]
    fn splat(self, x: f64) -> Self::F {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f64) -> Self::F {
        // SAFETY: the caller's promise; arrays of doubles are aligned as doubles.
        unsafe { *from.cast() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64, x: Self::F) {
        // SAFETY: as above.
        unsafe { *to.cast() = x }
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        each(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        each(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        each(a, b, |a, b| a * b)
    }
    // Without the instruction a fused multiply-add is a call.
    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        self.add(self.mul(a, b), c)
    }
    #[inline(always)]
    fn mul_sub(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        self.sub(self.mul(a, b), c)
    }
    #[inline(always)]
    fn neg_mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        self.sub(c, self.mul(a, b))
    }
    #[inline(always)]
    fn transpose(self, rows: &mut [Self::F]) {
        let old: [Self::F; 4] = std::array::from_fn(|row| rows[row]);
        for (lane, row) in rows.iter_mut().enumerate() {
            *row = old.map(|old| old[lane]);
        }
    }
    #[inline(always)]
    fn splat_word(self, x: u32) -> Self::W {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load_words(self, from: *const u32) -> Self::W {
        // SAFETY: the caller's promise; arrays of words are aligned as words.
        unsafe { *from.cast() }
    }
    #[inline(always)]
    unsafe fn store_words(self, to: *mut u32, x: Self::W) {
        // SAFETY: as above.
        unsafe { *to.cast() = x }
    }
    #[inline(always)]
    fn xor_words(self, a: Self::W, b: Self::W) -> Self::W {
        each(a, b, |a, b| a ^ b)
    }
    #[inline(always)]
    fn add_words(self, a: Self::W, b: Self::W) -> Self::W {
        each(a, b, u32::wrapping_add)
    }
    #[inline(always)]
    fn sub_words(self, a: Self::W, b: Self::W) -> Self::W {
        each(a, b, u32::wrapping_sub)
    }
    #[inline(always)]
    fn signed(self, x: Self::W) -> Self::F {
        x.map(|x| f64::from(x.cast_signed()))
    }
    #[inline(always)]
    fn words(self, x: Self::F) -> Self::W {
        x.map(|x| (x - ((x + TURN_MAGIC) - TURN_MAGIC) + MAGIC).to_bits() as u32)
    }
    #[inline(always)]
    fn prefetch(self, _: &Block) {}
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use pulp::core_arch::x86::Avx512f;
    use pulp::x86::{V3, V4};

    use super::{Block, Lanes, TURN_MAGIC};

    impl Lanes for V4 {
        const COUNT: usize = 8;
        const SUMS: usize = 10;
        type F = __m512d;
        type W = __m256i;

        #[inline(always)]
        fn splat(self, x: f64) -> Self::F {
            self.avx512f._mm512_set1_pd(x)
        }
        #[inline(always)]
        unsafe fn load(self, from: *const f64) -> Self::F {
            // SAFETY: the caller's promise.
            unsafe { self.avx512f._mm512_loadu_pd(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f64, x: Self::F) {
            // SAFETY: the caller's promise.
            unsafe { self.avx512f._mm512_storeu_pd(to, x) }
        }
        #[inline(always)]
        fn add(self, a: Self::F, b: Self::F) -> Self::F {
            self.avx512f._mm512_add_pd(a, b)
        }
        #[inline(always)]
        fn sub(self, a: Self::F, b: Self::F) -> Self::F {
            self.avx512f._mm512_sub_pd(a, b)
        }
        #[inline(always)]
        fn mul(self, a: Self::F, b: Self::F) -> Self::F {
            self.avx512f._mm512_mul_pd(a, b)
        }
        #[inline(always)]
        fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
            self.avx512f._mm512_fmadd_pd(a, b, c)
        }
        #[inline(always)]
        fn mul_sub(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
            self.avx512f._mm512_fmsub_pd(a, b, c)
        }
        #[inline(always)]
        fn neg_mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
            self.avx512f._mm512_fnmadd_pd(a, b, c)
        }
        #[inline(always)]
        fn transpose(self, rows: &mut [Self::F]) {
            let f = self.avx512f;
            let low = array!(pair < 4 => f._mm512_unpacklo_pd(rows[2 * pair], rows[2 * pair + 1]));
            let high = array!(pair < 4 => f._mm512_unpackhi_pd(rows[2 * pair], rows[2 * pair + 1]));
            for (first, pairs) in [(0, low), (1, high)] {
                let (a, b) = (even(f, pairs[0], pairs[1]), odd(f, pairs[0], pairs[1]));
                let (c, d) = (even(f, pairs[2], pairs[3]), odd(f, pairs[2], pairs[3]));
                rows[first] = even(f, a, c);
                rows[first + 2] = even(f, b, d);
                rows[first + 4] = odd(f, a, c);
                rows[first + 6] = odd(f, b, d);
            }
        }
        #[inline(always)]
        fn splat_word(self, x: u32) -> Self::W {
            self.avx._mm256_set1_epi32(x.cast_signed())
        }
        #[inline(always)]
        unsafe fn load_words(self, from: *const u32) -> Self::W {
            // SAFETY: the caller's promise.
            unsafe { self.avx._mm256_loadu_si256(from.cast()) }
        }
        #[inline(always)]
        unsafe fn store_words(self, to: *mut u32, x: Self::W) {
            // SAFETY: the caller's promise.
            unsafe { self.avx._mm256_storeu_si256(to.cast(), x) }
        }
        #[inline(always)]
        fn xor_words(self, a: Self::W, b: Self::W) -> Self::W {
            self.avx2._mm256_xor_si256(a, b)
        }
        #[inline(always)]
        fn add_words(self, a: Self::W, b: Self::W) -> Self::W {
            self.avx2._mm256_add_epi32(a, b)
        }
        #[inline(always)]
        fn sub_words(self, a: Self::W, b: Self::W) -> Self::W {
            self.avx2._mm256_sub_epi32(a, b)
        }
        #[inline(always)]
        fn signed(self, x: Self::W) -> Self::F {
            self.avx512f._mm512_cvtepi32_pd(x)
        }
        // The one integer that is out of range, 2^31, becomes the word 2^31.
        #[inline(always)]
        fn words(self, x: Self::F) -> Self::W {
            let magic = self.splat(TURN_MAGIC);
            self.avx512f._mm512_cvtpd_epi32(self.sub(x, self.sub(self.add(x, magic), magic)))
        }
        #[inline(always)]
        fn words_of_small(self, x: Self::F) -> Self::W {
            self.avx512f._mm512_cvtepi64_epi32(self.avx512dq._mm512_cvtpd_epi64(x))
        }
        #[inline(always)]
        fn prefetch(self, block: &Block) {
            prefetch(block);
        }
    }

    #[inline(always)]
    fn even(f: Avx512f, a: __m512d, b: __m512d) -> __m512d {
        f._mm512_shuffle_f64x2::<0x88>(a, b)
    }

    #[inline(always)]
    fn odd(f: Avx512f, a: __m512d, b: __m512d) -> __m512d {
        f._mm512_shuffle_f64x2::<0xdd>(a, b)
    }

    impl Lanes for V3 {
        const COUNT: usize = 4;
        const SUMS: usize = 6;
        type F = __m256d;
        type W = __m128i;

        #[inline(always)]
        fn splat(self, x: f64) -> Self::F {
            self.avx._mm256_set1_pd(x)
        }
        #[inline(always)]
        unsafe fn load(self, from: *const f64) -> Self::F {
            // SAFETY: the caller's promise.
            unsafe { self.avx._mm256_loadu_pd(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f64, x: Self::F) {
            // SAFETY: the caller's promise.
            unsafe { self.avx._mm256_storeu_pd(to, x) }
        }
        #[inline(always)]
        fn add(self, a: Self::F, b: Self::F) -> Self::F {
            self.avx._mm256_add_pd(a, b)
        }
        #[inline(always)]
        fn sub(self, a: Self::F, b: Self::F) -> Self::F {
            self.avx._mm256_sub_pd(a, b)
        }
        #[inline(always)]
        fn mul(self, a: Self::F, b: Self::F) -> Self::F {
            self.avx._mm256_mul_pd(a, b)
        }
        #[inline(always)]
        fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
            self.fma._mm256_fmadd_pd(a, b, c)
        }
        #[inline(always)]
        fn mul_sub(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
            self.fma._mm256_fmsub_pd(a, b, c)
        }
        #[inline(always)]
        fn neg_mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
            self.fma._mm256_fnmadd_pd(a, b, c)
        }
        #[inline(always)]
        fn transpose(self, rows: &mut [Self::F]) {
            let f = self.avx;
            let (a, b) = (f._mm256_unpacklo_pd(rows[0], rows[1]), f._mm256_unpackhi_pd(rows[0], rows[1]));
            let (c, d) = (f._mm256_unpacklo_pd(rows[2], rows[3]), f._mm256_unpackhi_pd(rows[2], rows[3]));
            rows[0] = f._mm256_permute2f128_pd::<0x20>(a, c);
            rows[1] = f._mm256_permute2f128_pd::<0x20>(b, d);
            rows[2] = f._mm256_permute2f128_pd::<0x31>(a, c);
            rows[3] = f._mm256_permute2f128_pd::<0x31>(b, d);
        }
        #[inline(always)]
        fn splat_word(self, x: u32) -> Self::W {
            self.sse2._mm_set1_epi32(x.cast_signed())
        }
        #[inline(always)]
        unsafe fn load_words(self, from: *const u32) -> Self::W {
            // SAFETY: the caller's promise.
            unsafe { self.sse2._mm_loadu_si128(from.cast()) }
        }
        #[inline(always)]
        unsafe fn store_words(self, to: *mut u32, x: Self::W) {
            // SAFETY: the caller's promise.
            unsafe { self.sse2._mm_storeu_si128(to.cast(), x) }
        }
        #[inline(always)]
        fn xor_words(self, a: Self::W, b: Self::W) -> Self::W {
            self.sse2._mm_xor_si128(a, b)
        }
        #[inline(always)]
        fn add_words(self, a: Self::W, b: Self::W) -> Self::W {
            self.sse2._mm_add_epi32(a, b)
        }
        #[inline(always)]
        fn sub_words(self, a: Self::W, b: Self::W) -> Self::W {
            self.sse2._mm_sub_epi32(a, b)
        }
        #[inline(always)]
        fn signed(self, x: Self::W) -> Self::F {
            self.avx._mm256_cvtepi32_pd(x)
        }
        // The one integer that is out of range, 2^31, becomes the word 2^31.
        #[inline(always)]
        fn words(self, x: Self::F) -> Self::W {
            let magic = self.splat(TURN_MAGIC);
            self.avx._mm256_cvtpd_epi32(self.sub(x, self.sub(self.add(x, magic), magic)))
        }
        #[inline(always)]
        fn prefetch(self, block: &Block) {
            prefetch(block);
        }
    }

    #[inline(always)]
    fn prefetch(block: &Block) {
        let at = std::ptr::from_ref(block).cast::<i8>();
        // SAFETY: every x86-64 processor has the instruction, and it reads nothing that the program could see.
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(at);
            _mm_prefetch::<_MM_HINT_T1>(at.wrapping_add(64));
        }
    }
}

/// Work that is written once for all instruction sets; all of it must be inlined into `run`.
pub trait Task {
    fn run<S: Lanes>(self, simd: S);
}

/// Runs a task with an instruction set.
#[inline]
pub fn run<T: Task>(arch: pulp::Arch, task: T) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    fn v4<T: Task>(simd: pulp::x86::V4, task: T) {
        task.run(simd);
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    fn v3<T: Task>(simd: pulp::x86::V3, task: T) {
        task.run(simd);
    }
    match arch {
        // SAFETY: pulp hands out `V4` and `V3` only after it found these features on this processor.
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V4(simd) => unsafe { v4(simd, task) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V3(simd) => unsafe { v3(simd, task) },
        _ => task.run(Portable),
    }
}

/// Doubles of a vector of an instruction set.
pub fn count(arch: pulp::Arch) -> usize {
    match arch {
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V4(_) => <pulp::x86::V4 as Lanes>::COUNT,
        _ => Portable::COUNT,
    }
}

/// [`Lanes::SUMS`] of an instruction set.
pub fn sums(arch: pulp::Arch) -> usize {
    match arch {
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V4(_) => <pulp::x86::V4 as Lanes>::SUMS,
        _ => Portable::SUMS,
    }
}
