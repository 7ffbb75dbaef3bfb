#![doc = include_str!("contract.md")]

use crate::ckks::error::CkksError;
use crate::ckks::files::seeded::{SeededCiphertext, SeededSwitchKey};
use crate::ckks::params::packing::Occupancy;
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::activation::FormKind;
use crate::ckks::plan::width::Width;
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::coefficients::Coefficients;
use crate::ckks::ring::context::Ring;
use crate::ckks::ring::matrix::Matrix;
use crate::ckks::ring::number::{Number, State};
use crate::ckks::ring::plaintext::Plaintext;
use crate::device::Device;

mod activations;

pub use activations::{activate_in_steps, activate_open_in_steps};

/// A device that computes with CKKS ciphertexts.
pub trait RnsDevice: Device {
    /// The ring of one parameter set on the device.
    type Ring: RnsOps;

    /// Prepares the constants of a parameter set.
    ///
    /// # Errors
    /// [`CkksError::Plan`] if the parameters are not sound, or the device does not take them.
    fn ring(&self, params: &ParameterSet, occupancy: Occupancy) -> Result<Self::Ring, CkksError>;
}

/// A number for all slots, or one for each; encoded at the scale and for the limbs at which it is used.
pub enum Constant<'a, P> {
    /// For all slots.
    Number(&'a Number),
    /// For each slot.
    Slots(&'a P),
}

impl<P> Clone for Constant<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Constant<'_, P> {}

/// A product of ciphertexts that was not relinearised: it is `low + high s^2` under s.
#[derive(Clone)]
pub struct Product<C> {
    /// The parts under 1 and s.
    pub low: C,
    /// Its body is the part under s^2. Its mask means nothing, and a backend may leave it out.
    pub high: C,
}

/// Where a matrix is applied.
pub struct Position<'a, C> {
    /// One ciphertext for each term of the matrix, with at least as many limbs.
    pub terms: Vec<&'a C>,
    /// Rows of the matrix that are wanted, in any order.
    pub kernels: Vec<u32>,
}

/// Batched steps of RNS-CKKS.
///
/// # Errors
/// All steps fail with [`CkksError::Level`], [`CkksError::Scale`] or [`CkksError::Depth`] for operands that do not fit,
/// and with [`CkksError::Device`] where a device is full or fails.
#[allow(clippy::missing_errors_doc, reason = "stated once for all steps")]
pub trait RnsOps: Sync + Sized {
    /// A ciphertext on the device.
    type Ciphertext: Clone + Send + Sync;
    /// A plaintext on the device.
    type Plaintext: Send + Sync;
    /// Coefficients of a plaintext in the backend's own layout.
    type Coefficients: Send + Sync;
    /// A matrix in the backend's own layout.
    type Map: Send + Sync;
    /// A key-switching key in the backend's own layout.
    type SwitchKey: Send + Sync;
    /// A key of an automorphism in the backend's own layout.
    type GaloisKey: Send + Sync;

    /// The ring's constants on the host: what plaintexts are encoded with.
    fn host(&self) -> &Ring;

    /// Parameters of all ciphertexts.
    fn params(&self) -> &ParameterSet {
        &self.host().params
    }

    /// How much the device takes at a time: few rows where caches and memory count, all that are ready where launches
    /// do.
    fn width(&self) -> Width;

    /// Fresh ciphertexts of one scale with their masks, which the device makes from their seeds.
    ///
    /// Errors: [`CkksError::Residues`] for bodies of a wrong length, or with words that are no residues.
    fn upload_seeded(&self, batch: &[&SeededCiphertext], scale: f64) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// Ciphertexts from the host.
    fn upload(&self, batch: Vec<Ciphertext>) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// Ciphertexts to the host, after all steps before it.
    fn download(&self, batch: Vec<Self::Ciphertext>) -> Result<Vec<Ciphertext>, CkksError>;

