//! The steps of CKKS on the host: every ciphertext of a batch is a task of the device's threads.

pub mod evaluator;
pub mod keyswitch;
mod matrix;
mod matrix_words;
pub mod reference;
mod reference_polynomials;
mod rescale;

use std::sync::Arc;

use rayon::prelude::*;

use crate::ckks::error::{CkksError, enough_limbs};
use crate::ckks::files::seeded::{SeededCiphertext, SeededSwitchKey};
use crate::ckks::ops::{Constant, Position, Product, RnsDevice, RnsOps, activate_in_steps, activate_open_in_steps};
use crate::ckks::params::packing::Occupancy;
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::activation::FormKind;
use crate::ckks::plan::width::{Width, waiting_words};
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::coefficients::{Coefficients, half_bytes};
use crate::ckks::ring::context::Ring;
use crate::ckks::ring::keys::{GaloisKey, SwitchKey};
use crate::ckks::ring::matrix::Matrix;
use crate::ckks::ring::number::State;
use crate::ckks::ring::plaintext::Plaintext;
use crate::device::cpu::CpuBackend;

/// A ring on the threads of a [`CpuBackend`].
pub struct CpuRing {
    ring: Ring,
    threads: Arc<rayon::ThreadPool>,
}

impl RnsDevice for CpuBackend {
    type Ring = CpuRing;

    fn ring(&self, params: &ParameterSet, occupancy: Occupancy) -> Result<CpuRing, CkksError> {
        let ring = self.pool.install(|| Ring::new(params.clone())).map_err(CkksError::Plan)?;
        let ring = ring.on(self.arch);
        let ring = match occupancy {
            Occupancy::Few => ring.spread(),
            Occupancy::Many => ring.keeping(waiting_words(params, self.pool.current_num_threads())),
        };
        Ok(CpuRing { ring, threads: self.pool.clone() })
    }
}

impl CpuRing {
    /// What `act` gives for every item, in order, on the device's threads.
    fn map<I: Send, R: Send>(
        &self,
        items: impl IndexedParallelIterator<Item = I>,
        act: impl Fn(I) -> Result<R, CkksError> + Sync + Send,
    ) -> Result<Vec<R>, CkksError> {
        self.threads.install(|| items.map(act).collect())
    }

