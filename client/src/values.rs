//! Values that are to be encrypted.

use heman_core::either::params::Params;

use crate::error::ClientError;

/// Checks a batch of inputs, one after the other in `values`, as encryption does.
///
/// # Errors
/// [`ClientError::InputLength`] if `values` is no whole number of inputs, [`ClientError::InputRange`] for values that
/// are not finite or outside of the range that the parameters were made for.
pub fn check_inputs(params: &Params, values: &[f32]) -> Result<(), ClientError> {
    let (expected, range) = match params {
        Params::Tfhe(params) => (params.input.tensor.len(), (params.input.low, params.input.high)),
        Params::Ckks(params) => (params.input.tensor.len(), (params.input.low, params.input.high)),
    };
    check_values(values, expected, range)
}

/// Checks that values are a whole number of inputs, and within the range that the parameters allow for.
pub(crate) fn check_values(values: &[f32], expected: usize, (low, high): (f64, f64)) -> Result<(), ClientError> {
    if values.is_empty() || !values.len().is_multiple_of(expected) {
        return Err(ClientError::InputLength { found: values.len(), expected });
    }
    let outside = |&x: &f32| !x.is_finite() || f64::from(x) < low || f64::from(x) > high;
    match values.iter().position(outside) {
        None => Ok(()),
        Some(at) => {
            Err(ClientError::InputRange { input: at / expected, index: at % expected, value: values[at], low, high })
        }
    }
}
