//! [`RnsOps`] on the host: every ciphertext of a batch is a task of the current thread pool.

pub mod evaluator;
pub mod keyswitch;

use rayon::prelude::*;

use crate::ckks::error::CkksError;
use crate::ckks::ops::{Constant, RnsOps, State};
use crate::ckks::params::set::CkksParams;
use crate::ckks::ring::ciphertext::{Ciphertext, Plaintext};
use crate::ckks::ring::context::Context;
use crate::ckks::ring::keys::{GaloisKey, SwitchKey};

impl Context {
    fn times(&self, term: &Ciphertext, factor: &Constant<'_, Plaintext>, scale: f64) -> Result<Ciphertext, CkksError> {
        match factor {
            Constant::Number(number) => self.linear_combination(&[(term, *number)], scale),
            Constant::Slots(plaintext) => self.multiply_plain(term, plaintext),
        }
    }
}

impl RnsOps for Context {
    type Ciphertext = Ciphertext;
    type Plaintext = Plaintext;
    type SwitchKey = SwitchKey;
    type GaloisKey = GaloisKey;

    fn params(&self) -> &CkksParams {
        &self.params
    }

    fn rows_together(&self) -> usize {
        1
    }

    fn upload(&self, batch: Vec<Ciphertext>) -> Result<Vec<Ciphertext>, CkksError> {
        Ok(batch)
    }

    fn download(&self, batch: Vec<Ciphertext>) -> Result<Vec<Ciphertext>, CkksError> {
        Ok(batch)
    }

    fn load_plaintext(&self, plaintext: Plaintext) -> Result<Plaintext, CkksError> {
        Ok(plaintext)
    }

    fn load_switch_key(&self, key: SwitchKey) -> Result<SwitchKey, CkksError> {
        Ok(key)
    }

    fn load_galois_key(&self, key: GaloisKey) -> Result<GaloisKey, CkksError> {
        Ok(key)
    }

    fn state(&self, ciphertext: &Ciphertext) -> State {
        State { scale: ciphertext.scale, limbs: self.limbs_of(ciphertext) }
    }

    fn add_assign(&self, sums: &mut [Ciphertext], terms: &[&Ciphertext]) -> Result<(), CkksError> {
        sums.par_iter_mut().zip(terms).try_for_each(|(sum, term)| Context::add_assign(self, sum, term))
    }

    fn add_constants(&self, batch: &mut [Ciphertext], constants: &[Constant<'_, Plaintext>]) -> Result<(), CkksError> {
        batch.par_iter_mut().zip(constants).try_for_each(|(ciphertext, constant)| match constant {
            Constant::Number(number) => {
                self.add_constant(ciphertext, *number);
                Ok(())
            }
            Constant::Slots(plaintext) => self.add_plain(ciphertext, plaintext),
        })
    }

    fn add_products(
        &self,
        sums: &mut [Ciphertext],
        terms: &[&Ciphertext],
        factors: &[Constant<'_, Plaintext>],
    ) -> Result<(), CkksError> {
        sums.par_iter_mut().zip(terms).zip(factors).try_for_each(|((sum, term), factor)| {
            let lowered = self.view(term, self.limbs_of(sum))?;
            let product = self.times(&lowered, factor, sum.scale)?;
            Context::add_assign(self, sum, &product)?;
            [lowered, product].into_iter().for_each(|done| self.recycle(done));
            Ok(())
        })
    }

    fn products(
        &self,
        terms: &[&Ciphertext],
        factors: &[Constant<'_, Plaintext>],
        scale: f64,
    ) -> Result<Vec<Ciphertext>, CkksError> {
        terms.par_iter().zip(factors).map(|(term, factor)| self.times(term, factor, scale)).collect()
    }

    fn linear_combinations(&self, rows: &[Vec<(&Ciphertext, f64)>], scale: f64) -> Result<Vec<Ciphertext>, CkksError> {
        rows.par_iter().map(|terms| self.linear_combination(terms, scale)).collect()
    }

    fn inner_products(
        &self,
        inputs: &[Ciphertext],
        sums: &[Vec<(usize, &Plaintext)>],
    ) -> Result<Vec<Ciphertext>, CkksError> {
        self.inner_products_plain(inputs, sums)
    }

    fn multiply(&self, pairs: &[(&Ciphertext, &Ciphertext)], key: &SwitchKey) -> Result<Vec<Ciphertext>, CkksError> {
        pairs.par_iter().map(|(a, b)| Context::multiply(self, a, b, key)).collect()
    }

    fn rescale(&self, batch: Vec<Ciphertext>) -> Result<Vec<Ciphertext>, CkksError> {
        batch.into_par_iter().map(|ciphertext| Context::rescale(self, ciphertext)).collect()
    }

    fn drop_to(&self, batch: Vec<Ciphertext>, limbs: usize) -> Result<Vec<Ciphertext>, CkksError> {
        batch.into_iter().map(|ciphertext| Context::drop_to(self, ciphertext, limbs)).collect()
    }

    fn rotate(&self, batch: &[&Ciphertext], key: &GaloisKey) -> Result<Vec<Ciphertext>, CkksError> {
        Ok(batch.par_iter().map(|ciphertext| self.automorphism(ciphertext, key)).collect())
    }

    fn rotate_hoisted(
        &self,
        batch: Vec<Ciphertext>,
        keys: &[Option<&GaloisKey>],
    ) -> Result<Vec<Vec<Ciphertext>>, CkksError> {
        let rotate = |ciphertext: Ciphertext| {
            if keys.iter().all(Option::is_none) {
                return vec![ciphertext; keys.len()];
            }
            let digits = self.decompose_mask(&ciphertext);
            let turn = |key: &Option<&GaloisKey>| {
                key.map_or_else(|| ciphertext.clone(), |key| self.hoisted(&ciphertext, &digits, key))
            };
            let rotated = keys.par_iter().map(turn).collect();
            self.recycle_decomposed(digits);
            self.recycle(ciphertext);
            rotated
        };
        Ok(batch.into_par_iter().map(rotate).collect())
    }

    fn settle(&self, batch: Vec<Ciphertext>) -> Vec<Ciphertext> {
        let settle = |value: Ciphertext| {
            let exact = Ciphertext { parts: value.parts.each_ref().map(|part| self.copy(part)), scale: value.scale };
            self.recycle(value);
            exact
        };
        batch.into_iter().map(settle).collect()
    }

    fn release(&self, batch: Vec<Ciphertext>) {
        batch.into_par_iter().for_each(|ciphertext| self.recycle(ciphertext));
    }
}
