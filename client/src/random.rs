//! Randomness, all of it from the operating system.

use heman_core::ckks::files::seeded::Seed;
use heman_core::ckks::noise::FRESH_DEVIATION;
use heman_core::files::container::Fingerprint;
use tfhe::core_crypto::commons::math::random::Seeder;
use tfhe::core_crypto::seeders::UnixSeeder;
use zeroize::{Zeroize, Zeroizing};

/// A seeder over the operating system's generator.
pub(crate) fn os_seeder() -> UnixSeeder {
    UnixSeeder::new(0)
}

pub(crate) fn fresh_seed(seeder: &mut UnixSeeder) -> [u8; 16] {
    seeder.seed().0.to_le_bytes()
}

/// A fingerprint for a new key, from the operating system's generator alone: nothing of the secret goes into it.
pub(crate) fn fresh_fingerprint() -> Fingerprint {
    Fingerprint(fresh_seed(&mut os_seeder()))
}

/// Unpredictable bytes: BLAKE3's extendable output over two seeds of the operating system.
pub(crate) struct Stream {
    reader: blake3::OutputReader,
    buffer: Zeroizing<[u8; 4096]>,
    used: usize,
}

impl Stream {
    pub fn new() -> Self {
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

    pub(crate) fn word(&mut self) -> u32 {
        if self.used == self.buffer.len() {
            self.reader.fill(&mut *self.buffer);
            self.used = 0;
        }
        let bytes = self.buffer[self.used..].first_chunk().expect("whole words are used");
        self.used += 4;
        u32::from_le_bytes(*bytes)
    }

    /// A seed for masks. It is public: the stream behind it is cut by BLAKE3's one-wayness.
    pub(crate) fn seed(&mut self) -> Seed {
        let mut seed = [0; 32];
        seed.chunks_exact_mut(4).for_each(|part| part.copy_from_slice(&self.word().to_le_bytes()));
        seed
    }

    /// Uniform below `p`, by rejection.
    pub(crate) fn below(&mut self, p: u32) -> u32 {
        let mask = p.next_power_of_two() - 1;
        loop {
            let word = self.word() & mask;
            if word < p {
                return word;
            }
        }
    }

    /// Standard Gaussian (Box and Muller), cut at 6.6 deviations by its 32-bit uniform.
    pub fn gaussian(&mut self) -> f64 {
        let unit = |word: u32| (f64::from(word) + 0.5) / 4_294_967_296.0;
        let (u, v) = (unit(self.word()), unit(self.word()));
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Rounded Gaussian of [`FRESH_DEVIATION`].
    pub(crate) fn error(&mut self) -> i64 {
        (FRESH_DEVIATION * self.gaussian()).round() as i64
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.zeroize();
    }
}
