//! Numbers that are the same in every run.

/// Splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A uniform word.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// A whole number that parsers like to stumble over.
    pub fn integer(&mut self) -> u64 {
        let edge = 1_u64.checked_shl(self.below(64) as u32).unwrap_or(0);
        match self.below(6) {
            0 => 0,
            1 => u64::MAX - self.word() % 3,
            2 => edge,
            3 => edge.wrapping_sub(1),
            4 => self.word() % 300,
            _ => self.word(),
        }
    }

    /// A real number that parsers like to stumble over.
    pub fn real(&mut self) -> f64 {
        let edges = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324, f64::MIN_POSITIVE, f64::MAX, -1.0];
        match self.below(4) {
            0 => self.pick(&edges),
            1 => 10_f64.powi(self.below(617) as i32 - 308),
            2 => f64::from_bits(self.word()),
            _ => self.below(1000) as f64 - 500.0,
        }
    }
}
