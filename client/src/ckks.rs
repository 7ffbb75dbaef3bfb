//! CKKS: keys, encryption, decryption.

use heman_core::ckks::context::Context;
use heman_core::ckks::evaluator::{Ciphertext, Plaintext};
use heman_core::ckks::keyswitch::SwitchKey;
use heman_core::ckks::noise::FRESH_DEVIATION;
use zeroize::{Zeroize, Zeroizing};

use crate::secret_key::{fresh_seed, os_seeder};

/// A uniform ternary secret.
pub struct CkksSecretKey {
    /// Coefficients -1, 0, 1.
    coefficients: Zeroizing<Vec<i8>>,
    /// All limbs of QP, values in Montgomery form.
    values: Zeroizing<Vec<u32>>,
}

/// Unpredictable bytes: BLAKE3's extendable output over two seeds of the operating system.
struct Stream {
    reader: blake3::OutputReader,
    buffer: Zeroizing<[u8; 4096]>,
    used: usize,
}

impl Stream {
    fn new() -> Self {
        let mut seeder = os_seeder();
        let mut hasher = blake3::Hasher::new_derive_key("heman 2026-11 CKKS randomness");
        for _ in 0..2 {
            let seed = Zeroizing::new(fresh_seed(&mut seeder));
            hasher.update(&*seed);
        }
        let stream = Self { reader: hasher.finalize_xof(), buffer: Zeroizing::new([0; 4096]), used: 4096 };
        hasher.zeroize();
        stream
    }

    fn word(&mut self) -> u32 {
        if self.used == self.buffer.len() {
            self.reader.fill(&mut *self.buffer);
            self.used = 0;
        }
        let bytes = self.buffer[self.used..].first_chunk().expect("whole words are used");
        self.used += 4;
        u32::from_le_bytes(*bytes)
    }

    /// Uniform below `p`, by rejection.
    fn below(&mut self, p: u32) -> u32 {
        let mask = p.next_power_of_two() - 1;
        loop {
            let word = self.word() & mask;
            if word < p {
                return word;
            }
        }
    }

    /// Rounded Gaussian of [`FRESH_DEVIATION`] (Box and Muller), cut at 12 deviations by its 32-bit uniform.
    fn error(&mut self) -> i64 {
        let unit = |word: u32| (f64::from(word) + 0.5) / 4_294_967_296.0;
        let (u, v) = (unit(self.word()), unit(self.word()));
        let value = FRESH_DEVIATION * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        value.round() as i64
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.zeroize();
    }
}

/// Signed coefficients as values of limbs `limbs` of QP, in Montgomery form.
fn lift(context: &Context, limbs: std::ops::Range<usize>, coefficients: impl Fn(usize) -> i64) -> Vec<u32> {
    let degree = context.degree();
    let mut words = Vec::with_capacity(limbs.len() * degree);
    for limb in limbs.clone() {
        let modulus = context.modulus(limb);
        words.extend((0..degree).map(|i| modulus.montgomery_of_word(modulus.residue(coefficients(i)))));
    }
    context.forward(limbs.start, &mut words);
    words
}

impl CkksSecretKey {
    /// A fresh key.
    #[must_use]
    pub fn generate(context: &Context) -> Self {
        let mut stream = Stream::new();
        let coefficients: Vec<i8> = (0..context.degree()).map(|_| stream.below(3) as i8 - 1).collect();
        let values = lift(context, 0..context.key_limbs(), |i| i64::from(coefficients[i]));
        Self { coefficients: Zeroizing::new(coefficients), values: Zeroizing::new(values) }
    }

    /// `-a s + message` and `a` for a fresh uniform `a`; `message` are values in Montgomery form of the first limbs of QP.
    fn encrypt_values(&self, context: &Context, stream: &mut Stream, message: Vec<u32>) -> [Vec<u32>; 2] {
        let degree = context.degree();
        let mut body = message;
        let mut mask = Vec::with_capacity(body.len());
        for (limb, body) in body.chunks_exact_mut(degree).enumerate() {
            let modulus = context.modulus(limb);
            let secret = &self.values[limb * degree..][..degree];
            for (body, &s) in body.iter_mut().zip(secret) {
                // Uniform words stay uniform in any form.
                let a = stream.below(modulus.p);
                *body = modulus.sub(*body, modulus.reduce(u64::from(a) * u64::from(s)));
                mask.push(a);
            }
        }
        [body, mask]
    }

    /// Encrypts coefficients (already times `scale`) at all limbs of Q. Noise: [`FRESH_DEVIATION`].
    #[must_use]
    pub fn encrypt(&self, context: &Context, coefficients: &[f64], scale: f64) -> Ciphertext {
        let mut stream = Stream::new();
        let errors: Vec<i64> = (0..context.degree()).map(|_| stream.error()).collect();
        let message = lift(context, 0..context.limbs(), |i| coefficients[i].round() as i64 + errors[i]);
        Ciphertext { parts: self.encrypt_values(context, &mut stream, message), scale }
    }

