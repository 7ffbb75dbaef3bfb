//! Scales and limbs at which linear maps are applied.

use crate::ckks::error::CkksError;
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::polynomials::PolynomialStage;
use crate::ckks::plan::uses::uses;
use crate::ckks::ring::number::State;

/// Limbs of the output: so many hold it.
pub const OUTPUT_LIMBS: usize = 2;

/// Scale and limbs of a stage's sums, and of its polynomials' arguments, where what it reads has `limbs` limbs.
///
/// # Errors
/// [`CkksError::Depth`] if the stage takes more levels than there are.
pub fn map_states(stage: &PolynomialStage, params: &ParameterSet, limbs: usize) -> Result<(State, State), CkksError> {
    if limbs < 1 + stage.levels() || limbs < 1 + usize::from(stage.scaling.rescales) {
        return Err(CkksError::Depth);
    }
    let scale = f64::from(stage.scaling.argument_log2.unwrap_or(params.scale_log2)).exp2();
    let argument = State { scale, limbs: limbs - usize::from(stage.scaling.rescales) };
    if !stage.scaling.rescales {
        return Ok((argument, argument));
    }
    Ok((State { scale: scale * f64::from(params.primes[limbs - 1]), limbs }, argument))
}

/// Scale and limbs of a stage's values whose products are ciphertexts again, where what it reads has `limbs` limbs.
///
/// # Errors
/// As [`map_states`].
pub fn value_state(stage: &PolynomialStage, params: &ParameterSet, limbs: usize) -> Result<State, CkksError> {
    let (_, argument) = map_states(stage, params, limbs)?;
    let kind = stage.activations.first().map(|activation| activation.form.kind());
    Ok(kind.map_or(argument, |kind| uses(kind, params, argument, false).value))
}

/// Scale and limbs of the output's sums, of values at `limbs` limbs.
///
/// Two limbs hold the output, and values are brought there first. Products of three parts are not: their sums are
/// rescaled down to it, see [`closed_output`].
#[must_use]
pub fn output_state(params: &ParameterSet, bound: f64, limbs: usize, is_open: bool) -> State {
    let limbs = if is_open { limbs } else { limbs.min(OUTPUT_LIMBS) };
    let dropped = params.primes.get(OUTPUT_LIMBS..limbs).unwrap_or_default();
    let divisor: f64 = dropped.iter().map(|&p| f64::from(p)).product();
    State { scale: params.output_scale(bound) * divisor, limbs }
}

/// Scale and limbs of the output whose sums are at the given ones.
#[must_use]
pub fn closed_output(params: &ParameterSet, mut sums: State) -> State {
    while sums.limbs > OUTPUT_LIMBS {
        sums = sums.rescaled(params);
    }
    sums
}
