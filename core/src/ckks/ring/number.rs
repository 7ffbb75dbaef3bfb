//! Numbers for all slots of a ciphertext, as residues.

use crate::ckks::params::set::ParameterSet;
use crate::residues::modulus::Modulus;

/// Scale and limbs of a ciphertext, or of what is combined with one.
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
    pub fn rescaled(self, params: &ParameterSet) -> Self {
        Self { scale: self.scale / f64::from(params.primes[self.limbs - 1]), limbs: self.limbs - 1 }
    }

    /// Of a product of two ciphertexts of this state.
    #[must_use]
    pub fn squared(self) -> Self {
        Self { scale: self.scale * self.scale, limbs: self.limbs }
    }
}

/// A number times a scale, rounded: one word for each limb of Q, a residue in Montgomery form.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// One word a limb.
    pub residues: Vec<u32>,
    /// What the number is multiplied by.
    pub scale: f64,
}

impl Number {
    /// `value` for use at a scale and so many limbs.
    ///
    /// The product with the scale is rounded to the nearest integer, halves away from zero; nothing else is.
    #[must_use]
    pub fn new(params: &ParameterSet, value: f64, at: State) -> Self {
        let residue = |&p: &u32| {
            let modulus = Modulus::new(p);
            modulus.montgomery(modulus.residue_of_double(value * at.scale))
        };
        Self { residues: params.primes[..at.limbs].iter().map(residue).collect(), scale: at.scale }
    }
}