    /// Coefficients of the message, times the ciphertext's scale; magnitudes below a quarter of the first two primes' product.
    #[must_use]
    pub fn decrypt(&self, context: &Context, ciphertext: &Ciphertext) -> Vec<f64> {
        let degree = context.degree();
        let limbs = context.limbs_of(ciphertext).min(2);
        let mut words = Zeroizing::new(ciphertext.parts[0][..limbs * degree].to_vec());
        for (limb, words) in words.chunks_exact_mut(degree).enumerate() {
            let modulus = context.modulus(limb);
            let mask = &ciphertext.parts[1][limb * degree..][..degree];
            let secret = &self.values[limb * degree..][..degree];
            for ((word, &a), &s) in words.iter_mut().zip(mask).zip(secret) {
                *word = modulus.add(*word, modulus.reduce(u64::from(a) * u64::from(s)));
            }
        }
        context.inverse(0, &mut words);
        let (first, rest) = words.split_at(degree);
        let p = context.modulus(0);
        let centred = |value: i64, modulus: i64| if value > modulus / 2 { value - modulus } else { value };
        if rest.is_empty() {
            let coefficient = |&x: &u32| centred(i64::from(p.reduce(u64::from(x))), i64::from(p.p)) as f64;
            return first.iter().map(coefficient).collect();
        }
        // Garner: x = a + p ((b - a) / p mod q).
        let q = context.modulus(1);
        let inverse = q.inverse(p.p % q.p);
        first
            .iter()
            .zip(rest)
            .map(|(&a, &b)| {
                let (a, b) = (p.reduce(u64::from(a)), q.reduce(u64::from(b)));
                let digit = q.mul(q.sub(b, a % q.p), inverse);
                let value = i64::from(a) + i64::from(p.p) * i64::from(digit);
                centred(value, i64::from(p.p) * i64::from(q.p)) as f64
            })
            .collect()
    }

    /// A key from `source` (all limbs of QP, values in Montgomery form) to s.
    fn switch_key(&self, context: &Context, source: &[u32]) -> SwitchKey {
        let degree = context.degree();
        let alpha = context.params.special_primes.len();
        let mut stream = Stream::new();
        let digits = (0..context.digit_count())
            .map(|digit| {
                let errors: Vec<i64> = (0..degree).map(|_| stream.error()).collect();
                let mut message = lift(context, 0..context.key_limbs(), |i| errors[i]);
                for limb in digit * alpha..((digit + 1) * alpha).min(context.limbs()) {
                    let modulus = context.modulus(limb);
                    let special = context.params.special_primes.iter();
                    let factor = special.fold(1, |x, &p| modulus.mul(x, p % modulus.p));
                    let factor = u64::from(modulus.montgomery(factor));
                    let range = limb * degree..(limb + 1) * degree;
                    for (word, &s) in message[range.clone()].iter_mut().zip(&source[range]) {
                        *word = modulus.add(*word, modulus.reduce(u64::from(s) * factor));
                    }
                }
                self.encrypt_values(context, &mut stream, message)
            })
            .collect();
        SwitchKey { digits }
    }

    /// The key from s^2 to s.
    #[must_use]
    pub fn relinearisation_key(&self, context: &Context) -> SwitchKey {
        let degree = context.degree();
        let mut square = Zeroizing::new(self.values.to_vec());
        for (limb, words) in square.chunks_exact_mut(degree).enumerate() {
            let modulus = context.modulus(limb);
            for word in words {
                *word = modulus.reduce(u64::from(*word) * u64::from(*word));
            }
        }
        self.switch_key(context, &square)
    }

    /// The key from s(X^element) to s, for an odd element below 2N.
    #[must_use]
    pub fn galois_key(&self, context: &Context, element: usize) -> SwitchKey {
        let degree = context.degree();
        let mut rotated = Zeroizing::new(vec![0_i8; degree]);
        for (i, &s) in self.coefficients.iter().enumerate() {
            let place = i * element % (2 * degree);
            rotated[place % degree] = if place < degree { s } else { -s };
        }
        let source = Zeroizing::new(lift(context, 0..context.key_limbs(), |i| i64::from(rotated[i])));
        self.switch_key(context, &source)
    }
}

/// Coefficients (already times `scale`) as a factor for products at up to `limbs` limbs.
#[must_use]
pub fn plaintext(context: &Context, coefficients: &[f64], scale: f64, limbs: usize) -> Plaintext {
    Plaintext { words: lift(context, 0..limbs, |i| coefficients[i].round() as i64), scale }
}
