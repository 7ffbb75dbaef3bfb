//! Throughput packing: one ciphertext a value, one slot an image, so that no step needs a rotation.

use std::sync::Arc;

use rayon::prelude::*;

use super::activation::{Activation, Form, PolynomialNetwork};
use super::context::Context;
use super::evaluator::{Ciphertext, CkksError};
use super::keyswitch::SwitchKey;
use crate::network::{Network, Row};
use crate::progress::Progress;

/// Share of the last modulus that the calibrated outputs fill.
const OUTPUT_SHARE: f64 = 0.2;

/// A network with polynomials, ready to run on batches of N/2 images.
pub struct ThroughputSession<'a> {
    context: &'a Context,
    network: &'a Network,
    polynomials: &'a PolynomialNetwork,
    relinearise: &'a SwitchKey,
    /// For each value the last stage that reads it; the output counts as one past the last stage.
    last_reads: Vec<usize>,
}

impl<'a> ThroughputSession<'a> {
    /// Ties network, polynomials and a client's key together.
    ///
    /// # Errors
    /// [`CkksError::Depth`] if the parameters have too few levels.
    pub fn new(
        context: &'a Context,
        network: &'a Network,
        polynomials: &'a PolynomialNetwork,
        relinearise: &'a SwitchKey,
    ) -> Result<Self, CkksError> {
        if context.limbs() <= polynomials.levels() {
            return Err(CkksError::Depth);
        }
        let mut last_reads = vec![0; network.value_count()];
        let readers = network.stages.iter().map(|stage| &stage.rows).chain([&network.output_rows]);
        for (reader, rows) in readers.enumerate() {
            for tap in rows.iter().flat_map(|row| row.taps.iter()) {
                last_reads[tap.source as usize] = reader;
            }
        }
        Ok(Self { context, network, polynomials, relinearise, last_reads })
    }

    /// Evaluates the network; one ciphertext an input element, one an output element.
    ///
    /// # Errors
    /// [`CkksError::Level`] for another number of inputs.
    pub fn run(&self, input: Vec<Ciphertext>, progress: &dyn Progress) -> Result<Vec<Ciphertext>, CkksError> {
        let expected = self.network.input.len();
        if input.len() != expected {
            return Err(CkksError::Level { left: input.len(), right: expected });
        }
        progress.start("inference", self.network.activation_count().max(1) as u64);
        let mut values: Vec<Option<Arc<Ciphertext>>> = input.into_iter().map(|c| Some(Arc::new(c))).collect();
        // What a reader multiplies each value with, on top of its own weight.
        let mut gains = vec![1.0; values.len()];
        for (at, (stage, activations)) in self.network.stages.iter().zip(&self.polynomials.activations).enumerate() {
            let depth = activations.iter().map(|a| a.form.depth()).max().unwrap_or(0);
            let rows: Vec<(&Row, &Activation)> =
                stage.rows.iter().zip(&stage.channel).map(|(row, &c)| (row, &activations[c as usize])).collect();
            let results: Result<Vec<Ciphertext>, CkksError> = rows
                .par_iter()
                .map(|(row, activation)| {
                    // u = (x - centre) / radius comes straight out of the linear map.
                    let (factor, offset) = (1.0 / activation.radius, row.bias - activation.centre);
                    let scale = f64::from(self.context.params.scale_log2).exp2();
                    let u = self.affine(row, &values, &gains, factor, offset * factor, scale)?;
                    let target = self.context.limbs_of(&u) - depth;
                    let value = self.context.drop_to(self.activate(u, &activation.form)?, target)?;
                    progress.advance(1);
                    Ok(value)
                })
                .collect();
            values.extend(results?.into_iter().map(|value| Some(Arc::new(value))));
            gains.extend(rows.iter().map(|(_, activation)| activation.form.gain()));
            for (value, &last) in values.iter_mut().zip(&self.last_reads) {
                if last <= at
                    && let Some(ciphertext) = value.take().and_then(Arc::into_inner)
                {
                    self.context.recycle(ciphertext);
                }
            }
        }
        // The last modulus bounds scale times value.
        let bound = self.polynomials.output_bound.max(f64::MIN_POSITIVE);
        let output = self
            .network
            .output_rows
            .par_iter()
            .map(|row| {
                let last = f64::from(self.context.modulus(0).p);
                let scale = (OUTPUT_SHARE * last / bound).min(f64::from(self.context.params.scale_log2).exp2());
                let value = self.affine(row, &values, &gains, 1.0, row.bias, scale)?;
                self.context.drop_to(value, 1)
            })
            .collect();
        progress.finish();
        output
    }

