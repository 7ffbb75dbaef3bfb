//! What a backend of CKKS does: steps on batches of ciphertexts, all of one batch alike in level.
//!
//! **Memory**: ciphertexts, plaintexts and keys are the backend's own, loaded once; only [`RnsOps::download`] waits for steps before it.
//! **Layout**: `u32[limb][N]`, values in Montgomery form in the order of [`crate::ckks::ring::ntt`], the same on every backend.
//! **Numerics**: every step is exact integer arithmetic: backends agree word for word. Scales are carried beside the words and checked
//! by every sum. **Aliasing**: inputs are never changed; what a step takes by value it may use up.

use crate::ckks::error::CkksError;
use crate::ckks::params::set::CkksParams;
use crate::ckks::ring::ciphertext::{Ciphertext, Plaintext};
use crate::ckks::ring::keys::{GaloisKey, SwitchKey};

/// Scale and limbs of a ciphertext.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    /// What the numbers are multiplied by.
    pub scale: f64,
    /// Limbs.
    pub limbs: usize,
}

impl State {
    /// After a division by the last prime.
    #[must_use]
    pub fn rescaled(self, params: &CkksParams) -> Self {
        Self { scale: self.scale / f64::from(params.primes[self.limbs - 1]), limbs: self.limbs - 1 }
    }

    /// Of a product of two ciphertexts of this state.
    #[must_use]
    pub fn squared(self) -> Self {
        Self { scale: self.scale * self.scale, limbs: self.limbs }
    }
}

/// A number for all slots, or one for each.
pub enum Constant<'a, P> {
    /// For all slots.
    Number(f64),
    /// For each slot, encoded at the scale and for the limbs at which it is used.
    Slots(&'a P),
}

/// Batched steps of RNS-CKKS.
///
/// # Errors
/// All steps fail with [`CkksError::Level`], [`CkksError::Scale`] or [`CkksError::Depth`] for operands that do not fit, and with
/// [`CkksError::Memory`] where a device is full.
#[allow(clippy::missing_errors_doc, reason = "stated once for all steps")]
pub trait RnsOps: Sync {
    /// A ciphertext on the device.
    type Ciphertext: Clone + Send + Sync;
    /// A plaintext on the device.
    type Plaintext: Send + Sync;
    /// A key-switching key in the backend's own layout.
    type SwitchKey: Send + Sync;
    /// A key of an automorphism in the backend's own layout.
    type GaloisKey: Send + Sync;

    /// Parameters of all ciphertexts.
    fn params(&self) -> &CkksParams;

    /// Rows of a map that are evaluated together: few where caches count, all that are ready where launches do.
    fn rows_together(&self) -> usize;

    /// Copies ciphertexts to the device.
    fn upload(&self, batch: Vec<Ciphertext>) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// Copies ciphertexts to the host, after all steps before it.
    fn download(&self, batch: Vec<Self::Ciphertext>) -> Result<Vec<Ciphertext>, CkksError>;

    /// Prepares a plaintext.
    fn load_plaintext(&self, plaintext: Plaintext) -> Result<Self::Plaintext, CkksError>;

    /// Prepares a key.
    fn load_switch_key(&self, key: SwitchKey) -> Result<Self::SwitchKey, CkksError>;

    /// Prepares a key.
    fn load_galois_key(&self, key: GaloisKey) -> Result<Self::GaloisKey, CkksError>;

    /// Scale and limbs.
    fn state(&self, ciphertext: &Self::Ciphertext) -> State;

    /// `sums[i] += terms[i]`, of one level and scale. Noise: the sum of both.
    fn add_assign(&self, sums: &mut [Self::Ciphertext], terms: &[&Self::Ciphertext]) -> Result<(), CkksError>;

    /// `batch[i] += constants[i]`. Exact but for rounding to 1 / scale.
    fn add_constants(
        &self,
        batch: &mut [Self::Ciphertext],
        constants: &[Constant<'_, Self::Plaintext>],
    ) -> Result<(), CkksError>;

    /// `sums[i] += terms[i] factors[i]`, brought to the sum's scale and level, which is the term's or a lower one.
    /// Noise: the term's times the factor.
    fn add_products(
        &self,
        sums: &mut [Self::Ciphertext],
        terms: &[&Self::Ciphertext],
        factors: &[Constant<'_, Self::Plaintext>],
    ) -> Result<(), CkksError>;

    /// `terms[i] factors[i]` at the given scale, not yet rescaled.
    fn products(
        &self,
        terms: &[&Self::Ciphertext],
        factors: &[Constant<'_, Self::Plaintext>],
        scale: f64,
    ) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// For each row the sum of its terms times their numbers at the given scale, at the lowest level of its terms; not yet rescaled.
    /// Noise: that of the terms times their numbers, and half a unit of each message from rounding its number.
    fn linear_combinations(
        &self,
        rows: &[Vec<(&Self::Ciphertext, f64)>],
        scale: f64,
    ) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// For each of `sums` the sum of `inputs[i] p` over its terms (i, p), slot by slot; not yet rescaled.
    fn inner_products(
        &self,
        inputs: &[Self::Ciphertext],
        sums: &[Vec<(usize, &Self::Plaintext)>],
    ) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// Products of pairs, slot by slot, relinearised, not yet rescaled. Noise: adds [`crate::ckks::noise::key_switch`].
    fn multiply(
        &self,
        pairs: &[(&Self::Ciphertext, &Self::Ciphertext)],
        key: &Self::SwitchKey,
    ) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// Divides by the last prime. Noise: [`crate::ckks::noise::rescale`].
    fn rescale(&self, batch: Vec<Self::Ciphertext>) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// Drops limbs down to `limbs`. Exact.
    fn drop_to(&self, batch: Vec<Self::Ciphertext>, limbs: usize) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// Every ciphertext under the automorphism of one key. Noise: adds [`crate::ckks::noise::key_switch`].
    fn rotate(&self, batch: &[&Self::Ciphertext], key: &Self::GaloisKey) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// Every ciphertext under the automorphisms of all keys, `None` leaving it as it is; its digits are made once.
    /// One vector a ciphertext. Noise: as [`RnsOps::rotate`].
    fn rotate_hoisted(
        &self,
        batch: Vec<Self::Ciphertext>,
        keys: &[Option<&Self::GaloisKey>],
    ) -> Result<Vec<Vec<Self::Ciphertext>>, CkksError>;

    /// The ciphertexts in memory of just their size: they will stay.
    fn settle(&self, batch: Vec<Self::Ciphertext>) -> Vec<Self::Ciphertext>;

    /// Gives memory back for later steps.
    fn release(&self, batch: Vec<Self::Ciphertext>);
}
