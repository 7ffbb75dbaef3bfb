//! Linear maps that are applied at many positions, as matrices of residues.

use rayon::prelude::*;

use crate::ckks::error::{CkksError, same_scale};
use crate::ckks::ring::number::State;
use crate::residues::modulus::Modulus;

/// Rows of numbers that are multiplied with ciphertexts: the kernels of a convolution, or a dense layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// `u32[limb][kernel][term]`, residues in Montgomery form.
    pub words: Vec<u32>,
    /// Rows.
    pub kernels: usize,
    /// Limbs of the results.
    pub limbs: usize,
    /// Scale of the results.
    pub scale: f64,
    /// Scale that each term must have.
    pub term_scales: Vec<f64>,
}

impl Matrix {
    /// Rounds `weights`, `f64[kernel][term]`, to residues of the given moduli, exactly as
    /// [`Ring::linear_combination`](crate::ckks::ring::context::Ring::linear_combination) does.
    ///
    /// # Errors
    /// [`CkksError::Depth`] without terms or moduli, [`CkksError::Plan`] for weights that are no whole rows.
    pub fn new(weights: &[f64], term_scales: Vec<f64>, scale: f64, moduli: &[Modulus]) -> Result<Self, CkksError> {
        let terms = term_scales.len();
        if terms == 0 || moduli.is_empty() {
            return Err(CkksError::Depth);
        }
        if !weights.len().is_multiple_of(terms) {
            return Err(CkksError::Plan(format!("{} weights are no rows of {terms}", weights.len())));
        }
        let mut words = vec![0; moduli.len() * weights.len()];
        let rows = words.par_chunks_exact_mut(terms).enumerate();
        let kernels = weights.len() / terms;
        rows.for_each(|(row, words)| {
            let (modulus, weights) = (moduli[row / kernels], &weights[row % kernels * terms..]);
            for ((word, &weight), term_scale) in words.iter_mut().zip(weights).zip(&term_scales) {
                *word = modulus.montgomery(modulus.residue_of_double(weight * scale / term_scale));
            }
        });
        Ok(Self { words, kernels, limbs: moduli.len(), scale, term_scales })
    }

    /// Whether the matrix can be applied to terms of these states, and has the wanted rows.
    ///
    /// # Errors
    /// [`CkksError::Plan`] for another number of terms, or a kernel that there is none of; [`CkksError::Level`],
    /// [`CkksError::Scale`] for a term that does not fit.
    pub fn check_position(
        &self,
        terms: impl ExactSizeIterator<Item = State>,
        kernels: &[u32],
    ) -> Result<(), CkksError> {
        if terms.len() != self.terms() {
            let (terms, given) = (self.terms(), terms.len());
            return Err(CkksError::Plan(format!("a matrix of {terms} terms was applied to {given}")));
        }
        if let Some(kernel) = kernels.iter().find(|&&kernel| kernel as usize >= self.kernels) {
            let kernels = self.kernels;
            return Err(CkksError::Plan(format!("a matrix of {kernels} kernels has none of number {kernel}")));
        }
        for (term, &scale) in terms.zip(&self.term_scales) {
            let (left, right) = (term.limbs, self.limbs);
            if left < right {
                return Err(CkksError::Level { left, right });
            }
            same_scale(term.scale, scale)?;
        }
        Ok(())
    }

    /// Numbers of a row.
    #[must_use]
    pub fn terms(&self) -> usize {
        self.term_scales.len()
    }
}
