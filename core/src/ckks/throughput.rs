//! Throughput packing: one ciphertext a value, one slot an image, so that no step needs a rotation.

use std::sync::Arc;

use rayon::prelude::*;

use super::activation::Form;
use super::context::{CkksParams, Context};
use super::evaluator::{Ciphertext, CkksError};
use super::keyswitch::SwitchKey;
use super::polynomials::PolynomialNetwork;
use super::shared_rows::SharedRows;
use crate::progress::Progress;

/// Share of the last two primes' product that the calibrated outputs may fill.
const OUTPUT_SHARE: f64 = 0.1;
/// Widest scale of the output's weights: more would not be seen behind the noise.
const OUTPUT_WEIGHT_LOG2: i32 = 26;

/// Scale of an output that is not rescaled: the last two primes hold values times weights.
pub(super) fn output_scale(params: &CkksParams, bound: f64) -> f64 {
    let modulus: f64 = params.primes[..2].iter().map(|&p| f64::from(p)).product();
    let widest = f64::from(params.scale_log2 as i32 + OUTPUT_WEIGHT_LOG2).exp2();
    widest.min(OUTPUT_SHARE * modulus / bound.max(f64::MIN_POSITIVE))
}

/// A network with polynomials, ready to run on batches of N/2 images.
pub struct ThroughputSession<'a> {
    context: &'a Context,
    network: &'a PolynomialNetwork,
    relinearise: Option<&'a SwitchKey>,
    /// The linear maps of the stages, then the output's.
    maps: Vec<SharedRows>,
    /// For each value the last map that reads it.
    last_reads: Vec<usize>,
}

/// Values and sums of them that exist at one time, each with what a reader multiplies it with on top of its own weight.
struct Live {
    values: Vec<Option<Arc<Ciphertext>>>,
    gains: Vec<f64>,
    sums: Vec<Arc<Ciphertext>>,
    sum_gains: Vec<f64>,
}

impl<'a> ThroughputSession<'a> {
    /// Ties network, polynomials and a client's key together.
    ///
    /// # Errors
    /// [`CkksError::Depth`] if the parameters have too few levels.
    pub fn new(
        context: &'a Context,
        network: &'a PolynomialNetwork,
        relinearise: Option<&'a SwitchKey>,
    ) -> Result<Self, CkksError> {
        if context.limbs() <= network.levels() {
            return Err(CkksError::Depth);
        }
        let mut last_reads = vec![0; network.value_count()];
        for (reader, rows) in network.maps().enumerate() {
            for tap in rows.iter().flat_map(|row| row.taps.iter()) {
                last_reads[tap.source as usize] = reader;
            }
        }
        Ok(Self { context, network, relinearise, maps: SharedRows::of_network(network), last_reads })
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
        let mut live = Live {
            gains: vec![1.0; input.len()],
            values: input.into_iter().map(|c| Some(Arc::new(c))).collect(),
            sums: Vec::new(),
            sum_gains: Vec::new(),
        };
        for (at, stage) in self.network.stages.iter().enumerate() {
            let depth = stage.depth();
            let map = &self.maps[at];
            self.share(at, &mut live)?;
            let results: Result<Vec<Ciphertext>, CkksError> = (0..stage.rows.len())
                .into_par_iter()
                .map(|row| {
                    let activation = stage.activation(row);
                    // u = (x - centre) / radius comes straight out of the linear map.
                    let (factor, offset) = (1.0 / activation.radius, map.rows[row].0 - activation.centre);
                    let scale = f64::from(self.context.params.scale_log2).exp2();
                    let sum =
                        self.affine(map, row, &live, factor, |limbs| self.context.before_rescale(scale, limbs))?;
                    let mut u = self.context.rescale(sum)?;
                    self.context.add_constant(&mut u, offset * factor);
                    let target = self.context.limbs_of(&u) - depth;
                    let value = self.context.drop_to(self.activate(u, &activation.form)?, target)?;
                    progress.advance(1);
                    Ok(value)
                })
                .collect();
            live.values.extend(results?.into_iter().map(|value| Some(Arc::new(value))));
            live.gains.extend((0..stage.rows.len()).map(|row| stage.activation(row).form.gain()));
            let done = std::mem::take(&mut live.sums);
            let over = live.values.iter_mut().zip(&self.last_reads).filter(|(_, last)| **last <= at);
            let over = over.filter_map(|(value, _)| value.take()).chain(done);
            over.filter_map(Arc::into_inner).for_each(|ciphertext| self.context.recycle(ciphertext));
        }
        let map = &self.maps[self.network.stages.len()];
        self.share(self.network.stages.len(), &mut live)?;
        let scale = output_scale(&self.context.params, self.network.output_bound);
        let output = (0..self.network.output_rows.len())
            .into_par_iter()
            .map(|row| {
                let mut value = self.affine(map, row, &live, 1.0, |_| scale)?;
                self.context.add_constant(&mut value, map.rows[row].0);
                self.context.drop_to(value, 2)
            })
            .collect();
        progress.finish();
        output
    }

