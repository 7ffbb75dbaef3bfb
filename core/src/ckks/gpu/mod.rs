//! What backends share whose ciphertexts lie in a device's memory.
//!
//! The host decides which polynomials meet and where results go ([`words`]), and how batches are cut to what the memory
//! holds ([`parts`]). A device runs lists of [`WordItem`]s; a backend writes only its launches and what has a kernel of
//! its own.

pub mod parts;
pub mod words;

use std::sync::Arc;

use crate::ckks::error::CkksError;
use crate::ckks::ops::RnsOps;
use crate::ckks::plan::width::GpuShares;
use crate::ckks::ring::coefficients::MOST_PIECES;
use crate::ckks::ring::context::Ring;
use crate::ckks::ring::number::State;

/// Words in a device's memory, freed when dropped.
pub trait GpuBlock: Send + Sync {
    /// A place in memory, as kernels take it.
    type Address: Copy + Default + PartialEq;

    /// How many there are.
    fn words(&self) -> usize;

    /// Where a word of the block lies.
    fn address_of(&self, word: usize) -> Self::Address;
}

/// A ciphertext on the device. Copies share words until one of them is changed.
pub struct GpuCiphertext<B> {
    /// Body and mask, `u32[stored][N]` each.
    block: Arc<B>,
    /// Limbs that count.
    limbs: usize,
    /// Limbs that each part takes.
    stored: usize,
    scale: f64,
}

impl<B> Clone for GpuCiphertext<B> {
    fn clone(&self) -> Self {
        Self { block: self.block.clone(), ..*self }
    }
}

impl<B: GpuBlock> GpuCiphertext<B> {
    /// A ciphertext that takes a whole block of the ring.
    #[must_use]
    pub fn new(ring: &impl GpuRing<Block = B>, block: B, scale: f64) -> Self {
        let limbs = block.words() / (2 * ring.degree());
        Self { block: Arc::new(block), limbs, stored: limbs, scale }
    }

    /// Body, then mask.
    #[must_use]
    pub fn block(&self) -> &B {
        &self.block
    }

    /// Limbs that count.
    #[must_use]
    pub fn limbs(&self) -> usize {
        self.limbs
    }

    /// Limbs that body and mask each take in the block.
    #[must_use]
    pub fn stored(&self) -> usize {
        self.stored
    }

    /// What the message was multiplied with.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Scale and limbs.
    #[must_use]
    pub fn state(&self) -> State {
        State { scale: self.scale, limbs: self.limbs }
    }

    /// Address of the body (0) or the mask (1) in a ring of this degree.
    #[must_use]
    pub fn part(&self, part: usize, degree: usize) -> B::Address {
        self.block.address_of(part * self.stored * degree)
    }

    /// Addresses of both.
    #[must_use]
    pub fn parts(&self, degree: usize) -> [B::Address; 2] {
        [0, 1].map(|part| self.part(part, degree))
    }

    /// The first `limbs` limbs, in the same memory.
    ///
    /// # Errors
    /// [`CkksError::Depth`] if there are fewer.
    pub fn low(&self, limbs: usize) -> Result<Self, CkksError> {
        if limbs == 0 || limbs > self.limbs {
            return Err(CkksError::Depth);
        }
        Ok(Self { limbs, ..self.clone() })
    }
}

/// A plaintext on the device.
pub struct GpuPlaintext<B> {
    /// `u32[limbs][N]`.
    block: B,
    limbs: usize,
    scale: f64,
}

impl<B: GpuBlock> GpuPlaintext<B> {
    /// A plaintext that takes a whole block of the ring.
    #[must_use]
    pub fn new(ring: &impl GpuRing<Block = B>, block: B, scale: f64) -> Self {
        Self { limbs: block.words() / ring.degree(), block, scale }
    }

    /// Its limbs.
    #[must_use]
    pub fn limbs(&self) -> usize {
        self.limbs
    }