    /// `factor * (row without its bias) + constant` at the given scale, one level down.
    fn affine(
        &self,
        row: &Row,
        values: &[Option<Arc<Ciphertext>>],
        gains: &[f64],
        factor: f64,
        constant: f64,
        scale: f64,
    ) -> Result<Ciphertext, CkksError> {
        let present = |source: u32| values[source as usize].as_deref().expect("values live until their last reader");
        let mut terms: Vec<(&Ciphertext, f64)> = row
            .taps
            .iter()
            .map(|tap| (present(tap.source), f64::from(tap.weight) * gains[tap.source as usize] * factor))
            .collect();
        if terms.is_empty() {
            // A constant row still needs a ciphertext to stand in.
            let any = values.iter().flatten().next().ok_or(CkksError::Depth)?;
            terms.push((any, 0.0));
        }
        let limbs = terms.iter().map(|(term, _)| self.context.limbs_of(term)).min().unwrap_or(1);
        let sum = self.context.linear_combination(&terms, self.context.before_rescale(scale, limbs))?;
        let mut sum = self.context.rescale(sum)?;
        self.context.add_constant(&mut sum, constant);
        Ok(sum)
    }

    /// The polynomial without its gain.
    fn activate(&self, u: Ciphertext, form: &Form) -> Result<Ciphertext, CkksError> {
        let context = self.context;
        match *form {
            Form::Square { shift, constant, .. } => {
                let mut shifted = u;
                context.add_constant(&mut shifted, shift);
                let mut square = self.square(&shifted)?;
                context.recycle(shifted);
                context.add_constant(&mut square, constant);
                Ok(square)
            }
            Form::Quartic { a, b, c, d, .. } => {
                // a u joins u^2 before it is rescaled: no level of its own.
                let mut product = context.multiply(&u, &u, self.relinearise)?;
                self.add_multiple(&mut product, &u, a)?;
                let mut inner = context.rescale(product)?;
                context.add_constant(&mut inner, b);
                let mut product = context.multiply(&inner, &inner, self.relinearise)?;
                self.add_multiple(&mut product, &u, c)?;
                [inner, u].into_iter().for_each(|done| context.recycle(done));
                let mut value = context.rescale(product)?;
                context.add_constant(&mut value, d);
                Ok(value)
            }
            Form::Cubic([c0, c1, c2, c3]) => {
                let square = self.square(&u)?;
                let scale = square.scale * f64::from(context.modulus(context.limbs_of(&u) - 1).p);
                let mut factor = context.rescale(context.linear_combination(&[(&u, c3)], scale)?)?;
                context.add_constant(&mut factor, c2);
                let mut product = context.multiply(&square, &factor, self.relinearise)?;
                self.add_multiple(&mut product, &u, c1)?;
                [square, factor, u].into_iter().for_each(|done| context.recycle(done));
                let mut value = context.rescale(product)?;
                context.add_constant(&mut value, c0);
                Ok(value)
            }
        }
    }

    fn square(&self, u: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.context.rescale(self.context.multiply(u, u, self.relinearise)?)
    }

    /// `sum += factor * term`, at the sum's scale and level.
    fn add_multiple(&self, sum: &mut Ciphertext, term: &Ciphertext, factor: f64) -> Result<(), CkksError> {
        let multiple = self.context.linear_combination(&[(term, factor)], sum.scale)?;
        let multiple = self.context.drop_to(multiple, self.context.limbs_of(sum))?;
        let total = self.context.add(sum, &multiple)?;
        self.context.recycle(multiple);
        self.context.recycle(std::mem::replace(sum, total));
        Ok(())
    }
}