    /// Sums the groups of map `at`; members that nobody reads later are used up.
    fn share(&self, at: usize, live: &mut Live) -> Result<(), CkksError> {
        let map = &self.maps[at];
        live.sum_gains = map.groups.iter().map(|members| live.gains[members[0] as usize]).collect();
        let mut member = |&member: &u32| -> Arc<Ciphertext> {
            let value = &mut live.values[member as usize];
            let last = self.last_reads[member as usize] <= at;
            let value = if last { value.take() } else { value.clone() };
            value.expect("values live until their last reader")
        };
        let groups: Vec<Vec<Arc<Ciphertext>>> =
            map.groups.iter().map(|members| members.iter().map(&mut member).collect()).collect();
        let sum = |members: Vec<Arc<Ciphertext>>| {
            let mut members = members.into_iter();
            let mut total = Arc::unwrap_or_clone(members.next().expect("groups have members"));
            for member in members {
                self.context.add_assign(&mut total, &member)?;
                if let Some(done) = Arc::into_inner(member) {
                    self.context.recycle(done);
                }
            }
            Ok(Arc::new(total))
        };
        let sums: Result<Vec<Arc<Ciphertext>>, CkksError> = groups.into_par_iter().map(sum).collect();
        live.sums = sums?;
        Ok(())
    }

    /// `factor` times a row without its constant, at the scale that is asked for at the lowest level of its terms.
    fn affine(
        &self,
        map: &SharedRows,
        row: usize,
        live: &Live,
        factor: f64,
        scale: impl Fn(usize) -> f64,
    ) -> Result<Ciphertext, CkksError> {
        let term = |&(source, weight): &(u32, f64)| -> (&Ciphertext, f64) {
            match source.checked_sub(map.first_group) {
                Some(group) => (&*live.sums[group as usize], weight * live.sum_gains[group as usize] * factor),
                None => {
                    let value = live.values[source as usize].as_deref().expect("values live until their last reader");
                    (value, weight * live.gains[source as usize] * factor)
                }
            }
        };
        let mut terms: Vec<(&Ciphertext, f64)> = map.rows[row].1.iter().map(term).collect();
        if terms.is_empty() {
            // A constant row still needs a ciphertext to stand in.
            let any = live.sums.iter().chain(live.values.iter().flatten()).next();
            terms.push((any.ok_or(CkksError::Depth)?, 0.0));
        }
        let limbs = terms.iter().map(|(term, _)| self.context.limbs_of(term)).min().unwrap_or(1);
        self.context.linear_combination(&terms, scale(limbs))
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
                let mut product = self.multiply(&u, &u)?;
                self.add_multiple(&mut product, &u, a)?;
                let mut inner = context.rescale(product)?;
                context.add_constant(&mut inner, b);
                let mut product = self.multiply(&inner, &inner)?;
                self.add_multiple(&mut product, &u, c)?;
                [inner, u].into_iter().for_each(|done| context.recycle(done));
                let mut value = context.rescale(product)?;
                context.add_constant(&mut value, d);
                Ok(value)
            }
            Form::Sextic { rest: [a, b, c, d, e, f], .. } => {
                let square = self.square(&u)?;
                let factor = context.drop_to(u.clone(), context.limbs_of(&square))?;
                let mut shifted = square.clone();
                context.add_constant(&mut shifted, b);
                let mut product = self.multiply(&shifted, &factor)?;
                self.add_multiple(&mut product, &square, a)?;
                let mut inner = context.rescale(product)?;
                context.add_constant(&mut inner, c);
                let mut product = self.multiply(&inner, &inner)?;
                self.add_multiple(&mut product, &square, d)?;
                self.add_multiple(&mut product, &u, e)?;
                [square, shifted, factor, inner, u].into_iter().for_each(|done| context.recycle(done));
                let mut value = context.rescale(product)?;
                context.add_constant(&mut value, f);
                Ok(value)
            }
            Form::Cubic([c0, c1, c2, c3]) => {
                let square = self.square(&u)?;
                let scale = square.scale * f64::from(context.modulus(context.limbs_of(&u) - 1).p);
                let mut factor = context.rescale(context.linear_combination(&[(&u, c3)], scale)?)?;
                context.add_constant(&mut factor, c2);
                let mut product = self.multiply(&square, &factor)?;
                self.add_multiple(&mut product, &u, c1)?;
                [square, factor, u].into_iter().for_each(|done| context.recycle(done));
                let mut value = context.rescale(product)?;
                context.add_constant(&mut value, c0);
                Ok(value)
            }
        }
    }

    fn multiply(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.context.multiply(a, b, self.relinearise.ok_or(CkksError::Depth)?)
    }

    fn square(&self, u: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.context.rescale(self.multiply(u, u)?)
    }

    /// `sum += factor * term`, at the sum's scale and level.
    fn add_multiple(&self, sum: &mut Ciphertext, term: &Ciphertext, factor: f64) -> Result<(), CkksError> {
        let multiple = self.context.linear_combination(&[(term, factor)], sum.scale)?;
        let multiple = self.context.drop_to(multiple, self.context.limbs_of(sum))?;
        self.context.add_assign(sum, &multiple)?;
        self.context.recycle(multiple);
        Ok(())
    }
}