    /// What the message was multiplied with.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Where its words lie.
    #[must_use]
    pub fn address(&self) -> B::Address {
        self.block.address_of(0)
    }
}

/// Coefficients of a plaintext on the device.
pub struct GpuCoefficients<B> {
    /// `u32[pieces][N]`, see [`Coefficients::pieces`](crate::ckks::ring::coefficients::Coefficients::pieces).
    pub block: B,
    /// Words of each.
    pub pieces: usize,
    /// What the message was multiplied with.
    pub scale: f64,
}

/// Bytes of [`GpuCoefficients`] of any integers.
#[must_use]
pub fn coefficient_bytes(ring: &Ring) -> u64 {
    (size_of::<u32>() * MOST_PIECES * ring.degree()) as u64
}

/// What is done word by word, in the order of the kernels `rns_words`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    /// `to = from`.
    Copy = 0,
    /// `to = from + b`.
    Add = 1,
    /// The same with a number for each limb.
    AddNumber = 2,
    /// `to = from b`.
    Multiply = 3,
    /// The same with a number for each limb.
    MultiplyNumber = 4,
    /// `to = from + b c`.
    MultiplyAdd = 5,
    /// The same with a number for each limb in the place of `c`.
    MultiplyAddNumber = 6,
    /// `to` is the second digit of the number whose residue modulo the first prime is `from`, and `b` modulo the second
    /// one; the number is what 1 over the first prime is modulo the second. See
    /// [`Places::raised`](crate::ckks::ring::constants::Places::raised).
    SecondDigit = 7,
}

/// The polynomials of one operation: parts of ciphertexts, and plaintexts, of as many limbs as it is run over.
pub struct WordItem<'a, A> {
    operands: [A; 4],
    numbers: &'a [u32],
}

impl<'a, A: Copy + Default> WordItem<'a, A> {
    /// An item of the first operands, at most four.
    fn new(first: &[A], numbers: &'a [u32]) -> Self {
        let mut operands = [A::default(); 4];
        operands[..first.len()].copy_from_slice(first);
        Self { operands, numbers }
    }

    /// Addresses of `to`, `from`, `b` and `c`; zero for those that the operation does not have. `to` may be one of the
    /// others.
    #[must_use]
    pub fn operands(&self) -> [A; 4] {
        self.operands
    }

    /// For each limb the residue of a number, where the operation takes one.
    #[must_use]
    pub fn numbers(&self) -> &'a [u32] {
        self.numbers
    }
}

/// An address of a ring's device.
pub type Address<G> = <<G as GpuRing>::Block as GpuBlock>::Address;

/// A ring on a device with memory of its own.
pub trait GpuRing:
    RnsOps<Ciphertext = GpuCiphertext<<Self as GpuRing>::Block>, Plaintext = GpuPlaintext<<Self as GpuRing>::Block>>
{
    /// Words on the device.
    type Block: GpuBlock;

    /// How the device's memory is shared out.
    fn shares(&self) -> GpuShares;

    /// Room for polynomials of N words, content undefined.
    ///
    /// # Errors
    /// [`CkksError::Device`] if the device is full.
    fn reserve(&self, step: &'static str, polynomials: usize) -> Result<Self::Block, CkksError>;

    /// Runs an operation over the first `limbs` limbs of all items, in any order.
    ///
    /// # Errors
    /// [`CkksError::Device`] if the device fails.
    fn run(
        &self,
        step: &'static str,
        operation: Operation,
        limbs: usize,
        items: &[WordItem<'_, Address<Self>>],
    ) -> Result<(), CkksError>;

    /// Words of a polynomial's limb.
    fn degree(&self) -> usize {
        self.host().degree()
    }

    /// Room for a ciphertext.
    ///
    /// # Errors
    /// [`CkksError::Device`] if the device is full.
    fn ciphertext(&self, step: &'static str, limbs: usize, scale: f64) -> Result<Self::Ciphertext, CkksError> {
        Ok(GpuCiphertext::new(self, self.reserve(step, 2 * limbs)?, scale))
    }
}