    /// Polynomials of which every element takes all its steps on one thread, so that what they hand on stays in its
    /// cache.
    fn by_element<R: Send>(
        &self,
        kind: FormKind,
        mut u: Vec<Ciphertext>,
        constants: &[Vec<Constant<'_, Plaintext>>],
        activate: impl Fn(Vec<Ciphertext>, &[Vec<Constant<'_, Plaintext>>]) -> Result<Vec<R>, CkksError> + Sync + Send,
    ) -> Result<Vec<R>, CkksError> {
        let factors = if kind == FormKind::Product { u.split_off(u.len() / 2) } else { Vec::new() };
        let mut factors = factors.into_iter();
        let elements: Vec<Vec<Ciphertext>> =
            u.into_iter().map(|u| std::iter::once(u).chain(factors.next()).collect()).collect();
        self.map(elements.into_par_iter().with_max_len(1).enumerate(), |(at, u)| {
            let own: Vec<Vec<Constant<'_, Plaintext>>> = constants.iter().map(|all| vec![all[at]]).collect();
            activate(u, &own)?.into_iter().next().ok_or(CkksError::Depth)
        })
    }
}

impl RnsOps for CpuRing {
    type Ciphertext = Ciphertext;
    type Plaintext = Plaintext;
    type Coefficients = Coefficients;
    type Map = Matrix;
    type SwitchKey = SwitchKey;
    type GaloisKey = GaloisKey;

    fn host(&self) -> &Ring {
        &self.ring
    }

    fn width(&self) -> Width {
        Width::of_threads(self.params(), self.threads.current_num_threads())
    }

    fn upload_seeded(&self, batch: &[&SeededCiphertext], scale: f64) -> Result<Vec<Ciphertext>, CkksError> {
        self.map(batch.par_iter(), |seeded| self.ring.expand(seeded, scale).ok_or(CkksError::Residues))
    }

    fn upload(&self, batch: Vec<Ciphertext>) -> Result<Vec<Ciphertext>, CkksError> {
        Ok(batch)
    }

    fn download(&self, batch: Vec<Ciphertext>) -> Result<Vec<Ciphertext>, CkksError> {
        Ok(batch)
    }

    fn sync(&self) -> Result<(), CkksError> {
        Ok(())
    }

    fn load_plaintext(&self, plaintext: Plaintext) -> Result<Plaintext, CkksError> {
        Ok(plaintext)
    }

    fn load_coefficients(&self, coefficients: Coefficients) -> Result<Coefficients, CkksError> {
        Ok(coefficients)
    }

    fn coefficient_bytes(&self, count: usize) -> u64 {
        half_bytes(count)
    }

    fn plaintexts(&self, batch: &[&Coefficients], limbs: usize) -> Result<Vec<Plaintext>, CkksError> {
        enough_limbs(limbs, self.ring.limbs())?;
        self.map(batch.par_iter(), |own| Ok(self.ring.plaintext_of(own, limbs)))
    }

    fn load_map(&self, matrix: Matrix) -> Result<Matrix, CkksError> {
        Ok(matrix)
    }

    fn on_threads<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.threads.install(act)
    }

    fn load_switch_key(&self, key: &SeededSwitchKey) -> Result<SwitchKey, CkksError> {
        self.threads.install(|| self.ring.expand_key(key)).ok_or(CkksError::Residues)
    }

    fn load_automorphism_key(&self, key: &SeededSwitchKey, element: usize) -> Result<GaloisKey, CkksError> {
        self.ring.check_element(element)?;
        let key = self.threads.install(|| self.ring.expand_key(key)).ok_or(CkksError::Residues)?;
        Ok(GaloisKey::new(&self.ring, element, key))
    }

    fn load_rare_galois_key(&self, key: &SeededSwitchKey, steps: usize) -> Result<GaloisKey, CkksError> {
        let key = self.threads.install(|| self.ring.lean_key(key)).ok_or(CkksError::Residues)?;
        Ok(GaloisKey::new(&self.ring, self.ring.rotation_element(steps), key))
    }

    fn state(&self, ciphertext: &Ciphertext) -> State {
        State { scale: ciphertext.scale, limbs: self.ring.limbs_of(ciphertext) }
    }

    fn add_assign(&self, sums: &mut [Ciphertext], terms: &[&Ciphertext]) -> Result<(), CkksError> {
        let add = |(sum, term): (&mut Ciphertext, &&Ciphertext)| self.ring.add_assign(sum, term);
        self.threads.install(|| sums.par_iter_mut().zip(terms).try_for_each(add))
    }

    fn sums(&self, groups: &[Vec<&Ciphertext>]) -> Result<Vec<Ciphertext>, CkksError> {
        self.map(groups.par_iter(), |group| self.ring.sum(group))
    }

    fn add_constants(&self, batch: &mut [Ciphertext], constants: &[Constant<'_, Plaintext>]) -> Result<(), CkksError> {
        let add = |(ciphertext, constant): (&mut Ciphertext, &Constant<'_, Plaintext>)| match constant {
            Constant::Number(number) => self.ring.add_number(ciphertext, number),
            Constant::Slots(plaintext) => self.ring.add_plain(ciphertext, plaintext),
        };
        self.threads.install(|| batch.par_iter_mut().zip(constants).try_for_each(add))
    }

    fn products(
        &self,
        terms: &[&Ciphertext],
        factors: &[Constant<'_, Plaintext>],
    ) -> Result<Vec<Ciphertext>, CkksError> {
        self.map(terms.par_iter().zip(factors), |(term, factor)| match factor {
            Constant::Number(number) => self.ring.multiply_number(term, number),
            Constant::Slots(plaintext) => self.ring.multiply_plain(term, plaintext),
        })
    }

    fn add_products(
        &self,
        sums: &mut [Ciphertext],
        terms: &[&Ciphertext],
        factors: &[Constant<'_, Plaintext>],
    ) -> Result<(), CkksError> {
        self.threads.install(|| {
            let operands = sums.par_iter_mut().zip(terms).zip(factors);
            operands.try_for_each(|((sum, term), factor)| self.ring.add_product(sum, term, factor))
        })
    }

    fn apply_map(&self, map: &Matrix, positions: &[Position<'_, Ciphertext>]) -> Result<Vec<Ciphertext>, CkksError> {
        self.threads.install(|| self.ring.apply_matrix(map, positions))
    }

    fn inner_products(
        &self,
        inputs: &[Ciphertext],
        sums: &[Vec<(usize, &Plaintext)>],
    ) -> Result<Vec<Ciphertext>, CkksError> {
        self.threads.install(|| self.ring.inner_products_plain(inputs, sums))
    }

    fn multiply(&self, pairs: &[(&Ciphertext, &Ciphertext)], key: &SwitchKey) -> Result<Vec<Ciphertext>, CkksError> {
        self.map(pairs.par_iter(), |(a, b)| self.ring.multiply(a, b, key))
    }

    fn tensor(&self, pairs: &[(&Ciphertext, &Ciphertext)]) -> Result<Vec<Product<Ciphertext>>, CkksError> {
        self.map(pairs.par_iter(), |(a, b)| self.ring.tensor(a, b))
    }

    fn relinearise(&self, products: Vec<Product<Ciphertext>>, key: &SwitchKey) -> Result<Vec<Ciphertext>, CkksError> {
        self.map(products.into_par_iter(), |product| self.ring.relinearise(product, key))
    }

    fn relinearise_rescale(
        &self,
        products: Vec<Product<Ciphertext>>,
        key: &SwitchKey,
    ) -> Result<Vec<Ciphertext>, CkksError> {
        self.map(products.into_par_iter(), |product| self.ring.relinearise_and_rescale(product, key))
    }

    fn multiply_add_rescale(
        &self,
        pairs: &[(&Ciphertext, &Ciphertext)],
        key: &SwitchKey,
        terms: &[&[Ciphertext]],
        constants: &[Vec<Constant<'_, Plaintext>>],
    ) -> Result<Vec<Ciphertext>, CkksError> {
        self.map(pairs.par_iter().enumerate(), |(at, (a, b))| {
            let mut product = self.ring.tensor(a, b)?;
            for (terms, constants) in terms.iter().zip(constants) {
                self.ring.add_product(&mut product.low, &terms[at], &constants[at])?;
            }
            self.ring.relinearise_and_rescale(product, key)
        })
    }

    fn rescale(&self, batch: Vec<Ciphertext>) -> Result<Vec<Ciphertext>, CkksError> {
        self.map(batch.into_par_iter(), |ciphertext| self.ring.rescale(ciphertext))
    }

    fn rescale_by(&self, batch: Vec<Ciphertext>, primes: usize) -> Result<Vec<Ciphertext>, CkksError> {
        self.map(batch.into_par_iter(), |ciphertext| self.ring.rescale_by(ciphertext, primes))
    }

    fn raise(&self, batch: Vec<Ciphertext>, limbs: usize) -> Result<Vec<Ciphertext>, CkksError> {
        self.map(batch.into_par_iter(), |ciphertext| {
            let raised = self.ring.raise(&ciphertext, limbs);
            self.ring.recycle(ciphertext);
            raised
        })
    }

    fn activate(
        &self,
        key: &SwitchKey,
        kind: FormKind,
        u: Vec<Ciphertext>,
        constants: &[Vec<Constant<'_, Plaintext>>],
    ) -> Result<Vec<Ciphertext>, CkksError> {
        self.by_element(kind, u, constants, |u, own| activate_in_steps(self, key, kind, u, own))
    }

    fn activate_open(
        &self,
        key: &SwitchKey,
        kind: FormKind,
        u: Vec<Ciphertext>,
        constants: &[Vec<Constant<'_, Plaintext>>],
    ) -> Result<Vec<Product<Ciphertext>>, CkksError> {
        self.by_element(kind, u, constants, |u, own| activate_open_in_steps(self, key, kind, u, own))
    }

    fn drop_to(&self, batch: Vec<Ciphertext>, limbs: usize) -> Result<Vec<Ciphertext>, CkksError> {
        batch.into_iter().map(|ciphertext| self.ring.drop_to(ciphertext, limbs)).collect()
    }

    fn rotate(&self, pairs: &[(&Ciphertext, &GaloisKey)]) -> Result<Vec<Ciphertext>, CkksError> {
        self.map(pairs.par_iter(), |(ciphertext, key)| {
            enough_limbs(self.ring.limbs_of(ciphertext), key.limbs())?;
            Ok(self.ring.automorphism(ciphertext, key))
        })
    }

    fn rotate_hoisted(
        &self,
        batch: &[&Ciphertext],
        limbs: usize,
        keys: &[Option<&GaloisKey>],
    ) -> Result<Vec<Vec<Ciphertext>>, CkksError> {
        let ring = &self.ring;
        self.map(batch.par_iter(), |&ciphertext| {
            let limbs = limbs.min(ring.limbs_of(ciphertext));
            let still = || ring.view(ciphertext, limbs);
            if keys.iter().all(Option::is_none) {
                return keys.iter().map(|_| still()).collect();
            }
            keys.iter().flatten().try_for_each(|key| enough_limbs(limbs, key.limbs()))?;
            let digits = ring.decompose_mask(ciphertext, limbs);
            let turn =
                |key: &Option<&GaloisKey>| key.map_or_else(still, |key| Ok(ring.hoisted(ciphertext, &digits, key)));
            let rotated = keys.par_iter().map(turn).collect();
            ring.recycle_decomposed(digits);
            rotated
        })
    }

    fn shrink(&self, batch: Vec<Ciphertext>) -> Vec<Ciphertext> {
        let shrink = |value: Ciphertext| {
            let exact =
                Ciphertext { parts: value.parts.each_ref().map(|part| self.ring.copy(part)), scale: value.scale };
            self.ring.recycle(value);
            exact
        };
        self.threads.install(|| batch.into_par_iter().map(shrink).collect())
    }

    fn release_plaintexts(&self, plaintexts: Vec<Plaintext>) {
        self.ring.recycle_plaintexts(plaintexts);
    }

    fn release(&self, batch: Vec<Ciphertext>) {
        self.threads.install(|| batch.into_par_iter().for_each(|ciphertext| self.ring.recycle(ciphertext)));
    }
}