    /// What `act` gives: work of the host for this device, on no more threads than it was given.
    fn on_threads<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        act()
    }

    /// Waits for all steps before it.
    fn sync(&self) -> Result<(), CkksError>;

    /// Prepares a plaintext.
    fn load_plaintext(&self, plaintext: Plaintext) -> Result<Self::Plaintext, CkksError>;

    /// Prepares the coefficients of a plaintext that is made of them at each use.
    fn load_coefficients(&self, coefficients: Coefficients) -> Result<Self::Coefficients, CkksError>;

    /// Bytes that so many coefficients of real slots take there at the most.
    fn coefficient_bytes(&self, count: usize) -> u64;

    /// Plaintexts for products at up to `limbs` limbs, those of [`Ring::plaintext_of`].
    fn plaintexts(&self, batch: &[&Self::Coefficients], limbs: usize) -> Result<Vec<Self::Plaintext>, CkksError>;

    /// Prepares a matrix.
    fn load_map(&self, matrix: Matrix) -> Result<Self::Map, CkksError>;

    /// Prepares a key, its masks made on the device.
    ///
    /// Errors: [`CkksError::Residues`] for bodies of a wrong length, or with words that are no residues.
    fn load_switch_key(&self, key: &SeededSwitchKey) -> Result<Self::SwitchKey, CkksError>;

    /// As [`RnsOps::load_switch_key`], for the automorphism X -> X^element: in the ring of complex slots the last
    /// element below the order of X conjugates. With element 1 nothing is moved, and the key may lead to any secret.
    ///
    /// Errors: [`CkksError::Plan`] for an element that is even, or no smaller than the order of X.
    fn load_automorphism_key(&self, key: &SeededSwitchKey, element: usize) -> Result<Self::GaloisKey, CkksError>;

    /// As [`RnsOps::load_automorphism_key`], for the rotation of slots by `steps` to the left.
    fn load_galois_key(&self, key: &SeededSwitchKey, steps: usize) -> Result<Self::GaloisKey, CkksError> {
        self.load_automorphism_key(key, self.host().rotation_element(steps))
    }

    /// As [`RnsOps::load_galois_key`], for one of many keys that are each used a few times in a run: a device may make
    /// its masks for each use, so that it takes half the memory.
    fn load_rare_galois_key(&self, key: &SeededSwitchKey, steps: usize) -> Result<Self::GaloisKey, CkksError> {
        self.load_galois_key(key, steps)
    }

    /// Scale and limbs.
    fn state(&self, ciphertext: &Self::Ciphertext) -> State;

    /// `sums[i] += terms[i]`, of one level and scale. Noise: the sum of both.
    fn add_assign(&self, sums: &mut [Self::Ciphertext], terms: &[&Self::Ciphertext]) -> Result<(), CkksError>;

    /// The sum of each group, whose members are of one level and scale. Noise: the sum of all.
    fn sums(&self, groups: &[Vec<&Self::Ciphertext>]) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// `batch[i] += constants[i]`, of the ciphertext's scale. Exact.
    fn add_constants(
        &self,
        batch: &mut [Self::Ciphertext],
        constants: &[Constant<'_, Self::Plaintext>],
    ) -> Result<(), CkksError>;

    /// `terms[i] factors[i]`, not yet rescaled. Noise: the term's times the factor.
    fn products(
        &self,
        terms: &[&Self::Ciphertext],
        factors: &[Constant<'_, Self::Plaintext>],
    ) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// `sums[i] += terms[i] factors[i]` at the sum's level, which is the term's or a lower one, and scale.
    /// Noise: the term's times the factor.
    fn add_products(
        &self,
        sums: &mut [Self::Ciphertext],
        terms: &[&Self::Ciphertext],
        factors: &[Constant<'_, Self::Plaintext>],
    ) -> Result<(), CkksError>;

    /// The wanted rows of a matrix times the terms, position by position, at the matrix's limbs and scale; not yet
    /// rescaled.
    /// Noise: that of the terms times their numbers, and half a unit of each message from rounding its number.
    ///
    /// Errors: [`CkksError::Plan`] for another number of terms, or a kernel that the matrix does not have.
    fn apply_map(
        &self,
        map: &Self::Map,
        positions: &[Position<'_, Self::Ciphertext>],
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

    /// Products of pairs, slot by slot, in three parts; not yet rescaled. Exact.
    fn tensor(
        &self,
        pairs: &[(&Self::Ciphertext, &Self::Ciphertext)],
    ) -> Result<Vec<Product<Self::Ciphertext>>, CkksError>;

    /// The ciphertexts of two parts for products of three. Noise: adds [`crate::ckks::noise::key_switch`].
    fn relinearise(
        &self,
        products: Vec<Product<Self::Ciphertext>>,
        key: &Self::SwitchKey,
    ) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// [`RnsOps::relinearise`], rescaled.
    fn relinearise_rescale(
        &self,
        products: Vec<Product<Self::Ciphertext>>,
        key: &Self::SwitchKey,
    ) -> Result<Vec<Self::Ciphertext>, CkksError> {
        self.rescale(self.relinearise(products, key)?)
    }

    /// The sum of each group of products, in three parts. Noise: the sum of all.
    fn sums_of_products(
        &self,
        groups: &[Vec<&Product<Self::Ciphertext>>],
    ) -> Result<Vec<Product<Self::Ciphertext>>, CkksError> {
        let part = |pick: fn(&Product<Self::Ciphertext>) -> &Self::Ciphertext| {
            let groups: Vec<Vec<_>> = groups.iter().map(|group| group.iter().map(|&own| pick(own)).collect()).collect();
            self.sums(&groups)
        };
        Ok(joined(part(|product| &product.low)?, part(|product| &product.high)?))
    }

    /// [`RnsOps::apply_map`] to products of three parts.
    fn apply_map_to_products(
        &self,
        map: &Self::Map,
        positions: &[Position<'_, Product<Self::Ciphertext>>],
    ) -> Result<Vec<Product<Self::Ciphertext>>, CkksError> {
        let part = |pick: fn(&Product<Self::Ciphertext>) -> &Self::Ciphertext| {
            let mut own = Vec::with_capacity(positions.len());
            for Position { terms, kernels } in positions {
                own.push(Position { terms: terms.iter().map(|&term| pick(term)).collect(), kernels: kernels.clone() });
            }
            self.apply_map(map, &own)
        };
        Ok(joined(part(|product| &product.low)?, part(|product| &product.high)?))
    }

    /// Divides all three parts by the last prime. Noise: [`crate::ckks::noise::rescale_product`].
    fn rescale_products(
        &self,
        products: Vec<Product<Self::Ciphertext>>,
    ) -> Result<Vec<Product<Self::Ciphertext>>, CkksError> {
        let (lows, highs) = products.into_iter().map(|product| (product.low, product.high)).unzip();
        Ok(joined(self.rescale(lows)?, self.rescale(highs)?))
    }

    /// Divides by the last prime. Noise: [`crate::ckks::noise::rescale`].
    fn rescale(&self, batch: Vec<Self::Ciphertext>) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// [`RnsOps::rescale`] so many times. Noise: that of one, [`crate::ckks::noise::rescale`].
    fn rescale_by(&self, batch: Vec<Self::Ciphertext>, primes: usize) -> Result<Vec<Self::Ciphertext>, CkksError> {
        (0..primes).try_fold(batch, |batch, _| self.rescale(batch))
    }

    /// Ciphertexts of one limb or two, whose integers are taken modulo `limbs` primes: see
    /// [`Ring::raise`](crate::ckks::ring::context::Ring::raise). Exact.
    ///
    /// Errors: [`CkksError::Level`] for more than two limbs or for more than `limbs`, [`CkksError::Depth`] if there are
    /// not so many primes.
    fn raise(&self, batch: Vec<Self::Ciphertext>, limbs: usize) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// [`RnsOps::multiply`], rescaled.
    fn multiply_rescale(
        &self,
        pairs: &[(&Self::Ciphertext, &Self::Ciphertext)],
        key: &Self::SwitchKey,
    ) -> Result<Vec<Self::Ciphertext>, CkksError> {
        self.multiply_add_rescale(pairs, key, &[], &[])
    }

    /// [`RnsOps::multiply`], and for each of `terms` [`RnsOps::add_products`] with its constants, rescaled.
    fn multiply_add_rescale(
        &self,
        pairs: &[(&Self::Ciphertext, &Self::Ciphertext)],
        key: &Self::SwitchKey,
        terms: &[&[Self::Ciphertext]],
        constants: &[Vec<Constant<'_, Self::Plaintext>>],
    ) -> Result<Vec<Self::Ciphertext>, CkksError> {
        let mut sums = self.multiply(pairs, key)?;
        for (terms, constants) in terms.iter().zip(constants) {
            self.add_products(&mut sums, &refs(terms), constants)?;
        }
        self.rescale(sums)
    }

    /// Values of polynomials of one kind without their gain. Constant i of
    /// [`crate::ckks::plan::activation::Form::constants`] for element e is `constants[i][e]`, encoded for the state
    /// that [`crate::ckks::plan::uses::uses`] gives. For products `u` holds all first factors, then all second ones.
    fn activate(
        &self,
        key: &Self::SwitchKey,
        kind: FormKind,
        u: Vec<Self::Ciphertext>,
        constants: &[Vec<Constant<'_, Self::Plaintext>>],
    ) -> Result<Vec<Self::Ciphertext>, CkksError> {
        activate_in_steps(self, key, kind, u, constants)
    }

    /// As [`RnsOps::activate`], with the last product of each polynomial left open: three parts, not yet rescaled.
    fn activate_open(
        &self,
        key: &Self::SwitchKey,
        kind: FormKind,
        u: Vec<Self::Ciphertext>,
        constants: &[Vec<Constant<'_, Self::Plaintext>>],
    ) -> Result<Vec<Product<Self::Ciphertext>>, CkksError> {
        activate_open_in_steps(self, key, kind, u, constants)
    }

    /// Drops limbs down to `limbs`. Exact.
    fn drop_to(&self, batch: Vec<Self::Ciphertext>, limbs: usize) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// Every ciphertext under the automorphism of its key. Noise: adds [`crate::ckks::noise::key_switch`].
    fn rotate(&self, pairs: &[(&Self::Ciphertext, &Self::GaloisKey)]) -> Result<Vec<Self::Ciphertext>, CkksError>;

    /// `sums[i] += rotate(sums[i])` under one key. Noise: as [`RnsOps::rotate`].
    fn rotate_add(&self, sums: &mut [Self::Ciphertext], key: &Self::GaloisKey) -> Result<(), CkksError> {
        let pairs: Vec<_> = sums.iter().map(|sum| (sum, key)).collect();
        let rotated = self.rotate(&pairs)?;
        self.add_assign(sums, &rotated.iter().collect::<Vec<_>>())?;
        self.release(rotated);
        Ok(())
    }

    /// Every ciphertext under the automorphisms of all keys, `None` leaving it as it is, at the lowest of its limbs and
    /// `limbs`; its digits are made once. One vector a ciphertext. Noise: as [`RnsOps::rotate`].
    fn rotate_hoisted(
        &self,
        batch: &[&Self::Ciphertext],
        limbs: usize,
        keys: &[Option<&Self::GaloisKey>],
    ) -> Result<Vec<Vec<Self::Ciphertext>>, CkksError>;

    /// The ciphertexts in memory of just their size: they will stay.
    fn shrink(&self, batch: Vec<Self::Ciphertext>) -> Vec<Self::Ciphertext>;

    /// Gives memory back for later steps.
    fn release(&self, batch: Vec<Self::Ciphertext>);

    /// The same of plaintexts.
    fn release_plaintexts(&self, _: Vec<Self::Plaintext>) {}
}

/// Products of their parts.
pub(in crate::ckks) fn joined<C>(lows: Vec<C>, highs: Vec<C>) -> Vec<Product<C>> {
    lows.into_iter().zip(highs).map(|(low, high)| Product { low, high }).collect()
}

/// References to all of a batch.
pub(in crate::ckks) fn refs<C>(batch: &[C]) -> Vec<&C> {
    batch.iter().collect()
}
